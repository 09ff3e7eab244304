//! The same input gives the same bits: for any number of workers, any cut into batches, and across a
//! snapshot; while tables evict, ids repeat and events come late.

mod support;

use fraudengine_core::engine::flag;
use fraudengine_core::event::{Label, Transaction};
use fraudengine_core::feature::catalogue;
use fraudengine_core::limits::{MEMORY_PIECES, MEMORY_SHARES, SLAB_COUNT};
use fraudengine_core::snapshot::{PARTS, Writer};
use fraudengine_core::units::DurationMicros;
use fraudengine_core::workers::{Inline, Workers};
use fraudengine_core::{Batch, Engine, EngineConfig, Output};
use std::ops::Range;
use support::{HOUR, Threads, history, history_of};

/// A bound on the tables, and a history that keeps them at it.
#[derive(Clone, Copy, Debug)]
struct Case {
    config: EngineConfig,
    rows: usize,
    times: u64,
}

/// One slot a slab: every table but the smallest evicts all the time.
const FEW: Case = Case { config: few(), rows: 12_000, times: 1 };
/// A few kilobytes a slab, which the entities outgrow; a slab of merchants has room for one.
const SMALL: Case = Case { config: small(), rows: 24_000, times: 40 };

const fn few() -> EngineConfig {
    EngineConfig { lateness: DurationMicros(HOUR), entities_max: 128, memory_max: 0, minor_digits: 2 }
}

const fn small() -> EngineConfig {
    EngineConfig { entities_max: 1 << 20, memory_max: 9 << 19, ..few() }
}

fn config() -> EngineConfig {
    FEW.config
}

/// Features as bits (NaN equals itself) and flags of every row.
#[derive(Default, PartialEq)]
struct Seen {
    features: Vec<u32>,
    flags: Vec<u8>,
}

/// The rows and labels of a case.
struct Input(Vec<Transaction>, Vec<(usize, Label)>);

impl Input {
    fn of(case: Case) -> Self {
        let (transactions, labels) = history_of(7, case.rows, case.times);
        Self(transactions, labels)
    }

    fn run(
        &self,
        engine: &mut Engine,
        rows: Range<usize>,
        size: usize,
        workers: &dyn Workers,
        seen: &mut Seen,
    ) {
        let mut out = Output::default();
        for first in rows.clone().step_by(size) {
            let last = (first + size).min(rows.end);
            let due: Vec<(u32, Label)> = self
                .1
                .iter()
                .filter(|(row, _)| (first..last).contains(row))
                .map(|(row, label)| ((row - first) as u32, *label))
                .collect();
            let batch = Batch { transactions: &self.0[first..last], labels: &due };
            engine.process_batch(batch, None, workers, &mut out);
            seen.features.extend(out.features.iter().map(|value| value.to_bits()));
            seen.flags.extend(&out.flags);
        }
    }
}

/// Every table below its share, every slab with several entities below its own.
fn assert_bounded(engine: &Engine) {
    let memory = engine.config().memory_max;
    for (part, share) in (0..PARTS).map(|part| (part, MEMORY_SHARES[part / SLAB_COUNT])) {
        let stats = engine.part_stats(part);
        let bound = if memory == 0 { usize::MAX } else { memory / MEMORY_PIECES * share / SLAB_COUNT };
        assert!(stats.entities <= 1 || stats.bytes <= bound, "part {part}: {stats:?}, bound {bound}");
    }
}

fn reference(case: Case, input: &Input) -> (Seen, Engine) {
    let mut engine = Engine::new(case.config);
    let mut seen = Seen::default();
    input.run(&mut engine, 0..case.rows, 512, &Inline, &mut seen);
    let stats = engine.tables();
    assert!(stats.iter().all(|table| table.slabs.evicted > 300), "tables evict: {stats:?}");
    let counters = engine.counters();
    assert!(counters.duplicates > 100 && counters.late > 100 && counters.labels > 100, "{counters:?}");
    assert_bounded(&engine);
    (seen, engine)
}

fn workers_and_batches(case: Case) {
    let input = Input::of(case);
    let (expected, last) = reference(case, &input);
    let state = last.snapshot();
    assert_eq!(expected.features.len(), case.rows * catalogue::WIDTH);
    for threads in [1, 2, 4] {
        for size in [1, 7, 1_024] {
            if size == 1 && threads > 1 {
                continue;
            }
            let mut engine = Engine::new(case.config);
            let mut seen = Seen::default();
            input.run(&mut engine, 0..case.rows, size, &Threads(threads), &mut seen);
            assert!(seen == expected, "{threads} threads, batches of {size}");
            assert!(engine.snapshot() == state, "state after {threads} threads, batches of {size}");
        }
    }
}

#[test]
fn workers_and_batches_change_no_bit() {
    workers_and_batches(FEW);
}

#[test]
fn workers_and_batches_change_no_bit_at_a_bound_in_bytes() {
    workers_and_batches(SMALL);
}

fn snapshot_in_the_middle(case: Case) {
    let input = Input::of(case);
    let (expected, last) = reference(case, &input);
    let mut engine = Engine::new(case.config);
    let mut seen = Seen::default();
    let piece = case.rows / 6;
    for first in (0..case.rows).step_by(piece) {
        input.run(&mut engine, first..first + piece, 500, &Inline, &mut seen);
        let before = engine.tables();
        engine = Engine::restore(&engine.snapshot()).expect("it was just written");
        assert_eq!(engine.tables(), before, "as many bytes as before");
    }
    assert!(seen == expected);
    assert!(engine.snapshot() == last.snapshot());
}

#[test]
fn a_snapshot_in_the_middle_changes_no_bit() {
    snapshot_in_the_middle(FEW);
}

#[test]
fn a_snapshot_in_the_middle_changes_no_bit_at_a_bound_in_bytes() {
    snapshot_in_the_middle(SMALL);
}

#[test]
fn a_snapshot_restored_within_a_smaller_bound_is_within_it() {
    let input = Input::of(SMALL);
    let (_, engine) = reference(SMALL, &input);
    let smaller = SMALL.config.memory_max / 2;
    let restored = Engine::restore_within(&engine.snapshot(), Some(smaller)).unwrap();
    assert_eq!(restored.config().memory_max, smaller);
    assert_bounded(&restored);
    for (before, after) in engine.tables().iter().zip(restored.tables()) {
        assert_eq!(before.entities - after.entities, (after.slabs.evicted - before.slabs.evicted) as usize);
    }
    assert!(restored.tables()[0].entities < engine.tables()[0].entities);
    let mut same = engine.clone();
    same.rebound(SMALL.config.entities_max, smaller);
    assert!(same.snapshot() == restored.snapshot(), "while it runs, as when it is read");
    let wider = Engine::restore_within(&engine.snapshot(), Some(0)).unwrap();
    assert_eq!(wider.tables(), engine.tables());
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
