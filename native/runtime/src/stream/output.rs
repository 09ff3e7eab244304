//! The last thread: decided chunks become records of `decisions`, `alerts` and `dead-letter`.
//!
//! An alert is sent when its decision is acknowledged, never before: a crash must not leave an alert on a decision
//! that is not in the log, because the transaction would be decided, and alerted, again.
//!
//! The dead letters of a chunk are acknowledged before its decisions are sent: a restart goes on behind the last
//! recorded decision, and would never come back to a refused record before it.
//!
//! What is in flight is bounded: when the broker does not acknowledge, this thread waits, the bounded channels
//! fill, and the source stops reading.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use fraudengine_core::decision::Action;
use fraudengine_core::engine::RowReasons;
use fraudengine_core::feature::catalogue;

use super::StreamError;
use super::chunk::{Chunk, DecidedChunk, Refused, Row};
use super::delivery::{ALERTS, DEAD_LETTERS, DECISIONS, Delivery, TOPICS};
use super::recovery;
use crate::kafka::{Delivery as Delivered, Producer, Record};
use crate::metrics::{Metrics, Stage, now_micros};
use crate::payload::encode::{self, Source};
use crate::payload::reasons::FeatureNames;
use crate::settings::{FeaturesIn, Settings};
use crate::stop::Stop;
use crate::tail::{Block, Tail};

