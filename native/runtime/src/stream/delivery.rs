//! How far the log of decisions is safe: the watermark of acknowledged records, and who waits for it.
//!
//! Positions count decided rows; offsets are the broker's. A snapshot may be published only when everything up
//! to its end has been acknowledged, decisions, alerts and dead letters: it waits here.
//!
//! # Thread Safety
//!
//! One mutex, taken once per chunk by the output thread and now and then by the others.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::stop::Stop;

/// The topics that the stream writes, in the order of the producer.
pub const TOPICS: usize = 3;
/// Position of decisions among them.
pub const DECISIONS: usize = 0;
/// Position of alerts.
pub const ALERTS: usize = 1;
/// Position of dead letters.
pub const DEAD_LETTERS: usize = 2;

/// Where the logs stood when a position was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Offset after the decision at the position (in `decisions`), and lower bounds in the other topics: what
    /// belongs to later decisions stands at or after them.
    pub offsets: [i64; TOPICS],
}

#[derive(Debug)]
struct Watch {
    position: u64,
    /// Chunks decided before it: those without a row move no position, but their dead letters count too.
    chunks: u64,
    /// Records of the other topics that must be acknowledged too; set once all before the position are sent.
    needs: Option<[u64; TOPICS]>,
    /// Offset after the position's decision.
    offset: Option<i64>,
    reached: Option<Reached>,
}

