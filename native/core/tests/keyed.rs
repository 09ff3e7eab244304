//! Kind by kind, from states in cells, the fold gives the engine's bits: for any cut into cells, buckets and batches, with
//! late and repeated transactions and labels that wait; and no foreign state is taken.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's failure")]

mod support;

use std::collections::{BTreeMap, HashMap};

use fraudengine_core::engine::flag;
use fraudengine_core::event::{EntityKind, Label, Transaction};
use fraudengine_core::feature::catalogue;
use fraudengine_core::keyed::{self, CellState, Step};
use fraudengine_core::snapshot::{SnapshotError, Writer};
use fraudengine_core::units::{DurationMicros, EventTimeMicros};
use fraudengine_core::workers::Inline;
use fraudengine_core::{Batch, Engine, EngineConfig, Model, Output};
use support::{Draws, HOUR, history_of, label_of, model, told};

const LATENESS: DurationMicros = DurationMicros(HOUR);
const NEVER: EventTimeMicros = EventTimeMicros(i64::MIN);

/// What a runner keeps: the cells of each kind (the answers stand behind the kinds), and the labels that wait.
struct Store {
    cells: u32,
    buckets: u32,
    states: HashMap<(usize, u32), Vec<u8>>,
    waiting: HashMap<(usize, u32), Vec<u8>>,
    now: EventTimeMicros,
}

impl Store {
    fn new(cells: u32, buckets: u32) -> Self {
        Self { cells, buckets, states: HashMap::new(), waiting: HashMap::new(), now: NEVER }
    }

    /// Rows of each bucket of a kind.
    fn dealt(&self, kind: EntityKind, rows: &[Transaction]) -> BTreeMap<u32, Vec<usize>> {
        let mut dealt: BTreeMap<u32, Vec<usize>> = (0..self.buckets).map(|bucket| (bucket, vec![])).collect();
        for (row, transaction) in rows.iter().enumerate() {
            if let Some(key) = transaction.entity(kind) {
                let bucket = keyed::cell_of(key, self.cells) % self.buckets;
                dealt.get_mut(&bucket).unwrap().push(row);
            }
        }
        dealt
    }

    /// Takes in rows, ordered by time, and the labels that arrived before them.
    fn take_in(&mut self, rows: &[Transaction], arrived: &[Label], model: Option<&Model>) -> Output {
        let after = rows.iter().map(|row| row.time).max().map_or(NEVER, |newest| newest.max(self.now));
        let mut flags = keyed::late_flags(rows, LATENESS, self.now);
        let mut features = vec![f32::NAN; rows.len() * catalogue::WIDTH];
        for kind in EntityKind::ALL {
            let repeated = flags.clone();
            for (bucket, mut mine) in self.dealt(kind, rows) {
                mine.retain(|&row| repeated[row] & flag::DUPLICATE == 0);
                self.step(kind, bucket, (rows, &mine), arrived, after, &mut flags, &mut features);
            }
        }
        self.now = self.now.max(after);
        self.settle(rows, &features, &flags, model)
    }

    #[allow(clippy::too_many_arguments)]
    fn step(
        &mut self,
        kind: EntityKind,
        bucket: u32,
        (rows, mine): (&[Transaction], &[usize]),
        arrived: &[Label],
        after: EventTimeMicros,
        flags: &mut [u8],
        features: &mut [f32],
    ) {
        let own: Vec<Transaction> = mine.iter().map(|&row| rows[row]).collect();
        let in_bucket = |label: &&Label| {
            let key = label.entities[kind as usize];
            key.is_some_and(|key| keyed::cell_of(key, self.cells) % self.buckets == bucket)
        };
        let labels: Vec<Label> = arrived.iter().filter(in_bucket).copied().collect();
        let waiting = self.waiting.get(&(kind as usize, bucket)).map(Vec::as_slice);
        let (due, waiting) = keyed::due_labels(waiting, &labels, &own, self.now, after).unwrap();
        self.waiting.insert((kind as usize, bucket), waiting);
        let batch = Batch { transactions: &own, labels: &due };
        let before: Vec<u8> = mine.iter().map(|&row| flags[row]).collect();
        let step = Step {
            kind,
            cells: self.cells,
            lateness: LATENESS,
            minor_digits: 2,
            batch,
            flags: &before,
            now: after,
        };
        let touched = keyed::cells_touched(kind, self.cells, batch);
        let stepped = keyed::step(&step, &self.found(kind as usize, &touched)).unwrap();
        self.keep(kind as usize, &touched, stepped.states);
        let (first, columns) = (catalogue::first_column(kind), stepped.features.len() / mine.len().max(1));
        for (at, &row) in mine.iter().enumerate() {
            flags[row] |= stepped.flags[at];
            features[row * catalogue::WIDTH + first..][..columns]
                .copy_from_slice(&stepped.features[at * columns..][..columns]);
        }
    }

