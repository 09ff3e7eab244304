//! How the engine uses several threads without having any: the caller brings them.

use std::sync::{Mutex, PoisonError};

/// A fixed number of workers that run one job together.
pub trait Workers: Sync {
    /// How many there are, at least one.
    fn count(&self) -> usize;

    /// Runs `job(0)` to `job(count - 1)`, each once, and returns when all have finished.
    fn run(&self, job: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Workers for Inline {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        job(0);
    }
}

/// Runs a job on pieces, each by a worker of its own; there are at most as many pieces as workers. Returns the pieces.
pub fn each<T: Send>(workers: &dyn Workers, pieces: Vec<T>, job: impl Fn(&mut T) + Sync) -> Vec<T> {
    debug_assert!(pieces.len() <= workers.count());
    let pieces: Vec<Mutex<T>> = pieces.into_iter().map(Mutex::new).collect();
    workers.run(&|worker| {
        if let Some(piece) = pieces.get(worker) {
            job(&mut piece.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
    pieces.into_iter().map(|piece| piece.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}
