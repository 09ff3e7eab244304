//! The loop that every sink runs: read a batch, write it with its position, again; and what happens on errors.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::status::{Shared, SinkError, SinkState};
use crate::kafka::{KafkaError, KafkaSettings};
use crate::log_reader::{LogReader, LogRecord};
use crate::stop::Stop;
use crate::tail::Tail;

/// Longest wait for the first record of a batch: how soon the stop flag is seen.
const IDLE_MS: u64 = 100;
/// How often an idle or a lagging sink asks where the log ends.
const END_EVERY: Duration = Duration::from_secs(5);

/// Where a sink begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At this offset: it has been here before.
    At(i64),
    /// Nothing was ever written: this many records before the end of the log, at most.
    Fresh(i64),
}

/// What a sink reads.
#[derive(Clone, Debug)]
pub(super) struct Log {
    kafka: KafkaSettings,
    /// Its name.
    pub topic: String,
    tail: Option<Arc<Tail>>,
}

impl Log {
    /// A topic, and what this process holds of it.
    pub fn new(kafka: &KafkaSettings, topic: &str, tail: Option<&Arc<Tail>>) -> Self {
        Self { kafka: kafka.clone(), topic: topic.to_owned(), tail: tail.cloned() }
    }

    fn open(&self, next: i64) -> Result<LogReader, KafkaError> {
        Ok(LogReader::open(&self.kafka, &self.topic, next)?.with_tail(self.tail.clone()))
    }
}

/// What a batch held, counted while it was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub rows: u64,
    pub skipped: u64,
    pub fenced: u64,
    pub refused: u64,
    pub profiles_skipped: u64,
}

