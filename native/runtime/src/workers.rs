//! The threads that the engine borrows.

use fraudengine_core::workers::{Inline, Workers};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The calling thread and a pool of others, which lives as long as its engine.
pub struct Pool(ThreadPool);

impl Pool {
    /// Of `threads` threads, the calling one included; at least two.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let name = |index| format!("fraudengine-{index}");
        ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(name).build().map(Self)
    }
}

impl Workers for Pool {
    fn count(&self) -> usize {
        self.0.current_num_threads() + 1
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        // The calling thread works too: it would otherwise sleep, and waking is what a short job waits for.
        self.0.in_place_scope(|scope| {
            for worker in 1..self.count() {
                scope.spawn(move |_| job(worker));
            }
            job(0);
        });
    }
}

/// Workers for a number of threads: the calling thread alone, or a pool.
pub fn of(threads: usize) -> Result<Box<dyn Workers + Send>, rayon::ThreadPoolBuildError> {
    if threads <= 1 { Ok(Box::new(Inline)) } else { Ok(Box::new(Pool::new(threads)?)) }
}
