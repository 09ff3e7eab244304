//! What can be asked of the generator, with a range for everything.

use thiserror::Error;

/// Settings of a synthetic history.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Seed; equal settings with equal seeds give equal histories.
    pub seed: u64,
    /// Customers, 10 to 10,000,000.
    pub customers: u32,
    /// Merchants, 50 to 1,000,000.
    pub merchants: u32,
    /// Days, 1 to 3,650.
    pub days: u32,
    /// First midnight, microseconds since 1970 (UTC).
    pub start_micros: i64,
    /// Mean genuine transactions a day of one customer, 0.01 to 20.
    pub daily_mean: f64,
    /// Share of fraud among all transactions, 0 to 0.2.
    pub fraud_rate: f64,
    /// Mean delay of labels in hours, 0 to 2,400.
    pub label_delay_hours: f64,
    /// Share of labels that are wrong, 0 to 0.5.
    pub label_noise: f64,
    /// Share of records that arrive a second time, 0 to 0.5.
    pub duplicate_rate: f64,
    /// Share of records that arrive late, 0 to 0.5.
    pub late_rate: f64,
    /// Largest delay of a late record in seconds, 0 to 86,400.
    pub late_seconds_max: f64,
    /// Largest random delay of every record in seconds, 0 to 3,600: arrival is then out of order.
    pub jitter_seconds: f64,
    /// How much habits and the mix of fraud change from the first day to the last, 0 to 1.
    pub drift: f64,
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{field} is {value}, must be {min} to {max}")]
pub struct ConfigError {
    /// Name of the setting.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// Smallest allowed value.
    pub min: f64,
    /// Largest allowed value.
    pub max: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            customers: 10_000,
            merchants: 2_000,
            days: 90,
            start_micros: 1_735_689_600_000_000,
            daily_mean: 0.7,
            fraud_rate: 0.005,
            label_delay_hours: 72.0,
            label_noise: 0.0,
            duplicate_rate: 0.0,
            late_rate: 0.0,
            late_seconds_max: 1_800.0,
            jitter_seconds: 0.0,
            drift: 0.0,
        }
    }
}

impl Config {
    /// Refuses the first setting that is outside its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let start_days = self.start_micros as f64 / 86_400e6;
        for (field, value, min, max) in [
            ("customers", f64::from(self.customers), 10.0, 10_000_000.0),
            ("merchants", f64::from(self.merchants), 50.0, 1_000_000.0),
            ("days", f64::from(self.days), 1.0, 3_650.0),
            ("start (days since 1970)", start_days, 10_957.0, 40_000.0),
            ("daily_mean", self.daily_mean, 0.01, 20.0),
            ("fraud_rate", self.fraud_rate, 0.0, 0.2),
            ("label_delay_hours", self.label_delay_hours, 0.0, 2_400.0),
            ("label_noise", self.label_noise, 0.0, 0.5),
            ("duplicate_rate", self.duplicate_rate, 0.0, 0.5),
            ("late_rate", self.late_rate, 0.0, 0.5),
            ("late_seconds_max", self.late_seconds_max, 0.0, 86_400.0),
            ("jitter_seconds", self.jitter_seconds, 0.0, 3_600.0),
            ("drift", self.drift, 0.0, 1.0),
        ] {
            if !(min..=max).contains(&value) {
                return Err(ConfigError { field, value, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_allowed_and_every_excess_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let error = Config { fraud_rate: 0.3, ..Config::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "fraud_rate is 0.3, must be 0 to 0.2");
        let error = Config { drift: f64::NAN, ..Config::default() }.check().unwrap_err();
        assert_eq!(error.field, "drift");
        assert!(Config { customers: 9, ..Config::default() }.check().is_err());
    }
}
