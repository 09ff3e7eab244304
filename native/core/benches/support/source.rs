//! What the fold is measured with: transactions with skewed keys in time order, and an engine in steady state.

use fraudengine_core::event::{Channel, Place, Transaction};
use fraudengine_core::limits::BATCH_MAX;
use fraudengine_core::units::{AmountMinor, EntityKey, EventTimeMicros};
use fraudengine_core::workers::Inline;
use fraudengine_core::{Batch, Engine, EngineConfig, Output};

/// The allocator of the extension module.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events a day of one customer: what the default synthetic history has.
const DAILY: f64 = 0.7;
const DAY: f64 = 86_400e6;

/// SplitMix64: every draw is a function of its position.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn key(kind: u64, number: u64) -> EntityKey {
    EntityKey::of(&[kind.to_le_bytes(), number.to_le_bytes()].concat())
}

/// Transactions in time order at the given rate of the whole population.
pub struct Source {
    customers: u64,
    draws: Draws,
    time: f64,
    number: u64,
}

impl Source {
    /// Behind a month that has filled every window of an engine.
    pub fn settled(customers: u64) -> (Self, Engine, Output) {
        let mut source = Self { customers, draws: Draws(1), time: 0.0, number: 0 };
        let (mut engine, mut out) = (Engine::new(EngineConfig::default()), Output::default());
        for _ in 0..(31.0 * DAILY * customers as f64) as usize / BATCH_MAX {
            let batch = source.batch();
            engine.process_batch(Batch { transactions: &batch, labels: &[] }, None, &Inline, &mut out);
        }
        (source, engine, out)
    }

    /// The next ones.
    pub fn batch(&mut self) -> Vec<Transaction> {
        (0..BATCH_MAX).map(|_| self.one()).collect()
    }

    fn one(&mut self) -> Transaction {
        let draws = &mut self.draws;
        self.time += DAY / (self.customers as f64 * DAILY);
        self.number += 1;
        let customer = draws.next() % self.customers;
        // A power law: the first of the merchants take a large share.
        let merchant = (self.customers as f64 / 5.0 * draws.unit().powi(3)) as u64;
        let ip = if draws.unit() < 0.3 { draws.next() % 500 } else { 1_000 + customer };
        Transaction {
            id: key(9, self.number),
            time: EventTimeMicros(1_600_000_000_000_000 + self.time as i64),
            amount: AmountMinor(100 + (20_000.0 * draws.unit().powi(4)) as i64),
            entities: [
                Some(key(0, customer)),
                Some(key(1, customer * 2 + u64::from(draws.unit() < 0.2))),
                Some(key(2, customer * 3 + u64::from(draws.unit() < 0.3))),
                Some(key(3, merchant)),
                Some(key(4, ip)),
            ],
            place: Some(Place { latitude: 48.0 + (merchant % 7) as f32, longitude: 2.0 }),
            channel: Some(Channel::Ecommerce),
            category: Some((merchant % 40) as u16),
            country: Some(1 + (merchant % 12) as u16),
        }
    }
}
