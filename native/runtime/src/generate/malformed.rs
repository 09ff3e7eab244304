//! Broken records, made from good ones: a test tool for whatever reads the topic.
//!
//! Each record that comes out has been tried against the decoder and the engine's checks and was refused by them,
//! so a reader that works puts every one of them, and no other record, among the dead letters.

use fraudengine_core::event::{CurrencyCode, CurrencyTable, RawTransaction, check};

use super::record;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::payload::{Format, Scratch, decode_transaction};
use crate::wire::DeadLetterReason;

/// The ways in which a record is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Some bits of a good record are flipped.
    Flipped,
    /// The end is missing.
    Cut,
    /// Bytes are inserted somewhere.
    Inserted,
    /// A value that nests very deep.
    Nested,
    /// A text that is not UTF-8.
    NotUtf8,
    /// An amount beyond all limits: `1e400` in JSON, 2^63 - 1 in protobuf.
    HugeNumber,
    /// A coordinate that is not a number.
    NotANumber,
    /// A text larger than any record may be.
    HugeText,
    /// An identifier longer than allowed.
    LongText,
    /// The framing of a version that does not exist.
    FramingVersion,
    /// Framing with no message behind it.
    FramingOnly,
    /// A card number in place of a token.
    CardNumber,
    /// A field of the wrong type.
    WrongType,
    /// A required field is missing.
    Missing,
    /// A record of the other format.
    OtherFormat,
    /// Random bytes.
    Noise,
    /// No bytes at all.
    Empty,
}

impl Defect {
    /// All of them, in the order in which they take turns.
    pub const ALL: [Self; 17] = [
        Self::Flipped,
        Self::Cut,
        Self::Inserted,
        Self::Nested,
        Self::NotUtf8,
        Self::HugeNumber,
        Self::NotANumber,
        Self::HugeText,
        Self::LongText,
        Self::FramingVersion,
        Self::FramingOnly,
        Self::CardNumber,
        Self::WrongType,
        Self::Missing,
        Self::OtherFormat,
        Self::Noise,
        Self::Empty,
    ];
    /// One record in this many is larger than any may be, because such a record costs the broker a thousand others.
    const HUGE_EVERY: u64 = 64;
}

/// Spoils records; equal seeds spoil alike.
#[derive(Clone, Debug)]
pub struct Spoiler {
    format: Format,
    turn: u64,
    state: u64,
    good: Vec<u8>,
    scratch: Scratch,
    currencies: CurrencyTable,
}

impl Spoiler {
    /// A spoiler of records of one format.
    ///
    /// # Panics
    ///
    /// Never: the reference currency is a valid code.
    pub fn new(seed: u64, format: Format) -> Self {
        let reference = CurrencyCode::parse("EUR").expect("EUR is three capital letters");
        Self {
            format,
            turn: 0,
            state: seed ^ 0x6d61_6c66_6f72_6d65,
            good: Vec::new(),
            scratch: Scratch::default(),
            currencies: CurrencyTable::new(reference, Vec::new()),
        }
    }

    /// Why the engine would refuse this value; none: it would not.
    pub fn refusal(&mut self, value: &[u8]) -> Option<DeadLetterReason> {
        match decode_transaction(self.format, value, &mut self.scratch) {
            Err(malformed) => Some(malformed.reason()),
            Ok(raw) => check(&raw, &self.currencies).is_err().then_some(DeadLetterReason::Invalid),
        }
    }

