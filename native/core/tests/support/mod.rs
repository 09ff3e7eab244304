//! Shared by the tests of the fold: seeded random histories and workers with real threads.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's failure")]

use fraudengine_core::decision::{Calibration, Policy};
use fraudengine_core::event::{Channel, Label, Place, Transaction};
use fraudengine_core::feature::catalogue;
use fraudengine_core::model::Ensemble;
use fraudengine_core::units::{AmountMinor, EntityKey, EventTimeMicros};
use fraudengine_core::workers::Workers;
use fraudengine_core::{Model, Output};

/// SplitMix64.
pub struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub const HOUR: i64 = 3_600_000_000;
pub const START: i64 = 1_600_000_000_000_000;

pub fn key(kind: u64, number: u64) -> EntityKey {
    EntityKey::of(format!("{kind}-{number}").as_bytes())
}

/// A history with absent fields, ties, late events, repeated ids and a hot merchant, and its labels.
pub fn history(seed: u64, rows: usize) -> (Vec<Transaction>, Vec<(usize, Label)>) {
    history_of(seed, rows, 1)
}

/// The same with `times` as many entities, each as busy as before.
pub fn history_of(seed: u64, rows: usize, times: u64) -> (Vec<Transaction>, Vec<(usize, Label)>) {
    let mut draws = Draws(seed);
    let mut now = START;
    let mut transactions: Vec<Transaction> = Vec::with_capacity(rows);
    let mut labels = Vec::new();
    for row in 0..rows {
        now += if draws.chance(20) { 0 } else { draws.below(40 * 60_000_000 / times) as i64 };
        if row > 10 && draws.chance(2) {
            let again = transactions[row - 1 - draws.below(9) as usize];
            transactions.push(again);
            continue;
        }
        let late = if draws.chance(5) { draws.below(3 * HOUR as u64) as i64 } else { 0 };
        let mut entity = |kind: u64, many: u64, percent: u64| {
            draws.chance(percent).then(|| key(kind, draws.below(many * times)))
        };
        let entities = [
            entity(0, 60, 100),
            entity(1, 90, 80),
            entity(2, 80, 70),
            if row % 3 == 0 { Some(key(3, 0)) } else { entity(3, 40, 90) },
            entity(4, 50, 70),
        ];
        let transaction = Transaction {
            id: key(9, row as u64),
            time: EventTimeMicros(now - late),
            amount: AmountMinor(draws.below(50_000) as i64),
            entities,
            place: draws.chance(60).then_some(Place { latitude: 40.0, longitude: (row % 90) as f32 }),
            channel: draws.chance(80).then_some(Channel::Ecommerce),
            category: draws.chance(80).then_some((row % 12) as u16),
            country: draws.chance(70).then_some(1 + (row % 5) as u16),
        };
        transactions.push(transaction);
        if draws.chance(6) {
            labels.push((row + draws.below(40) as usize, label_of(&transaction, now + HOUR)));
        }
    }
    labels.sort_by_key(|(row, _)| *row);
    (transactions, labels)
}

pub fn label_of(transaction: &Transaction, known: i64) -> Label {
    Label {
        id: transaction.id,
        event_time: transaction.time,
        known_time: EventTimeMicros(known),
        is_fraud: known % 5 != 0,
        amount: transaction.amount,
        entities: transaction.entities,
    }
}

/// Real threads, started for every job.
pub struct Threads(pub usize);

impl Workers for Threads {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for worker in 0..self.0 {
                scope.spawn(move || job(worker));
            }
        });
    }
}

const LEAF: u16 = u16::MAX;

/// A booster of one tree for each feature: a split at 1, missing values to the right.
pub fn model() -> Model {
    let mut body = Vec::new();
    body.extend((catalogue::WIDTH as u32).to_le_bytes());
    body.extend(2_u32.to_le_bytes());
    body.extend((catalogue::WIDTH as u32).to_le_bytes());
    body.extend((-0.5_f32).to_le_bytes());
    for feature in 0..catalogue::WIDTH as u16 {
        body.extend(3_u32.to_le_bytes());
        let step = f64::from(feature % 7) / 8.0;
        for (feature, left, right, value) in
            [(feature, 1_u32, 2_u32, 0.0), (LEAF, 0, 0, -step), (LEAF, 0, 0, step)]
        {
            body.extend(feature.to_le_bytes());
            body.extend(0_u16.to_le_bytes());
            body.extend(1.0_f32.to_le_bytes());
            body.extend(left.to_le_bytes());
            body.extend(right.to_le_bytes());
            body.extend(f64::to_le_bytes(value));
            body.extend(1.0_f32.to_le_bytes());
        }
    }
    let mut bytes = b"FRAUDENS".to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
    let ensemble = Ensemble::parse(&bytes).unwrap();
    let scorer = ensemble.scorer("auto").unwrap();
    let calibration = Calibration { slope: 1.0, intercept: 0.0 };
    Model { ensemble, scorer, policy: Policy { calibration, review_from: 0.2, block_from: 0.8 } }
}

/// Everything that was decided, floats as bits.
pub fn told(out: &Output) -> String {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let floats = [&out.features, &out.anomaly, &out.margin, &out.score].map(|values| bits(values));
    format!("{floats:?} {:?} {:?} {:?}", out.action, out.flags, out.reasons)
}
