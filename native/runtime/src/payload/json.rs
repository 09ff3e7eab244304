//! Transactions and labels as JSON: one object a record, the columns of `fraudengine.schema` as its keys.
//!
//! * Times are integers (microseconds since 1970-01-01 UTC) or RFC 3339 texts with a zone, under the column's
//!   name (`event_time`) or the proto's (`event_time_micros`). `channel` is a name, amounts are integers.
//! * An absent key and `null` are an absent field. A key that is not ours is stepped over, whatever it holds;
//!   so a row of a history can be sent as a transaction, and its label columns are not looked at.
//! * One of our keys twice is refused: two readers of such a record could see two different amounts.
//! * `NaN`, `1e400`, `12.0` or `"12"` as an amount are refused with field and value; nothing is coerced.
//! * A label needs `is_fraud` (0, 1, true or false) and carries `label_known_time`, and `typology` where it is known.

use fraudengine_core::event::{RawLabel, RawTransaction};

use super::instant::parse_micros;
use super::scan::{Scanner, Span};
use super::{Fault, Malformed, Scratch};

/// The kinds of record, by the keys that they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    Transaction,
    Label,
}

/// The text fields, by their place in [`Fields::texts`].
const TEXTS: [&str; 10] = [
    "transaction_id",
    "customer_id",
    "card_id",
    "device_id",
    "merchant_id",
    "ip_address",
    "currency",
    "channel",
    "country",
    "typology",
];
const TYPOLOGY: u8 = 9;

/// A field of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Text(u8),
    EventTime,
    Amount,
    Category,
    Latitude,
    Longitude,
    IsFraud,
    KnownTime,
}

impl Key {
    #[inline]
    fn of(name: &str, record: Record) -> Option<Self> {
        let label = record == Record::Label;
        Some(match name {
            "transaction_id" => Self::Text(0),
            "customer_id" => Self::Text(1),
            "card_id" => Self::Text(2),
            "device_id" => Self::Text(3),
            "merchant_id" => Self::Text(4),
            "ip_address" => Self::Text(5),
            "currency" => Self::Text(6),
            "channel" if !label => Self::Text(7),
            "country" if !label => Self::Text(8),
            "event_time" | "event_time_micros" => Self::EventTime,
            "amount_minor" => Self::Amount,
            "merchant_category" if !label => Self::Category,
            "latitude" if !label => Self::Latitude,
            "longitude" if !label => Self::Longitude,
            "typology" if label => Self::Text(TYPOLOGY),
            "is_fraud" if label => Self::IsFraud,
            "label_known_time" | "label_known_time_micros" if label => Self::KnownTime,
            _ => return None,
        })
    }

    const fn bit(self) -> u32 {
        match self {
            Self::Text(at) => 1 << at,
            Self::EventTime => 1 << 10,
            Self::Amount => 1 << 11,
            Self::Category => 1 << 12,
            Self::Latitude => 1 << 13,
            Self::Longitude => 1 << 14,
            Self::IsFraud => 1 << 15,
            Self::KnownTime => 1 << 16,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Text(at) => TEXTS[at as usize],
            Self::EventTime => "event_time",
            Self::Amount => "amount_minor",
            Self::Category => "merchant_category",
            Self::Latitude => "latitude",
            Self::Longitude => "longitude",
            Self::IsFraud => "is_fraud",
            Self::KnownTime => "label_known_time",
        }
    }
}

/// What an object says, before its texts are put together with their memory.
#[derive(Debug, Default)]
struct Fields {
    /// Bits of the keys that there were.
    seen: u32,
    texts: [Option<Span>; TEXTS.len()],
    event_time: Option<i64>,
    amount: Option<i64>,
    category: Option<i64>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    is_fraud: Option<bool>,
    known_time: Option<i64>,
}

/// Decodes a bare transaction.
pub fn transaction<'a>(message: &'a [u8], scratch: &'a mut Scratch) -> Result<RawTransaction<'a>, Malformed> {
    let text = utf8(message)?;
    let fields = object(text, scratch, Record::Transaction)?;
    Ok(fields.transaction(text, &scratch.text))
}

/// Decodes a bare label.
pub fn label<'a>(message: &'a [u8], scratch: &'a mut Scratch) -> Result<RawLabel<'a>, Malformed> {
    let text = utf8(message)?;
    let fields = object(text, scratch, Record::Label)?;
    let missing = || Malformed::field(Fault::VerdictMissing, "is_fraud", message.len());
    Ok(RawLabel {
        is_fraud: fields.is_fraud.ok_or_else(missing)?,
        known_time_micros: fields.known_time,
        typology: fields.text(usize::from(TYPOLOGY), text, &scratch.text),
        transaction: fields.transaction(text, &scratch.text),
    })
}

fn utf8(message: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(message).map_err(|error| Malformed::message(Fault::NotUtf8, error.valid_up_to()))
}

fn object(text: &str, scratch: &mut Scratch, record: Record) -> Result<Fields, Malformed> {
    scratch.text.clear();
    let mut scanner = Scanner::new(text);
    let mut fields = Fields::default();
    if !scanner.eat(b'{') {
        let fault = if scanner.skip().is_ok() { Fault::NotAnObject } else { scanner.ended_or(Fault::Syntax) };
        return Err(Malformed::message(fault, scanner.offset()));
    }
    if !scanner.eat(b'}') {
        loop {
            member(&mut scanner, &mut scratch.text, record, &mut fields)?;
            if !scanner.eat(b',') {
                break;
            }
        }
        scanner.expect(b'}').map_err(|fault| Malformed::message(fault, scanner.offset()))?;
    }
    match scanner.peek() {
        None => Ok(fields),
        Some(_) => Err(Malformed::message(Fault::Trailing, scanner.offset())),
    }
}

