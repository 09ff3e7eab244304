//! The first thread: records from Kafka, decoded and checked, in chunks.
//!
//! It never waits for a chunk to fill: what is there is a chunk, the partitions merged by event time (see
//! [`alignment`](super::alignment)). Everything that is refused leaves as a dead letter; nothing near it is lost. When
//! the engine is behind, the bounded channel stops this thread, and librdkafka's bounded fetch queues stop the
//! fetching: a backlog stays with the broker.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender};

use super::StreamError;
use super::alignment::{Expectation, Held, Merged, merge, patience};
use super::care::{Care, Source as Place};
use super::chunk::Chunk;
use super::reader::Reader;
use crate::kafka::{Consumer, KafkaSettings, Lanes, Polled, Position};
use crate::metrics::{Metrics, Stage, now_micros};
use crate::settings::Settings;
use crate::stop::Stop;

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
    care: Care,
    batch_max: usize,
    label_offset: i64,
}

impl Source {
    /// Begins to read at the given positions of the transactions topic, and at an offset of the labels.
    pub fn open(
        settings: &Settings,
        positions: &[Position],
        label_offset: i64,
        care: Care,
        quarantined: HashSet<Place>,
    ) -> Result<Self, StreamError> {
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
            reader: Reader::new(settings, quarantined)?,
            care,
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
            let mut chunk = match self.empty_chunk(empty)? {
                Ok(chunk) => chunk,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            chunk.label_offset = self.label_offset;
            while chunk.is_empty() && !stop.is_set() {
                self.fill(&mut chunk, metrics)?;
            }
            self.label_offset = chunk.label_offset;
            self.care.deciding(&chunk)?;
            if !hand_over(chunk, chunks, stop) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A chunk to fill. While suspects are taken there is one, and whoever has it has the only record in work.
    fn empty_chunk(
        &mut self,
        empty: &Receiver<Chunk>,
    ) -> Result<Result<Chunk, RecvTimeoutError>, StreamError> {
        if let Some(chunk) = self.care.chunk() {
            return Ok(Ok(chunk));
        }
        let mut chunk = empty.recv_timeout(STOP_CHECK);
        if let Ok(chunk) = &mut chunk {
            chunk.clear();
            self.care.idle()?;
            self.care.end_if_over(false)?;
        }
        Ok(chunk)
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
            let Ok(mut chunk) = self.empty_chunk(empty)? else { continue };
            let records = match labels.poll(self.care.at_most(self.batch_max), POLL_MS)? {
                Polled::Records(records) => records,
                Polled::Trouble(_) => 0,
            };
            for at in 0..records {
                let message = labels.message(at);
                self.care.decoding(true, message.partition, message.offset)?;
                self.reader.label(&message, &mut chunk);
            }
            chunk.label_offset = chunk.label_offset.max(self.label_offset);
            self.label_offset = chunk.label_offset;
            if records > 0 {
                self.care.deciding(&chunk)?;
            }
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
        let most = self.care.at_most(self.batch_max);
        let wait = loop {
            if self.care.is_on() && !chunk.is_empty() {
                break IDLE;
            }
            let lagging = self.refill(chunk, metrics)?;
            if lagging && chunk.is_empty() {
                break LAGGING;
            }
            if lagging || merge(&mut self.held, chunk, most) != Merged::Dry {
                if chunk.is_empty() {
                    // Nobody has brought more than there was: no suspect is left.
                    self.care.end_if_over(true)?;
                }
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
        for at in 0..polled(&mut self.lanes, lane, self.care.at_most(self.batch_max), metrics)? {
            let message = self.lanes.message(lane, at);
            if message.offset >= self.label_offset {
                self.care.decoding(true, message.partition, message.offset)?;
                self.reader.label(&message, chunk);
            }
        }
        Ok(())
    }

    /// Decodes what has come for the empty lanes; returns whether one stays empty although more is on its way.
    fn refill(&mut self, chunk: &mut Chunk, metrics: &Metrics) -> Result<bool, StreamError> {
        let most = (HELD_CHUNKS * self.batch_max / self.held.len().max(1)).clamp(HELD_MIN, self.batch_max);
        let most = self.care.at_most(most);
        let mut lagging = false;
        let (patience, now) = (patience(&self.held, now_micros()), Instant::now());
        for (lane, held) in self.held.iter_mut().enumerate().filter(|(_, held)| held.is_empty()) {
            let records = polled(&mut self.lanes, lane, most, metrics)?;
            if records > 0 {
                let into = held.refill();
                for at in 0..records {
                    let message = self.lanes.message(lane, at);
                    self.care.decoding(false, message.partition, message.offset)?;
                    self.reader.transaction(&message, into);
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
