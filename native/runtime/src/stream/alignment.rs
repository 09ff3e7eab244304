//! The partitions of the transactions, merged by event time.
//!
//! A backlog is read as fast as the broker sends it, and it sends one partition's day before another one's hour. Taken
//! in that order, the partition that lags behind would look late: decided, but in no window. So each partition has a
//! lane, and the next transaction is always the earliest of those at the lanes' heads, as Kafka Streams chooses
//! its next record. A lane that is empty although its partition holds more is waited for, a little; one that has
//! been read to its end is not, so that live traffic never waits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::chunk::{Chunk, Row};

/// How long the others wait in a backlog for a partition that has records but does not bring them: its broker is
/// away, or what is left of it are marks of producers' transactions.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long in live traffic, where nobody can look late.
const PATIENCE_LIVE: Duration = Duration::from_millis(4);
/// Records that the broker got within this time are live traffic.
const LIVE_MICROS: i64 = 1_000_000;

/// Records of one partition, decoded and not handed on yet.
#[derive(Debug, Default)]
pub struct Held {
    records: Chunk,
    row: usize,
}

impl Held {
    /// Empties it for new records.
    pub fn refill(&mut self) -> &mut Chunk {
        self.records.clear();
        self.row = 0;
        &mut self.records
    }

    /// Whether all rows are handed on.
    pub const fn is_empty(&self) -> bool {
        self.row == self.records.rows.len()
    }

    /// When the broker got the row at the head, microseconds since 1970; `None` without a row.
    fn received(&self) -> Option<i64> {
        self.records.rows.get(self.row).map(|row| row.origin.time_micros)
    }

    fn time(&self, row: usize) -> i64 {
        self.records.transactions[row].time.0
    }

    /// Hands on the rows before `until`, and what was refused before the row that then comes next.
    pub fn hand_on(&mut self, until: usize, to: &mut Chunk) {
        let records = &mut self.records;
        if let (Some(first), Some(last)) = (records.rows.get(self.row), records.rows[..until].last())
            && self.row < until
        {
            let (from, base) = (first.start, to.bytes.len());
            let end = last.start + last.length as usize + usize::from(last.customer_length);
            to.bytes.extend_from_slice(&records.bytes[from..end]);
            let moved = |row: &Row| Row { start: row.start - from + base, ..*row };
            to.rows.extend(records.rows[self.row..until].iter().map(moved));
            to.transactions.extend_from_slice(&records.transactions[self.row..until]);
        }
        self.row = until;
        if !records.refused.is_empty() {
            // Not before the rows in front of them: where they are, the partition is taken to be done.
            let next = records.rows.get(until).map_or(i64::MAX, |row| row.origin.offset);
            let count = records.refused.partition_point(|refused| refused.origin.offset < next);
            to.refused.extend(records.refused.drain(..count));
        }
    }
}

/// Why merging stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The chunk has the most rows it may have.
    Full,
    /// A lane has become empty: only its next record tells who is next.
    Dry,
    /// All lanes are empty.
    Done,
}

/// Moves rows to the chunk in the order of their event times (among equal ones, of their lanes) until it has `max`.
pub fn merge(lanes: &mut [Held], to: &mut Chunk, max: usize) -> Merged {
    let heads = lanes.iter().enumerate().filter(|(_, held)| !held.is_empty());
    let mut heads: BinaryHeap<_> = heads.map(|(lane, held)| Reverse((held.time(held.row), lane))).collect();
    while let Some(Reverse((_, lane))) = heads.pop() {
        let room = max.saturating_sub(to.rows.len());
        if room == 0 {
            return Merged::Full;
        }
        let held = &mut lanes[lane];
        let end = held.records.rows.len().min(held.row + room);
        // All that comes before the next lane's head: in a quiet hour of the others, many at once.
        let mut until = held.row + 1;
        if let Some(&Reverse(other)) = heads.peek() {
            while until < end && (held.time(until), lane) < other {
                until += 1;
            }
        } else {
            until = end;
        }
        held.hand_on(until, to);
        if held.is_empty() {
            return Merged::Dry;
        }
        heads.push(Reverse((held.time(held.row), lane)));
    }
    Merged::Done
}

/// How long the rows at the heads may wait for an empty lane.
pub fn patience(lanes: &[Held], now_micros: i64) -> Duration {
    let oldest = lanes.iter().filter_map(Held::received).min();
    if oldest.is_some_and(|oldest| oldest < now_micros - LIVE_MICROS) { PATIENCE } else { PATIENCE_LIVE }
}

/// Whether an empty lane is worth waiting for.
#[derive(Debug, Default)]
pub struct Expectation {
    /// Offset after the last record that was taken.
    next: i64,
    /// Offset after the partition's last record, as far as is known.
    end: i64,
    since: Option<Instant>,
    /// The end that was waited for in vain.
    given_up: i64,
}

impl Expectation {
    /// A lane that begins at `next` in a partition that ends at `end`.
    pub const fn new(next: i64, end: i64) -> Self {
        Self { next, end, since: None, given_up: -1 }
    }

    /// Notes that the record before `next` was taken.
    pub const fn took(&mut self, next: i64) {
        self.next = next;
        self.since = None;
    }

    /// Whether more is on its way; `heard` is the newest word of the partition's end. Not for longer than `patience`.
    pub fn expects_more(&mut self, heard: Option<i64>, now: Instant, patience: Duration) -> bool {
        self.end = self.end.max(heard.unwrap_or(0));
        if self.end <= self.next || self.end == self.given_up {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < patience {
            return true;
        }
        tracing::debug!(
            next = self.next,
            end = self.end,
            ?patience,
            "a partition does not bring what it has"
        );
        self.given_up = self.end;
        self.since = None;
        false
    }
}

#[cfg(test)]
#[path = "alignment_tests.rs"]
mod tests;