/// Takes one key and its value.
#[inline]
fn member(
    scanner: &mut Scanner<'_>,
    scratch: &mut String,
    record: Record,
    fields: &mut Fields,
) -> Result<(), Malformed> {
    let start = scanner.offset();
    let kept = scratch.len();
    let name = scanner.text(scratch).and_then(|span| scanner.expect(b':').map(|()| span));
    let name = name.map_err(|fault| Malformed::message(fault, scanner.offset()))?;
    let key = match name {
        Span::Message(from, to) => Key::of(&scanner.from(from)[..to - from], record),
        Span::Scratch(from, to) => Key::of(&scratch[from..to], record),
    };
    scratch.truncate(kept);
    let Some(key) = key else {
        return scanner.skip().map_err(|fault| Malformed::message(fault, scanner.offset()));
    };
    if fields.seen & key.bit() != 0 {
        return Err(Malformed::field(Fault::Duplicate, key.name(), start));
    }
    fields.seen |= key.bit();
    scanner.peek();
    let value = scanner.offset();
    if scanner.null() {
        return Ok(());
    }
    fields.read(scanner, scratch, key).map_err(|fault| explain(scanner, fault, key, value))
}

/// Says what is wrong with a value of ours that starts at `value`: that it is no JSON, or of the wrong type.
#[cold]
fn explain(scanner: &mut Scanner<'_>, fault: Fault, key: Key, value: usize) -> Malformed {
    let noticed = scanner.offset();
    scanner.seek(value);
    let whole = scanner.skip();
    let malformed = match whole {
        _ if fault == Fault::Escape => Malformed::field(fault, key.name(), noticed),
        Err(syntax) => Malformed::field(syntax, key.name(), scanner.offset()),
        Ok(()) => Malformed::field(fault, key.name(), value),
    };
    if matches!(key, Key::Text(_)) {
        return malformed;
    }
    let rest = scanner.from(value);
    let end = match whole {
        Ok(()) => scanner.offset() - value,
        Err(_) => rest.find([',', '}', ' ', '\n']).unwrap_or(rest.len()),
    };
    malformed.showing(&rest[..end])
}

impl Fields {
    #[inline]
    fn read(&mut self, scanner: &mut Scanner<'_>, scratch: &mut String, key: Key) -> Result<(), Fault> {
        match key {
            Key::Text(at) => {
                if scanner.peek() != Some(b'"') {
                    return Err(Fault::NotText);
                }
                self.texts[usize::from(at)] = Some(scanner.text(scratch)?);
            }
            Key::EventTime => self.event_time = Some(time(scanner, scratch)?),
            Key::KnownTime => self.known_time = Some(time(scanner, scratch)?),
            Key::Amount => self.amount = Some(integer(scanner)?),
            Key::Category => self.category = Some(integer(scanner)?),
            Key::Latitude => self.latitude = Some(float(scanner)?),
            Key::Longitude => self.longitude = Some(float(scanner)?),
            Key::IsFraud => self.is_fraud = Some(verdict(scanner)?),
        }
        Ok(())
    }

    #[inline]
    fn text<'a>(&self, at: usize, message: &'a str, scratch: &'a str) -> Option<&'a str> {
        self.texts[at].map(|span| match span {
            Span::Message(from, to) => &message[from..to],
            Span::Scratch(from, to) => &scratch[from..to],
        })
    }

    fn transaction<'a>(&self, message: &'a str, scratch: &'a str) -> RawTransaction<'a> {
        let text = |at: usize| self.text(at, message, scratch);
        RawTransaction {
            transaction_id: text(0),
            event_time_micros: self.event_time,
            customer_id: text(1),
            card_id: text(2),
            device_id: text(3),
            merchant_id: text(4),
            ip_address: text(5),
            amount_minor: self.amount,
            currency: text(6),
            channel: text(7),
            merchant_category: self.category,
            country: text(8),
            latitude: self.latitude,
            longitude: self.longitude,
        }
    }
}

#[inline]
fn integer(scanner: &mut Scanner<'_>) -> Result<i64, Fault> {
    match scanner.number() {
        Ok((spelling, true)) => spelling.parse().map_err(|_| Fault::NotInteger),
        _ => Err(Fault::NotInteger),
    }
}

fn float(scanner: &mut Scanner<'_>) -> Result<f64, Fault> {
    let (spelling, _) = scanner.number().map_err(|_| Fault::NotNumber)?;
    spelling.parse().ok().filter(|value: &f64| value.is_finite()).ok_or(Fault::NotNumber)
}

#[inline]
fn time(scanner: &mut Scanner<'_>, scratch: &mut String) -> Result<i64, Fault> {
    if scanner.peek() != Some(b'"') {
        return integer(scanner).map_err(|_| Fault::NotTime);
    }
    let kept = scratch.len();
    let parsed = match scanner.text(scratch)? {
        Span::Message(from, to) => parse_micros(&scanner.from(from).as_bytes()[..to - from]),
        Span::Scratch(from, to) => parse_micros(&scratch.as_bytes()[from..to]),
    };
    scratch.truncate(kept);
    parsed.ok_or(Fault::NotTime)
}

fn verdict(scanner: &mut Scanner<'_>) -> Result<bool, Fault> {
    match scanner.peek() {
        Some(b't') if scanner.literal("true").is_ok() => Ok(true),
        Some(b'f') if scanner.literal("false").is_ok() => Ok(false),
        _ => match scanner.number() {
            Ok(("0", _)) => Ok(false),
            Ok(("1", _)) => Ok(true),
            _ => Err(Fault::NotVerdict),
        },
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
