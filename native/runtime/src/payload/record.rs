//! A borrowed decoder of `fraudengine.v1.DecisionRecord`, for the readers of `decisions` and `alerts`.
//!
//! It allocates nothing: texts and feature values point into the record. It reads what `encode::decision` writes
//! (prost is the oracle of the tests) and what a newer version may add: unknown fields are skipped. What only
//! somebody else's encoder could produce (features that are not packed or come in pieces, more reasons than an
//! engine gives) is refused, because nobody else writes these topics.

use fraudengine_core::event::RawTransaction;

use super::protobuf::{Cursor, transaction};
use super::{Fault, Malformed};
use crate::limits::GROUP_DEPTH_MAX;

/// Most reasons of one decision.
pub const REASONS_MAX: usize = 4;

/// Names of the fields, from tag 1.
const FIELDS: [&str; 16] = [
    "transaction",
    "score",
    "anomaly",
    "action",
    "reasons",
    "flags",
    "source_partition",
    "source_offset",
    "source_time_micros",
    "decided_time_micros",
    "model",
    "catalogue",
    "generation",
    "label_offset",
    "features",
    "owner",
];

/// One reason.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReasonView<'a> {
    /// Name of the feature.
    pub feature: &'a str,
    /// Its value; `None` when it was missing.
    pub value: Option<f32>,
    /// How much it raised the margin.
    pub contribution: f32,
}

/// One decision, or a marker; see `log.proto` for the meaning of the fields.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "each field is documented in log.proto")]
pub struct DecisionView<'a> {
    pub transaction: Option<RawTransaction<'a>>,
    pub score: f32,
    pub anomaly: f32,
    pub action: i32,
    pub flags: u32,
    pub source_partition: i32,
    pub source_offset: i64,
    pub source_time_micros: i64,
    pub decided_time_micros: i64,
    pub model: u64,
    pub catalogue: u64,
    pub generation: i64,
    pub label_offset: i64,
    pub owner: u64,
    /// The values as they are in the record: little-endian, four bytes each.
    pub features: &'a [u8],
    reasons: [ReasonView<'a>; REASONS_MAX],
    reasons_len: usize,
}

impl<'a> DecisionView<'a> {
    /// Strongest first.
    pub fn reasons(&self) -> &[ReasonView<'a>] {
        &self.reasons[..self.reasons_len]
    }

    /// Values of the features, in catalogue order.
    pub fn feature_values(&self) -> impl ExactSizeIterator<Item = f32> + 'a {
        self.features.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }

    /// Whether this is the record with which a new process begins.
    pub const fn is_marker(&self) -> bool {
        self.transaction.is_none()
    }
}

const fn key(tag: u32, wire_type: u32) -> u32 {
    tag << 3 | wire_type
}

const TRANSACTION: u32 = key(1, 2);
const SCORE: u32 = key(2, 5);
const ANOMALY: u32 = key(3, 5);
const ACTION: u32 = key(4, 0);
const REASON: u32 = key(5, 2);
const FLAGS: u32 = key(6, 0);
const SOURCE_PARTITION: u32 = key(7, 0);
const SOURCE_OFFSET: u32 = key(8, 0);
const SOURCE_TIME: u32 = key(9, 0);
const DECIDED_TIME: u32 = key(10, 0);
const MODEL: u32 = key(11, 1);
const CATALOGUE: u32 = key(12, 1);
const GENERATION: u32 = key(13, 0);
const LABEL_OFFSET: u32 = key(14, 0);
const FEATURES: u32 = key(15, 2);
const OWNER: u32 = key(16, 1);

const REASON_FEATURE: u32 = key(1, 2);
const REASON_VALUE: u32 = key(2, 5);
const REASON_CONTRIBUTION: u32 = key(3, 5);

/// Decodes a record of `decisions` or `alerts`.
pub fn decision(message: &[u8]) -> Result<DecisionView<'_>, Malformed> {
    let mut cursor = Cursor::new(message);
    let mut view = DecisionView::default();
    loop {
        let found = match cursor.key() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(view),
            Err(fault) => return Err(at(&cursor, fault, 0)),
        };
        if found == TRANSACTION {
            let bytes = sized(&mut cursor).map_err(|fault| at(&cursor, fault, 1))?;
            let before = cursor.offset() - bytes.len();
            view.transaction = Some(transaction(bytes).map_err(|malformed| malformed.behind(before))?);
            continue;
        }
        field(&mut cursor, found, &mut view).map_err(|fault| at(&cursor, fault, found >> 3))?;
    }
}

#[inline]
fn field<'a>(cursor: &mut Cursor<'a>, found: u32, view: &mut DecisionView<'a>) -> Result<(), Fault> {
    match found {
        SCORE => view.score = f32::from_bits(fixed32(cursor)?),
        ANOMALY => view.anomaly = f32::from_bits(fixed32(cursor)?),
        ACTION => view.action = cursor.varint()? as i32,
        REASON => {
            let read = reason(sized(cursor)?)?;
            *view.reasons.get_mut(view.reasons_len).ok_or(Fault::TooLarge)? = read;
            view.reasons_len += 1;
        }
        FLAGS => view.flags = cursor.varint()? as u32,
        SOURCE_PARTITION => view.source_partition = cursor.varint()? as i32,
        SOURCE_OFFSET => view.source_offset = cursor.varint()? as i64,
        SOURCE_TIME => view.source_time_micros = cursor.varint()? as i64,
        DECIDED_TIME => view.decided_time_micros = cursor.varint()? as i64,
        MODEL => view.model = fixed64(cursor)?,
        CATALOGUE => view.catalogue = fixed64(cursor)?,
        GENERATION => view.generation = cursor.varint()? as i64,
        LABEL_OFFSET => view.label_offset = cursor.varint()? as i64,
        OWNER => view.owner = fixed64(cursor)?,
        FEATURES => {
            let values = sized(cursor)?;
            if !view.features.is_empty() || values.len() % 4 != 0 {
                return Err(Fault::WireType);
            }
            view.features = values;
        }
        _ if found >> 3 <= FIELDS.len() as u32 => return Err(Fault::WireType),
        _ => cursor.skip(found, GROUP_DEPTH_MAX)?,
    }
    Ok(())
}

fn reason(message: &[u8]) -> Result<ReasonView<'_>, Fault> {
    let mut cursor = Cursor::new(message);
    let mut view = ReasonView::default();
    while let Some(found) = cursor.key()? {
        match found {
            REASON_FEATURE => view.feature = cursor.text()?,
            REASON_VALUE => view.value = Some(f32::from_bits(fixed32(&mut cursor)?)),
            REASON_CONTRIBUTION => view.contribution = f32::from_bits(fixed32(&mut cursor)?),
            _ if found >> 3 <= 3 => return Err(Fault::WireType),
            _ => cursor.skip(found, GROUP_DEPTH_MAX)?,
        }
    }
    Ok(view)
}

#[inline]
fn sized<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Fault> {
    let length = cursor.varint()?;
    cursor.take(length)
}

#[inline]
fn fixed32(cursor: &mut Cursor<'_>) -> Result<u32, Fault> {
    cursor.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| Fault::Truncated)
}

#[inline]
fn fixed64(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    cursor.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| Fault::Truncated)
}

#[cold]
fn at(cursor: &Cursor<'_>, fault: Fault, tag: u32) -> Malformed {
    let name = (tag as usize).checked_sub(1).and_then(|index| FIELDS.get(index)).copied();
    Malformed { fault, field: name, offset: cursor.offset(), shown: None }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
