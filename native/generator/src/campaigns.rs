//! Fraud, in campaigns: each has a method, a beginning, and a handful of transactions that belong together.
//!
//! All campaigns are drawn when the world is made (they are a small share of the traffic) and filed by day.

use crate::catalogue::{CASH, CITIES, DIGITAL, ELECTRONICS, GOODS, TRANSFER};
use crate::config::Config;
use crate::customer::Customer;
use crate::draws::Draws;
use crate::genuine::{DAY, GENUINE_FACTOR, Habits, Moment, pay, price, usual_log_amount};
use crate::merchant::{Market, Merchant};
use crate::row::{Row, Typology};
use fraudengine_core::event::Channel;

const PURPOSE_CAMPAIGN: u64 = 5;
const HOUR: f64 = 3_600e6;

/// Share of the fraudulent transactions by method.
const MIX: [(Typology, f64); 8] = [
    (Typology::CardTesting, 0.20),
    (Typology::AccountTakeover, 0.15),
    (Typology::StolenCard, 0.14),
    (Typology::CompromisedMerchant, 0.18),
    (Typology::DeviceFarm, 0.12),
    (Typology::MuleFanIn, 0.09),
    (Typology::SlowDraining, 0.09),
    (Typology::FriendlyFraud, 0.03),
];

/// Who can be robbed, where, and what has been stolen so far.
struct Crime<'a> {
    config: &'a Config,
    customers: &'a [Customer],
    market: &'a Market,
    habits: &'a Habits,
    draws: Draws,
    rows: Vec<Row>,
}

/// All fraudulent transactions of a world, by day.
pub fn draw_campaigns(
    config: &Config,
    customers: &[Customer],
    market: &Market,
    habits: &Habits,
) -> Vec<Vec<Row>> {
    let genuine = f64::from(config.customers) * f64::from(config.days) * config.daily_mean * GENUINE_FACTOR;
    let budget = genuine * config.fraud_rate / (1.0 - config.fraud_rate);
    let mut days = vec![Vec::new(); config.days as usize];
    for (typology, share) in MIX {
        let mut spent = 0_u32;
        let mut campaign = 0;
        while f64::from(spent) < budget * share {
            let draws = Draws::new(config.seed, PURPOSE_CAMPAIGN, typology as u64, campaign);
            let mut crime = Crime { config, customers, market, habits, draws, rows: Vec::new() };
            crime.commit(typology);
            campaign += 1;
            let end = config.start_micros + i64::from(config.days) * DAY;
            // What would happen after the last day is not part of the history.
            for row in crime.rows.into_iter().filter(|row| row.time < end) {
                days[((row.time - config.start_micros) / DAY) as usize].push(row);
                spent += 1;
            }
        }
    }
    days
}

