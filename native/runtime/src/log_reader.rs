//! An ordered reader of a topic of one partition: `decisions`, `alerts`, `dead-letter`, `labels`.
//!
//! It reads from an offset that its user keeps, hands out records in batches, and keeps the promises that a log
//! needs: an offset that the broker no longer has is an error with both ends of the log, never a silent jump;
//! gaps between offsets are normal; a consumer that has stopped although there is more to read is made anew.
//! [`GenerationRule`] leaves out what a process that had already been replaced has written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::{Consumer, KafkaError, KafkaSettings, Polled, Position};
use crate::tail::{Block, Found, Tail};

/// Silence after which the end of the log is asked for, to tell "nothing new" from "stuck".
const STALL: Duration = Duration::from_secs(10);
/// Longest pause between two rebuilds that brought nothing.
const STALL_MAX: Duration = Duration::from_secs(300);
/// How long the broker may take to say where a log begins and ends.
const ASK_TIMEOUT_MS: i32 = 5_000;

/// One record; it lives until the next poll.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    /// Its offset.
    pub offset: i64,
    /// When it was written, milliseconds since 1970; -1: not known.
    pub timestamp_ms: i64,
    /// Its value.
    pub value: &'a [u8],
}

/// See the module's text. Used by one thread at a time.
#[derive(Debug)]
pub struct LogReader {
    settings: KafkaSettings,
    topic: String,
    /// What is kept of the topic in this process.
    tail: Option<Arc<Tail>>,
    source: Source,
    next: i64,
    /// Offset behind the last record, as far as was heard.
    high: i64,
    moved: Instant,
    patience: Duration,
    rebuilt: u64,
    trouble: Option<String>,
}

/// Where the records of the last poll are.
#[derive(Debug)]
enum Source {
    Topic(Consumer),
    /// In a block of the tail, from an offset on.
    Tail(Arc<Block>, i64),
}

impl LogReader {
    /// First offset of a topic's log and the offset behind its last record.
    pub fn ends(settings: &KafkaSettings, topic: &str) -> Result<(i64, i64), KafkaError> {
        Consumer::idle(settings)?.handle().watermarks(topic, 0, ASK_TIMEOUT_MS)
    }

    /// A reader whose first record is the first one at or behind `next`.
    ///
    /// Fails with [`KafkaError::OffsetOutOfRange`] where the log begins later or ends earlier.
    pub fn open(settings: &KafkaSettings, topic: &str, next: i64) -> Result<Self, KafkaError> {
        let (consumer, high) = connect(settings, topic, next)?;
        Ok(Self {
            settings: settings.clone(),
            topic: topic.to_owned(),
            tail: None,
            source: Source::Topic(consumer),
            next,
            high,
            moved: Instant::now(),
            patience: STALL,
            rebuilt: 0,
            trouble: None,
        })
    }

    /// Takes what this process still holds of the topic from there instead of from the broker.
    #[must_use]
    pub fn with_tail(mut self, tail: Option<Arc<Tail>>) -> Self {
        self.tail = tail;
        self
    }

    /// Waits up to `timeout_ms` for records and returns how many came, at most `max`. Those of the last poll are gone.
    pub fn poll(&mut self, max: usize, timeout_ms: i32) -> Result<usize, KafkaError> {
        if let Some(count) = self.poll_tail(max, timeout_ms) {
            return Ok(count);
        }
        let consumer = match &mut self.source {
            Source::Topic(consumer) => consumer,
            Source::Tail(..) => {
                tracing::debug!(target: "kafka", topic = %self.topic, next = self.next, "a reader fell behind the tail");
                self.source = Source::Topic(connect(&self.settings, &self.topic, self.next)?.0);
                return Ok(0);
            }
        };
        let count = match consumer.poll(max, timeout_ms)? {
            Polled::Records(count) => count,
            Polled::Trouble(reason) => {
                self.trouble = Some(reason);
                0
            }
        };
        if count > 0 {
            self.next = consumer.message(count - 1).offset + 1;
            let heard = consumer.handle().end_heard(&self.topic, 0);
            self.high = self.high.max(self.next).max(heard.unwrap_or(0));
            self.moved = Instant::now();
            self.patience = STALL;
            self.trouble = None;
        } else if self.moved.elapsed() >= self.patience {
            self.look_after()?;
        }
        Ok(count)
    }

    /// Takes records from the tail; `None` where it does not hold the next one.
    fn poll_tail(&mut self, max: usize, timeout_ms: i32) -> Option<usize> {
        let tail = self.tail.as_ref()?;
        // At the tail's end a reader of the topic still waits there: what comes first may not be ours.
        let on_tail = matches!(self.source, Source::Tail(..));
        let timeout = if on_tail { Duration::from_millis(timeout_ms.max(0) as u64) } else { Duration::ZERO };
        match tail.find(self.next, timeout) {
            Found::Block(block) => {
                let (from, until) = (self.next, block.end().min(self.next.saturating_add(max as i64)));
                self.next = until;
                self.high = tail.end();
                self.moved = Instant::now();
                self.trouble = None;
                // This ends a consumer, with what it has read ahead.
                self.source = Source::Tail(block, from);
                Some((until - from) as usize)
            }
            Found::End if on_tail => Some(0),
            Found::End | Found::Elsewhere => None,
        }
    }