#[derive(Debug)]
struct State {
    /// Rows decided and sent, and the chunks they came in.
    sent: u64,
    sent_chunks: u64,
    /// Records sent and acknowledged, by topic; decisions count from the first position of this run.
    sent_records: [u64; TOPICS],
    done_records: [u64; TOPICS],
    /// Offset after the last acknowledged record, by topic.
    offsets: [i64; TOPICS],
    first: u64,
    watches: Vec<Watch>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Delivery {
    state: Mutex<State>,
    changed: Condvar,
}

impl Delivery {
    /// Nothing of this run is sent yet; the logs end at `offsets`, the next row has position `first`.
    pub fn new(first: u64, offsets: [i64; TOPICS]) -> Self {
        let state = State {
            sent: first,
            sent_chunks: 0,
            sent_records: [0; TOPICS],
            done_records: [0; TOPICS],
            offsets,
            first,
            watches: Vec::new(),
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a chunk was handed to the producer; `position` is the one after its last decision.
    pub fn sent(&self, position: u64, records: [u64; TOPICS]) {
        let mut state = self.lock();
        state.sent = position;
        state.sent_chunks += 1;
        self.add(&mut state, records);
    }

    /// Notes that records beside the chunks were handed to the producer, or those of a chunk that come before it.
    pub fn sent_ahead(&self, records: [u64; TOPICS]) {
        self.add(&mut self.lock(), records);
    }

    fn add(&self, state: &mut State, records: [u64; TOPICS]) {
        for (sum, more) in state.sent_records.iter_mut().zip(records) {
            *sum += more;
        }
        self.settle(state);
    }

    /// Notes acknowledged records: by topic how many, the offset after the last, and for the watched
    /// positions the offsets, as the caller found them with [`Delivery::watched`].
    pub fn acknowledged(&self, records: [u64; TOPICS], offsets: [Option<i64>; TOPICS], found: &[(u64, i64)]) {
        let mut state = self.lock();
        for topic in 0..TOPICS {
            state.done_records[topic] += records[topic];
            state.offsets[topic] = offsets[topic].unwrap_or(state.offsets[topic]);
        }
        for watch in &mut state.watches {
            if let Some((_, offset)) = found.iter().find(|(position, _)| *position == watch.position) {
                watch.offset = Some(*offset);
            }
        }
        self.settle(&mut state);
    }

    fn settle(&self, state: &mut State) {
        let State { sent, sent_chunks, sent_records, done_records, offsets, first, watches } = state;
        let delivered = *first + done_records[DECISIONS];
        for watch in watches.iter_mut().filter(|watch| watch.reached.is_none()) {
            if watch.needs.is_none() && *sent >= watch.position && *sent_chunks >= watch.chunks {
                watch.needs = Some(*sent_records);
            }
            if watch.offset.is_none() && delivered == watch.position {
                watch.offset = Some(offsets[DECISIONS]);
            }
            if let (Some(needs), Some(offset)) = (watch.needs, watch.offset)
                && delivered >= watch.position
                && (ALERTS..TOPICS).all(|topic| done_records[topic] >= needs[topic])
            {
                let mut reached = *offsets;
                reached[DECISIONS] = offset;
                watch.reached = Some(Reached { offsets: reached });
            }
        }
        self.changed.notify_all();
    }

    /// Where the other logs end now: everything that belongs to rows which have not been sent comes later.
    pub fn offsets(&self) -> [i64; TOPICS] {
        self.lock().offsets
    }

    /// Asks to be told when all rows before a position are safe, and the dead letters of the first `chunks` chunks.
    pub fn watch(&self, position: u64, chunks: u64) {
        let mut state = self.lock();
        state.watches.push(Watch { position, chunks, needs: None, offset: None, reached: None });
        self.settle(&mut state);
    }

    /// The positions that somebody waits for.
    pub fn watched(&self, into: &mut Vec<u64>) {
        into.clear();
        into.extend(self.lock().watches.iter().map(|watch| watch.position));
    }

    /// Rows sent and not acknowledged.
    pub fn in_flight(&self) -> u64 {
        let state = self.lock();
        state.sent - state.first - state.done_records[DECISIONS]
    }

    /// Records of all topics sent and not acknowledged.
    pub fn outstanding(&self) -> u64 {
        let state = self.lock();
        state.sent_records.iter().sum::<u64>() - state.done_records.iter().sum::<u64>()
    }

    /// Records of one topic sent and not acknowledged.
    pub fn outstanding_of(&self, topic: usize) -> u64 {
        let state = self.lock();
        state.sent_records[topic] - state.done_records[topic]
    }

    /// Waits for a watched position; `None` when told to stop before. The watch is over then.
    pub fn wait(&self, position: u64, stop: &Stop) -> Option<Reached> {
        let mut state = self.lock();
        loop {
            let at = state.watches.iter().position(|watch| watch.position == position)?;
            if let Some(reached) = state.watches[at].reached {
                state.watches.remove(at);
                return Some(reached);
            }
            if stop.is_set() {
                state.watches.remove(at);
                return None;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_reached_when_its_decisions_alerts_and_dead_letters_are_acknowledged() {
        let delivery = Delivery::new(100, [500, 50, 5]);
        delivery.watch(110, 1);
        delivery.sent(110, [10, 2, 1]);
        delivery.acknowledged([10, 1, 1], [Some(511), Some(51), Some(6)], &[(110, 511)]);
        let stop = Stop::default();
        stop.set();
        assert_eq!(delivery.in_flight(), 0);
        assert_eq!(delivery.outstanding(), 1);
        assert_eq!(delivery.wait(110, &stop), None, "an alert is missing");
        delivery.watch(110, 1);
        delivery.acknowledged([0, 1, 0], [None, Some(52), None], &[]);
        assert_eq!(delivery.wait(110, &stop), Some(Reached { offsets: [511, 52, 6] }));
    }

    #[test]
    fn a_position_that_is_safe_already_is_reached_at_once() {
        let delivery = Delivery::new(7, [30, 3, 0]);
        delivery.watch(7, 0);
        let stop = Stop::default();
        assert_eq!(delivery.wait(7, &stop), Some(Reached { offsets: [30, 3, 0] }));
        assert_eq!(delivery.wait(7, &Stop::default()), None, "nobody asked for it");
    }

    #[test]
    fn a_chunk_of_nothing_but_refused_records_is_waited_for() {
        let delivery = Delivery::new(7, [30, 3, 0]);
        // Decided, but still on its way to the producer: its dead letter is not even sent.
        delivery.watch(7, 1);
        let stop = Stop::default();
        stop.set();
        assert_eq!(delivery.wait(7, &stop), None);
        delivery.watch(7, 1);
        delivery.sent_ahead([0, 0, 1]);
        delivery.sent(7, [0, 0, 0]);
        assert_eq!(delivery.outstanding_of(DEAD_LETTERS), 1);
        delivery.acknowledged([0, 0, 1], [None, None, Some(1)], &[]);
        assert_eq!(delivery.wait(7, &stop), Some(Reached { offsets: [30, 3, 1] }));
    }
}
