//! From a decision to its row in `transactions`, and in `alerts` where it was not approved.
//!
//! The order of the columns here is the order of `COLUMNS`; the types are those of `migrations/`.

use fraudengine_core::event::{RawLabel, RawTransaction};

use super::copy::CopyBuffer;
use crate::payload::encode::channel_code;
use crate::payload::record::{DecisionView, ReasonView};

/// Columns of `transactions`, in the order of [`transaction`]. Fixed widths first: no padding, cheap access.
pub(super) const TRANSACTION_COLUMNS: &str = "event_time, decided_time, amount_minor, source_offset, \
     decision_offset, model, catalogue, latitude, longitude, score, anomaly, source_partition, latency_micros, \
     action, flags, channel, merchant_category, transaction_id, customer_id, card_id, device_id, merchant_id, \
     ip_address, currency, country, reasons, features";
const TRANSACTION_FIELDS: u16 = 27;

/// Columns of `alerts`, in the order of [`alert`].
pub(super) const ALERT_COLUMNS: &str = "event_time, decided_time, amount_minor, decision_offset, score, anomaly, \
     action, flags, channel, merchant_category, transaction_id, customer_id, card_id, device_id, merchant_id, \
     ip_address, currency, country, reasons";
const ALERT_FIELDS: u16 = 19;

/// Columns of `labels`, in the order of [`label`].
pub(super) const LABEL_COLUMNS: &str = "transaction_id, event_time, customer_id, amount_minor, currency, is_fraud, known_time, label_offset, \
     typology";
const LABEL_FIELDS: u16 = 9;

/// Appends the row of a decision.
pub(super) fn transaction(
    view: &DecisionView<'_>,
    raw: &RawTransaction<'_>,
    offset: i64,
    json: &mut Vec<u8>,
    copy: &mut CopyBuffer,
) {
    copy.row(TRANSACTION_FIELDS);
    copy.time(raw.event_time_micros.unwrap_or_default());
    copy.time(view.decided_time_micros);
    copy.int8(raw.amount_minor.unwrap_or_default());
    copy.int8(view.source_offset);
    copy.int8(offset);
    hash(view.model, copy);
    hash(view.catalogue, copy);
    copy.double(raw.latitude);
    copy.double(raw.longitude);
    copy.real(view.score);
    copy.real(view.anomaly);
    copy.int4(view.source_partition);
    copy.int4(latency_micros(view) as i32);
    shared_numbers(view, raw, copy);
    shared_texts(raw, copy);
    reasons(view.reasons(), json, copy);
    copy.reals(view.feature_values());
}

/// Appends the row of a decision that was not "approve".
pub(super) fn alert(
    view: &DecisionView<'_>,
    raw: &RawTransaction<'_>,
    offset: i64,
    json: &mut Vec<u8>,
    copy: &mut CopyBuffer,
) {
    copy.row(ALERT_FIELDS);
    copy.time(raw.event_time_micros.unwrap_or_default());
    copy.time(view.decided_time_micros);
    copy.int8(raw.amount_minor.unwrap_or_default());
    copy.int8(offset);
    copy.real(view.score);
    copy.real(view.anomaly);
    shared_numbers(view, raw, copy);
    shared_texts(raw, copy);
    reasons(view.reasons(), json, copy);
}

/// Appends the row of a label.
pub(super) fn label(label: &RawLabel<'_>, offset: i64, copy: &mut CopyBuffer) {
    let raw = &label.transaction;
    copy.row(LABEL_FIELDS);
    copy.text(raw.transaction_id);
    copy.time(raw.event_time_micros.unwrap_or_default());
    copy.text(raw.customer_id);
    copy.int8(raw.amount_minor.unwrap_or_default());
    copy.text(raw.currency);
    copy.boolean(label.is_fraud);
    copy.time(label.known_time_micros.unwrap_or_default());
    copy.int8(offset);
    copy.text(label.typology);
}

