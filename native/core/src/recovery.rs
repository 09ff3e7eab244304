//! Takes in again what was decided before: how state is rebuilt from a log of decisions.
//!
//! The log says for each transaction what came of it, so nothing is scored again: the windows take the
//! transaction in, the customer's recent ids get the recorded decision. A snapshot is copied slab by slab while
//! the engine runs on, so each slab ([`Stands`]) already holds the records up to a position of its own; it
//! takes part from there on. The result is the state that the engine had, bit for bit.

use std::sync::Mutex;
use std::sync::atomic::AtomicU8;

use crate::decision::Action;
use crate::engine::{Batch, Engine, Output, flag};
use crate::event::ENTITY_KINDS;
use crate::limits::SLAB_COUNT;
use crate::workers::Workers;

/// What was decided on one transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decided {
    /// Bits of [`flag`].
    pub flags: u8,
    /// Score.
    pub score: f32,
    /// Action.
    pub action: Action,
}

/// The position (number of records taken in) at which each slab of a snapshot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stands(Vec<u64>);

impl Stands {
    /// Every slab stands at the same position: a snapshot taken at once.
    pub fn all_at(position: u64) -> Self {
        Self(vec![position; ENTITY_KINDS * SLAB_COUNT])
    }

    /// Says where one part (see [`Engine::write_part`]) stands.
    pub fn set(&mut self, part: usize, position: u64) {
        self.0[part] = position;
    }

    /// The position from which on every slab takes part.
    pub fn end(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(0)
    }

    /// For each slab, how many of `rows` records from `first` on it already holds.
    fn skips(&self, first: u64, rows: usize) -> Vec<u32> {
        self.0.iter().map(|&stand| stand.saturating_sub(first).min(rows as u64) as u32).collect()
    }
}

impl Engine {
    /// Takes in a batch of the log; `first` is the position of its first record.
    ///
    /// Returns how many transactions the state holds to be repeated although the log does not: zero, unless
    /// log and state do not belong together, or the log was decided within other bounds on the tables, which had
    /// evicted other customers. The log is followed.
    pub fn replay_batch(
        &mut self,
        batch: Batch<'_>,
        decided: &[Decided],
        first: u64,
        stands: &Stands,
        workers: &dyn Workers,
        out: &mut Output,
    ) -> usize {
        debug_assert_eq!(batch.transactions.len(), decided.len());
        let skips = stands.skips(first, batch.transactions.len());
        let newest = batch.transactions.iter().map(|transaction| transaction.time).max();
        self.watermark = newest.map_or(self.watermark, |time| self.watermark.max(time));
        let known = |each: &Decided| AtomicU8::new(each.flags & (flag::DUPLICATE | flag::LATE));
        let flags: Vec<AtomicU8> = decided.iter().map(known).collect();
        let repeated = Mutex::new(Vec::new());
        self.update(batch, &flags, &repeated, Some(&skips), workers, out);
        for (transaction, each) in batch.transactions.iter().zip(decided) {
            self.count(each.flags);
            self.remember(transaction, each.flags, each.score, each.action);
        }
        self.counters.labels += batch.labels.len() as u64;
        repeated.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }
}
