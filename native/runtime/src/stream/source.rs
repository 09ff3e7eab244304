//! The first thread: records from Kafka, decoded and checked, in chunks.
//!
//! It never waits for a chunk to fill: what is there is a chunk, the partitions merged by event time (see
//! [`alignment`](super::alignment)). Everything that is refused leaves as a dead letter; nothing near it is lost. When
//! the engine is behind, the bounded channel stops this thread, and librdkafka's bounded fetch queues stop the
//! fetching: a backlog stays with the broker.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender};
use fraudengine_core::event::{CurrencyTable, RawTransaction, check, check_label};
use fraudengine_core::units::EventTimeMicros;
use xxhash_rust::xxh3::xxh3_64_with_secret;

use super::StreamError;
use super::alignment::{Expectation, Held, Merged, merge, patience};
use super::chunk::{Chunk, Refused, Row};
use crate::kafka::{Consumer, KafkaSettings, Lanes, Message, Polled, Position};
use crate::limits::RAW_BYTES_MAX;
use crate::metrics::{Metrics, Stage, now_micros};
use crate::payload::{Format, Scratch, decode_label, decode_transaction, encode, message as unframed};
use crate::settings::Settings;
use crate::stop::Stop;
use crate::wire::DeadLetterReason;

/// How long a poll waits for the first record: also the delay at which a stop is noticed.
const POLL_MS: i32 = 50;
const IDLE: Duration = Duration::from_millis(POLL_MS as u64);
/// How long a look at a partition that is behind waits before the next one.
const LAGGING: Duration = Duration::from_millis(2);
/// How long the broker may take to say where a partition ends.
const ASK_MS: i32 = 10_000;
/// Records that are held for all partitions together, in chunks.
const HELD_CHUNKS: usize = 8;
/// Records that are held for one partition at least.
const HELD_MIN: usize = 32;
const STOP_CHECK: Duration = Duration::from_millis(50);

/// What the thread needs to know.
pub struct Source {
    settings: KafkaSettings,
    /// One for each partition of the transactions, then the labels.
    lanes: Lanes,
    /// What is decoded and waits for its turn, by partition.
    held: Vec<Held>,
    expected: Vec<Expectation>,
    reader: Reader,
    batch_max: usize,
    label_offset: i64,
}

/// Decoding, apart from where the bytes come from.
pub struct Reader {
    transactions: Format,
    labels: Format,
    currencies: CurrencyTable,
    ahead_micros_max: i64,
    hash_secret: Vec<u8>,
    keep_raw: bool,
    scratch: Scratch,
}

/// Shortest secret that XXH3 accepts.
const SECRET_BYTES: usize = 192;

impl Reader {
    /// A reader by the settings.
    pub fn new(settings: &Settings) -> Result<Self, StreamError> {
        let key = settings.dead_letter.hash_key.as_bytes();
        // Stretches the configured text to the length that the hash needs; no two texts give the same.
        let mut secret = Vec::with_capacity(SECRET_BYTES);
        for block in 0..SECRET_BYTES as u64 / 8 {
            let word = xxhash_rust::xxh3::xxh3_64_with_seed(key, block + 1);
            secret.extend_from_slice(&word.to_le_bytes());
        }
        Ok(Self {
            transactions: settings.kafka.transactions_format,
            labels: settings.kafka.labels_format,
            currencies: settings.engine.currencies()?,
            ahead_micros_max: (settings.engine.ahead_seconds_max * 1e6) as i64,
            hash_secret: secret,
            keep_raw: settings.dead_letter.raw,
            scratch: Scratch::default(),
        })
    }

    /// Takes one transaction into the chunk, as a row or as refused.
    pub fn transaction(&mut self, message: &Message<'_>, chunk: &mut Chunk) {
        if let Err((reason, detail)) = self.try_transaction(message, chunk) {
            let refused = self.refused(message, false, reason, detail);
            chunk.refused.push(refused);
        }
    }

