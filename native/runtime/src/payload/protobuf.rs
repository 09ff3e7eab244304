//! A borrowed decoder of `fraudengine.v1.Transaction` and `fraudengine.v1.Label`.
//!
//! Accepts and refuses exactly what protobuf does (prost is the oracle of the property tests): unknown fields are
//! skipped, of a repeated field the last value counts, and a wrong type, a cut-off value, an overlong varint or a
//! text that is not UTF-8 is refused even where a later value would replace it. On top of that a channel number
//! outside the schema and a label without a verdict are refused, because both would be silently lost.
//! A field without explicit presence that holds its default (an empty id, time 0) reads as absent.

use fraudengine_core::event::{Channel, RawLabel, RawTransaction};

use super::{Fault, Malformed};
use crate::limits::GROUP_DEPTH_MAX;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const GROUP_START: u32 = 3;
const GROUP_END: u32 = 4;
const FIXED32: u32 = 5;

/// Names of the fields of a transaction, from tag 1.
const TRANSACTION_FIELDS: [&str; 14] = [
    "transaction_id",
    "event_time",
    "customer_id",
    "card_id",
    "device_id",
    "merchant_id",
    "ip_address",
    "amount_minor",
    "currency",
    "channel",
    "merchant_category",
    "country",
    "latitude",
    "longitude",
];
/// Names of the fields of a label, from tag 1.
const LABEL_FIELDS: [&str; 12] = [
    "transaction_id",
    "event_time",
    "customer_id",
    "card_id",
    "device_id",
    "merchant_id",
    "ip_address",
    "amount_minor",
    "currency",
    "is_fraud",
    "label_known_time",
    "typology",
];

const fn key(tag: u32, wire_type: u32) -> u32 {
    tag << 3 | wire_type
}

/// The keys, `tag << 3 | wire type`, of the fields that transactions and labels share.
mod shared {
    use super::{BYTES, VARINT, key};

    pub const TRANSACTION_ID: u32 = key(1, BYTES);
    pub const EVENT_TIME: u32 = key(2, VARINT);
    pub const CUSTOMER_ID: u32 = key(3, BYTES);
    pub const CARD_ID: u32 = key(4, BYTES);
    pub const DEVICE_ID: u32 = key(5, BYTES);
    pub const MERCHANT_ID: u32 = key(6, BYTES);
    pub const IP_ADDRESS: u32 = key(7, BYTES);
    pub const AMOUNT_MINOR: u32 = key(8, VARINT);
    pub const CURRENCY: u32 = key(9, BYTES);
}

const CHANNEL: u32 = key(10, VARINT);
const MERCHANT_CATEGORY: u32 = key(11, VARINT);
const COUNTRY: u32 = key(12, BYTES);
const LATITUDE: u32 = key(13, FIXED64);
const LONGITUDE: u32 = key(14, FIXED64);

const VERDICT: u32 = key(10, VARINT);
const KNOWN_TIME: u32 = key(11, VARINT);
const TYPOLOGY: u32 = key(12, BYTES);

/// Decodes a bare `Transaction`.
pub fn transaction(message: &[u8]) -> Result<RawTransaction<'_>, Malformed> {
    let mut cursor = Cursor::new(message);
    let mut raw = RawTransaction::default();
    let mut channel = 0_i32;
    while let Some(found) = cursor.key().map_err(|fault| cursor.fault(fault, &[], 0))? {
        let read = match found {
            CHANNEL => cursor.varint().map(|value| channel = value as i32),
            MERCHANT_CATEGORY => {
                cursor.varint().map(|value| raw.merchant_category = Some(i64::from(value as i32)))
            }
            COUNTRY => cursor.text().map(|text| raw.country = Some(text)),
            LATITUDE => cursor.double().map(|value| raw.latitude = Some(value)),
            LONGITUDE => cursor.double().map(|value| raw.longitude = Some(value)),
            _ => cursor.shared_field(found, &mut raw, TRANSACTION_FIELDS.len() as u32),
        };
        read.map_err(|fault| cursor.fault(fault, &TRANSACTION_FIELDS, found >> 3))?;
    }
    raw.channel = match channel {
        0 => None,
        code => Some(channel_name(code).ok_or_else(|| {
            Malformed::field(Fault::ChannelUnknown, "channel", message.len()).showing(&code.to_string())
        })?),
    };
    Ok(present(raw))
}