impl Crime<'_> {
    fn commit(&mut self, typology: Typology) {
        let start = self.start(typology);
        match typology {
            Typology::CardTesting => self.card_testing(start),
            Typology::AccountTakeover => self.account_takeover(start),
            Typology::StolenCard => self.stolen_card(start),
            Typology::CompromisedMerchant => self.compromised_merchant(start),
            Typology::DeviceFarm => self.device_farm(start),
            Typology::MuleFanIn => self.mule_fan_in(start),
            Typology::SlowDraining => self.slow_draining(start),
            Typology::FriendlyFraud | Typology::Genuine => self.friendly_fraud(start),
        }
        for row in &mut self.rows {
            row.typology = typology;
            row.label = true;
        }
    }

    /// When a campaign begins. With drift, the methods of the farm, the mule and the drain come later.
    fn start(&mut self, typology: Typology) -> i64 {
        let mut share = self.draws.unit();
        if self.draws.chance(self.config.drift) {
            let other = self.draws.unit();
            let later = typology as u8 >= Typology::DeviceFarm as u8;
            share = if later { share.max(other) } else { share.min(other) };
        }
        self.config.start_micros + (share * f64::from(self.config.days) * DAY as f64) as i64
    }

    fn victim(&mut self) -> Customer {
        self.customers[self.draws.below(self.customers.len() as u64) as usize]
    }

    fn seller(&mut self, city: usize, category: usize) -> Merchant {
        *self.market.choose(&mut self.draws, city, category, true)
    }

    fn later(&mut self, from: i64, hours: f64) -> i64 {
        from + (self.draws.unit() * hours * HOUR) as i64
    }

    fn anonymous(&mut self) -> u64 {
        self.draws.bits() | 1
    }

    /// Commits one payment with the victim's card or account; the thief's device and address if given.
    fn steal(
        &mut self,
        victim: &Customer,
        merchant: &Merchant,
        time: i64,
        cents: f64,
        channel: Channel,
        thief: Option<(u64, u64)>,
    ) {
        let amount = price(&mut self.draws, cents, merchant);
        let day = ((time - self.config.start_micros) / DAY) as u32;
        let city = usize::from(if channel.is_present() { merchant.city } else { victim.city });
        let mut row = pay(&mut self.draws, day, victim, merchant, city, time, amount, channel);
        if let (Some((device, ip)), true) = (thief, row.device != 0) {
            (row.device, row.ip) = (device, ip);
        }
        self.rows.push(row);
    }

    fn card_testing(&mut self, start: i64) {
        let category = [GOODS, DIGITAL][self.draws.below(2) as usize];
        let shop = self.seller(0, category);
        let (device, mut ip) = (self.anonymous(), self.anonymous());
        for _ in 0..8 + self.draws.below(20) {
            let victim = self.victim();
            if self.draws.chance(0.2) {
                ip = self.anonymous();
            }
            let time = self.later(start, 1.5);
            let cents = self.draws.between(60.0, 900.0);
            self.steal(&victim, &shop, time, cents, Channel::Ecommerce, Some((device, ip)));
            if self.draws.chance(0.35) {
                let shop = self.seller(0, ELECTRONICS);
                let cents = libm::exp(usual_log_amount(&victim, &shop) + 0.5 + 0.5 * self.draws.normal());
                let time = self.later(time, 30.0);
                let device = self.anonymous();
                self.steal(&victim, &shop, time, cents, Channel::Ecommerce, Some((device, ip)));
            }
        }
    }

    fn account_takeover(&mut self, start: i64) {
        let victim = self.victim();
        let thief = (self.anonymous(), self.anonymous());
        for _ in 0..3 + self.draws.below(6) {
            let category = [ELECTRONICS, GOODS, TRANSFER, DIGITAL][self.draws.below(4) as usize];
            let shop = self.seller(usize::from(victim.city), category);
            let channel = if category == TRANSFER { Channel::Transfer } else { Channel::Ecommerce };
            let cents = libm::exp(usual_log_amount(&victim, &shop) + 0.7 + 0.7 * self.draws.normal());
            let time = self.later(start, 40.0);
            self.steal(&victim, &shop, time, cents, channel, Some(thief));
        }
    }

    fn stolen_card(&mut self, start: i64) {
        let victim = self.victim();
        let away = (1 + self.draws.below(CITIES.len() as u64 - 1) as usize + usize::from(victim.city))
            % CITIES.len();
        for _ in 0..3 + self.draws.below(7) {
            let category = if self.draws.chance(0.3) { CASH } else { self.draws.below(8) as usize };
            let shop = *self.market.choose(&mut self.draws, away, category, false);
            let cents = libm::exp(usual_log_amount(&victim, &shop) + 0.5 + 0.6 * self.draws.normal());
            let channel = match usize::from(shop.category) {
                CASH => Channel::Atm,
                _ if cents < 5_000.0 => Channel::Contactless,
                _ => Channel::CardPresent,
            };
            let time = self.later(start, 14.0);
            self.steal(&victim, &shop, time, cents, channel, None);
        }
    }

    fn compromised_merchant(&mut self, start: i64) {
        let merchant = *self.market.any(&mut self.draws);
        let days = self.draws.between(8.0, 25.0);
        let payments = (days * self.draws.between(1.5, 4.0)) as u64;
        for _ in 0..payments {
            let victim = self.victim();
            let mut cents = usual_log_amount(&victim, &merchant) + 0.2 + 0.7 * self.draws.normal();
            cents = libm::exp(cents);
            let time = self.later(start, days * 24.0);
            let channel = crate::genuine::channel(&mut self.draws, &merchant, cents as i64);
            self.steal(&victim, &merchant, time, cents, channel, None);
        }
    }

    fn device_farm(&mut self, start: i64) {
        let device = self.anonymous();
        let mut ip = self.anonymous();
        let hours = self.draws.between(24.0, 120.0);
        for _ in 0..10 + self.draws.below(25) {
            let victim = self.victim();
            if self.draws.chance(0.5) {
                ip = self.anonymous();
            }
            let category = [GOODS, ELECTRONICS, DIGITAL][self.draws.below(3) as usize];
            let shop = self.seller(usize::from(victim.city), category);
            let cents = libm::exp(usual_log_amount(&victim, &shop) + 0.2 + 0.8 * self.draws.normal());
            let time = self.later(start, hours);
            let channel = [Channel::Ecommerce, Channel::Wallet][self.draws.below(2) as usize];
            self.steal(&victim, &shop, time, cents, channel, Some((device, ip)));
        }
    }

    fn mule_fan_in(&mut self, start: i64) {
        let account = self.seller(0, TRANSFER);
        let hours = self.draws.between(24.0, 96.0);
        for _ in 0..10 + self.draws.below(20) {
            let victim = self.victim();
            let cents = libm::exp(usual_log_amount(&victim, &account) + 0.6 + 0.7 * self.draws.normal());
            let time = self.later(start, hours);
            self.steal(&victim, &account, time, cents, Channel::Transfer, None);
        }
    }

    fn slow_draining(&mut self, start: i64) {
        let victim = self.victim();
        let shop = self.seller(0, DIGITAL);
        let ip = self.anonymous();
        let device = self.anonymous();
        let midnight = start - (start - self.config.start_micros) % DAY;
        for night in 0..12 + self.draws.below(14) as i64 {
            let hour = self.draws.between(0.0, 6.0);
            let time = midnight + night * DAY + (hour * HOUR) as i64;
            if time < start {
                continue;
            }
            let cents = self.draws.between(250.0, 2_600.0);
            self.steal(&victim, &shop, time, cents, Channel::Wallet, Some((device, ip)));
        }
    }

    fn friendly_fraud(&mut self, start: i64) {
        let customer = self.victim();
        let day = ((start - self.config.start_micros) / DAY) as u32;
        let moment = Moment {
            seed: self.config.seed,
            day,
            midnight: self.config.start_micros + i64::from(day) * DAY,
            drift: 0.0,
        };
        let city = usize::from(customer.city);
        let row = self.habits.purchase(&mut self.draws, moment, &customer, self.market, city, None);
        self.rows.push(row);
    }
}
