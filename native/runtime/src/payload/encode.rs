//! Hand-written encoders of everything that is sent: the bytes that prost would make, without its copies.
//!
//! Each function appends one message to a buffer that the caller reuses, so encoding does not allocate once the
//! buffer has grown. Fields come in the order of their tags and defaults are left out, as protobuf has it; tests
//! hold the bytes against prost's.

use fraudengine_core::decision::Action;
use fraudengine_core::event::{Channel, RawLabel, RawTransaction};

use crate::wire::DeadLetterReason;

/// The transaction of a decision.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Already a protobuf message without framing (see [`message`](super::message)); it is embedded as it is.
    Encoded(&'a [u8]),
    /// Anything else.
    Raw(&'a RawTransaction<'a>),
}

/// One reason of a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason<'a> {
    /// Name of the feature.
    pub feature: &'a str,
    /// Its value; NaN when it was missing.
    pub value: f32,
    /// How much it raised the margin.
    pub contribution: f32,
}

/// The parts of a `DecisionRecord`; see `log.proto` for their meaning.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each field is documented in log.proto")]
pub struct Decision<'a> {
    pub transaction: Source<'a>,
    pub score: f32,
    pub anomaly: f32,
    pub action: Action,
    pub reasons: &'a [Reason<'a>],
    pub flags: u32,
    pub source_partition: i32,
    pub source_offset: i64,
    pub source_time_micros: i64,
    pub decided_time_micros: i64,
    pub model: u64,
    pub catalogue: u64,
    pub generation: i64,
    pub label_offset: i64,
    pub features: &'a [f32],
}

/// The parts of a `DeadLetter`; see `log.proto` for their meaning.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each field is documented in log.proto")]
pub struct DeadLetter<'a> {
    pub reason: DeadLetterReason,
    pub detail: &'a str,
    pub source_topic: &'a str,
    pub source_partition: i32,
    pub source_offset: i64,
    pub source_time_micros: i64,
    pub length: u32,
    pub keyed_hash: u64,
    pub raw: Option<&'a [u8]>,
    pub generation: i64,
}

/// The parts of a `Decision` as the scoring service answers it; see `decision.proto` for their meaning.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each field is documented in decision.proto")]
pub struct Answer<'a> {
    pub transaction_id: &'a str,
    pub event_time_micros: i64,
    pub score: f32,
    pub action: Action,
    pub reasons: &'a [Reason<'a>],
    pub degraded_reasons: &'a [u8],
    pub model: u64,
    pub decided_time_micros: i64,
}

/// Number of an action on the wire.
pub const fn action_code(action: Action) -> i32 {
    action.code() as i32 + 1
}

/// Number of a channel's name on the wire; 0 for an unknown name.
pub fn channel_code(name: &str) -> i32 {
    Channel::parse(name).map_or(0, |channel| channel as i32 + 1)
}

/// Appends a `Transaction`. A channel that is not of the schema is left out.
pub fn transaction(raw: &RawTransaction<'_>, out: &mut Vec<u8>) {
    shared_fields(raw, out);
    if let Some(name) = raw.channel {
        let code = channel_code(name);
        if code != 0 {
            int64(10, i64::from(code), out);
        }
    }
    if let Some(category) = raw.merchant_category {
        int64(11, category, out);
    }
    optional_text(12, raw.country, out);
    for (tag, degrees) in [(13, raw.latitude), (14, raw.longitude)] {
        if let Some(degrees) = degrees {
            out.push(tag << 3 | 1);
            out.extend_from_slice(&degrees.to_le_bytes());
        }
    }
}

/// Appends a `Label`, with the kind of fraud where it is known.
pub fn label(raw: &RawLabel<'_>, out: &mut Vec<u8>) {
    shared_fields(&raw.transaction, out);
    int64(10, if raw.is_fraud { 2 } else { 1 }, out);
    int64_unless_zero(11, raw.known_time_micros.unwrap_or_default(), out);
    optional_text(12, raw.typology, out);
}

