//! The same input gives the same bits: for any number of workers, any cut into batches, and across a
//! snapshot; while tables evict, ids repeat and events come late.

mod support;

use fraudengine_core::engine::flag;
use fraudengine_core::event::Label;
use fraudengine_core::feature::catalogue;
use fraudengine_core::snapshot::Writer;
use fraudengine_core::units::DurationMicros;
use fraudengine_core::workers::{Inline, Workers};
use fraudengine_core::{Batch, Engine, EngineConfig, Output};
use support::{HOUR, Threads, history};

const ROWS: usize = 12_000;

fn config() -> EngineConfig {
    // 64 slabs share 128 slots: every table but the smallest evicts all the time.
    EngineConfig { lateness: DurationMicros(HOUR), entities_max: 128, minor_digits: 2 }
}

/// Features as bits (NaN equals itself) and flags of every row.
#[derive(Default, PartialEq)]
struct Seen {
    features: Vec<u32>,
    flags: Vec<u8>,
}

fn run(engine: &mut Engine, from: usize, to: usize, size: usize, workers: &dyn Workers, seen: &mut Seen) {
    let (transactions, labels) = history(7, ROWS);
    let mut out = Output::default();
    for first in (from..to).step_by(size) {
        let last = (first + size).min(to);
        let due: Vec<(u32, Label)> = labels
            .iter()
            .filter(|(row, _)| (first..last).contains(row))
            .map(|(row, label)| ((row - first) as u32, *label))
            .collect();
        let batch = Batch { transactions: &transactions[first..last], labels: &due };
        engine.process_batch(batch, None, workers, &mut out);
        seen.features.extend(out.features.iter().map(|value| value.to_bits()));
        seen.flags.extend(&out.flags);
    }
}

fn reference() -> (Seen, Vec<u8>) {
    let mut engine = Engine::new(config());
    let mut seen = Seen::default();
    run(&mut engine, 0, ROWS, 512, &Inline, &mut seen);
    let stats = engine.tables();
    assert!(stats.iter().any(|table| table.slabs.evicted > 100), "tables evict: {stats:?}");
    let counters = engine.counters();
    assert!(counters.duplicates > 100 && counters.late > 100 && counters.labels > 100, "{counters:?}");
    (seen, engine.snapshot())
}

#[test]
fn workers_and_batches_change_no_bit() {
    let (expected, state) = reference();
    assert_eq!(expected.features.len(), ROWS * catalogue::WIDTH);
    for threads in [1, 2, 4] {
        for size in [1, 7, 1_024] {
            if size == 1 && threads > 1 {
                continue;
            }
            let mut engine = Engine::new(config());
            let mut seen = Seen::default();
            run(&mut engine, 0, ROWS, size, &Threads(threads), &mut seen);
            assert!(seen == expected, "{threads} threads, batches of {size}");
            assert!(engine.snapshot() == state, "state after {threads} threads, batches of {size}");
        }
    }
}

#[test]
fn a_snapshot_in_the_middle_changes_no_bit() {
    let (expected, state) = reference();
    let mut engine = Engine::new(config());
    let mut seen = Seen::default();
    for piece in 0..6 {
        run(&mut engine, piece * 2_000, (piece + 1) * 2_000, 500, &Inline, &mut seen);
        engine = Engine::restore(&engine.snapshot()).unwrap();
    }
    assert!(seen == expected);
    assert!(engine.snapshot() == state);
}

#[test]
fn repeated_and_late_rows_change_nothing() {
    let (transactions, _) = history(7, 2_000);
    let mut out = Output::default();
    let mut engine = Engine::new(config());
    engine.process_batch(Batch { transactions: &transactions, labels: &[] }, None, &Inline, &mut out);
    let before = engine.snapshot();
    let last = transactions[transactions.len() - 1];
    let mut late = last;
    late.id = support::key(9, 1_000_000);
    late.time.0 -= 50 * HOUR;
    let rows = [last, late];
    engine.process_batch(Batch { transactions: &rows, labels: &[] }, None, &Inline, &mut out);
    assert_eq!(out.flags[0] & flag::DUPLICATE, flag::DUPLICATE);
    assert!(out.features[..catalogue::WIDTH].iter().all(|value| value.is_nan()));
    assert_eq!(out.flags[1] & flag::LATE, flag::LATE);
    assert!(out.features[catalogue::WIDTH..].iter().any(|value| !value.is_nan()));
    let after = engine.snapshot();
    // Only the counters in the head differ.
    assert_eq!(before.len(), after.len());
    let mut head = Writer::default();
    engine.write_head(&mut head);
    assert!(before[head.bytes.len()..] == after[head.bytes.len()..]);
}

#[test]
fn hostile_snapshots_are_refused_not_believed() {
    let (transactions, _) = history(3, 400);
    let mut out = Output::default();
    let mut engine = Engine::new(config());
    engine.process_batch(Batch { transactions: &transactions, labels: &[] }, None, &Inline, &mut out);
    let good = engine.snapshot();
    let mut draws = support::Draws(1);
    for _ in 0..2_000 {
        let mut bytes = good.clone();
        match draws.below(3) {
            0 => bytes.truncate(draws.below(good.len() as u64) as usize),
            1 => bytes.push(0),
            _ => {
                // Every byte is covered by a checksum or a length.
                let at = draws.below(good.len() as u64) as usize;
                bytes[at] ^= 1 << draws.below(8);
            }
        }
        assert!(Engine::restore(&bytes).is_err());
    }
    assert!(Engine::restore(b"not a snapshot at all").is_err());
}