    fn try_transaction(
        &mut self,
        message: &Message<'_>,
        chunk: &mut Chunk,
    ) -> Result<(), (DeadLetterReason, String)> {
        let raw = decode_transaction(self.transactions, message.value, &mut self.scratch)
            .map_err(|malformed| (malformed.reason(), malformed.to_string()))?;
        let transaction = check(&raw, &self.currencies)
            .map_err(|violation| (DeadLetterReason::Invalid, violation.to_string()))?;
        let time_micros = message.timestamp_ms.max(0) * 1_000;
        // Against the broker's clock, not ours: a replay must agree.
        if time_micros > 0 && transaction.time.0 > time_micros + self.ahead_micros_max {
            return Err((DeadLetterReason::TimeAhead, ahead(transaction.time, time_micros)));
        }
        let start = chunk.bytes.len();
        append_message(self.transactions, message.value, &raw, &mut chunk.bytes);
        let length = (chunk.bytes.len() - start) as u32;
        let customer = raw.customer_id.unwrap_or_default().as_bytes();
        chunk.bytes.extend_from_slice(customer);
        chunk.rows.push(Row {
            partition: message.partition,
            customer_length: customer.len() as u16,
            length,
            start,
            offset: message.offset,
            time_micros,
        });
        chunk.transactions.push(transaction);
        Ok(())
    }

    /// Takes one label into the chunk.
    pub fn label(&mut self, message: &Message<'_>, chunk: &mut Chunk) {
        let decoded = decode_label(self.labels, message.value, &mut self.scratch)
            .map_err(|malformed| (malformed.reason(), malformed.to_string()));
        let checked = decoded.and_then(|raw| {
            check_label(&raw, &self.currencies)
                .map_err(|violation| (DeadLetterReason::Invalid, violation.to_string()))
        });
        match checked {
            Ok(label) => chunk.labels.push(label),
            Err((reason, detail)) => {
                let refused = self.refused(message, true, reason, detail);
                chunk.refused.push(refused);
            }
        }
        chunk.label_offset = message.offset + 1;
    }

    fn refused(
        &self,
        message: &Message<'_>,
        is_label: bool,
        reason: DeadLetterReason,
        detail: String,
    ) -> Refused {
        Refused {
            is_label,
            partition: message.partition,
            offset: message.offset,
            time_micros: message.timestamp_ms.max(0) * 1_000,
            reason,
            detail,
            length: message.value.len() as u32,
            keyed_hash: xxh3_64_with_secret(message.value, &self.hash_secret),
            raw: self.keep_raw.then(|| message.value[..message.value.len().min(RAW_BYTES_MAX)].to_vec()),
        }
    }
}

#[cold]
fn ahead(time: EventTimeMicros, broker_micros: i64) -> String {
    format!("event_time_micros is {}, which is ahead of the broker's time {broker_micros}", time.0)
}

/// Appends the transaction as a bare protobuf message.
fn append_message(format: Format, value: &[u8], raw: &RawTransaction<'_>, out: &mut Vec<u8>) {
    match (format, unframed(format, value)) {
        (Format::Protobuf, Ok(message)) => out.extend_from_slice(message),
        _ => encode::transaction(raw, out),
    }
}

impl Source {
    /// Begins to read at the given positions of the transactions topic, and at an offset of the labels.
    pub fn open(settings: &Settings, positions: &[Position], label_offset: i64) -> Result<Self, StreamError> {
        let mut all = positions.to_vec();
        all.push(labels_at(&settings.kafka, label_offset));
        let lanes = Lanes::new(&settings.kafka, &all)?;
        let end = |at: &Position| lanes.handle().watermarks(&at.topic, at.partition, ASK_MS);
        let expect = |at: &Position| end(at).map(|(_, end)| Expectation::new(at.offset, end));
        Ok(Self {
            settings: settings.kafka.clone(),
            held: positions.iter().map(|_| Held::default()).collect(),
            expected: positions.iter().map(expect).collect::<Result<_, _>>()?,
            lanes,
            reader: Reader::new(settings)?,
            batch_max: settings.engine.batch_max,
            label_offset,
        })
    }