    fn settle(
        &mut self,
        rows: &[Transaction],
        features: &[f32],
        flags: &[u8],
        model: Option<&Model>,
    ) -> Output {
        let batch = Batch { transactions: rows, labels: &[] };
        let touched = keyed::cells_touched(EntityKind::Customer, self.cells, batch);
        let states = self.found(EntityKind::ALL.len(), &touched);
        let settled = keyed::settle(rows, features, flags, self.cells, &states, model).unwrap();
        self.keep(EntityKind::ALL.len(), &touched, settled.states);
        settled.output
    }

    fn found(&self, kind: usize, touched: &[u32]) -> Vec<CellState<'_>> {
        touched.iter().map(|&cell| (cell, self.states.get(&(kind, cell)).map(Vec::as_slice))).collect()
    }

    fn keep(&mut self, kind: usize, touched: &[u32], states: Vec<Vec<u8>>) {
        assert_eq!(touched.len(), states.len());
        self.states.extend(touched.iter().map(|&cell| (kind, cell)).zip(states));
    }
}

/// Rows and labels cut into batches of random sizes; the rows of each by time, as a runner orders them.
fn batches(seed: u64, rows: usize, most: u64) -> Vec<(Vec<Transaction>, Vec<Label>)> {
    let (transactions, labels) = history_of(seed, rows, 2);
    let mut draws = Draws(seed ^ 0x4D);
    let (mut first, mut all) = (0, Vec::new());
    while first < rows {
        // Sometimes none: labels may come alone.
        let last = (first + draws.below(most + 1) as usize).min(rows);
        let mut batch = transactions[first..last].to_vec();
        batch.sort_by_key(|row| row.time);
        // Each is known at another time than it arrives: some at once, some wait for batches.
        let mut arrived: Vec<Label> = Vec::new();
        for (_, label) in labels.iter().filter(|(row, _)| (first..last).contains(row)) {
            let known = label.known_time.0 + draws.below(9) as i64 * HOUR / 2 - 2 * HOUR;
            arrived.push(Label { known_time: EventTimeMicros(known), ..*label });
        }
        all.push((batch, arrived));
        first = last;
    }
    all
}

fn compare(seed: u64, rows: usize, most: u64, (cells, buckets): (u32, u32), model: Option<&Model>) {
    let config = EngineConfig { lateness: LATENESS, entities_max: 1 << 20, memory_max: 0, minor_digits: 2 };
    let mut engine = Engine::new(config);
    let mut store = Store::new(cells, buckets);
    let mut expected = Output::default();
    for (number, (rows, arrived)) in batches(seed, rows, most).iter().enumerate() {
        for label in arrived {
            engine.expect(*label);
        }
        let due = engine.due_labels(rows);
        engine.process_batch(Batch { transactions: rows, labels: &due }, model, &Inline, &mut expected);
        let found = store.take_in(rows, arrived, model);
        assert!(told(&found) == told(&expected), "seed {seed}, batch {number}, {cells} cells in {buckets}");
    }
    let counters = engine.counters();
    let many = rows as u64 / 200;
    // Ordered by time within a batch, only what comes batches later is late.
    let tested = counters.duplicates > many && counters.labels > many && (counters.late > 0 || rows < 1_000);
    assert!(tested, "{counters:?}");
}

