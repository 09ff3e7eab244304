//! When and on what a customer usually spends.

use crate::limits::RECENT_CATEGORIES_MAX;

/// Events by hour of the day (UTC); halved when a bin is full, so that old habits fade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourHistogram {
    pub(crate) bins: [u8; 24],
}

impl HourHistogram {
    /// Takes in one event; returns the share of the earlier ones within an hour of it (0 to 1), NaN if
    /// there are none.
    pub fn observe(&mut self, time: i64) -> f64 {
        let hour = (time.div_euclid(3_600_000_000)).rem_euclid(24) as usize;
        let total: u32 = self.bins.iter().map(|&bin| u32::from(bin)).sum();
        let near: u32 = [23, 0, 1].iter().map(|step| u32::from(self.bins[(hour + step) % 24])).sum();
        if self.bins[hour] == u8::MAX {
            self.bins.iter_mut().for_each(|bin| *bin /= 2);
        }
        self.bins[hour] += 1;
        if total == 0 { f64::NAN } else { f64::from(near) / f64::from(total) }
    }
}

/// The merchant categories used last, most recent first; zero is unused (codes are stored plus one).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentCategories {
    pub(crate) codes: [u16; RECENT_CATEGORIES_MAX],
}

impl RecentCategories {
    /// Takes in one category; returns 1 if it is not among those used last, 0 if it is, NaN for none.
    pub fn observe(&mut self, category: Option<u16>) -> f64 {
        let Some(code) = category.map(|code| code + 1) else { return f64::NAN };
        let found = self.codes.iter().position(|&each| each == code);
        let last = found.unwrap_or(RECENT_CATEGORIES_MAX - 1);
        self.codes.copy_within(..last, 1);
        self.codes[0] = code;
        f64::from(u8::from(found.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn the_share_counts_neighbouring_hours_across_midnight() {
        let mut habit = HourHistogram::default();
        assert!(habit.observe(23 * HOUR).is_nan());
        assert!((habit.observe(24 * HOUR) - 1.0).abs() < 1e-12);
        assert!(habit.observe(12 * HOUR).abs() < 1e-12);
        assert!((habit.observe(HOUR) - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_full_bin_halves_the_past() {
        let mut habit = HourHistogram::default();
        for _ in 0..1_000 {
            habit.observe(0);
        }
        assert!(habit.bins[0] >= 128);
        assert!((habit.observe(0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn categories_are_forgotten_least_recent_first() {
        let mut recent = RecentCategories::default();
        assert!(recent.observe(None).is_nan());
        for code in 0..9_u16 {
            assert!((recent.observe(Some(code)) - 1.0).abs() < 1e-12);
        }
        assert!(recent.observe(Some(8)).abs() < 1e-12, "just used");
        assert!((recent.observe(Some(0)) - 1.0).abs() < 1e-12, "nine categories ago");
    }
}