/// The embedded messages of field 1, undecoded and in their order; other fields are skipped.
pub fn embedded(message: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut found = Vec::new();
    each_embedded(message, |bytes| {
        found.push(bytes);
        true
    })?;
    Ok(found)
}

/// How many embedded messages of field 1 there are; counting ends behind `most`.
pub fn count_embedded(message: &[u8], most: usize) -> Result<usize, Malformed> {
    let mut count = 0;
    each_embedded(message, |_| {
        count += 1;
        count <= most
    })?;
    Ok(count)
}

/// Hands over one embedded message after the other until `take` says that it is enough.
fn each_embedded<'m>(message: &'m [u8], mut take: impl FnMut(&'m [u8]) -> bool) -> Result<(), Malformed> {
    const FIRST: u32 = key(1, BYTES);
    let mut cursor = Cursor::new(message);
    while let Some(next) = cursor.key().map_err(|fault| cursor.fault(fault, &[], 0))? {
        let read = match next {
            FIRST => cursor.varint().and_then(|length| cursor.take(length)).map(&mut take),
            _ if next >> 3 == 1 => Err(Fault::WireType),
            _ => cursor.skip(next, GROUP_DEPTH_MAX).map(|()| true),
        };
        if !read.map_err(|fault| cursor.fault(fault, &[], 0))? {
            break;
        }
    }
    Ok(())
}

/// Decodes a bare `Label`.
pub fn label(message: &[u8]) -> Result<RawLabel<'_>, Malformed> {
    let mut cursor = Cursor::new(message);
    let mut raw = RawTransaction::default();
    let mut verdict = 0_i32;
    let mut known = 0_i64;
    let mut typology = None;
    while let Some(found) = cursor.key().map_err(|fault| cursor.fault(fault, &[], 0))? {
        let read = match found {
            VERDICT => cursor.varint().map(|value| verdict = value as i32),
            KNOWN_TIME => cursor.varint().map(|value| known = value as i64),
            TYPOLOGY => cursor.text().map(|text| typology = Some(text)),
            _ => cursor.shared_field(found, &mut raw, LABEL_FIELDS.len() as u32),
        };
        read.map_err(|fault| cursor.fault(fault, &LABEL_FIELDS, found >> 3))?;
    }
    let refused = |fault| Malformed::field(fault, "is_fraud", message.len());
    let is_fraud = match verdict {
        0 => return Err(refused(Fault::VerdictMissing)),
        1 => false,
        2 => true,
        other => return Err(refused(Fault::NotVerdict).showing(&other.to_string())),
    };
    let known_time_micros = (known != 0).then_some(known);
    Ok(RawLabel { transaction: present(raw), known_time_micros, is_fraud, typology })
}

/// Defaults of fields without explicit presence read as absent.
fn present(raw: RawTransaction<'_>) -> RawTransaction<'_> {
    RawTransaction {
        transaction_id: raw.transaction_id.filter(|text| !text.is_empty()),
        customer_id: raw.customer_id.filter(|text| !text.is_empty()),
        event_time_micros: raw.event_time_micros.filter(|&micros| micros != 0),
        ..raw
    }
}

/// The name of a channel's number on the wire.
fn channel_name(code: i32) -> Option<&'static str> {
    usize::try_from(code).ok()?.checked_sub(1).and_then(|at| Channel::NAMES.get(at)).copied()
}

