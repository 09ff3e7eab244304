//! Validation: outside values in, a compact [`Transaction`] or [`Label`] out, or the first violation.

use super::shown::clip;
use super::{Channel, CurrencyTable, ENTITY_KINDS, Field, Label, Place, Transaction, Violation};
use crate::limits::{AMOUNT_MINOR_MAX, EVENT_TIME_MAX, EVENT_TIME_MIN, ID_BYTES_MAX, MERCHANT_CATEGORY_MAX};
use crate::units::{AmountMinor, EntityKey, EventTimeMicros};

/// A transaction as it came from outside; `None` is an absent value.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "each field is the schema's field of the same name")]
pub struct RawTransaction<'a> {
    pub transaction_id: Option<&'a str>,
    pub event_time_micros: Option<i64>,
    pub customer_id: Option<&'a str>,
    pub card_id: Option<&'a str>,
    pub device_id: Option<&'a str>,
    pub merchant_id: Option<&'a str>,
    pub ip_address: Option<&'a str>,
    pub amount_minor: Option<i64>,
    pub currency: Option<&'a str>,
    pub channel: Option<&'a str>,
    pub merchant_category: Option<i64>,
    pub country: Option<&'a str>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
}

/// A label as it came from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawLabel<'a> {
    /// The transaction the verdict is about, with its keys, amount and event time.
    pub transaction: RawTransaction<'a>,
    /// When the verdict arrived, in microseconds since 1970.
    pub known_time_micros: Option<i64>,
    /// The verdict.
    pub is_fraud: bool,
    /// Kind of fraud; it is checked and reported on, never learnt from.
    pub typology: Option<&'a str>,
}

/// Checks every field of a transaction against the limits of the schema.
pub fn check(raw: &RawTransaction<'_>, currencies: &CurrencyTable) -> Result<Transaction, Violation> {
    let id = required_key(raw.transaction_id, Field::TransactionId)?;
    let time = check_time(raw.event_time_micros, Field::EventTime)?;
    let amount = check_amount(raw.amount_minor, raw.currency, currencies)?;
    let entities = check_entities(raw)?;
    let channel = match raw.channel {
        None => None,
        Some(name) => Some(Channel::parse(name).ok_or_else(|| Violation::ChannelUnknown(clip(name)))?),
    };
    let category = match raw.merchant_category {
        None => None,
        Some(code) if (0..=MERCHANT_CATEGORY_MAX).contains(&code) => Some(code as u16),
        Some(code) => return Err(Violation::CategoryOutOfRange(code)),
    };
    let country = match raw.country {
        None => None,
        Some(text) => Some(pack_country(text).ok_or_else(|| Violation::CountryMalformed(clip(text)))?),
    };
    let place = check_place(raw.latitude, raw.longitude)?;
    Ok(Transaction { id, time, amount, entities, place, channel, category, country })
}

/// Checks a label: the same limits, and a verdict that is not known before its transaction.
pub fn check_label(raw: &RawLabel<'_>, currencies: &CurrencyTable) -> Result<Label, Violation> {
    let transaction = &raw.transaction;
    let id = required_key(transaction.transaction_id, Field::TransactionId)?;
    let event_time = check_time(transaction.event_time_micros, Field::EventTime)?;
    let known_time = check_time(raw.known_time_micros, Field::KnownTime)?;
    if known_time < event_time {
        return Err(Violation::KnownBeforeEvent { known_micros: known_time.0, event_micros: event_time.0 });
    }
    let amount = check_amount(transaction.amount_minor, transaction.currency, currencies)?;
    let entities = check_entities(transaction)?;
    check_text(raw.typology, Field::Typology)?;
    Ok(Label { id, event_time, known_time, is_fraud: raw.is_fraud, amount, entities })
}

fn check_entities(raw: &RawTransaction<'_>) -> Result<[Option<EntityKey>; ENTITY_KINDS], Violation> {
    Ok([
        Some(required_key(raw.customer_id, Field::CustomerId)?),
        optional_key(raw.card_id, Field::CardId)?,
        optional_key(raw.device_id, Field::DeviceId)?,
        optional_key(raw.merchant_id, Field::MerchantId)?,
        optional_key(raw.ip_address, Field::IpAddress)?,
    ])
}

fn required_key(value: Option<&str>, field: Field) -> Result<EntityKey, Violation> {
    optional_key(value, field)?.ok_or(Violation::Missing(field))
}