    /// A record of the last poll.
    pub fn record(&mut self, at: usize) -> LogRecord<'_> {
        match &self.source {
            Source::Topic(consumer) => {
                let message = consumer.message(at);
                LogRecord { offset: message.offset, timestamp_ms: message.timestamp_ms, value: message.value }
            }
            Source::Tail(block, from) => {
                let offset = from + at as i64;
                LogRecord { offset, timestamp_ms: block.time_ms(), value: block.record(offset) }
            }
        }
    }

    /// Offset of the next record.
    pub const fn next(&self) -> i64 {
        self.next
    }

    /// Records that are known to follow. Refreshed by [`refresh_end`](Self::refresh_end).
    pub fn lag(&self) -> u64 {
        u64::try_from(self.high - self.next).unwrap_or(0)
    }

    /// Asks the broker where the log ends now.
    pub fn refresh_end(&mut self) -> Result<(), KafkaError> {
        self.high = match (&self.source, &self.tail) {
            (Source::Topic(consumer), _) => consumer.handle().watermarks(&self.topic, 0, ASK_TIMEOUT_MS)?.1,
            (Source::Tail(..), Some(tail)) => tail.end(),
            (Source::Tail(..), None) => self.high,
        };
        Ok(())
    }

    /// How often a stuck consumer was made anew.
    pub const fn rebuilt(&self) -> u64 {
        self.rebuilt
    }

    /// What the client last complained about, until records come again.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Nothing came for a while: is there something to come?
    fn look_after(&mut self) -> Result<(), KafkaError> {
        self.moved = Instant::now();
        if let Err(error) = self.refresh_end() {
            // The broker is away: waiting is right, and the client reconnects by itself.
            self.trouble = Some(error.to_string());
            return Ok(());
        }
        if self.high <= self.next {
            self.trouble = None;
            return Ok(());
        }
        tracing::warn!(target: "kafka", topic = %self.topic, next = self.next, end = self.high, "the reader is stuck and is made anew");
        self.source = Source::Topic(connect(&self.settings, &self.topic, self.next)?.0);
        self.rebuilt += 1;
        // The rest of the log may hold no records at all (only a transaction's marks): do not spin on it.
        self.patience = (self.patience * 2).min(STALL_MAX);
        Ok(())
    }
}

fn connect(settings: &KafkaSettings, topic: &str, next: i64) -> Result<(Consumer, i64), KafkaError> {
    let mut consumer = Consumer::idle(settings)?;
    // Asked before anything is read: a client that is closed while it hears that its offset is gone can wait
    // for itself for ever.
    let (low, high) = consumer.handle().watermarks(topic, 0, ASK_TIMEOUT_MS)?;
    if !(low..=high).contains(&next) {
        return Err(KafkaError::OffsetOutOfRange {
            topic: topic.to_owned(),
            partition: 0,
            offset: next,
            low,
            high,
        });
    }
    consumer.assign(&[Position { topic: topic.to_owned(), partition: 0, offset: next }])?;
    Ok((consumer, high))
}

/// Which records count: those of the newest process that has announced itself, see `log.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GenerationRule {
    highest: i64,
    skipped: u64,
}

impl GenerationRule {
    /// Goes on where a reader stood that had come to this generation; 0 for one that begins.
    pub const fn resume(highest: i64) -> Self {
        Self { highest, skipped: 0 }
    }

    /// Takes notice of a marker.
    pub fn marker(&mut self, offset: i64) {
        self.highest = self.highest.max(offset);
    }

    /// Whether a record with this generation counts.
    pub fn admits(&mut self, generation: i64) -> bool {
        let admitted = generation >= self.highest;
        if admitted {
            // Higher: its marker lies before the place where this reader began.
            self.highest = generation;
        } else {
            self.skipped += 1;
        }
        admitted
    }

    /// Highest generation so far: what a reader keeps beside its offset.
    pub const fn highest(&self) -> i64 {
        self.highest
    }

    /// Records left out so far.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_process_is_not_heard() {
        let mut rule = GenerationRule::default();
        rule.marker(0);
        assert!(rule.admits(0));
        rule.marker(7);
        assert!(rule.admits(7));
        assert!(!rule.admits(0));
        assert!(rule.admits(7));
        assert_eq!((rule.highest(), rule.skipped()), (7, 1));
    }

    #[test]
    fn a_reader_that_begins_in_the_middle_learns_the_generation() {
        let mut rule = GenerationRule::default();
        assert!(rule.admits(40));
        assert!(!rule.admits(12));
        let mut resumed = GenerationRule::resume(rule.highest());
        assert!(!resumed.admits(12));
    }
}