/// A place in a message. Every method leaves it where the fault is, or behind what was read.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn offset(&self) -> usize {
        self.at
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    #[cold]
    fn fault(&self, fault: Fault, names: &[&'static str], tag: u32) -> Malformed {
        let name = (tag as usize).checked_sub(1).and_then(|at| names.get(at));
        Malformed { fault, field: name.copied(), offset: self.at, shown: None }
    }

    /// The fields that transactions and labels number alike, and those that neither knows.
    #[inline]
    fn shared_field(&mut self, found: u32, raw: &mut RawTransaction<'a>, known: u32) -> Result<(), Fault> {
        match found {
            shared::TRANSACTION_ID => raw.transaction_id = Some(self.text()?),
            shared::EVENT_TIME => raw.event_time_micros = Some(self.varint()? as i64),
            shared::CUSTOMER_ID => raw.customer_id = Some(self.text()?),
            shared::CARD_ID => raw.card_id = Some(self.text()?),
            shared::DEVICE_ID => raw.device_id = Some(self.text()?),
            shared::MERCHANT_ID => raw.merchant_id = Some(self.text()?),
            shared::IP_ADDRESS => raw.ip_address = Some(self.text()?),
            shared::AMOUNT_MINOR => raw.amount_minor = Some(self.varint()? as i64),
            shared::CURRENCY => raw.currency = Some(self.text()?),
            _ if found >> 3 <= known => return Err(Fault::WireType),
            _ => self.skip(found, GROUP_DEPTH_MAX)?,
        }
        Ok(())
    }

    /// The next field's key, `tag << 3 | wire type`; `None` at the end of the message.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Option<u32>, Fault> {
        let key = match self.bytes.get(self.at) {
            None => return Ok(None),
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                u32::from(byte)
            }
            Some(_) => u32::try_from(self.varint()?).map_err(|_| Fault::Key)?,
        };
        if key >> 3 == 0 || key & 7 > FIXED32 { Err(Fault::Key) } else { Ok(Some(key)) }
    }

    /// A varint of up to 64 bits; longer ones than needed are accepted up to ten bytes, as protobuf does.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for (index, &byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index == 9 && byte > 1 {
                    return Err(Fault::VarintTooLong);
                }
                self.at += index + 1;
                return Ok(value);
            }
        }
        let left = self.bytes.len() - self.at;
        Err(if left < 10 { Fault::Truncated } else { Fault::VarintTooLong })
    }

    #[inline]
    pub(super) fn take(&mut self, length: u64) -> Result<&'a [u8], Fault> {
        let rest = self.rest();
        if length > rest.len() as u64 {
            return Err(Fault::Truncated);
        }
        self.at += length as usize;
        Ok(&rest[..length as usize])
    }

    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a str, Fault> {
        let length = self.varint()?;
        let start = self.at;
        let bytes = self.take(length)?;
        str::from_utf8(bytes).map_err(|error| {
            self.at = start + error.valid_up_to();
            Fault::NotUtf8
        })
    }

    #[inline]
    fn double(&mut self) -> Result<f64, Fault> {
        let bytes = self.take(8)?;
        bytes.try_into().map(f64::from_le_bytes).map_err(|_| Fault::Truncated)
    }

    pub(super) fn skip(&mut self, found: u32, depth: u32) -> Result<(), Fault> {
        if depth == 0 {
            return Err(Fault::TooDeep);
        }
        match found & 7 {
            VARINT => self.varint().map(|_| ()),
            FIXED64 => self.take(8).map(|_| ()),
            FIXED32 => self.take(4).map(|_| ()),
            BYTES => {
                let length = self.varint()?;
                self.take(length).map(|_| ())
            }
            GROUP_START => loop {
                let inner = self.key()?.ok_or(Fault::Truncated)?;
                if inner & 7 == GROUP_END {
                    return if inner >> 3 == found >> 3 { Ok(()) } else { Err(Fault::GroupEnd) };
                }
                self.skip(inner, depth - 1)?;
            },
            _ => Err(Fault::GroupEnd),
        }
    }
}

#[cfg(test)]
#[path = "protobuf_tests.rs"]
mod tests;
