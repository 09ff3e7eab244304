//! Takes in a few batches in steady state, in a function of its own: what `benchmarks/instructions.py` counts.
//!
//! Prints how many transactions that were and a digest of their features.

use fraudengine_core::event::Transaction;
use fraudengine_core::workers::Inline;
use fraudengine_core::{Batch, Engine, Output};

#[path = "../benches/support/source.rs"]
mod source;

use source::Source;

/// Few enough that a simulation is done with a month of them in seconds.
const CUSTOMERS: u64 = 10_000;
const COUNTED: usize = 20;

#[inline(never)]
fn counted(engine: &mut Engine, transactions: &[Transaction], out: &mut Output) {
    engine.process_batch(Batch { transactions, labels: &[] }, None, &Inline, out);
}

fn main() {
    let (mut source, mut engine, mut out) = Source::settled(CUSTOMERS);
    let (mut transactions, mut digest) = (0, 0xcbf2_9ce4_8422_2325_u64);
    for _ in 0..COUNTED {
        let batch = source.batch();
        counted(&mut engine, &batch, &mut out);
        transactions += batch.len();
        for value in &out.features {
            // FNV-1a.
            digest = (digest ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3);
        }
    }
    println!("{transactions} {digest:016x}");
}
