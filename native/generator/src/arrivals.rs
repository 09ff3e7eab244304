//! Days in the order in which their records arrive.
//!
//! A record arrives at most a day and an hour after its event, so besides the day in hand only the records
//! still on their way are kept: memory does not grow with the history.

use crate::config::Config;
use crate::draws::Draws;
use crate::genuine::DAY;
use crate::row::Row;

const PURPOSE_REPEAT: u64 = 7;
/// A repeated record arrives within this time of the first one.
const REPEAT_MICROS_MAX: f64 = 120e6;

/// Puts days, handed in one after the other, into order of arrival.
#[derive(Debug)]
pub struct Arrivals {
    config: Config,
    day: u32,
    /// Records that arrive after the days handed in so far.
    waiting: Vec<Row>,
}

impl Arrivals {
    /// Nothing has arrived yet.
    pub const fn new(config: Config) -> Self {
        Self { config, day: 0, waiting: Vec::new() }
    }

    /// Takes in the next day and returns what arrives until its end, in order of arrival.
    pub fn next_day(&mut self, rows: Vec<Row>) -> Vec<Row> {
        let mut all = std::mem::take(&mut self.waiting);
        if self.config.duplicate_rate > 0.0 {
            for row in &rows {
                let mut draws = Draws::new(self.config.seed, PURPOSE_REPEAT, row.number, 0);
                if draws.chance(self.config.duplicate_rate) {
                    let arrival = row.arrival + (REPEAT_MICROS_MAX * draws.unit()) as i64;
                    all.push(Row { arrival, ..*row });
                }
            }
        }
        all.extend(rows);
        all.sort_by_key(|row| (row.arrival, row.number));
        self.day += 1;
        let midnight = self.config.start_micros + i64::from(self.day) * DAY;
        if self.day < self.config.days {
            let arrived = all.partition_point(|row| row.arrival < midnight);
            self.waiting = all.split_off(arrived);
        }
        all
    }
}
