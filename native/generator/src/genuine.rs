//! What honest customers do on one day.
//!
//! Honest traffic contains every single-field sign of fraud too: trips abroad, new devices, large and
//! tiny amounts, bursts of purchases, nights, shared addresses.

use crate::catalogue::{CASH, CATEGORIES, HOURS, TRANSFER, cumulative};
use crate::customer::Customer;
use crate::draws::Draws;
use crate::merchant::{Market, Merchant};
use crate::row::{Row, Typology};
use fraudengine_core::event::Channel;

const PURPOSE_DAY: u64 = 4;
pub(crate) const DAY: i64 = 86_400_000_000;
const HOUR: f64 = 3_600e6;

/// Share of Sunday's purchases that are not made.
const SUNDAY_REST: f64 = 0.25;
/// Chance that a day with purchases becomes a shopping tour of three to six more.
const TOUR: f64 = 0.03;

/// Genuine transactions per Poisson draw: Sundays rest, tours add.
pub const GENUINE_FACTOR: f64 = 1.0 - SUNDAY_REST / 7.0 + TOUR * 4.5 * 0.7;

/// How habits stand on a day, from 0 on the first to `drift` on the last.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seed of the world.
    pub seed: u64,
    /// Day, from 0.
    pub day: u32,
    /// Midnight, microseconds since 1970.
    pub midnight: i64,
    /// Progress of the drift.
    pub drift: f64,
}

/// Running shares used for every purchase.
#[derive(Clone, Debug)]
pub struct Habits {
    categories: Vec<f32>,
    hours: Vec<Vec<f32>>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            categories: cumulative(CATEGORIES.iter().map(|category| category.weight)),
            hours: HOURS.iter().map(|hours| cumulative(hours.iter().copied())).collect(),
        }
    }
}

impl Habits {
    /// Appends what one customer does on one day.
    pub fn day(&self, moment: Moment, customer: &Customer, market: &Market, rows: &mut Vec<Row>) {
        let mut draws = Draws::new(moment.seed, PURPOSE_DAY, customer.number.into(), moment.day.into());
        let count = draws.poisson(customer.quiet_day);
        if count == 0 {
            return;
        }
        // 1970-01-01 was a Thursday.
        let sunday = (moment.midnight / DAY + 3) % 7 == 6;
        let city = customer.city_on(moment.seed, moment.day);
        for _ in 0..count {
            if !(sunday && draws.chance(SUNDAY_REST)) {
                rows.push(self.purchase(&mut draws, moment, customer, market, city, None));
            }
        }
        if draws.chance(TOUR) {
            let begin = draws.between(10.0, 19.0);
            for stop in 0..3 + draws.below(4) {
                let hour = begin + 0.3 * stop as f64 + 0.2 * draws.unit();
                rows.push(self.purchase(&mut draws, moment, customer, market, city, Some(hour)));
            }
        }
    }

    /// One purchase; at an hour, or at one that suits what is bought.
    pub fn purchase(
        &self,
        draws: &mut Draws,
        moment: Moment,
        customer: &Customer,
        market: &Market,
        city: usize,
        hour: Option<f64>,
    ) -> Row {
        let category = draws.weighted(&self.categories);
        let kind = &CATEGORIES[category];
        let hour = hour.unwrap_or_else(|| {
            draws.weighted(&self.hours[kind.hours]) as f64 + draws.unit() + customer.shift_hours
        });
        let time = moment.midnight + (hour.rem_euclid(24.0) * HOUR) as i64;
        let online = draws.chance(kind.online * customer.online * (1.0 + 0.5 * moment.drift));
        let merchant = market.choose(draws, city, category, online);
        let log_amount = usual_log_amount(customer, merchant) + 0.3 * moment.drift;
        let spread = CATEGORIES[usize::from(merchant.category)].log_spread;
        let cents = libm::exp(log_amount + spread * draws.normal());
        let amount = price(draws, cents, merchant);
        let channel = channel(draws, merchant, amount);
        pay(draws, moment.day, customer, merchant, city, time, amount, channel)
    }
}

/// Natural logarithm of the median amount (cents) of a customer at a merchant.
pub fn usual_log_amount(customer: &Customer, merchant: &Merchant) -> f64 {
    CATEGORIES[usize::from(merchant.category)].log_median + customer.log_level + merchant.log_level
}

/// A price as shops write it: notes from a cash machine, .99 endings, whole amounts, or any cents.
pub fn price(draws: &mut Draws, cents: f64, merchant: &Merchant) -> i64 {
    let cents = (cents as i64).clamp(50, 5_000_000);
    if usize::from(merchant.category) == CASH {
        return (cents / 1_000).max(2) * 1_000;
    }
    match draws.below(100) {
        0..35 if cents > 200 => cents / 100 * 100 - 1,
        35..50 if cents > 100 => cents / 100 * 100,
        _ => cents,
    }
}

/// How a payment of this kind is usually made.
pub fn channel(draws: &mut Draws, merchant: &Merchant, amount: i64) -> Channel {
    match usize::from(merchant.category) {
        CASH => Channel::Atm,
        TRANSFER => Channel::Transfer,
        _ if merchant.online => match draws.below(100) {
            0..78 => Channel::Ecommerce,
            78..97 => Channel::Wallet,
            _ => Channel::Moto,
        },
        _ if amount < 5_000 && draws.chance(0.75) => Channel::Contactless,
        _ => Channel::CardPresent,
    }
}

/// A payment by the customer's own means.
#[allow(clippy::too_many_arguments, reason = "one row has that many independent parts")]
pub fn pay(
    draws: &mut Draws,
    day: u32,
    customer: &Customer,
    merchant: &Merchant,
    city: usize,
    time: i64,
    amount: i64,
    channel: Channel,
) -> Row {
    let present = channel.is_present();
    let (latitude, longitude) =
        if present { (merchant.latitude, merchant.longitude) } else { (f32::NAN, f32::NAN) };
    Row {
        number: 0,
        time,
        arrival: time,
        known: time,
        customer: customer.number,
        card: if channel == Channel::Transfer { 0 } else { customer.card(draws) },
        device: if present || channel == Channel::Moto { 0 } else { customer.device(draws, day) },
        ip: if present || channel == Channel::Moto { 0 } else { customer.ip(draws, city) },
        merchant: merchant.number,
        amount,
        channel,
        category: CATEGORIES[usize::from(merchant.category)].code,
        city: if present { merchant.city } else { city as u8 },
        latitude,
        longitude,
        typology: Typology::Genuine,
        label: false,
    }
}
