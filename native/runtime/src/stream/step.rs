//! A step of the stream: work that belongs to one thread at a time, and the queue to the thread that usually does it.
//!
//! With much to do each step has a thread to itself, and they work side by side. With little to do a handover costs
//! more than the work: on cores that others use too, whoever is woken waits for one. So a small chunk is carried
//! through by the thread that read it, step by step, as long as nothing waits before the step and nobody is at it.
//!
//! # Thread Safety
//!
//! The order of chunks is kept by `queued`, which counts those that were queued and not passed on yet: only the
//! thread that read them queues or carries, so while it sees zero no earlier chunk is before the step or in it. (A
//! step that is fed by another step is entered under that one's lock.)

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};

use super::StreamError;
use super::chunk::Chunk;
use crate::stop::Stop;

/// Rows and labels of the largest chunk that is carried through: above it, to work side by side is worth a handover.
const CARRIED_MAX: usize = 192;
const STOP_CHECK: Duration = Duration::from_millis(50);

/// Where a chunk is after it was given to a step.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "returned and taken apart at once, never kept")]
pub enum Given {
    /// Back, done.
    Back(Chunk),
    /// On its way to a thread further on.
    On,
    /// Nowhere: the threads further on are gone, or told to give up.
    Nowhere,
}

/// The work of a step, shared by the threads that may do it.
#[derive(Debug)]
pub struct Step<W> {
    name: &'static str,
    work: Mutex<W>,
    queued: AtomicUsize,
}

impl<W> Step<W> {
    /// A step that has nothing to do yet; `name` is the one of its thread.
    pub fn new(name: &'static str, work: W) -> Arc<Self> {
        Arc::new(Self { name, work: Mutex::new(work), queued: AtomicUsize::new(0) })
    }

    /// The work, when nobody else is at it. An error when a thread has panicked at it: what it left is not used.
    pub fn lock(&self) -> Result<MutexGuard<'_, W>, StreamError> {
        self.work.lock().map_err(|_| StreamError::Panicked(self.name))
    }

    /// Notes that a queued chunk is through.
    pub fn passed(&self) {
        // Release: who sees it counted also sees what was done to the chunk.
        self.queued.fetch_sub(1, Ordering::Release);
    }
}

/// The way to a step. Its queue ends when this is dropped.
#[derive(Debug)]
pub struct Way<W> {
    step: Arc<Step<W>>,
    queue: Sender<Chunk>,
}

impl<W> Way<W> {
    /// To a step whose thread takes chunks from the other end of the queue.
    pub const fn new(step: Arc<Step<W>>, queue: Sender<Chunk>) -> Self {
        Self { step, queue }
    }

    /// The work, if a chunk may be carried through it now.
    pub fn carry(&self, chunk: &Chunk) -> Result<Option<MutexGuard<'_, W>>, StreamError> {
        let small = chunk.rows.len() + chunk.labels.len() <= CARRIED_MAX;
        if !small || self.step.queued.load(Ordering::Acquire) > 0 {
            return Ok(None);
        }
        match self.step.work.try_lock() {
            Ok(work) => Ok(Some(work)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Poisoned(_)) => Err(StreamError::Panicked(self.step.name)),
        }
    }

    /// Queues a chunk for the step's thread.
    pub fn enqueue(&self, mut chunk: Chunk, stop: &Stop) -> Given {
        self.step.queued.fetch_add(1, Ordering::Relaxed);
        loop {
            match self.queue.send_timeout(chunk, STOP_CHECK) {
                Ok(()) => return Given::On,
                Err(SendTimeoutError::Timeout(_)) if stop.is_set() => return Given::Nowhere,
                Err(SendTimeoutError::Timeout(back)) => chunk = back,
                Err(SendTimeoutError::Disconnected(_)) => return Given::Nowhere,
            }
        }
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
