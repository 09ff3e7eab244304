//! Looking at the state gives what deciding on a copy of it would give, bit for bit, and changes nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's failure")]

mod support;

use fraudengine_core::event::Transaction;
use fraudengine_core::feature::catalogue;
use fraudengine_core::units::DurationMicros;
use fraudengine_core::workers::Inline;
use fraudengine_core::{Batch, Engine, EngineConfig, Model, Output, STANDING};
use support::{HOUR, history, key, model, told};

fn decided_on_a_copy(engine: &Engine, row: Transaction, model: Option<&Model>, out: &mut Output) {
    let mut copy = engine.clone();
    let labels = copy.due_labels(&[row]);
    let batch = Batch { transactions: &[row], labels: &labels };
    copy.process_batch(batch, model, &Inline, out);
}

#[test]
fn a_look_equals_a_decision_on_a_copy_of_the_state() {
    let model = model();
    let mut flags_seen = 0;
    let mut flagged = 0;
    for seed in 1..6 {
        let (transactions, labels) = history(seed, 3_000);
        let config = EngineConfig { lateness: DurationMicros(HOUR), ..EngineConfig::default() };
        let mut engine = Engine::new(config);
        let (mut out, mut peeked, mut golden) = (Output::default(), Output::default(), Output::default());
        for (at, rows) in transactions.chunks(97).enumerate() {
            let first = at * 97;
            for (_, label) in labels.iter().filter(|(row, _)| (first..first + rows.len()).contains(row)) {
                engine.expect(*label);
            }
            let before = engine.snapshot();
            for row in [0, rows.len() / 2, rows.len() - 1].map(|row| rows[row]) {
                for model in [None, Some(&model)] {
                    engine.peek(&[row], model, &mut peeked);
                    decided_on_a_copy(&engine, row, model, &mut golden);
                    assert_eq!(told(&peeked), told(&golden), "seed {seed}, row {first}");
                    flags_seen |= peeked.flags[0];
                    flagged += peeked.reasons.len();
                }
            }
            assert!(engine.snapshot() == before, "looking changed the state");
            // Ids that were just decided come again, so that repeated ones are looked at too.
            let known = engine.due_labels(rows);
            let batch = Batch { transactions: rows, labels: &known };
            engine.process_batch(batch, Some(&model), &Inline, &mut out);
            engine.peek(&rows[rows.len() - 1..], Some(&model), &mut peeked);
            decided_on_a_copy(&engine, rows[rows.len() - 1], Some(&model), &mut golden);
            assert_eq!(told(&peeked), told(&golden));
            flags_seen |= peeked.flags[0];
        }
    }
    assert_eq!(flags_seen, 7, "repeated, late and approximate rows were among them");
    assert!(flagged > 50, "{flagged} rows had reasons");
}

#[test]
fn rows_that_look_together_do_not_see_one_another() {
    let model = model();
    let (transactions, _) = history(9, 600);
    let mut engine = Engine::new(EngineConfig::default());
    let mut out = Output::default();
    let batch = Batch { transactions: &transactions[..500], labels: &[] };
    engine.process_batch(batch, Some(&model), &Inline, &mut out);
    let rows = &transactions[500..];
    engine.peek(rows, Some(&model), &mut out);
    for (at, row) in rows.iter().enumerate() {
        let mut alone = Output::default();
        engine.peek(&[*row], Some(&model), &mut alone);
        assert_eq!(alone.score[0].to_bits(), out.score[at].to_bits(), "row {at}");
        assert_eq!((alone.action[0], alone.flags[0]), (out.action[at], out.flags[at]));
    }
}

/// Asks for the windows of each customer and adds up the history again, slowly.
#[test]
fn the_windows_of_a_customer_hold_what_its_history_adds_up_to() {
    for name in STANDING {
        assert!(catalogue::CUSTOMER.iter().any(|feature| feature.name == name), "{name}");
    }
    let (transactions, labels) = history(4, 2_000);
    let config = EngineConfig { lateness: DurationMicros(1_000 * HOUR), ..EngineConfig::default() };
    let mut engine = Engine::new(config);
    for (_, label) in &labels {
        engine.expect(*label);
    }
    let due = engine.due_labels(&transactions);
    let batch = Batch { transactions: &transactions, labels: &due };
    engine.process_batch(batch, None, &Inline, &mut Output::default());
    let before = engine.snapshot();
    let now = engine.watermark().unwrap().0;
    let mut seen = std::collections::HashSet::new();
    let unique: Vec<&Transaction> = transactions.iter().filter(|row| seen.insert(row.id)).collect();
    let mut with_fraud = 0;
    for number in 0..60 {
        let customer = key(0, number);
        let windows = engine.customer_windows(customer).unwrap();
        let of = |name: &str| windows.iter().find(|(each, _)| *each == name).unwrap().1.to_bits();
        let own: Vec<&&Transaction> = unique.iter().filter(|row| row.entities[0] == Some(customer)).collect();
        let within = |hours: i64| own.iter().filter(move |row| row.time.0 > now - hours * HOUR);
        for (suffix, hours) in [("1h", 1), ("24h", 24), ("7d", 168), ("30d", 720)] {
            assert_eq!(of(&format!("customer_count_{suffix}")), (within(hours).count() as f32).to_bits());
            let sum: i64 = within(hours).map(|row| row.amount.0).sum();
            assert_eq!(of(&format!("customer_sum_{suffix}")), ((sum as f64 / 100.0) as f32).to_bits());
        }
        let merchants: std::collections::HashSet<_> = within(168).filter_map(|row| row.entities[3]).collect();
        assert_eq!(of("customer_merchants_7d"), (merchants.len() as f32).to_bits());
        let last = own.iter().map(|row| row.time.0).max().unwrap();
        assert_eq!(of("customer_hours_since_last"), (((now - last) as f64 / HOUR as f64) as f32).to_bits());
        with_fraud += usize::from(f32::from_bits(of("customer_frauds_30d")) > 0.0);
    }
    assert!(with_fraud > 5, "{with_fraud}");
    assert!(engine.customer_windows(key(0, 1_000)).is_none());
    assert!(engine.snapshot() == before, "looking changed the state");
}