/// Where a sink writes to. Methods may block for seconds, never for ever.
pub(super) trait Writer {
    /// Most records of a batch, and the longest wait for them.
    fn batch(&self) -> (usize, Duration);
    /// Connects if there is no connection, and says where to read on. What was in hand is dropped.
    fn resume(&mut self) -> Result<Start, SinkError>;
    /// The first position, for [`Start::Fresh`]: written unless somebody has written one meanwhile.
    fn begin(&mut self, at: i64) -> Result<(), SinkError>;
    /// Takes a record into the batch in hand.
    fn take(&mut self, record: LogRecord<'_>);
    /// Whether the batch in hand should be written although it has fewer records than the most.
    fn full(&self) -> bool;
    /// Writes the batch in hand and moves the position. After an error the batch is still in hand; after
    /// [`SinkError::Moved`] it is worth nothing.
    fn flush(&mut self, from: i64, to: i64) -> Result<Counts, SinkError>;
}

/// Pauses that double between attempts, from the kind of error.
#[derive(Debug, Default)]
struct Backoff(u32);

impl Backoff {
    fn wait(&mut self, error: &SinkError, shared: &Shared, stop: &Stop) {
        let (first, longest) = error.retry().pauses();
        let pause = (first * 2_u32.saturating_pow(self.0.min(10))).min(longest);
        // Said once per outage at warning level; the status carries the newest text.
        if self.0 == 0 {
            tracing::warn!(target: "sink", sink = shared.get().sink, %error, "a sink does not get on and tries again");
        }
        self.0 += 1;
        shared.update(|status| {
            status.state = SinkState::Retrying;
            status.retries += 1;
            status.last_error = Some(error.to_string());
        });
        stop.sleep(pause);
    }
}

/// Runs until the stop flag is set.
pub(super) fn run<W: Writer>(mut writer: W, log: &Log, shared: &Shared, stop: &Stop) {
    let mut backoff = Backoff::default();
    while !stop.is_set() {
        let done = open(&mut writer, log, shared)
            .and_then(|reader| pump(&mut writer, reader, shared, stop, &mut backoff));
        match done {
            Ok(()) => break,
            Err(SinkError::Moved { expected }) => {
                tracing::info!(target: "sink", expected, "the position has moved; reading it anew");
            }
            Err(error) => backoff.wait(&error, shared, stop),
        }
    }
    shared.update(|status| status.state = SinkState::Stopped);
}

/// Finds the position and opens the reader there.
fn open<W: Writer>(writer: &mut W, log: &Log, shared: &Shared) -> Result<LogReader, SinkError> {
    let next = match writer.resume()? {
        Start::At(next) => next,
        Start::Fresh(back) => {
            let (low, high) = LogReader::ends(&log.kafka, &log.topic)?;
            writer.begin(low.max(high.saturating_sub(back)))?;
            match writer.resume()? {
                Start::At(next) => next,
                Start::Fresh(_) => return Err(SinkError::Moved { expected: low }),
            }
        }
    };
    let opened = match log.open(next) {
        Err(KafkaError::OffsetOutOfRange { offset, low, .. }) if offset < low => {
            // The outage was longer than the broker keeps the log. Going on is all that is left; the hole is told.
            tracing::error!(target: "sink", topic = %log.topic, from = offset, to = low, "the broker has dropped records that were not written yet");
            shared.update(|status| status.lost += (low - offset) as u64);
            writer.flush(offset, low)?;
            log.open(low)
        }
        other => other,
    }?;
    shared.update(|status| {
        status.next_offset = opened.next();
        status.lag_records = opened.lag();
        status.state = SinkState::Running;
    });
    Ok(opened)
}

/// Reads and writes until the stop flag is set or the position has to be found anew.
fn pump<W: Writer>(
    writer: &mut W,
    mut reader: LogReader,
    shared: &Shared,
    stop: &Stop,
    backoff: &mut Backoff,
) -> Result<(), SinkError> {
    let mut asked = Instant::now();
    while !stop.is_set() {
        let from = reader.next();
        let newest_ms = gather(writer, &mut reader, stop)?;
        if asked.elapsed() >= END_EVERY {
            asked = Instant::now();
            // Only a display depends on it; the reader reports an outage by itself.
            let _unknown = reader.refresh_end();
        }
        if reader.next() == from {
            report_idle(&reader, shared);
            continue;
        }
        let counts = loop {
            match writer.flush(from, reader.next()) {
                Ok(counts) => break counts,
                Err(error @ SinkError::Moved { .. }) => return Err(error),
                Err(error) => backoff.wait(&error, shared, stop),
            }
            if stop.is_set() {
                return Ok(());
            }
        };
        backoff.0 = 0;
        report(&reader, newest_ms, counts, shared);
    }
    Ok(())
}

/// Fills the batch in hand; returns the time of its newest record.
fn gather<W: Writer>(writer: &mut W, reader: &mut LogReader, stop: &Stop) -> Result<i64, SinkError> {
    let (max, wait) = writer.batch();
    let (mut taken, mut newest_ms) = (0, -1);
    let mut end = None;
    while taken < max && !writer.full() && !stop.is_set() {
        let left = match end {
            None => Duration::from_millis(IDLE_MS),
            Some(end) => wait.min(Instant::now().max(end) - Instant::now()),
        };
        if end.is_some() && left.is_zero() {
            break;
        }
        // Rounded up: a wait of zero would spin until the end is reached.
        let count = reader.poll(max - taken, (left.as_millis() as i32).max(1))?;
        for at in 0..count {
            let record = reader.record(at);
            newest_ms = record.timestamp_ms;
            writer.take(record);
        }
        if end.is_none() {
            if count == 0 {
                break;
            }
            end = Some(Instant::now() + wait);
        }
        taken += count;
    }
    Ok(newest_ms)
}

fn report(reader: &LogReader, newest_ms: i64, counts: Counts, shared: &Shared) {
    let lag = reader.lag();
    shared.update(|status| {
        status.state = SinkState::Running;
        status.next_offset = reader.next();
        status.lag_records = lag;
        status.lag_seconds = if lag == 0 || newest_ms < 0 { 0.0 } else { age_seconds(newest_ms) };
        status.rows_written += counts.rows;
        status.batches += 1;
        status.skipped += counts.skipped;
        status.fenced += counts.fenced;
        status.refused += counts.refused;
        status.profiles_skipped += counts.profiles_skipped;
        status.last_error = None;
    });
}

fn report_idle(reader: &LogReader, shared: &Shared) {
    shared.update(|status| {
        status.lag_records = reader.lag();
        status.last_error = reader.trouble().map(str::to_owned);
        if status.lag_records == 0 {
            status.lag_seconds = 0.0;
        }
    });
}

fn age_seconds(millis: i64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    (now - millis as f64 / 1e3).max(0.0)
}