/// How long this thread waits for a chunk before it looks for acknowledgements.
const IDLE: Duration = Duration::from_millis(2);
/// How long a wait for acknowledgements lasts before a stop is looked for.
const ACKNOWLEDGE_MS: i32 = 20;

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
    fn chunk(&mut self, chunk: &Chunk, decided: &DecidedChunk) {
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

    /// The encoded records of a topic.
    fn of_topic<'a>(&'a self, topic: usize, chunk: &'a Chunk) -> impl Iterator<Item = Record<'a>> {
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
}

impl Encoder {
    /// Hands out the encoded alerts: row, key, value.
    fn alerts(&self, chunk: &Chunk, mut each: impl FnMut(usize, &[u8], &[u8])) {
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
pub fn is_alert(decided: &DecidedChunk, row: usize) -> bool {
    decided.output.action[row] != Action::Approve
        && decided.output.flags[row] & fraudengine_core::engine::flag::DUPLICATE == 0
}

/// First 8 bytes of a hexadecimal hash as a number.
pub fn short_hash(hexadecimal: &str) -> u64 {
    hexadecimal.get(..16).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
}

/// The thread's work.
pub struct Outlet {
    producer: Producer,
    encoder: Encoder,
    delivery: Arc<Delivery>,
    metrics: Arc<Metrics>,
    in_flight_max: u64,
    settings: Settings,
    /// Where the next acknowledged record of each topic must stand.
    expected: [i64; TOPICS],
    /// Position after the last acknowledged decision.
    acknowledged: u64,
    /// Alerts whose decisions are not acknowledged yet: the position after the decision, key and value.
    alerts_waiting: VecDeque<(u64, Vec<u8>, Vec<u8>)>,
    watched: Vec<u64>,
    tail: Arc<Tail>,
    /// Acknowledged decisions on their way to the tail.
    block: Block,
}

impl Outlet {
    /// Sends through `producer`, whose topics are decisions, alerts and dead letters; what is acknowledged is kept in `tail`.
    pub fn new(
        settings: &Settings,
        producer: Producer,
        encoder: Encoder,
        first: u64,
        delivery: Arc<Delivery>,
        metrics: Arc<Metrics>,
        tail: Arc<Tail>,
    ) -> Self {
        let in_flight_max = settings.output.in_flight_max as u64;
        Self {
            producer,
            settings: settings.clone(),
            expected: delivery.offsets(),
            encoder,
            delivery,
            metrics,
            in_flight_max,
            acknowledged: first,
            alerts_waiting: VecDeque::new(),
            watched: Vec::new(),
            tail,
            block: Block::default(),
        }
    }

    /// Sends until the channel closes and everything is acknowledged; when `abandon` is set, gives up at once.
    pub fn run(
        mut self,
        chunks: &Receiver<Chunk>,
        empty: &Sender<Chunk>,
        abandon: &Stop,
    ) -> Result<(), StreamError> {
        let mut last_acknowledged = Instant::now();
        loop {
            match chunks.recv_timeout(IDLE) {
                Ok(chunk) => {
                    if !self.send(&chunk, abandon)? {
                        self.producer.abandon();
                        return Ok(());
                    }
                    // The source may be gone already; then nobody needs the chunk.
                    let _ = empty.try_send(chunk);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if last_acknowledged.elapsed() >= IDLE {
                self.acknowledge(0)?;
                last_acknowledged = Instant::now();
            }
            while self.delivery.in_flight() >= self.in_flight_max {
                if abandon.is_set() {
                    self.producer.abandon();
                    return Ok(());
                }
                self.acknowledge(ACKNOWLEDGE_MS)?;
            }
        }
        while self.delivery.outstanding() > 0 {
            if abandon.is_set() {
                self.producer.abandon();
                return Ok(());
            }
            self.acknowledge(ACKNOWLEDGE_MS)?;
        }
        Ok(())
    }

    /// Sends what a chunk holds; false when told to give up.
    fn send(&mut self, chunk: &Chunk, abandon: &Stop) -> Result<bool, StreamError> {
        let Some(decided) = &chunk.decided else { return Ok(true) };
        let since = Instant::now();
        self.encoder.chunk(chunk, decided);
        let mut counts = [0; TOPICS];
        for (topic, count) in counts.iter_mut().enumerate() {
            *count = self.encoder.records.iter().filter(|(of, ..)| *of == topic).count() as u64;
        }
        self.encoder.alerts(chunk, |row, key, value| {
            self.alerts_waiting.push_back((decided.first + row as u64 + 1, key.to_vec(), value.to_vec()));
        });
        if counts[DEAD_LETTERS] > 0 {
            self.producer.send(DEAD_LETTERS, self.encoder.of_topic(DEAD_LETTERS, chunk))?;
            self.delivery.sent_ahead([0, 0, std::mem::take(&mut counts[DEAD_LETTERS])]);
            while self.delivery.outstanding_of(DEAD_LETTERS) > 0 {
                if abandon.is_set() {
                    return Ok(false);
                }
                self.acknowledge(ACKNOWLEDGE_MS)?;
            }
        }
        self.producer.send(DECISIONS, self.encoder.of_topic(DECISIONS, chunk))?;
        self.delivery.sent(decided.first + chunk.rows.len() as u64, counts);
        self.metrics.alerts.fetch_add(counts[ALERTS], Relaxed);
        self.metrics.stage(Stage::Encode, since);
        self.metrics.in_flight.store(self.delivery.in_flight(), Relaxed);
        Ok(true)
    }

    fn send_alerts(&mut self) -> Result<(), StreamError> {
        let ready = self.alerts_waiting.partition_point(|(position, ..)| *position <= self.acknowledged);
        let ready: Vec<_> = self.alerts_waiting.drain(..ready).collect();
        let records = ready.iter().map(|(_, key, value)| Record { key, value, tag: 0 });
        Ok(self.producer.send(ALERTS, records)?)
    }

    fn acknowledge(&mut self, wait_ms: i32) -> Result<(), StreamError> {
        self.delivery.watched(&mut self.watched);
        let (mut records, mut offsets) = ([0; TOPICS], [None; TOPICS]);
        let (mut position, watched, mut found) = (self.acknowledged, &self.watched, Vec::new());
        let (expected, mut gaps) = (&mut self.expected, Vec::new());
        let (tail, block) = (&self.tail, &mut self.block);
        block.begin(expected[DECISIONS], now_micros() / 1_000);
        self.producer.deliveries(wait_ms, |Delivered { topic, offset, value, .. }| {
            // The client does not learn the offset of a record that the broker turned out to have already.
            if offset >= 0 && offset != expected[topic] {
                gaps.push((topic, expected[topic], offset));
                expected[topic] = offset;
                if topic == DECISIONS {
                    let full = std::mem::take(block);
                    *block = tail.append(full);
                    block.begin(offset, now_micros() / 1_000);
                }
            }
            expected[topic] += 1;
            records[topic] += 1;
            offsets[topic] = Some(expected[topic]);
            if topic == DECISIONS {
                block.push(value);
                position += 1;
                if watched.contains(&position) {
                    found.push((position, expected[topic]));
                }
            }
        })?;
        // Before anything is called safe: a snapshot must not cover what readers ignore.
        for (topic, from, to) in gaps {
            recovery::refuse_markers(&self.settings, topic, from, to)?;
        }
        if records.iter().all(|&count| count == 0) {
            return Ok(());
        }
        if records[DECISIONS] > 0 {
            let full = std::mem::take(&mut self.block);
            self.block = self.tail.append(full);
        }
        self.acknowledged = position;
        self.delivery.acknowledged(records, offsets, &found);
        self.send_alerts()?;
        self.metrics.delivered.fetch_add(records[DECISIONS], Relaxed);
        self.metrics.in_flight.store(self.delivery.in_flight(), Relaxed);
        Ok(())
    }
}
