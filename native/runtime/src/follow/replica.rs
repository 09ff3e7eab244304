//! The state as the log gives it so far, for others than its writer to look at.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fraudengine_core::event::Transaction;
use fraudengine_core::{Engine, Output};

use crate::stream::ModelSlot;
use crate::stream::rebuild::SharedEngine;

/// What the follower is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FollowPhase {
    /// It reads a snapshot, or waits for the broker.
    Loading,
    /// It reads the log; see [`Replica::is_ready`] for whether it has caught up.
    Following,
    /// Something is wrong; it begins anew in a moment.
    Failed,
}

impl FollowPhase {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Following => "following",
            Self::Failed => "failed",
        }
    }
}

/// What a look has found.
pub struct Look {
    /// Row by row, as `Engine::peek` leaves it.
    pub output: Output,
    /// Whether the state has seen too little.
    pub cold: bool,
    /// Short hash of the bundle that scored.
    pub model: u64,
}

/// Why there was nothing to look at or with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    /// No state has been read yet.
    State,
    /// There is no model.
    Model,
}

/// See the module's text.
#[derive(Default)]
pub struct Replica {
    engine: Mutex<Option<SharedEngine>>,
    /// The model that looks use.
    pub model: ModelSlot,
    /// Transactions that a state must have seen before it is warm.
    warm_transactions: u64,
    /// Looks that wait for the state.
    looking: AtomicUsize,
    phase: AtomicU8,
    ready: AtomicBool,
    lag: AtomicU64,
    position: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Replica {
    /// Nothing yet.
    pub fn new(warm_transactions: u64) -> Self {
        Self { warm_transactions, ..Self::default() }
    }

    /// Looks at this state from now on.
    pub fn show(&self, engine: SharedEngine) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine);
    }

    /// Decides rows against the state, each for itself, and changes nothing.
    pub fn look(&self, rows: &[Transaction]) -> Result<Look, Blind> {
        let model = self.model.get();
        self.read(|engine| {
            let model = model.ok_or(Blind::Model)?;
            let mut output = Output::default();
            engine.peek(rows, Some(&model.model), &mut output);
            let cold = engine.counters().transactions < self.warm_transactions;
            Ok(Look { output, cold, model: model.short_hash })
        })?
    }

    /// Looks at the state, which stands still meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&Engine) -> T) -> Result<T, Blind> {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let engine = engine.ok_or(Blind::State)?;
        self.looking.fetch_add(1, Ordering::Relaxed);
        let found = look(&engine.lock().unwrap_or_else(PoisonError::into_inner));
        self.looking.fetch_sub(1, Ordering::Relaxed);
        Ok(found)
    }

    /// Lets looks that wait come in: for the writer, between two batches. Bounded, whoever keeps looking.
    pub fn give_way(&self) {
        for _ in 0..100 {
            if self.looking.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Notes where the follower stands.
    pub fn stands(&self, position: u64, lag: u64) {
        self.position.store(position, Ordering::Relaxed);
        self.lag.store(lag, Ordering::Relaxed);
    }

    /// Notes what the follower is doing, and what is wrong.
    pub fn enter(&self, phase: FollowPhase, trouble: Option<String>) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        if phase != FollowPhase::Following {
            self.ready.store(false, Ordering::Relaxed);
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Notes whether the state is as new as the log.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether the state is as new as the log, within the bound.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// What the follower is doing.
    pub fn phase(&self) -> FollowPhase {
        match self.phase.load(Ordering::Relaxed) {
            0 => FollowPhase::Loading,
            1 => FollowPhase::Following,
            _ => FollowPhase::Failed,
        }
    }

    /// What is wrong, if anything is.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Decisions taken in since the log's beginning, and how many are known to follow.
    pub fn position(&self) -> (u64, u64) {
        (self.position.load(Ordering::Relaxed), self.lag.load(Ordering::Relaxed))
    }
}
