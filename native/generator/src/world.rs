//! A synthetic world: drawn once, then every day is a pure function of it.

use crate::campaigns::draw_campaigns;
use crate::config::{Config, ConfigError};
use crate::customer::{Customer, draw_customers};
use crate::draws::Draws;
use crate::genuine::{DAY, Habits, Moment};
use crate::merchant::Market;
use crate::row::Row;

const PURPOSE_RECORD: u64 = 6;
/// Room for transaction numbers within a day.
const NUMBERS_PER_DAY: u64 = 1_000_000_000;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct World {
    config: Config,
    customers: Vec<Customer>,
    market: Market,
    habits: Habits,
    /// Fraudulent transactions by day.
    frauds: Vec<Vec<Row>>,
}

impl World {
    /// Draws customers, merchants and campaigns.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let customers = draw_customers(config.seed, config.customers, config.daily_mean);
        let market = Market::draw(config.seed, config.merchants);
        let habits = Habits::default();
        let frauds = draw_campaigns(&config, &customers, &market, &habits);
        Ok(Self { config, customers, market, habits, frauds })
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The transactions of one day (from 0) in the order in which they happen.
    pub fn day(&self, day: u32) -> Vec<Row> {
        let midnight = self.config.start_micros + i64::from(day) * DAY;
        let drift = self.config.drift * f64::from(day) / f64::from(self.config.days);
        let moment = Moment { seed: self.config.seed, day, midnight, drift };
        let mut rows = self.frauds.get(day as usize).cloned().unwrap_or_default();
        rows.reserve((self.customers.len() as f64 * self.config.daily_mean * 1.3) as usize);
        for customer in &self.customers {
            self.habits.day(moment, customer, &self.market, &mut rows);
        }
        // Stable: at one instant, frauds first, then customers by number.
        rows.sort_by_key(|row| row.time);
        for (rank, row) in rows.iter_mut().enumerate() {
            row.number = u64::from(day) * NUMBERS_PER_DAY + rank as u64 + 1;
            self.record(row);
        }
        rows
    }

    /// Says when the record arrives and what its label will say, and when.
    fn record(&self, row: &mut Row) {
        let config = &self.config;
        let mut draws = Draws::new(config.seed, PURPOSE_RECORD, row.number, 0);
        // Log-normal with spread 0.5: its mean is exp(0.125) times its median.
        let delay_hours = config.label_delay_hours * libm::exp(0.5 * draws.normal() - 0.125);
        row.known = row.time + (delay_hours * 3_600e6) as i64;
        row.label ^= draws.chance(config.label_noise);
        let mut delay = config.jitter_seconds * draws.unit();
        if draws.chance(config.late_rate) {
            delay += config.late_seconds_max * draws.unit();
        }
        row.arrival = row.time + (delay * 1e6) as i64;
    }
}
