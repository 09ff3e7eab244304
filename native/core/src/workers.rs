//! How the engine uses several threads without having any: the caller brings them.

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
