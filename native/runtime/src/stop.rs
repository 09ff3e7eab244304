//! One flag that ends a group of threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How soon a sleeping thread sees the flag.
const TICK: Duration = Duration::from_millis(25);

/// Set once, seen by all clones.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks everybody to end.
    pub fn set(&self) {
        // Relaxed: the flag carries no data; whoever sees it late ends late.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps until the time is over or the flag is set.
    pub fn sleep(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.is_set() && Instant::now() < end {
            std::thread::sleep(TICK.min(end.saturating_duration_since(Instant::now())));
        }
    }
}
