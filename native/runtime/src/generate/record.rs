//! One synthetic row as the bytes of a record: a transaction or a label, in protobuf or in JSON.

use std::io::Write;

use fraudengine_core::event::{RawLabel, RawTransaction};
use fraudengine_generator::{CITIES, Channel, Row, Typology, text};

use crate::payload::{Format, encode};

/// The texts of a row, written one behind the other into memory that is used again for the next.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: [usize; 6],
}

impl Texts {
    /// Writes the identifiers of a row; they are valid until the next call.
    pub fn write(&mut self, row: &Row) {
        self.bytes.clear();
        let out = &mut self.bytes;
        text::transaction(row.number, out);
        self.ends[0] = out.len();
        text::customer(row.customer, out);
        self.ends[1] = out.len();
        if row.card != 0 {
            text::card(row.card, out);
        }
        self.ends[2] = out.len();
        if row.device != 0 {
            text::device(row.device, out);
        }
        self.ends[3] = out.len();
        if row.ip != 0 {
            text::ip(row.ip, out);
        }
        self.ends[4] = out.len();
        text::merchant(row.merchant, out);
        self.ends[5] = out.len();
    }

    fn get(&self, at: usize) -> Option<&str> {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        // The identifiers are ASCII.
        str::from_utf8(&self.bytes[start..self.ends[at]]).ok().filter(|text| !text.is_empty())
    }

    /// The customer of the last row, the key of its record.
    pub fn customer(&self) -> &str {
        self.get(1).unwrap_or_default()
    }

    /// The transaction of a row whose identifiers were written last.
    pub fn transaction(&self, row: &Row) -> RawTransaction<'_> {
        let place = !row.latitude.is_nan();
        RawTransaction {
            transaction_id: self.get(0),
            event_time_micros: Some(row.time),
            customer_id: self.get(1),
            card_id: self.get(2),
            device_id: self.get(3),
            merchant_id: self.get(5),
            ip_address: self.get(4),
            amount_minor: Some(row.amount),
            currency: Some("EUR"),
            channel: Some(Channel::NAMES[row.channel as usize]),
            merchant_category: Some(i64::from(row.category)),
            country: Some(CITIES[usize::from(row.city)].country),
            latitude: place.then_some(f64::from(row.latitude)),
            longitude: place.then_some(f64::from(row.longitude)),
        }
    }

    /// The label of a row whose identifiers were written last.
    pub fn label(&self, row: &Row) -> RawLabel<'_> {
        RawLabel {
            transaction: self.transaction(row),
            known_time_micros: Some(row.known),
            is_fraud: row.label,
            typology: (row.typology != Typology::Genuine).then(|| Typology::NAMES[row.typology as usize]),
        }
    }
}

/// Appends a transaction to `out`; its texts hold no control characters.
pub fn transaction(format: Format, raw: &RawTransaction<'_>, out: &mut Vec<u8>) {
    match format {
        Format::Protobuf => encode::transaction(raw, out),
        Format::Json => {
            out.push(b'{');
            json_keys(raw, out);
            json_text("channel", raw.channel, out);
            json_number("merchant_category", raw.merchant_category, out);
            json_text("country", raw.country, out);
            json_number("latitude", raw.latitude, out);
            json_number("longitude", raw.longitude, out);
            close(out);
        }
    }
}

/// Appends the label of a row to `out`.
pub fn label(format: Format, raw: &RawLabel<'_>, out: &mut Vec<u8>) {
    match format {
        Format::Protobuf => encode::label(raw, out),
        Format::Json => {
            out.push(b'{');
            json_keys(&raw.transaction, out);
            json_number("is_fraud", Some(u8::from(raw.is_fraud)), out);
            json_number("label_known_time", raw.known_time_micros, out);
            json_text("typology", raw.typology, out);
            close(out);
        }
    }
}

/// The keys that transactions and labels share.
fn json_keys(raw: &RawTransaction<'_>, out: &mut Vec<u8>) {
    json_text("transaction_id", raw.transaction_id, out);
    json_number("event_time", raw.event_time_micros, out);
    json_text("customer_id", raw.customer_id, out);
    json_text("card_id", raw.card_id, out);
    json_text("device_id", raw.device_id, out);
    json_text("merchant_id", raw.merchant_id, out);
    json_text("ip_address", raw.ip_address, out);
    json_number("amount_minor", raw.amount_minor, out);
    json_text("currency", raw.currency, out);
}

fn json_text(name: &str, value: Option<&str>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        for part in ["\"", name, "\":\""] {
            out.extend_from_slice(part.as_bytes());
        }
        for &byte in value.as_bytes() {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.extend_from_slice(b"\",");
    }
}

fn json_number<T: std::fmt::Display>(name: &str, value: Option<T>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        // A vector accepts every write.
        let _ = write!(out, "\"{name}\":{value},");
    }
}

/// Closes an object; its last member left a comma.
fn close(out: &mut Vec<u8>) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use fraudengine_generator::{Config, World};

    use super::*;
    use crate::payload::{Scratch, decode_label, decode_transaction};

    #[test]
    fn both_formats_decode_to_the_row_that_was_encoded() {
        let world =
            World::new(Config { customers: 200, days: 2, fraud_rate: 0.05, ..Config::default() }).unwrap();
        let (mut texts, mut scratch) = (Texts::default(), Scratch::default());
        for row in world.day(1) {
            texts.write(&row);
            for format in [Format::Protobuf, Format::Json] {
                let (raw, known) = (texts.transaction(&row), texts.label(&row));
                let mut bytes = Vec::new();
                transaction(format, &raw, &mut bytes);
                let read = decode_transaction(format, &bytes, &mut scratch).unwrap();
                assert_eq!(format!("{read:?}"), format!("{raw:?}"));
                bytes.clear();
                label(format, &known, &mut bytes);
                let read = decode_label(format, &bytes, &mut scratch).unwrap();
                assert_eq!(read.transaction.merchant_id, raw.merchant_id);
                assert_eq!(read.transaction.amount_minor, Some(row.amount));
                assert_eq!((read.known_time_micros, read.is_fraud), (Some(row.known), row.label));
                assert_eq!(read.typology, known.typology);
                assert_eq!(read.typology.is_some(), row.typology != Typology::Genuine);
            }
        }
    }
}
