//! State rebuilt from a snapshot that was copied slab by slab while the engine ran on, and from the log of
//! decisions, equals the state of the engine that never stopped, byte for byte.

mod support;

use fraudengine_core::event::{Label, Transaction};
use fraudengine_core::snapshot::{PARTS, Reader, Writer};
use fraudengine_core::units::DurationMicros;
use fraudengine_core::workers::Inline;
use fraudengine_core::{Batch, Decided, Engine, EngineConfig, Output, Stands};
use support::{Draws, HOUR, Threads, history, history_of};

const ROWS: usize = 6_000;

/// Seeds of odd number are bounded by entities, the others by bytes.
fn config(seed: u64) -> EngineConfig {
    let (entities_max, memory_max) = if seed % 2 == 1 { (128, 0) } else { (1 << 20, 9 << 19) };
    EngineConfig { lateness: DurationMicros(HOUR), entities_max, memory_max, minor_digits: 2 }
}

/// More entities where bytes are the bound, so that a slab has several.
fn input(seed: u64) -> (Vec<Transaction>, Vec<(usize, Label)>) {
    history_of(seed, ROWS, if seed % 2 == 1 { 1 } else { 40 })
}

/// A snapshot as the stream takes it: the head first, then parts between batches.
struct Fuzzy {
    start: usize,
    head: Vec<u8>,
    parts: Vec<u8>,
    stands: Stands,
    copied: usize,
}

/// The run that is never interrupted: the labels by row, what was decided, the final state.
struct Golden {
    labels: Vec<(usize, Label)>,
    decided: Vec<Decided>,
    fuzzy: Fuzzy,
    state: Vec<u8>,
}

fn golden(seed: u64) -> Golden {
    let (transactions, labels) = input(seed);
    let mut draws = Draws(seed);
    let mut engine = Engine::new(config(seed));
    let mut out = Output::default();
    let mut decided = Vec::new();
    let mut due = Vec::new();
    let mut fuzzy: Option<Fuzzy> = None;
    let mut row = 0;
    while row < ROWS {
        let last = (row + 1 + draws.below(60) as usize).min(ROWS);
        // Labels arrive before a batch, at times that the log will tell.
        for (_, label) in labels.iter().filter(|(at, _)| (row..last).contains(at)) {
            engine.expect(*label);
            due.push((row, *label));
        }
        let batch = &transactions[row..last];
        let known = engine.due_labels(batch);
        engine.process_batch(Batch { transactions: batch, labels: &known }, None, &Inline, &mut out);
        for (at, flags) in out.flags.iter().enumerate() {
            decided.push(Decided { flags: *flags, score: out.score[at], action: out.action[at] });
        }
        row = last;
        if row > ROWS / 3 {
            let fuzzy = fuzzy.get_or_insert_with(|| {
                let mut head = Writer::default();
                engine.write_head(&mut head);
                let stands = Stands::all_at(0);
                Fuzzy { start: row, head: head.bytes, parts: Vec::new(), stands, copied: 0 }
            });
            // A few parts between two batches, each stamped with where it stands.
            for _ in 0..=draws.below(PARTS as u64 / 24) {
                if fuzzy.copied < PARTS {
                    let mut part = Writer { bytes: std::mem::take(&mut fuzzy.parts) };
                    engine.write_part(fuzzy.copied, &mut part);
                    fuzzy.parts = part.bytes;
                    fuzzy.stands.set(fuzzy.copied, row as u64);
                    fuzzy.copied += 1;
                }
            }
        }
    }
    let fuzzy = fuzzy.expect("the run is longer than a third of itself");
    assert_eq!(fuzzy.copied, PARTS, "the snapshot was finished before the end");
    let evicted = engine.tables().map(|table| table.slabs.evicted);
    assert!(evicted.iter().sum::<u64>() > 1_000, "{evicted:?}");
    assert!(fuzzy.stands.end() > fuzzy.start as u64 + 100, "the engine ran on while it was copied");
    Golden { labels: due, decided, fuzzy, state: engine.snapshot() }
}

