//! Customers: where they live, how much and when they spend, what they own.

use crate::catalogue::{CITIES, cumulative};
use crate::draws::{Draws, mix};

const PURPOSE_CUSTOMER: u64 = 1;
const PURPOSE_TRIP: u64 = 2;

/// Shared IP addresses of one mobile carrier (carrier-grade NAT), per city.
const CARRIER_ADDRESSES: u64 = 40;

/// One customer.
#[derive(Clone, Copy, Debug)]
pub struct Customer {
    /// Number, from 1.
    pub number: u32,
    /// Home city.
    pub city: u8,
    /// `exp(-mean)` of the transactions a day.
    pub quiet_day: f64,
    /// Natural logarithm of the spending level against the average.
    pub log_level: f64,
    /// Share of cards other than the first one.
    pub second_card: f64,
    /// How readily the customer buys online, against the category's share.
    pub online: f64,
    /// Hours by which the daily rhythm is shifted.
    pub shift_hours: f64,
    /// Chance of a trip in one week.
    pub travels: f64,
}

/// All customers of a world.
pub fn draw_customers(seed: u64, count: u32, daily_mean: f64) -> Vec<Customer> {
    let cities = cumulative(CITIES.iter().map(|city| city.weight));
    (1..=count)
        .map(|number| {
            let mut draws = Draws::new(seed, PURPOSE_CUSTOMER, number.into(), 0);
            let city = draws.weighted(&cities);
            // Log-normal activity with spread 0.8: its mean is exp(0.32) times its median.
            let activity = libm::exp(0.8 * draws.normal() - 0.32).clamp(0.05, 8.0);
            Customer {
                number,
                city: city as u8,
                quiet_day: libm::exp(-daily_mean * activity),
                log_level: 0.45 * draws.normal(),
                second_card: if draws.chance(0.4) { draws.between(0.05, 0.5) } else { 0.0 },
                online: draws.between(0.4, 1.6),
                shift_hours: 1.5 * draws.normal(),
                travels: if draws.chance(0.3) { draws.between(0.02, 0.15) } else { 0.005 },
            }
        })
        .collect()
}

impl Customer {
    /// The city the customer is in on a day: home, or a destination for the days of a trip.
    pub fn city_on(&self, seed: u64, day: u32) -> usize {
        let mut draws = Draws::new(seed, PURPOSE_TRIP, self.number.into(), u64::from(day / 7));
        if !draws.chance(self.travels) {
            return self.city.into();
        }
        let (first, length) = (draws.below(5) as u32, 1 + draws.below(6) as u32);
        let within = day % 7;
        if (first..first + length).contains(&within) {
            draws.below(CITIES.len() as u64) as usize
        } else {
            self.city.into()
        }
    }

    /// A card of the customer.
    pub fn card(&self, draws: &mut Draws) -> u64 {
        let second = draws.chance(self.second_card);
        mix(0xCA4D ^ mix(u64::from(self.number) * 2 + u64::from(second)))
    }

    /// A device of the customer: mostly the phone, replaced every year or so, else the household's
    /// computer, and now and then one never seen before or again.
    pub fn device(&self, draws: &mut Draws, day: u32) -> u64 {
        let generation = u64::from(day + self.number % 400) / 400;
        let what = match draws.below(100) {
            0..72 => u64::from(self.number) << 8 | generation,
            72..98 => 1 << 40 | u64::from(self.number / 2),
            _ => return draws.bits() | 1,
        };
        mix(0x00DE_71CE ^ mix(what)) | 1
    }

    /// The IP address of an online payment: home, the carrier's shared ones, or a place visited.
    pub fn ip(&self, draws: &mut Draws, city: usize) -> u64 {
        let what = match draws.below(100) {
            0..55 if city == usize::from(self.city) => 1 << 40 | u64::from(self.number / 2),
            0..92 => 2 << 40 | (city as u64) << 16 | draws.below(CARRIER_ADDRESSES),
            _ => 3 << 40 | (city as u64) << 16 | draws.below(20_000),
        };
        mix(0x1B ^ mix(what)) | 1
    }
}
