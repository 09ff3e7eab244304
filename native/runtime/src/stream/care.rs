//! Taking suspects one at a time, and keeping out those that are quarantined.
//!
//! A careful source has one chunk in circulation and one record in it. It gets the chunk back when the record has been
//! decided, encoded and handed to the producer, so the one record that is noted is the only one that any thread has in
//! its hands. That costs a few tens of microseconds a record, and nothing at all once the suspects have passed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::StreamError;
use super::chunk::Chunk;
use super::quarantine::{Note, Quarantine};
use crate::limits::CHUNKS_MAX;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// A record by whether it is a label, its partition and its offset.
pub type Source = (bool, i32, i64);

/// See the module's text.
#[derive(Debug)]
pub struct Care {
    /// While suspects are taken.
    note: Option<Note>,
    files: Quarantine,
    topics: [String; 2],
    /// Rows that may still be suspects.
    left: u64,
    /// Where others see whether suspects are taken.
    metrics: Arc<Metrics>,
    /// Chunks that are not in circulation yet.
    spare: Vec<Chunk>,
}

impl Care {
    /// By what is known; the metrics tell others whether suspects are being taken.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, StreamError> {
        let files = Quarantine::new(&settings.state.folder);
        let careful = files.load()?.careful;
        let mut note = if careful { Some(files.note()?) } else { None };
        if let Some(note) = &mut note {
            note.write(None)?;
        }
        // Read, decided or sent when the run ended, at most: everything before is in the log.
        let left = (2 * CHUNKS_MAX * settings.engine.batch_max + settings.output.in_flight_max) as u64;
        metrics.careful.store(u64::from(careful), Relaxed);
        let topics = [settings.kafka.transactions_topic.clone(), settings.kafka.labels_topic.clone()];
        let spare = (0..if careful { 1 } else { CHUNKS_MAX }).map(|_| Chunk::default()).collect();
        Ok(Self { note, files, topics, left, metrics, spare })
    }

    /// Whether suspects are being taken.
    pub const fn is_on(&self) -> bool {
        self.note.is_some()
    }

    /// `max`, or 1 while suspects are taken.
    pub const fn at_most(&self, max: usize) -> usize {
        if self.is_on() { 1 } else { max }
    }

    /// A chunk that was not in circulation yet.
    pub fn chunk(&mut self) -> Option<Chunk> {
        self.spare.pop()
    }

    /// Notes the record that is about to be decoded.
    #[inline]
    pub fn decoding(&mut self, is_label: bool, partition: i32, offset: i64) -> Result<(), StreamError> {
        let Some(note) = &mut self.note else { return Ok(()) };
        note.write(Some((&self.topics[usize::from(is_label)], partition, offset)))
    }

    /// Notes that no thread has a record in its hands.
    pub fn idle(&mut self) -> Result<(), StreamError> {
        self.note.as_mut().map_or(Ok(()), |note| note.write(None))
    }

    /// Notes the record that is about to be decided, or sent away as a dead letter.
    pub fn deciding(&mut self, chunk: &Chunk) -> Result<(), StreamError> {
        let Some(note) = &mut self.note else { return Ok(()) };
        let [transactions, labels] = &self.topics;
        if let Some(row) = chunk.rows.first() {
            self.left = self.left.saturating_sub(1);
            return note.write(Some((transactions, row.origin.partition, row.origin.offset)));
        }
        if let Some(refused) = chunk.refused.first() {
            let topic = if refused.is_label { labels } else { transactions };
            return note.write(Some((topic, refused.origin.partition, refused.origin.offset)));
        }
        note.write(Some((labels, 0, chunk.label_offset - 1)))
    }

    /// Ends the care when no suspects are left: so many rows were taken, or all that there is (`at_end`). Only while
    /// no thread has a record in its hands.
    pub fn end_if_over(&mut self, at_end: bool) -> Result<(), StreamError> {
        if self.is_on() && (at_end || self.left == 0) {
            self.idle()?;
            self.files.store(&self.files.load()?.after_care())?;
            self.note = None;
            self.spare.extend((1..CHUNKS_MAX).map(|_| Chunk::default()));
            self.metrics.careful.store(0, Relaxed);
            tracing::warn!("the suspects have passed: records are taken in chunks again");
        }
        Ok(())
    }
}

/// The records that are quarantined by the files of this process.
pub fn quarantined(settings: &Settings) -> Result<HashSet<Source>, StreamError> {
    let files = Quarantine::new(&settings.state.folder);
    let known = files.load()?.quarantined;
    let most = settings.dead_letter.poison_max;
    if known.len() > most {
        return Err(StreamError::Poisoned { count: known.len(), most, path: files.path() });
    }
    let kafka = &settings.kafka;
    let found = known.iter().filter_map(|place| {
        let is_label = place.topic == kafka.labels_topic;
        (is_label || place.topic == kafka.transactions_topic).then_some((
            is_label,
            place.partition,
            place.offset,
        ))
    });
    Ok(found.collect())
}