    /// Appends a broken version of a good record, with the next defect in turn, and returns that defect.
    pub fn append(&mut self, raw: &RawTransaction<'_>, out: &mut Vec<u8>) -> Defect {
        let start = out.len();
        loop {
            let defect = Defect::ALL[(self.turn % Defect::ALL.len() as u64) as usize];
            let round = self.turn / Defect::ALL.len() as u64;
            self.turn += 1;
            if defect == Defect::HugeText && !round.is_multiple_of(Defect::HUGE_EVERY) {
                continue;
            }
            // A flipped bit may leave a good record: try again a few times, then the next defect.
            for _ in 0..8 {
                out.truncate(start);
                self.spoil(defect, raw, out);
                if self.refusal(&out[start..]).is_some() {
                    return defect;
                }
            }
        }
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound.max(1) as u64) as usize
    }

    fn spoil(&mut self, defect: Defect, raw: &RawTransaction<'_>, out: &mut Vec<u8>) {
        let json = self.format == Format::Json;
        let format = self.format;
        let write = |raw: &RawTransaction<'_>, out: &mut Vec<u8>| record::transaction(format, raw, out);
        match defect {
            Defect::Flipped | Defect::Cut | Defect::Inserted | Defect::NotUtf8 => {
                self.damage(defect, raw, out);
            }
            Defect::Nested if json => {
                out.extend_from_slice(b"{\"x\":");
                out.extend(std::iter::repeat_n(b"[{"[self.below(2)], 4_000));
            }
            Defect::Nested => {
                write(raw, out);
                // Starts of group 99, which is not ours.
                out.extend([0x9b, 0x06].repeat(2_000));
            }
            Defect::HugeNumber if json => {
                out.extend_from_slice(b"{\"transaction_id\":\"x\",\"amount_minor\":1e400}");
            }
            Defect::HugeNumber => write(&RawTransaction { amount_minor: Some(i64::MAX), ..*raw }, out),
            Defect::NotANumber => {
                let place = (Some(f64::NAN), Some(f64::NAN));
                write(&RawTransaction { latitude: place.0, longitude: place.1, ..*raw }, out);
            }
            Defect::HugeText => {
                let text = "x".repeat(MESSAGE_BYTES_MAX + self.below(1_000));
                write(&RawTransaction { device_id: Some(&text), ..*raw }, out);
            }
            Defect::LongText => {
                let text = "x".repeat(129 + self.below(2_000));
                write(&RawTransaction { device_id: Some(&text), ..*raw }, out);
            }
            Defect::FramingVersion => {
                out.extend([1 + self.below(7) as u8, 0, 0, 0, 7]);
                record::transaction(self.format, raw, out);
            }
            Defect::FramingOnly => out.extend_from_slice(&[0; 5][..=self.below(5)]),
            Defect::CardNumber => {
                let number = card_number(self.random());
                record::transaction(self.format, &RawTransaction { card_id: Some(&number), ..*raw }, out);
            }
            Defect::WrongType if json => {
                out.extend_from_slice(b"{\"transaction_id\":\"x\",\"amount_minor\":\"12\"}");
            }
            Defect::WrongType => {
                write(raw, out);
                // Field 8, the amount, as a text.
                out.extend_from_slice(b"\x42\x0212");
            }
            Defect::Missing => match self.below(4) {
                0 => write(&RawTransaction { transaction_id: None, ..*raw }, out),
                1 => write(&RawTransaction { event_time_micros: None, ..*raw }, out),
                2 => write(&RawTransaction { customer_id: None, ..*raw }, out),
                _ => write(&RawTransaction { amount_minor: None, ..*raw }, out),
            },
            Defect::OtherFormat => {
                record::transaction(if json { Format::Protobuf } else { Format::Json }, raw, out);
            }
            Defect::Noise => {
                let length = 1 + self.below(64);
                out.extend((0..length).map(|_| self.random() as u8));
            }
            Defect::Empty => {}
        }
    }

    /// A good record with damaged bytes.
    fn damage(&mut self, defect: Defect, raw: &RawTransaction<'_>, out: &mut Vec<u8>) {
        let mut good = std::mem::take(&mut self.good);
        good.clear();
        record::transaction(self.format, raw, &mut good);
        let at = self.below(good.len());
        match defect {
            Defect::Flipped => {
                for _ in 0..=self.below(3) {
                    let at = self.below(good.len());
                    good[at] ^= 1 << self.below(8);
                }
            }
            Defect::Cut => good.truncate(at),
            Defect::Inserted => {
                let byte = self.random() as u8;
                good.splice(at..at, std::iter::repeat_n(byte, 1 + self.below(4)));
            }
            _ => {
                // The transaction id is the first text of both formats: its characters start at one of these.
                let at = if self.format == Format::Json { 19 } else { 2 };
                good[at + self.below(8)] = 0xf8 | self.random() as u8;
            }
        }
        out.extend_from_slice(&good);
        self.good = good;
    }
}

/// Sixteen digits that pass Luhn's test.
fn card_number(random: u64) -> String {
    let fifteen = format!("4{:014}", random % 100_000_000_000_000);
    let sum: u32 = fifteen
        .bytes()
        .enumerate()
        .map(|(at, byte)| match (at % 2, u32::from(byte - b'0')) {
            (0, digit) if digit > 4 => 2 * digit - 9,
            (0, digit) => 2 * digit,
            (_, digit) => digit,
        })
        .sum();
    format!("{fifteen}{}", (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fraudengine_generator::{Config, World};

    use super::*;
    use crate::generate::record::Texts;

    #[test]
    fn every_broken_record_is_refused_and_every_defect_takes_its_turn() {
        let world = World::new(Config { customers: 300, days: 1, ..Config::default() }).unwrap();
        let rows = world.day(0);
        for format in [Format::Protobuf, Format::Json] {
            let mut spoiler = Spoiler::new(3, format);
            let mut texts = Texts::default();
            let mut found = BTreeMap::new();
            for row in rows.iter().cycle().take(4_000) {
                texts.write(row);
                let mut out = Vec::new();
                let defect = spoiler.append(&texts.transaction(row), &mut out);
                let reason = spoiler.refusal(&out).expect("refused");
                *found.entry(format!("{defect:?}")).or_insert(0) += 1;
                match defect {
                    Defect::HugeText => assert_eq!(reason, DeadLetterReason::TooLarge),
                    Defect::CardNumber | Defect::LongText | Defect::Missing => {
                        assert_eq!(reason, DeadLetterReason::Invalid);
                    }
                    Defect::FramingVersion | Defect::Nested | Defect::NotUtf8 => {
                        assert_eq!(reason, DeadLetterReason::Malformed, "{defect:?}");
                    }
                    _ => {}
                }
            }
            assert_eq!(found.len(), Defect::ALL.len(), "{format:?}: {found:?}");
        }
    }

    #[test]
    fn card_numbers_look_like_card_numbers() {
        assert_eq!(card_number(11_111_111_111_111), "4111111111111111");
    }
}