/// Appends a `DecisionRecord`.
pub fn decision(parts: &Decision<'_>, out: &mut Vec<u8>) {
    match parts.transaction {
        Source::Encoded(message) => bytes(1, message, out),
        Source::Raw(raw) => nested(1, out, |out| transaction(raw, out)),
    }
    float_unless_zero(2, parts.score, out);
    float_unless_zero(3, parts.anomaly, out);
    int64(4, i64::from(action_code(parts.action)), out);
    reasons(parts.reasons, out);
    int64_unless_zero(6, i64::from(parts.flags), out);
    int64_unless_zero(7, i64::from(parts.source_partition), out);
    int64_unless_zero(8, parts.source_offset, out);
    int64_unless_zero(9, parts.source_time_micros, out);
    int64_unless_zero(10, parts.decided_time_micros, out);
    fixed64_unless_zero(11, parts.model, out);
    fixed64_unless_zero(12, parts.catalogue, out);
    int64_unless_zero(13, parts.generation, out);
    int64_unless_zero(14, parts.label_offset, out);
    if !parts.features.is_empty() {
        out.push(15 << 3 | 2);
        varint(4 * parts.features.len() as u64, out);
        for value in parts.features {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Appends a `Decision` that is no repetition.
pub fn answer(parts: &Answer<'_>, out: &mut Vec<u8>) {
    text_unless_empty(1, parts.transaction_id, out);
    int64_unless_zero(2, parts.event_time_micros, out);
    float_unless_zero(3, parts.score, out);
    int64(4, i64::from(action_code(parts.action)), out);
    reasons(parts.reasons, out);
    if !parts.degraded_reasons.is_empty() {
        int64(6, 1, out);
        bytes(7, parts.degraded_reasons, out);
    }
    fixed64_unless_zero(9, parts.model, out);
    int64_unless_zero(10, parts.decided_time_micros, out);
}

/// Appends to a `Decision` that its id was decided before; the order of fields means nothing.
pub fn repeated_id(out: &mut Vec<u8>) {
    int64(8, 1, out);
}

/// Appends a `Refusal`.
pub fn refusal(field: &str, code: &str, message: &str, out: &mut Vec<u8>) {
    text_unless_empty(1, field, out);
    text_unless_empty(2, code, out);
    text_unless_empty(3, message, out);
}

/// Appends an encoded message as a field of another.
pub fn embed(tag: u8, message: &[u8], out: &mut Vec<u8>) {
    bytes(tag, message, out);
}

fn reasons(all: &[Reason<'_>], out: &mut Vec<u8>) {
    for reason in all {
        nested(5, out, |out| {
            text_unless_empty(1, reason.feature, out);
            if !reason.value.is_nan() {
                float(2, reason.value, out);
            }
            float_unless_zero(3, reason.contribution, out);
        });
    }
}

/// Appends the marker with which a new process takes over `decisions` or `alerts`.
pub fn decision_marker(owner: u64, out: &mut Vec<u8>) {
    // Tag 16 is the first whose key needs two bytes.
    varint(16 << 3 | 1, out);
    out.extend_from_slice(&owner.to_le_bytes());
}

/// Appends a `DeadLetter`.
pub fn dead_letter(parts: &DeadLetter<'_>, out: &mut Vec<u8>) {
    int64_unless_zero(1, i64::from(parts.reason as i32), out);
    text_unless_empty(2, parts.detail, out);
    text_unless_empty(3, parts.source_topic, out);
    int64_unless_zero(4, i64::from(parts.source_partition), out);
    int64_unless_zero(5, parts.source_offset, out);
    int64_unless_zero(6, parts.source_time_micros, out);
    int64_unless_zero(7, i64::from(parts.length), out);
    fixed64_unless_zero(8, parts.keyed_hash, out);
    if let Some(raw) = parts.raw {
        bytes(9, raw, out);
    }
    int64_unless_zero(10, parts.generation, out);
}

/// Appends the marker with which a new process takes over `dead-letter`.
pub fn dead_letter_marker(owner: u64, out: &mut Vec<u8>) {
    fixed64_unless_zero(11, owner, out);
}

/// The fields that transactions and labels number alike.
fn shared_fields(raw: &RawTransaction<'_>, out: &mut Vec<u8>) {
    text_unless_empty(1, raw.transaction_id.unwrap_or_default(), out);
    int64_unless_zero(2, raw.event_time_micros.unwrap_or_default(), out);
    text_unless_empty(3, raw.customer_id.unwrap_or_default(), out);
    optional_text(4, raw.card_id, out);
    optional_text(5, raw.device_id, out);
    optional_text(6, raw.merchant_id, out);
    optional_text(7, raw.ip_address, out);
    if let Some(amount) = raw.amount_minor {
        int64(8, amount, out);
    }
    optional_text(9, raw.currency, out);
}

#[inline]
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Any integer type of protobuf but the zigzag ones: a negative number takes ten bytes.
#[inline]
fn int64(tag: u8, value: i64, out: &mut Vec<u8>) {
    out.push(tag << 3);
    varint(value as u64, out);
}

#[inline]
fn int64_unless_zero(tag: u8, value: i64, out: &mut Vec<u8>) {
    if value != 0 {
        int64(tag, value, out);
    }
}

#[inline]
fn fixed64_unless_zero(tag: u8, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        out.push(tag << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

#[inline]
fn float(tag: u8, value: f32, out: &mut Vec<u8>) {
    out.push(tag << 3 | 5);
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
fn float_unless_zero(tag: u8, value: f32, out: &mut Vec<u8>) {
    if value != 0.0 {
        float(tag, value, out);
    }
}

#[inline]
fn bytes(tag: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(tag << 3 | 2);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

#[inline]
fn text_unless_empty(tag: u8, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        bytes(tag, value.as_bytes(), out);
    }
}

#[inline]
fn optional_text(tag: u8, value: Option<&str>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        bytes(tag, value.as_bytes(), out);
    }
}

/// A message inside a message. Its length is known only afterwards: one byte is left for it, and the body
/// moves up by one where it needs two (or three).
#[inline]
fn nested(tag: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag << 3 | 2);
    let length_at = out.len();
    out.push(0);
    write(out);
    let mut length = out.len() - length_at - 1;
    let mut at = length_at;
    while length >= 0x80 {
        out.insert(at + 1, 0);
        out[at] = length as u8 | 0x80;
        length >>= 7;
        at += 1;
    }
    out[at] = length as u8;
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
