//! Hostile bytes: the seeds of `native/fuzz`, and thousands of mutations of each, through the bodies of its targets.
//!
//! A run is the same each time. `cargo fuzz` searches further; what it finds becomes a seed and is tested here.

use std::path::PathBuf;

use fraudengine_core::engine::{Batch, Engine, EngineConfig, Output};
use fraudengine_core::event::{CurrencyCode, CurrencyTable, check};
use fraudengine_core::snapshot::{PARTS, Writer};
use fraudengine_core::workers::Inline;
use fraudengine_generator::{Config, World};
use fraudengine_runtime::generate::record::Texts;

#[path = "../../fuzz/src/lib.rs"]
mod bodies;

const MUTATIONS: u64 = 3_000;

/// A fixed sequence of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let byte = [0, 0x7f, 0x80, 0xff, b'"', b'\\', b'{', b'[', self.below(256) as u8][self.below(9)];
            match self.below(6) {
                0 => bytes.insert(at.min(bytes.len()), byte),
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                3 if !bytes.is_empty() => {
                    let from = self.below(bytes.len());
                    let piece = bytes[from..(from + 16).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ if !bytes.is_empty() => bytes[at] = byte,
                _ => {}
            }
        }
    }
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = files
        .map(|file| file.expect("an entry of the folder").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a seed can be read")))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

fn attack(target: &str, body: fn(&[u8])) {
    let mut random = Random(7);
    for (name, seed) in seeds(target) {
        // Shown by the test runner when a body panics.
        println!("{name}");
        body(&seed);
        for _ in 0..MUTATIONS {
            let mut bytes = seed.clone();
            random.spoil(&mut bytes);
            body(&bytes);
        }
    }
}

#[test]
fn protobuf_records() {
    attack("payload_protobuf", bodies::payload_protobuf);
}

#[test]
fn scoring_requests() {
    attack("scoring", bodies::scoring);
}

#[test]
fn json_records() {
    attack("payload_json", bodies::payload_json);
}

#[test]
fn framing() {
    attack("payload_framing", bodies::payload_framing);
}

#[test]
fn snapshots() {
    attack("snapshot", bodies::snapshot);
}

/// The parts of a state that has seen a day, each spoilt and given a check sum that is right again.
#[test]
fn parts_of_a_used_state() {
    let world = World::new(Config { customers: 300, days: 1, ..Config::default() }).unwrap();
    let currencies = CurrencyTable::new(CurrencyCode::parse("EUR").unwrap(), Vec::new());
    let mut texts = Texts::default();
    let rows = world.day(0);
    let transactions = rows.iter().map(|row| {
        texts.write(row);
        check(&texts.transaction(row), &currencies).unwrap()
    });
    let transactions: Vec<_> = transactions.collect();
    let mut engine = Engine::new(EngineConfig { entities_max: 1_024, ..EngineConfig::default() });
    let batch = Batch { transactions: &transactions, labels: &[] };
    engine.process_batch(batch, None, &Inline, &mut Output::default());
    let mut random = Random(11);
    for byte in (0..=255_u8).step_by(3) {
        let mut part = Writer::default();
        engine.write_part(usize::from(byte) * PARTS / 256, &mut part);
        // Behind length and check sum, which the body puts on again.
        let content = part.bytes.split_off(8);
        for _ in 0..60 {
            let mut bytes = content.clone();
            random.spoil(&mut bytes);
            bytes.insert(0, byte);
            bodies::snapshot(&bytes);
        }
    }
}

#[test]
fn ensembles() {
    attack("ensemble", bodies::ensemble);
}
