//! The transactions that were handed to the stream and are not decided yet, with who waits for them.
//!
//! Within one partition the stream takes records in order. So a record is settled when a later one of its partition is
//! decided: if it was not decided itself, the stream has set it aside as a dead letter, and nobody need wait.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use fraudengine_core::event::Transaction;

use super::calls::Target;

/// How long an id that nobody decides counts as in flight, beyond the time that its waiters wait.
const KEPT: Duration = Duration::from_secs(60);

/// Somebody who waits.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// Tells the waiters of all transactions apart.
    pub number: u64,
    /// Where the answer goes.
    pub target: Target,
    /// Whether the id was asked for before.
    pub repeated: bool,
}

/// One transaction.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The transaction.
    pub row: Transaction,
    /// Its id as text.
    pub id: String,
    /// When it was handed over.
    pub since: Instant,
    /// Who waits.
    pub waiters: Vec<Waiter>,
    /// Partition and offset, once the broker has it.
    pub place: Option<(i32, i64)>,
}

impl Entry {
    /// Of a transaction that is being handed over.
    pub const fn new(row: Transaction, id: String, since: Instant) -> Self {
        Self { row, id, since, waiters: Vec::new(), place: None }
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct InFlight {
    kept: Duration,
    by_id: HashMap<u64, Entry>,
    /// In the order in which they were handed over; some are settled already.
    order: VecDeque<(Instant, u64)>,
    /// By partition: offset and id of those that the broker has, ascending.
    with_broker: HashMap<i32, VecDeque<(i64, u64)>>,
    /// By partition: the newest offset that was decided.
    decided: HashMap<i32, i64>,
}

impl InFlight {
    /// None yet; nobody waits longer than `patience`.
    pub fn new(patience: Duration) -> Self {
        Self {
            kept: KEPT + patience,
            by_id: HashMap::new(),
            order: VecDeque::new(),
            with_broker: HashMap::new(),
            decided: HashMap::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The transaction of an id.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        self.by_id.get_mut(&id)
    }

    /// Takes in a transaction.
    pub fn insert(&mut self, entry: Entry) {
        let id = entry.row.id.get();
        self.order.push_back((entry.since, id));
        self.by_id.insert(id, entry);
    }

    /// Forgets one.
    pub fn remove(&mut self, id: u64) -> Option<Entry> {
        self.by_id.remove(&id)
    }

    /// How long the oldest has been under way; those that nobody decides are forgotten some time later.
    pub fn oldest(&mut self, now: Instant) -> Option<Duration> {
        while let Some(&(since, id)) = self.order.front() {
            let age = now.saturating_duration_since(since);
            if self.by_id.get(&id).is_some_and(|entry| entry.since == since) {
                if age < self.kept {
                    return Some(age);
                }
                self.by_id.remove(&id);
            }
            self.order.pop_front();
        }
        None
    }

    /// The broker has a transaction; returns it if the stream has already passed it by.
    pub fn delivered(&mut self, id: u64, partition: i32, offset: i64) -> Option<Entry> {
        let entry = self.by_id.get_mut(&id)?;
        entry.place = Some((partition, offset));
        if self.decided.get(&partition).is_some_and(|&decided| decided >= offset) {
            return self.by_id.remove(&id);
        }
        let queue = self.with_broker.entry(partition).or_default();
        // What was forgotten meanwhile is at the front.
        while queue.front().is_some_and(|(_, id)| !self.by_id.contains_key(id)) {
            queue.pop_front();
        }
        queue.push_back((offset, id));
        None
    }

    /// A record of a partition was decided; adds those that it has passed by to `passed`.
    pub fn settle(&mut self, partition: i32, offset: i64, passed: &mut Vec<Entry>) {
        let newest = self.decided.entry(partition).or_insert(-1);
        *newest = (*newest).max(offset);
        let Some(queue) = self.with_broker.get_mut(&partition) else { return };
        while let Some(&(at, id)) = queue.front().filter(|(at, _)| *at <= offset) {
            queue.pop_front();
            let here = |entry: &Entry| entry.place == Some((partition, at));
            if self.by_id.get(&id).is_some_and(here) {
                passed.extend(self.by_id.remove(&id));
            }
        }
    }
}
