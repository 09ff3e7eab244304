//! Who waits for which decision, and until when.
//!
//! Three threads meet here: the one that takes calls in, the follower that sees decisions pass by, and the one that
//! carries answers away. Nothing here blocks; every lock is held for microseconds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fraudengine_core::event::Transaction;

use super::answer;
use super::in_flight::{Entry, InFlight, Waiter};
use super::settings::ServeSettings;
use crate::kept::Kept;
use crate::scoring::{Answer, degraded, encode_batch, encode_response, repeated};
use crate::stream::rebuild::Taken;

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the call with this ticket.
    Call(u64),
    /// To the batch with this ticket, at this place.
    Batch(u64, usize),
}

/// A call that the stream does not answer.
#[derive(Clone, Debug)]
pub struct Overdue {
    /// The transaction.
    pub row: Transaction,
    /// Its id as text.
    pub id: String,
    /// Where the answer goes.
    pub target: Target,
    /// Number of the reason.
    pub why: u8,
}

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// It was answered before.
    Known(Vec<u8>),
    /// It waits.
    Waits,
    /// It waits, and its transaction is to be handed to the stream.
    Send,
}

/// What was answered so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answers that are the stream's decisions.
    pub decided: AtomicU64,
    /// Answers given again.
    pub repeated: AtomicU64,
    /// Answers without the stream, by the number of the reason.
    pub degraded: [AtomicU64; degraded::NAMES.len()],
}

#[derive(Debug)]
struct Batch {
    answers: Vec<Option<Answer>>,
    left: usize,
}

/// When somebody is due, their number, the id they wait for.
type Due = Reverse<(Instant, u64, u64)>;