fn optional_key(value: Option<&str>, field: Field) -> Result<Option<EntityKey>, Violation> {
    Ok(check_text(value, field)?.map(EntityKey::of))
}

#[inline]
fn check_text(value: Option<&str>, field: Field) -> Result<Option<&[u8]>, Violation> {
    let Some(text) = value else { return Ok(None) };
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err(Violation::Empty(field));
    }
    if bytes.len() > ID_BYTES_MAX {
        return Err(Violation::TooLong { field, bytes: bytes.len(), max: ID_BYTES_MAX });
    }
    if has_control(bytes) {
        return Err(Violation::ControlCharacter(field));
    }
    if matches!(field, Field::CardId | Field::Typology) && is_card_number(bytes) {
        return Err(Violation::CardNumber(field));
    }
    Ok(Some(bytes))
}

/// Whether some byte is an ASCII control character, eight bytes at a time: every id of every row comes here.
fn has_control(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = 0x80 * ONES;
    // Subtracting borrows into the high bit of a byte that is smaller; a byte that had it set is none.
    let below = |word: u64, bound: u64| word.wrapping_sub(bound * ONES) & !word & HIGH;
    let any = |word: u64| (below(word, 0x20) | below(word ^ (0x7F * ONES), 1)) != 0;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).any(|word| any(u64::from_ne_bytes(*word)))
}

/// Whether the value is 13 to 19 digits (spaces and hyphens aside) that start like a card and pass Luhn.
pub fn is_card_number(bytes: &[u8]) -> bool {
    if bytes.len() < 13 || !(b'2'..=b'6').contains(&bytes[0]) {
        return false;
    }
    let mut digits = 0_usize;
    let mut sum = 0_u32;
    for &byte in bytes.iter().rev() {
        match byte {
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                let doubled = if digits % 2 == 1 { digit * 2 } else { digit };
                sum += if doubled > 9 { doubled - 9 } else { doubled };
                digits += 1;
            }
            b' ' | b'-' => {}
            _ => return false,
        }
    }
    (13..=19).contains(&digits) && sum.is_multiple_of(10)
}

fn check_time(value: Option<i64>, field: Field) -> Result<EventTimeMicros, Violation> {
    let micros = value.ok_or(Violation::Missing(field))?;
    let time = EventTimeMicros(micros);
    if (EVENT_TIME_MIN..EVENT_TIME_MAX).contains(&time) {
        Ok(time)
    } else {
        Err(Violation::TimeOutOfRange { field, micros })
    }
}

fn check_amount(
    value: Option<i64>,
    currency: Option<&str>,
    currencies: &CurrencyTable,
) -> Result<AmountMinor, Violation> {
    let amount = value.ok_or(Violation::Missing(Field::Amount))?;
    if amount < 0 {
        return Err(Violation::AmountNegative(amount));
    }
    let too_large = |amount| Violation::AmountTooLarge { amount, max: AMOUNT_MINOR_MAX };
    if amount > AMOUNT_MINOR_MAX {
        return Err(too_large(amount));
    }
    let converted = currencies.convert(amount, currency)?;
    if converted > AMOUNT_MINOR_MAX {
        return Err(too_large(converted));
    }
    Ok(AmountMinor(converted))
}

fn pack_country(text: &str) -> Option<u16> {
    let [first, second]: [u8; 2] = text.as_bytes().try_into().ok()?;
    (first.is_ascii_uppercase() && second.is_ascii_uppercase())
        .then(|| u16::from(first - b'A') * 26 + u16::from(second - b'A') + 1)
}

fn check_place(latitude: Option<f64>, longitude: Option<f64>) -> Result<Option<Place>, Violation> {
    let within = |value: f64, field, max: f64| {
        if (-max..=max).contains(&value) {
            Ok(value as f32)
        } else {
            Err(Violation::CoordinateOutOfRange { field, value, max })
        }
    };
    match (latitude, longitude) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(Violation::CoordinateMissing { missing: Field::Longitude }),
        (None, Some(_)) => Err(Violation::CoordinateMissing { missing: Field::Latitude }),
        (Some(latitude), Some(longitude)) => Ok(Some(Place {
            latitude: within(latitude, Field::Latitude, 90.0)?,
            longitude: within(longitude, Field::Longitude, 180.0)?,
        })),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