#[test]
fn every_cut_gives_the_engines_bits() {
    let model = model();
    for (seed, most, cut) in
        [(1, 1, (64, 8)), (2, 40, (1, 1)), (3, 700, (512, 4)), (4, 3_000, (1 << 20, 16)), (5, 150, (97, 5))]
    {
        compare(seed, if most == 1 { 1_500 } else { 9_000 }, most, cut, Some(&model));
    }
    compare(6, 3_000, 100, (64, 8), None);
}

#[test]
fn many_small_histories_agree() {
    let model = model();
    for seed in 100..140 {
        let cut = (1 + seed as u32 % 37, 1 + seed as u32 % 5);
        compare(seed, 900, 1 + 13 * (seed % 11), cut, Some(&model));
    }
}

/// A cell with one customer, and the step that made it.
fn one_cell() -> (Transaction, Vec<u8>) {
    let row = history_of(8, 1, 1).0[0];
    let stepped = keyed::step(&step_of(&[row], 4), &[(cell_of(&row), None)]).unwrap();
    (row, stepped.states.into_iter().next().unwrap())
}

fn cell_of(row: &Transaction) -> u32 {
    keyed::cell_of(row.entity(EntityKind::Customer).unwrap(), 4)
}

const fn step_of(rows: &[Transaction], cells: u32) -> Step<'_> {
    Step {
        kind: EntityKind::Customer,
        cells,
        lateness: LATENESS,
        minor_digits: 2,
        batch: Batch { transactions: rows, labels: &[] },
        flags: &[0],
        now: rows[0].time,
    }
}

#[test]
fn a_state_that_is_damaged_or_of_something_else_is_refused() {
    let (row, state) = one_cell();
    let rows = [row];
    let refused =
        |bytes: &[u8], step: &Step<'_>, cell| keyed::step(step, &[(cell, Some(bytes))]).unwrap_err();
    let (step, cell) = (step_of(&rows, 4), cell_of(&row));
    assert!(keyed::step(&step, &[(cell, Some(&state))]).is_ok());
    for at in 0..state.len() {
        let mut damaged = state.clone();
        damaged[at] ^= 1;
        refused(&damaged, &step, cell);
        refused(&state[..at], &step, cell);
    }
    let other = Step { kind: EntityKind::Card, ..step };
    assert_eq!(refused(&state, &other, cell), SnapshotError::OutOfRange { what: "kind of a cell", value: 0 });
    let other = Step { cells: 5, ..step };
    assert_eq!(
        refused(&state, &other, cell),
        SnapshotError::OutOfRange { what: "number of cells", value: 4 }
    );
    let elsewhere = (cell + 1) % 4;
    let expected = SnapshotError::OutOfRange { what: "cell of a key", value: elsewhere.into() };
    assert_eq!(refused(&state, &step, elsewhere), expected);
}

#[test]
fn rows_and_labels_travel_unchanged() {
    let (rows, _) = history_of(3, 500, 1);
    let labels: Vec<Label> = rows.iter().map(|row| label_of(row, row.time.0 + HOUR)).collect();
    let (mut out, mut out_labels) = (Writer::default(), Writer::default());
    for (row, label) in rows.iter().zip(&labels) {
        keyed::write_transaction(row, &mut out);
        keyed::write_label(label, &mut out_labels);
    }
    assert_eq!(out.bytes.len(), rows.len() * keyed::TRANSACTION_BYTES);
    assert_eq!(out_labels.bytes.len(), rows.len() * keyed::LABEL_BYTES);
    assert_eq!(keyed::read_transactions(&out.bytes).unwrap(), rows);
    assert_eq!(keyed::read_labels(&out_labels.bytes).unwrap(), labels);
    assert!(keyed::read_transactions(&out.bytes[..out.bytes.len() - 1]).is_err());
}
