//! The loop that every sink runs: read a batch, write it with its position, again; and what happens on errors.

use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
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
    /// Goes on gathering where another writer of the same sink has stopped; what was in hand is dropped.
    fn follow(&mut self, other: &Self);
    /// Drops what is in hand.
    fn forget(&mut self);
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

/// Runs until the stop flag is set. With a second writer, one gathers a batch while the other writes.
pub(super) fn run<W: Writer + Send>(
    mut first: W,
    mut second: Option<W>,
    log: &Log,
    shared: &Shared,
    stop: &Stop,
) {
    let mut backoff = Backoff::default();
    while !stop.is_set() {
        if let Some(second) = &mut second {
            second.forget();
        }
        let done = open(&mut first, log, shared).and_then(|reader| {
            backoff.0 = 0;
            std::thread::scope(|scope| Pump { reader, shared, stop, scope }.run(&mut first, second.as_mut()))
        });
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

/// A batch that is being written by a thread of its own, which gives the writer back.
type Writing<'scope, W> = ScopedJoinHandle<'scope, (&'scope mut W, Result<Option<Counts>, SinkError>)>;

/// Reads and writes until the stop flag is set or the position has to be found anew.
struct Pump<'scope, 'env: 'scope> {
    reader: LogReader,
    shared: &'env Shared,
    stop: &'env Stop,
    scope: &'scope Scope<'scope, 'env>,
}

/// Where a batch ends, and the time of its newest record.
type End = (i64, i64);

impl<'scope, 'env: 'scope> Pump<'scope, 'env> {
    fn run<W: Writer + Send>(
        &mut self,
        first: &'scope mut W,
        second: Option<&'scope mut W>,
    ) -> Result<(), SinkError> {
        let (mut current, mut free) = (Some(first), second);
        let mut writing: Option<(Writing<'scope, W>, End)> = None;
        let mut asked = Instant::now();
        while !self.stop.is_set() {
            let Some(writer) = current.take() else { break };
            let from = self.reader.next();
            let newest_ms = gather(writer, &mut self.reader, self.stop)?;
            if asked.elapsed() >= END_EVERY {
                asked = Instant::now();
                // Only a display depends on it; the reader reports an outage by itself.
                let _unknown = self.reader.refresh_end();
            }
            // One batch is written after the other: each moves the position from where the last one left it.
            if let Some((thread, end)) = writing.take() {
                free = Some(self.written(thread, end)?);
            }
            let end = (self.reader.next(), newest_ms);
            if end.0 == from {
                report_idle(&self.reader, self.shared);
                current = Some(writer);
                continue;
            }
            if let Some(next) = &mut free {
                next.follow(writer);
            }
            let (shared, stop) = (self.shared, self.stop);
            let thread = self.scope.spawn(move || {
                let done = write(writer, from, end.0, shared, stop);
                (writer, done)
            });
            current = match free.take() {
                Some(next) => {
                    writing = Some((thread, end));
                    Some(next)
                }
                None => Some(self.written(thread, end)?),
            };
        }
        writing.map_or(Ok(()), |(thread, end)| self.written(thread, end).map(|_| ()))
    }

    /// Waits until a batch is written, and tells.
    fn written<W: Writer>(
        &self,
        thread: Writing<'scope, W>,
        (to, newest_ms): End,
    ) -> Result<&'scope mut W, SinkError> {
        let (writer, done) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Some(counts) = done? {
            report(&self.reader, to, newest_ms, counts, self.shared);
        }
        Ok(writer)
    }
}

/// Writes the batch in hand, however often it takes; `None` when told to stop before it was done.
fn write<W: Writer>(
    writer: &mut W,
    from: i64,
    to: i64,
    shared: &Shared,
    stop: &Stop,
) -> Result<Option<Counts>, SinkError> {
    let mut backoff = Backoff::default();
    loop {
        match writer.flush(from, to) {
            Ok(counts) => return Ok(Some(counts)),
            Err(error @ SinkError::Moved { .. }) => return Err(error),
            Err(error) => backoff.wait(&error, shared, stop),
        }
        if stop.is_set() {
            return Ok(None);
        }
    }
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

fn report(reader: &LogReader, to: i64, newest_ms: i64, counts: Counts, shared: &Shared) {
    // What is in the other hand is not written yet.
    let lag = reader.lag() + (reader.next() - to) as u64;
    shared.update(|status| {
        status.state = SinkState::Running;
        status.next_offset = to;
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
