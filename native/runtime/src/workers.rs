//! The threads that the engine borrows.

use fraudengine_core::workers::{Inline, Workers};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// A pool of threads that lives as long as its engine.
pub struct Pool(ThreadPool);

impl Pool {
    /// A pool of `threads` threads.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let name = |index| format!("fraudengine-{index}");
        ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().map(Self)
    }
}

impl Workers for Pool {
    fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        self.0.broadcast(|context| job(context.index()));
    }
}

/// Workers for a number of threads: the calling thread alone, or a pool.
pub fn of(threads: usize) -> Result<Box<dyn Workers + Send>, rayon::ThreadPoolBuildError> {
    if threads <= 1 { Ok(Box::new(Inline)) } else { Ok(Box::new(Pool::new(threads)?)) }
}
