//! The last thread: what decided chunks send (see [`encoder`](super::encoder)) goes out and is acknowledged.
//!
//! An alert is sent when its decision is acknowledged, never before: a crash must not leave an alert on a decision
//! that is not in the log, because the transaction would be decided, and alerted, again.
//!
//! The dead letters of a chunk are acknowledged before its decisions are sent: a restart goes on behind the last
//! recorded decision, and would never come back to a refused record before it.
//!
//! What is in flight is bounded: when the broker does not acknowledge, this thread waits, the bounded channels
//! fill, and the source stops reading.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::StreamError;
use super::chunk::Chunk;
use super::delivery::{ALERTS, DEAD_LETTERS, DECISIONS, Delivery, TOPICS};
use super::encoder::Encoder;
use super::recovery;
use crate::kafka::{Delivery as Delivered, Producer, Record};
use crate::metrics::{Metrics, Stage, now_micros};
use crate::settings::Settings;
use crate::stop::Stop;
use crate::tail::TailWriter;

/// How long this thread waits for a chunk before it looks for acknowledgements.
const IDLE: Duration = Duration::from_millis(2);
/// How long a wait for acknowledgements lasts before a stop is looked for.
const ACKNOWLEDGE_MS: i32 = 20;

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
    /// Where acknowledged decisions are kept.
    tail: TailWriter,
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
        tail: TailWriter,
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
        let mut counts = self.encoder.counts();
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
        let (tail, now_ms) = (&mut self.tail, now_micros() / 1_000);
        tail.begin(expected[DECISIONS], now_ms);
        self.producer.deliveries(wait_ms, |Delivered { topic, offset, value, .. }| {
            // The client does not learn the offset of a record that the broker turned out to have already.
            if offset >= 0 && offset != expected[topic] {
                gaps.push((topic, expected[topic], offset));
                expected[topic] = offset;
                if topic == DECISIONS {
                    tail.begin(offset, now_ms);
                }
            }
            expected[topic] += 1;
            records[topic] += 1;
            offsets[topic] = Some(expected[topic]);
            if topic == DECISIONS {
                tail.push(value);
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
        self.tail.flush();
        self.acknowledged = position;
        self.delivery.acknowledged(records, offsets, &found);
        self.send_alerts()?;
        self.metrics.delivered.fetch_add(records[DECISIONS], Relaxed);
        self.metrics.in_flight.store(self.delivery.in_flight(), Relaxed);
        Ok(())
    }
}
