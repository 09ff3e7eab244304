//! The history as blocks of encoded records, in the order in which they are sent.
//!
//! Days come from the generator in order of arrival; labels wait in buckets by the day on which they become known
//! and are merged in. A block never spans two days.

use std::collections::BTreeMap;

use crossbeam_channel::{Receiver, Sender};
use fraudengine_generator::{Arrivals, Row, World};

use super::malformed::Spoiler;
use super::record::{self, Texts};
use super::settings::LoadSettings;
use crate::payload::framing;

/// Records of one block; small enough that a stop is noticed soon, large enough that the channel costs nothing.
const BLOCK_RECORDS: usize = 2_048;
const DAY_MICROS: i64 = 86_400_000_000;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Transaction,
    Label,
    Malformed,
}

/// One encoded record: where its key and its value end in the block's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub kind: Kind,
    key_end: u32,
    value_end: u32,
}

/// Encoded records one behind the other.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Day of the history, from 0.
    pub day: u32,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Block {
    /// Each record: its kind, key and value.
    pub(super) fn records(&self) -> impl Iterator<Item = (Kind, &[u8], &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let (key_end, value_end) = (entry.key_end as usize, entry.value_end as usize);
            let record = (entry.kind, &self.bytes[start..key_end], &self.bytes[key_end..value_end]);
            start = value_end;
            record
        })
    }

    fn push(&mut self, kind: Kind, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len() as u32;
        write(&mut self.bytes);
        self.entries.push(Entry { kind, key_end, value_end: self.bytes.len() as u32 });
    }
}

/// Labels by the day on which they become known.
#[derive(Debug, Default)]
struct Waiting(BTreeMap<i64, Vec<Row>>);

impl Waiting {
    /// A label is never sent before its transaction has arrived.
    const fn moment(row: &Row) -> i64 {
        if row.known > row.arrival { row.known } else { row.arrival }
    }

    fn add(&mut self, row: &Row) {
        self.0.entry(Self::moment(row).div_euclid(DAY_MICROS)).or_default().push(*row);
    }

    /// The labels that become known on this day, in that order; a record that arrived twice has one label.
    fn take(&mut self, day: i64) -> Vec<Row> {
        let mut rows = self.0.remove(&day).unwrap_or_default();
        rows.sort_by_key(|row| (row.number, Self::moment(row)));
        rows.dedup_by_key(|row| row.number);
        rows.sort_by_key(|row| (Self::moment(row), row.number));
        rows
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    settings: &'a LoadSettings,
    texts: Texts,
    spoiler: Spoiler,
    block: Block,
    full: Sender<Block>,
    used: Receiver<Block>,
}

/// The receiver has gone: nobody wants more.
#[derive(Debug)]
struct Stopped;

impl<'a> Feed<'a> {
    pub(super) fn new(settings: &'a LoadSettings, full: Sender<Block>, used: Receiver<Block>) -> Self {
        let spoiler = Spoiler::new(settings.world.seed, settings.format);
        Self { settings, texts: Texts::default(), spoiler, block: Block::default(), full, used }
    }

    /// Makes and encodes one day after the other until the history or the demand ends.
    pub(super) fn run(mut self, world: &World) {
        let config = world.config();
        let mut arrivals = Arrivals::new(config.clone());
        let mut waiting = Waiting::default();
        let first_day = config.start_micros.div_euclid(DAY_MICROS);
        for day in 0..config.days {
            let rows = arrivals.next_day(world.day(day));
            if !self.settings.labels_topic.is_empty() {
                for row in rows.iter().filter(|row| row.label || self.settings.genuine_labels) {
                    waiting.add(row);
                }
            }
            let labels = waiting.take(first_day + i64::from(day));
            if day >= self.settings.skip_days && self.day(day, &rows, &labels).is_err() {
                return;
            }
        }
    }

    fn day(&mut self, day: u32, rows: &[Row], labels: &[Row]) -> Result<(), Stopped> {
        self.block.day = day;
        let mut labels = labels.iter().peekable();
        let mut owed = 0.0;
        for row in rows {
            while let Some(known) = labels.next_if(|known| Waiting::moment(known) < row.arrival) {
                self.label(known)?;
            }
            self.transaction(row)?;
            owed += self.settings.malformed;
            while owed >= 1.0 {
                owed -= 1.0;
                self.malformed(row)?;
            }
        }
        for known in labels {
            self.label(known)?;
        }
        self.hand_over()
    }

    fn transaction(&mut self, row: &Row) -> Result<(), Stopped> {
        self.texts.write(row);
        let raw = self.texts.transaction(row);
        let settings = self.settings;
        self.block.push(Kind::Transaction, self.texts.customer().as_bytes(), |out| {
            frame(settings, out);
            record::transaction(settings.format, &raw, out);
        });
        self.hand_over_if_full()
    }

    fn label(&mut self, row: &Row) -> Result<(), Stopped> {
        self.texts.write(row);
        let raw = self.texts.label(row);
        let settings = self.settings;
        self.block.push(Kind::Label, self.texts.customer().as_bytes(), |out| {
            frame(settings, out);
            record::label(settings.format, &raw, out);
        });
        self.hand_over_if_full()
    }

    fn malformed(&mut self, row: &Row) -> Result<(), Stopped> {
        self.texts.write(row);
        let raw = self.texts.transaction(row);
        let spoiler = &mut self.spoiler;
        self.block.push(Kind::Malformed, self.texts.customer().as_bytes(), |out| {
            spoiler.append(&raw, out);
        });
        self.hand_over_if_full()
    }

    fn hand_over_if_full(&mut self) -> Result<(), Stopped> {
        if self.block.entries.len() < BLOCK_RECORDS { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<(), Stopped> {
        if self.block.entries.is_empty() {
            return Ok(());
        }
        let mut next = self.used.try_recv().unwrap_or_default();
        next.bytes.clear();
        next.entries.clear();
        next.day = self.block.day;
        self.full.send(std::mem::replace(&mut self.block, next)).map_err(|_| Stopped)
    }
}

fn frame(settings: &LoadSettings, out: &mut Vec<u8>) {
    if let Some(id) = settings.schema_id {
        framing::append(settings.format, id, out);
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
