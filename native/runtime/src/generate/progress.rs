//! How far a load is: counters that one thread writes and any other reads.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What a load is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Drawing the world.
    Preparing = 0,
    /// Sending the warm-up days as fast as possible.
    Warming = 1,
    /// The warm-up is sent; waiting to be told to go on.
    Holding = 2,
    /// Sending at the rate that was asked for.
    Sending = 3,
    /// Waiting for the broker to take the last records.
    Flushing = 4,
    /// Done; the figures are final.
    Done = 5,
}

impl Phase {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Warming => "warming",
            Self::Holding => "holding",
            Self::Sending => "sending",
            Self::Flushing => "flushing",
            Self::Done => "done",
        }
    }

    const fn of(code: u8) -> Self {
        match code {
            0 => Self::Preparing,
            1 => Self::Warming,
            2 => Self::Holding,
            3 => Self::Sending,
            4 => Self::Flushing,
            _ => Self::Done,
        }
    }
}

/// Where a load stands. Counts are of records unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it is doing.
    pub phase: Phase,
    /// Days of the history begun.
    pub day: u64,
    /// Good transactions handed to the client, the warm-up included.
    pub transactions: u64,
    /// Of those, the warm-up's.
    pub warm_transactions: u64,
    /// Labels handed to the client.
    pub labels: u64,
    /// Broken records handed to the client.
    pub malformed: u64,
    /// Records of all kinds that the broker has acknowledged.
    pub acked: u64,
    /// Records of all kinds that could not be delivered.
    pub failed: u64,
    /// Seconds since the end of the warm-up; final when done.
    pub seconds: f64,
    /// Transactions a second since the end of the warm-up.
    pub rate: f64,
    /// How far behind its schedule the load is now, in seconds.
    pub late_seconds: f64,
    /// How far behind it was at the worst, in seconds.
    pub late_seconds_max: f64,
    /// Why the last undelivered record was not delivered.
    pub error: Option<String>,
}

/// See the module's text.
///
/// # Thread Safety
///
/// Each counter has one writer. All orderings are relaxed: a counter publishes nothing but itself, and the reader
/// of the final figures has first joined the writer or seen [`Phase::Done`], which is released and acquired.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stop: AtomicBool,
    release: AtomicBool,
    phase: AtomicU8,
    pub day: AtomicU64,
    pub transactions: AtomicU64,
    pub warm_transactions: AtomicU64,
    pub labels: AtomicU64,
    pub malformed: AtomicU64,
    pub acked: AtomicU64,
    pub failed: AtomicU64,
    pub micros: AtomicU64,
    pub late_micros: AtomicU64,
    pub late_micros_max: AtomicU64,
    error: Mutex<Option<String>>,
    done: Mutex<bool>,
    is_done: Condvar,
}

impl Progress {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn release(&self) {
        self.release.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_released(&self) -> bool {
        self.release.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        if phase == Phase::Done {
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.is_done.notify_all();
        }
    }

    /// Waits until the load is done, or the time is over; whether it is done.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.is_done.wait_timeout_while(done, timeout, |done| !*done);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Ordering::Acquire))
    }

    /// Brings the acknowledged records up to date: all handed over, less those under way, less the failed.
    pub(super) fn settle(&self, under_way: u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sent = get(&self.transactions) + get(&self.labels) + get(&self.malformed);
        self.acked.store(sent.saturating_sub(under_way + get(&self.failed)), Ordering::Relaxed);
    }

    /// Counts a record that was not delivered.
    pub(super) fn fail(&self, reason: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if error.as_deref() != Some(reason) {
            *error = Some(reason.to_owned());
        }
    }

    pub(super) fn report(&self) -> Report {
        let phase = self.phase();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (transactions, warm) = (get(&self.transactions), get(&self.warm_transactions));
        let seconds = get(&self.micros) as f64 / 1e6;
        Report {
            phase,
            day: get(&self.day),
            transactions,
            warm_transactions: warm,
            labels: get(&self.labels),
            malformed: get(&self.malformed),
            acked: get(&self.acked),
            failed: get(&self.failed),
            seconds,
            rate: if seconds > 0.0 { transactions.saturating_sub(warm) as f64 / seconds } else { 0.0 },
            late_seconds: get(&self.late_micros) as f64 / 1e6,
            late_seconds_max: get(&self.late_micros_max) as f64 / 1e6,
            error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_acknowledged_when_it_neither_waits_nor_failed() {
        let progress = Progress::default();
        progress.transactions.store(100, Ordering::Relaxed);
        progress.warm_transactions.store(40, Ordering::Relaxed);
        progress.labels.store(10, Ordering::Relaxed);
        progress.micros.store(2_000_000, Ordering::Relaxed);
        progress.fail("topic: gone");
        progress.settle(9);
        progress.enter(Phase::Sending);
        let report = progress.report();
        assert_eq!((report.acked, report.failed, report.phase), (100, 1, Phase::Sending));
        assert!((report.rate - 30.0).abs() < 1e-9, "the warm-up does not count: {}", report.rate);
        assert_eq!(report.error.as_deref(), Some("topic: gone"));
    }

    #[test]
    fn whoever_waits_learns_of_the_end() {
        let progress = Progress::default();
        assert!(!progress.wait(Duration::ZERO));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| progress.wait(Duration::from_secs(60)));
            progress.enter(Phase::Done);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn phases_come_back_as_they_went_in() {
        for code in 0..=5 {
            assert_eq!(Phase::of(code) as u8, code);
        }
    }
}