#[test]
fn a_fuzzy_snapshot_and_the_log_give_the_state_of_the_engine_that_never_stopped() {
    for seed in 1..12 {
        let golden = golden(seed);
        let (transactions, _) = input(seed);
        let fuzzy = &golden.fuzzy;
        let mut engine = Engine::read_head(&mut Reader::new(&fuzzy.head)).unwrap();
        let mut parts = Reader::new(&fuzzy.parts);
        (0..PARTS).for_each(|part| engine.read_part(part, &mut parts).unwrap());
        let mut out = Output::default();
        let mut draws = Draws(seed + 100);
        let mut row = fuzzy.start;
        let mut arrived = golden.labels.iter().filter(|(at, _)| *at >= fuzzy.start).peekable();
        while row < ROWS {
            while let Some((_, label)) = arrived.next_if(|(at, _)| *at <= row) {
                engine.expect(*label);
            }
            // Batches of another size, cut where labels arrived, as the log shows.
            let stop = arrived.peek().map_or(ROWS, |(at, _)| *at);
            let last = (row + 1 + draws.below(90) as usize).min(stop);
            let batch = &transactions[row..last];
            let known = engine.due_labels(batch);
            let batch = Batch { transactions: batch, labels: &known };
            let decided = &golden.decided[row..last];
            let workers = Threads(1 + (seed % 2) as usize);
            let wrong = engine.replay_batch(batch, decided, row as u64, &fuzzy.stands, &workers, &mut out);
            assert_eq!(wrong, 0, "rows {row}..{last} of seed {seed}");
            row = last;
        }
        assert!(engine.snapshot() == golden.state, "state of seed {seed}");
    }
}

#[test]
fn a_log_that_does_not_belong_to_the_state_is_noticed() {
    let (transactions, _) = history(5, 200);
    let fresh = vec![
        Decided { flags: 0, score: 0.0, action: fraudengine_core::decision::Action::Approve };
        transactions.len()
    ];
    let mut engine = Engine::new(config(5));
    let mut out = Output::default();
    let stands = Stands::all_at(0);
    let mut wrong = 0;
    for _ in 0..2 {
        let batch = Batch { transactions: &transactions[100..], labels: &[] };
        wrong = engine.replay_batch(batch, &fresh[100..], 0, &stands, &Inline, &mut out);
    }
    assert!(wrong > 50, "the same rows twice, called new: {wrong}");
}

#[test]
fn a_log_decided_within_smaller_bounds_is_followed_within_wider_ones() {
    let (transactions, _) = history(3, ROWS);
    let mut narrow = Engine::new(config(1));
    let mut out = Output::default();
    let mut decided = Vec::new();
    // Ids come again after the customer was evicted, so the narrow engine takes them for new.
    let rows: Vec<Transaction> = transactions
        .chunks(400)
        .flat_map(|rows| {
            let time = rows[rows.len() - 1].time;
            let again = rows[..100].iter().map(move |row| Transaction { time, ..*row });
            rows.iter().copied().chain(again)
        })
        .collect();
    for rows in rows.chunks(100) {
        narrow.process_batch(Batch { transactions: rows, labels: &[] }, None, &Inline, &mut out);
        decided.extend((0..rows.len()).map(|at| Decided {
            flags: out.flags[at],
            score: out.score[at],
            action: out.action[at],
        }));
    }
    let mut wide = Engine::new(EngineConfig { entities_max: 1 << 20, ..config(1) });
    let mut forgotten = 0;
    for (at, (rows, decided)) in rows.chunks(300).zip(decided.chunks(300)).enumerate() {
        let batch = Batch { transactions: rows, labels: &[] };
        let stands = Stands::all_at(0);
        forgotten += wide.replay_batch(batch, decided, at as u64 * 300, &stands, &Inline, &mut out);
    }
    assert!(forgotten > 100, "{forgotten}");
    assert_eq!(wide.counters(), narrow.counters(), "what the log says was counted");
}
