//! When a record is due: a schedule that does not know what became of the records before.

use std::time::Duration;

/// An open-loop schedule: record n (from 0) is due n / rate after its start.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    per_second: f64,
}

impl Pace {
    /// A schedule of so many records a second; 0 or less: everything is due at once.
    pub const fn new(per_second: f64) -> Self {
        Self { per_second }
    }

    /// How many records are due this long after the start.
    pub fn due(self, elapsed: Duration) -> u64 {
        if self.per_second <= 0.0 {
            return u64::MAX;
        }
        // Record 0 is due at the start itself.
        (elapsed.as_secs_f64() * self.per_second) as u64 + 1
    }

    /// When record n is due, counted from the start.
    pub fn time_of(self, record: u64) -> Duration {
        if self.per_second <= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(record as f64 / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_depends_on_the_clock_alone() {
        let pace = Pace::new(1_000.0);
        assert_eq!(pace.due(Duration::ZERO), 1);
        assert_eq!(pace.due(Duration::from_millis(10)), 11);
        assert_eq!(pace.due(Duration::from_secs(3_600)), 3_600_001);
        assert_eq!(pace.time_of(500), Duration::from_millis(500));
    }

    #[test]
    fn a_record_is_due_at_its_time_and_not_before() {
        for per_second in [1.0, 7.0, 333.3, 20_000.0, 1e6] {
            let pace = Pace::new(per_second);
            for record in [1, 2, 3, 1_000, 123_456] {
                let time = pace.time_of(record);
                assert!(pace.due(time + Duration::from_micros(1)) > record);
                assert!(pace.due(time.saturating_sub(Duration::from_micros(1))) <= record);
            }
        }
    }

    #[test]
    fn without_a_rate_everything_is_due() {
        assert_eq!(Pace::new(0.0).due(Duration::ZERO), u64::MAX);
        assert_eq!(Pace::new(0.0).time_of(9), Duration::ZERO);
    }
}
