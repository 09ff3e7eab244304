//! One decided row or refused record becomes one record of `decisions`, `alerts` or `dead-letter`, wherever the state
//! is kept: the stream's [`Encoder`](super::encoder::Encoder) and [`keyed::Records`](crate::keyed::Records) write
//! theirs here, so that both say the same.

use fraudengine_core::Output;
use fraudengine_core::decision::Action;
use fraudengine_core::engine::RowReasons;
use fraudengine_core::feature::catalogue;

use super::chunk::{Origin, Refused};
use crate::payload::encode::{self, Source};
use crate::payload::reasons::FeatureNames;
use crate::settings::{FeaturesIn, Settings};

/// Bit of a decision's flags: there was no model.
pub const NO_MODEL: u32 = 8;

/// What every record of this process shares.
pub struct RecordWriter {
    features: FeaturesIn,
    catalogue: u64,
    names: FeatureNames,
    /// Of transactions, of labels.
    topics: [String; 2],
}

/// A row, and what was decided.
pub struct DecidedRow<'a> {
    /// The transaction as a protobuf message.
    pub message: &'a [u8],
    /// Where it came from.
    pub origin: Origin,
    /// The output that holds its decision.
    pub output: &'a Output,
    /// Its place there.
    pub at: usize,
    /// Why it was flagged.
    pub reasons: Option<&'a RowReasons>,
    /// Its feature values; none where neither the record nor a reason shows any.
    pub values: &'a [f32],
    /// Short hash of the bundle that decided; 0: there was no model.
    pub model: u64,
    /// When, microseconds since 1970.
    pub decided_time_micros: i64,
    /// Offset of the label after the last one that was read before it; 0: unknown.
    pub label_offset: i64,
}

impl RecordWriter {
    /// By these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            features: settings.engine.features,
            catalogue: short_hash(&catalogue::hash()),
            names: FeatureNames::default(),
            topics: [settings.kafka.transactions_topic.clone(), settings.kafka.labels_topic.clone()],
        }
    }

    /// Whether the record of a decision, or its reasons, show feature values.
    pub fn shows(&self, action: Action) -> bool {
        self.features.needed_for(action)
    }

    /// Appends the record of a decision; `generation` is the offset of the process's marker, 0: it has none.
    pub fn decision(&self, row: &DecidedRow<'_>, generation: i64, bytes: &mut Vec<u8>) {
        let &DecidedRow { output, at, origin, values, .. } = row;
        let found = row.reasons.map_or(&[][..], |each| &each.reasons);
        let named = self.names.of(found, values, output.anomaly[at]);
        let no_model = if row.model == 0 { NO_MODEL } else { 0 };
        let parts = encode::Decision {
            transaction: Source::Encoded(row.message),
            score: output.score[at],
            anomaly: output.anomaly[at],
            action: output.action[at],
            reasons: named.as_slice(),
            flags: u32::from(output.flags[at]) | no_model,
            source_partition: origin.partition,
            source_offset: origin.offset,
            source_time_micros: origin.time_micros,
            decided_time_micros: row.decided_time_micros,
            model: row.model,
            catalogue: self.catalogue,
            generation,
            label_offset: row.label_offset,
            features: if self.features.sent_with(output.action[at]) { values } else { &[] },
        };
        encode::decision(&parts, bytes);
    }

    /// Appends the dead letter of a refused record; `generation` as for a decision.
    pub fn dead_letter(&self, refused: &Refused, generation: i64, bytes: &mut Vec<u8>) {
        let parts = encode::DeadLetter {
            reason: refused.reason,
            detail: &refused.detail,
            source_topic: &self.topics[usize::from(refused.is_label)],
            source_partition: refused.origin.partition,
            source_offset: refused.origin.offset,
            source_time_micros: refused.origin.time_micros,
            length: refused.length,
            keyed_hash: refused.keyed_hash,
            raw: refused.raw.as_deref(),
            generation,
        };
        encode::dead_letter(&parts, bytes);
    }
}

/// First 8 bytes of a hexadecimal hash as a number.
pub fn short_hash(hexadecimal: &str) -> u64 {
    hexadecimal.get(..16).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
}
