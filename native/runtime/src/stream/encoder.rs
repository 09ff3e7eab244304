//! Decided chunks become bytes: the records of `decisions`, `alerts` and `dead-letter`.

use std::collections::HashSet;

use fraudengine_core::decision::Action;
use fraudengine_core::engine::RowReasons;
use fraudengine_core::feature::catalogue;

use super::chunk::{Chunk, DecidedChunk, Refused, Row};
use super::delivery::{ALERTS, DEAD_LETTERS, DECISIONS, TOPICS};
use crate::kafka::Record;
use crate::payload::encode::{self, Source};
use crate::payload::reasons::FeatureNames;
use crate::settings::{FeaturesIn, Settings};

/// Bit of a decision's flags: there was no model.
pub const NO_MODEL: u32 = 8;

/// Turns chunks into records, apart from where they go.
pub struct Encoder {
    features: FeaturesIn,
    catalogue: u64,
    names: FeatureNames,
    /// Offset of this process's marker in each topic.
    generations: [i64; TOPICS],
    topics: [String; 2],
    /// Refused records that an earlier run has sent already: (is a label, partition, offset).
    letters_sent: HashSet<(bool, i32, i64)>,
    bytes: Vec<u8>,
    /// Of each record: topic, key, end of its value in `bytes` (it begins where the one before ends).
    records: Vec<(usize, Key, usize)>,
}

/// What a decision rests on.
struct Why<'a> {
    reasons: Option<&'a RowReasons>,
    /// Feature values; none where neither the record nor a reason shows any.
    values: &'a [f32],
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
            features: settings.engine.features,
            catalogue: short_hash(&catalogue::hash()),
            names: FeatureNames::default(),
            generations,
            topics: [settings.kafka.transactions_topic.clone(), settings.kafka.labels_topic.clone()],
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
        for (at, row) in chunk.rows.iter().enumerate() {
            let values = self
                .features
                .needed_for(decided.output.action[at])
                .then(|| kept.next())
                .flatten()
                .unwrap_or_default();
            let why = Why { reasons: reasons.next_if(|each| each.row as usize == at), values };
            self.decision(chunk, decided, at, row, &why, self.generations[DECISIONS]);
            self.records.push((DECISIONS, Key::Customer(at), self.bytes.len()));
            if is_alert(decided, at) {
                self.decision(chunk, decided, at, row, &why, self.generations[ALERTS]);
                self.records.push((ALERTS, Key::Customer(at), self.bytes.len()));
            }
        }
        for refused in &chunk.refused {
            self.dead_letter(refused);
        }
    }

    fn decision(
        &mut self,
        chunk: &Chunk,
        decided: &DecidedChunk,
        at: usize,
        row: &Row,
        why: &Why<'_>,
        generation: i64,
    ) {
        let DecidedChunk { output, model, time_micros, .. } = decided;
        let Why { reasons, values } = *why;
        let found = reasons.map_or(&[][..], |each| &each.reasons);
        let named = self.names.of(found, values, output.anomaly[at]);
        let no_model = if *model == 0 { NO_MODEL } else { 0 };
        let parts = encode::Decision {
            transaction: Source::Encoded(chunk.message(row)),
            score: output.score[at],
            anomaly: output.anomaly[at],
            action: output.action[at],
            reasons: named.as_slice(),
            flags: u32::from(output.flags[at]) | no_model,
            source_partition: row.partition,
            source_offset: row.offset,
            source_time_micros: row.time_micros,
            decided_time_micros: *time_micros,
            model: *model,
            catalogue: self.catalogue,
            generation,
            label_offset: chunk.label_offset,
            features: if self.features.sent_with(output.action[at]) { values } else { &[] },
        };
        encode::decision(&parts, &mut self.bytes);
    }

    fn dead_letter(&mut self, refused: &Refused) {
        if self.letters_sent.remove(&(refused.is_label, refused.partition, refused.offset)) {
            return;
        }
        let parts = encode::DeadLetter {
            reason: refused.reason,
            detail: &refused.detail,
            source_topic: &self.topics[usize::from(refused.is_label)],
            source_partition: refused.partition,
            source_offset: refused.offset,
            source_time_micros: refused.time_micros,
            length: refused.length,
            keyed_hash: refused.keyed_hash,
            raw: refused.raw.as_deref(),
            generation: self.generations[DEAD_LETTERS],
        };
        encode::dead_letter(&parts, &mut self.bytes);
        self.records.push((DEAD_LETTERS, Key::None, self.bytes.len()));
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

/// First 8 bytes of a hexadecimal hash as a number.
pub fn short_hash(hexadecimal: &str) -> u64 {
    hexadecimal.get(..16).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
}
