//! Decided chunks become bytes: the records of `decisions`, `alerts` and `dead-letter`.

use std::collections::HashSet;

use fraudengine_core::decision::Action;
use fraudengine_core::feature::catalogue;

use super::chunk::{Chunk, DecidedChunk};
use super::delivery::{ALERTS, DEAD_LETTERS, DECISIONS, TOPICS};
use super::record_writer::{DecidedRow, RecordWriter};
use crate::kafka::Record;
use crate::settings::Settings;

/// Turns chunks into records, apart from where they go.
pub struct Encoder {
    writer: RecordWriter,
    /// Offset of this process's marker in each topic.
    generations: [i64; TOPICS],
    /// Refused records that an earlier run has sent already: (is a label, partition, offset).
    letters_sent: HashSet<(bool, i32, i64)>,
    bytes: Vec<u8>,
    /// Of each record: topic, key, end of its value in `bytes` (it begins where the one before ends).
    records: Vec<(usize, Key, usize)>,
}

/// Where the key of a record is.
#[derive(Clone, Copy, Debug)]
enum Key {
    /// The customer of a row.
    Customer(usize),
    /// None.
    None,
}

impl Encoder {
    /// An encoder that stamps these generations.
    pub fn new(
        settings: &Settings,
        generations: [i64; TOPICS],
        letters_sent: HashSet<(bool, i32, i64)>,
    ) -> Self {
        Self {
            writer: RecordWriter::new(settings),
            generations,
            letters_sent,
            bytes: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Encodes everything that a decided chunk sends.
    pub fn chunk(&mut self, chunk: &Chunk, decided: &DecidedChunk) {
        self.bytes.clear();
        self.records.clear();
        let mut reasons = decided.output.reasons.iter().peekable();
        let mut kept = decided.output.features.chunks_exact(catalogue::WIDTH);
        let Self { writer, generations, letters_sent, bytes, records, .. } = self;
        for (at, row) in chunk.rows.iter().enumerate() {
            let shown = writer.shows(decided.output.action[at]);
            let row = DecidedRow {
                message: chunk.message(row),
                origin: row.origin,
                output: &decided.output,
                at,
                reasons: reasons.next_if(|each| each.row as usize == at),
                values: shown.then(|| kept.next()).flatten().unwrap_or_default(),
                model: decided.model,
                decided_time_micros: decided.time_micros,
                label_offset: chunk.label_offset,
            };
            writer.decision(&row, generations[DECISIONS], bytes);
            records.push((DECISIONS, Key::Customer(at), bytes.len()));
            if is_alert(decided, at) {
                writer.decision(&row, generations[ALERTS], bytes);
                records.push((ALERTS, Key::Customer(at), bytes.len()));
            }
        }
        for refused in &chunk.refused {
            if letters_sent.remove(&(refused.is_label, refused.origin.partition, refused.origin.offset)) {
                continue;
            }
            writer.dead_letter(refused, generations[DEAD_LETTERS], bytes);
            records.push((DEAD_LETTERS, Key::None, bytes.len()));
        }
    }

    /// How many records each topic gets.
    pub fn counts(&self) -> [u64; TOPICS] {
        let mut counts = [0; TOPICS];
        self.records.iter().for_each(|&(topic, ..)| counts[topic] += 1);
        counts
    }

    /// The encoded records of a topic.
    pub fn of_topic<'a>(&'a self, topic: usize, chunk: &'a Chunk) -> impl Iterator<Item = Record<'a>> {
        let mut start = 0;
        self.records.iter().filter_map(move |&(of, key, end)| {
            let value = &self.bytes[start..end];
            start = end;
            let key = match key {
                Key::Customer(row) => chunk.customer(&chunk.rows[row]),
                Key::None => &[],
            };
            (of == topic).then_some(Record { key, value, tag: 0 })
        })
    }

    /// Hands out the encoded alerts: row, key, value.
    pub fn alerts(&self, chunk: &Chunk, mut each: impl FnMut(usize, &[u8], &[u8])) {
        let mut start = 0;
        for &(topic, key, end) in &self.records {
            if let (ALERTS, Key::Customer(row)) = (topic, key) {
                each(row, chunk.customer(&chunk.rows[row]), &self.bytes[start..end]);
            }
            start = end;
        }
    }
}

/// Whether a decision is an alert: not approved, and not a repetition.
fn is_alert(decided: &DecidedChunk, row: usize) -> bool {
    decided.output.action[row] != Action::Approve
        && decided.output.flags[row] & fraudengine_core::engine::flag::DUPLICATE == 0
}