/// From the arrival of the transaction to its decision; 0 to about 35 minutes, clocks may disagree.
pub(super) fn latency_micros(view: &DecisionView<'_>) -> i64 {
    (view.decided_time_micros - view.source_time_micros).clamp(0, i64::from(i32::MAX))
}

#[inline]
fn shared_numbers(view: &DecisionView<'_>, raw: &RawTransaction<'_>, copy: &mut CopyBuffer) {
    copy.int2(view.action as i16);
    copy.int2(view.flags as i16);
    match raw.channel {
        Some(name) => copy.int2(channel_code(name) as i16),
        None => copy.null(),
    }
    match raw.merchant_category {
        Some(code) => copy.int2(code as i16),
        None => copy.null(),
    }
}

#[inline]
fn shared_texts(raw: &RawTransaction<'_>, copy: &mut CopyBuffer) {
    let texts = [
        raw.transaction_id,
        raw.customer_id,
        raw.card_id,
        raw.device_id,
        raw.merchant_id,
        raw.ip_address,
        raw.currency,
        raw.country,
    ];
    for text in texts {
        copy.text(text);
    }
}

/// The first eight bytes of a hash; none is NULL.
#[inline]
fn hash(prefix: u64, copy: &mut CopyBuffer) {
    if prefix == 0 { copy.null() } else { copy.int8(prefix as i64) }
}

fn reasons(reasons: &[ReasonView<'_>], json: &mut Vec<u8>, copy: &mut CopyBuffer) {
    if reasons.is_empty() {
        return copy.null();
    }
    json.clear();
    reasons_json(reasons, json);
    copy.jsonb(json);
}

/// Appends reasons as a JSON array of objects; a value that is missing or not finite is `null`.
pub(super) fn reasons_json(reasons: &[ReasonView<'_>], json: &mut Vec<u8>) {
    json.push(b'[');
    for (at, reason) in reasons.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        json.extend_from_slice(b"{\"feature\":");
        json_text(reason.feature, json);
        json.extend_from_slice(b",\"value\":");
        json_number(reason.value.unwrap_or(f32::NAN), json);
        json.extend_from_slice(b",\"contribution\":");
        json_number(reason.contribution, json);
        json.push(b'}');
    }
    json.push(b']');
}

/// Appends a JSON text; NUL, which `jsonb` refuses, becomes U+FFFD.
pub(super) fn json_text(text: &str, json: &mut Vec<u8>) {
    json.push(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend_from_slice(&[b'\\', character as u8]),
            '\0' => json.extend_from_slice("\u{fffd}".as_bytes()),
            '\u{1}'..='\u{1f}' => {
                json.extend_from_slice(format!("\\u{:04x}", character as u32).as_bytes());
            }
            _ => json.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    json.push(b'"');
}

/// Appends a JSON number, `null` where there is none.
pub(super) fn json_number(value: f32, json: &mut Vec<u8>) {
    if value.is_finite() {
        json.extend_from_slice(value.to_string().as_bytes());
    } else {
        json.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_have_as_many_columns_as_the_rows_have_fields() {
        for (columns, fields) in [
            (TRANSACTION_COLUMNS, TRANSACTION_FIELDS),
            (ALERT_COLUMNS, ALERT_FIELDS),
            (LABEL_COLUMNS, LABEL_FIELDS),
        ] {
            assert_eq!(columns.split(',').count(), usize::from(fields), "{columns}");
        }
    }

    #[test]
    fn reasons_are_valid_json_whatever_they_say() {
        let reasons = [
            ReasonView { feature: "a\"\\\n\0b", value: Some(f32::INFINITY), contribution: 1.5 },
            ReasonView { feature: "c", value: Some(-0.25), contribution: 1e-30 },
        ];
        let mut json = Vec::new();
        reasons_json(&reasons, &mut json);
        let parsed: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(parsed[0]["feature"], "a\"\\\n\u{fffd}b");
        assert!(parsed[0]["value"].is_null());
        assert_eq!(parsed[1]["value"], -0.25);
    }
}