    /// Reads until told to stop, or until something fails for good.
    pub fn run(
        mut self,
        chunks: &Sender<Chunk>,
        empty: &Receiver<Chunk>,
        metrics: &Metrics,
        stop: &Stop,
    ) -> Result<(), StreamError> {
        self.catch_up_with_labels(chunks, empty, stop)?;
        while !stop.is_set() {
            let mut chunk = match empty.recv_timeout(STOP_CHECK) {
                Ok(chunk) => chunk,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            chunk.clear();
            chunk.label_offset = self.label_offset;
            while chunk.is_empty() && !stop.is_set() {
                self.fill(&mut chunk, metrics)?;
            }
            self.label_offset = chunk.label_offset;
            if !hand_over(chunk, chunks, stop) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the labels that are there before the first transaction: in a backlog, a label that was reported
    /// before a transaction must not come after it only because it is in another topic.
    fn catch_up_with_labels(
        &mut self,
        chunks: &Sender<Chunk>,
        empty: &Receiver<Chunk>,
        stop: &Stop,
    ) -> Result<(), StreamError> {
        let (_, end) = self.lanes.handle().watermarks(&self.settings.labels_topic, 0, ASK_MS)?;
        if self.label_offset >= end {
            return Ok(());
        }
        let mut labels = Consumer::new(&self.settings, &[labels_at(&self.settings, self.label_offset)])?;
        while self.label_offset < end && !stop.is_set() {
            let Ok(mut chunk) = empty.recv_timeout(STOP_CHECK) else { continue };
            chunk.clear();
            let records = match labels.poll(self.batch_max, POLL_MS)? {
                Polled::Records(records) => records,
                Polled::Trouble(_) => 0,
            };
            for at in 0..records {
                self.reader.label(&labels.message(at), &mut chunk);
            }
            chunk.label_offset = chunk.label_offset.max(self.label_offset);
            self.label_offset = chunk.label_offset;
            if !hand_over(chunk, chunks, stop) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fills a chunk with what is there; waits a moment when there is nothing.
    fn fill(&mut self, chunk: &mut Chunk, metrics: &Metrics) -> Result<(), StreamError> {
        let since = Instant::now();
        self.read_labels(chunk, metrics)?;
        let wait = loop {
            let lagging = self.refill(chunk, metrics)?;
            if lagging && chunk.is_empty() {
                break LAGGING;
            }
            if lagging || merge(&mut self.held, chunk, self.batch_max) != Merged::Dry {
                break IDLE;
            }
        };
        if chunk.is_empty() {
            self.lanes.wait(wait);
        } else {
            metrics.stage(Stage::Decode, since);
        }
        Ok(())
    }

    fn read_labels(&mut self, chunk: &mut Chunk, metrics: &Metrics) -> Result<(), StreamError> {
        let lane = self.held.len();
        for at in 0..polled(&mut self.lanes, lane, self.batch_max, metrics)? {
            let message = self.lanes.message(lane, at);
            if message.offset >= self.label_offset {
                self.reader.label(&message, chunk);
            }
        }
        Ok(())
    }

    /// Decodes what has come for the empty lanes; returns whether one stays empty although more is on its way.
    fn refill(&mut self, chunk: &mut Chunk, metrics: &Metrics) -> Result<bool, StreamError> {
        let most = (HELD_CHUNKS * self.batch_max / self.held.len().max(1)).clamp(HELD_MIN, self.batch_max);
        let mut lagging = false;
        let (patience, now) = (patience(&self.held, now_micros()), Instant::now());
        for (lane, held) in self.held.iter_mut().enumerate().filter(|(_, held)| held.is_empty()) {
            let records = polled(&mut self.lanes, lane, most, metrics)?;
            if records > 0 {
                let into = held.refill();
                for at in 0..records {
                    self.reader.transaction(&self.lanes.message(lane, at), into);
                }
                self.expected[lane].took(self.lanes.message(lane, records - 1).offset + 1);
                held.hand_on(0, chunk);
            }
            if held.is_empty() {
                lagging |= self.expected[lane].expects_more(self.lanes.end_heard(lane), now, patience);
            }
        }
        Ok(lagging)
    }
}

fn polled(lanes: &mut Lanes, lane: usize, max: usize, metrics: &Metrics) -> Result<usize, StreamError> {
    match lanes.poll(lane, max)? {
        Polled::Records(records) => Ok(records),
        Polled::Trouble(text) => {
            metrics.source_trouble(&text);
            Ok(0)
        }
    }
}

fn labels_at(kafka: &KafkaSettings, offset: i64) -> Position {
    Position { topic: kafka.labels_topic.clone(), partition: 0, offset }
}

/// Hands a chunk on; false when nobody takes it any more.
pub fn hand_over(mut chunk: Chunk, to: &Sender<Chunk>, stop: &Stop) -> bool {
    loop {
        match to.send_timeout(chunk, STOP_CHECK) {
            Ok(()) => return true,
            Err(SendTimeoutError::Timeout(_)) if stop.is_set() => return false,
            Err(SendTimeoutError::Timeout(back)) => chunk = back,
            Err(SendTimeoutError::Disconnected(_)) => return false,
        }
    }
}