#[derive(Debug)]
struct Inner {
    in_flight: InFlight,
    kept: Kept,
    due: BinaryHeap<Due>,
    overdue: Vec<Overdue>,
    done: Vec<(u64, Vec<u8>)>,
    batches: HashMap<u64, Batch>,
    next_waiter: u64,
    /// Until when the thread that carries answers away sleeps; none: it is awake.
    sleeps_until: Option<Instant>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Calls {
    inner: Mutex<Inner>,
    wake: Condvar,
    /// Transactions under way: the follower looks at nothing else while there are none.
    under_way: AtomicUsize,
    patience: Duration,
    margin: Duration,
    in_flight_max: usize,
    /// See [`Counts`].
    pub counts: Counts,
}

impl Calls {
    /// Nobody waits.
    pub fn new(settings: &ServeSettings) -> Self {
        let inner = Inner {
            in_flight: InFlight::new(settings.patience()),
            kept: Kept::new(settings.answers_kept),
            due: BinaryHeap::new(),
            overdue: Vec::new(),
            done: Vec::new(),
            batches: HashMap::new(),
            next_waiter: 0,
            sleeps_until: None,
        };
        Self {
            inner: Mutex::new(inner),
            wake: Condvar::new(),
            under_way: AtomicUsize::new(0),
            patience: settings.patience(),
            margin: settings.margin(),
            in_flight_max: settings.in_flight_max,
            counts: Counts::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a batch of answers.
    pub fn begin_batch(&self, ticket: u64, rows: usize) {
        self.lock().batches.insert(ticket, Batch { answers: vec![None; rows], left: rows });
    }

    /// An answer that is there without waiting, for a place in a batch.
    pub fn fill(&self, ticket: u64, at: usize, answer: Answer) {
        let mut inner = self.lock();
        inner.fill(ticket, at, answer);
        self.wake_if_done(&mut inner);
    }

    /// Somebody asks for the decision on a transaction. `room`: whether it may be handed to the stream.
    pub fn ask(
        &self,
        row: &Transaction,
        id: &str,
        target: Target,
        deadline: Option<Instant>,
        now: Instant,
        room: bool,
    ) -> Asked {
        let key = row.id.get();
        let mut inner = self.lock();
        if let Some(first) = inner.kept.again(key) {
            self.counts.repeated.fetch_add(1, Ordering::Relaxed);
            return Asked::Known(first);
        }
        let behind = inner.in_flight.oldest(now).is_some_and(|age| age > self.patience);
        let in_flight = inner.in_flight.get_mut(key).map(|entry| entry.since);
        if in_flight.is_none() && !(room && inner.in_flight.len() < self.in_flight_max) {
            let overdue = Overdue { row: *row, id: id.to_owned(), target, why: degraded::SHED };
            inner.overdue.push(overdue);
            self.wake_for(&mut inner, now);
            return Asked::Waits;
        }
        if in_flight.is_none() {
            inner.in_flight.insert(Entry::new(*row, id.to_owned(), now));
            self.under_way.store(inner.in_flight.len(), Ordering::Release);
        }
        let patient = if behind { now } else { in_flight.unwrap_or(now) + self.patience };
        let due = deadline.map_or(patient, |deadline| {
            patient.min(deadline.checked_sub(self.margin).unwrap_or(now)).max(now)
        });
        inner.next_waiter += 1;
        let waiter = Waiter { number: inner.next_waiter, target, repeated: in_flight.is_some() };
        inner.due.push(Reverse((due, waiter.number, key)));
        if let Some(entry) = inner.in_flight.get_mut(key) {
            entry.waiters.push(waiter);
        }
        self.wake_for(&mut inner, due);
        if in_flight.is_some() { Asked::Waits } else { Asked::Send }
    }

    /// A transaction could not be handed to the stream.
    pub fn unsent(&self, key: u64) {
        let mut inner = self.lock();
        let entry = inner.in_flight.remove(key);
        self.settle(&mut inner, entry, degraded::SHED);
    }

    /// The broker has a transaction.
    pub fn delivered(&self, key: u64, partition: i32, offset: i64) {
        let mut inner = self.lock();
        let passed = inner.in_flight.delivered(key, partition, offset);
        self.settle(&mut inner, passed, degraded::SET_ASIDE);
    }

    /// A decision passes by.
    pub fn decided(&self, taken: &Taken<'_>) {
        // Acquire: a transaction is counted before it is handed over, so before its decision can pass by.
        if self.under_way.load(Ordering::Acquire) == 0 {
            return;
        }
        let key = taken.row.id.get();
        let mut inner = self.lock();
        let entry = inner.in_flight.remove(key);
        let mut passed = Vec::new();
        let Taken { record, .. } = taken;
        inner.in_flight.settle(record.source_partition, record.source_offset, &mut passed);
        self.settle(&mut inner, passed, degraded::SET_ASIDE);
        let Some(entry) = entry else { return };
        let answer = answer::of_record(record);
        inner.kept.keep(key, &answer);
        // Somebody else had sent the same id before.
        let ours = (record.source_partition, record.source_offset);
        let repeats = entry.place.is_some_and(|place| place != ours);
        for waiter in entry.waiters {
            self.counts.decided.fetch_add(1, Ordering::Relaxed);
            let answer = if waiter.repeated || repeats { repeated(answer.clone()) } else { answer.clone() };
            inner.finish(waiter.target, answer);
        }
        self.under_way.store(inner.in_flight.len(), Ordering::Release);
        self.wake_if_done(&mut inner);
    }

    /// Whoever waits for these is answered without the stream.
    fn settle(&self, inner: &mut Inner, entries: impl IntoIterator<Item = Entry>, why: u8) {
        for entry in entries {
            let Entry { row, id, waiters, .. } = entry;
            let overdue = |waiter: Waiter| Overdue { row, id: id.clone(), target: waiter.target, why };
            inner.overdue.extend(waiters.into_iter().map(overdue));
        }
        self.under_way.store(inner.in_flight.len(), Ordering::Release);
        if !inner.overdue.is_empty() {
            self.wake_for(inner, Instant::now());
        }
    }

    fn wake_if_done(&self, inner: &mut Inner) {
        if !inner.done.is_empty() {
            self.wake_for(inner, Instant::now());
        }
    }

    /// Wakes the thread that carries answers away, if it sleeps longer than until then.
    fn wake_for(&self, inner: &mut Inner, due: Instant) {
        if inner.sleeps_until.is_some_and(|until| due < until) {
            inner.sleeps_until = None;
            self.wake.notify_one();
        }
    }

    /// Wakes the thread that carries answers away.
    pub fn wake(&self) {
        self.lock().sleeps_until = None;
        self.wake.notify_all();
    }

    /// Those that are to be answered without the stream now.
    pub fn overdue(&self, now: Instant) -> Vec<Overdue> {
        let mut inner = self.lock();
        while let Some(&Reverse((due, number, key))) = inner.due.peek()
            && due <= now
        {
            inner.due.pop();
            let Some(entry) = inner.in_flight.get_mut(key) else { continue };
            if let Some(at) = entry.waiters.iter().position(|waiter| waiter.number == number) {
                let waiter = entry.waiters.swap_remove(at);
                let (row, id) = (entry.row, entry.id.clone());
                inner.overdue.push(Overdue { row, id, target: waiter.target, why: degraded::STALE_STATE });
            }
        }
        std::mem::take(&mut inner.overdue)
    }

    /// Hands in answers.
    pub fn finish(&self, answers: impl IntoIterator<Item = (Target, Vec<u8>)>) {
        let mut inner = self.lock();
        answers.into_iter().for_each(|(target, answer)| inner.finish(target, answer));
    }

    /// Takes the answers that are there; waits until `until` at most when there are none and nobody is due.
    pub fn take(&self, until: Instant) -> Vec<(u64, Vec<u8>)> {
        let mut inner = self.lock();
        let next = inner.due.peek().map_or(until, |Reverse((due, ..))| until.min(*due));
        let wait = next.saturating_duration_since(Instant::now());
        if inner.done.is_empty() && inner.overdue.is_empty() && !wait.is_zero() {
            inner.sleeps_until = Some(next);
            inner = self.wake.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0;
            inner.sleeps_until = None;
        }
        std::mem::take(&mut inner.done)
    }

    /// Transactions under way, and how long the oldest has been.
    pub fn under_way(&self) -> (usize, Duration) {
        let mut inner = self.lock();
        let oldest = inner.in_flight.oldest(Instant::now()).unwrap_or_default();
        (inner.in_flight.len(), oldest)
    }
}

impl Inner {
    fn finish(&mut self, target: Target, answer: Vec<u8>) {
        match target {
            Target::Call(ticket) => self.done.push((ticket, encode_response(&answer))),
            Target::Batch(ticket, at) => self.fill(ticket, at, Ok(answer)),
        }
    }

    fn fill(&mut self, ticket: u64, at: usize, answer: Answer) {
        let Some(batch) = self.batches.get_mut(&ticket) else { return };
        if batch.answers[at].replace(answer).is_none() {
            batch.left -= 1;
        }
        if batch.left == 0
            && let Some(batch) = self.batches.remove(&ticket)
        {
            let answers: Vec<Answer> = batch.answers.into_iter().flatten().collect();
            self.done.push((ticket, encode_batch(&answers)));
        }
    }
}
