//! Hot path: one batch through UPDATE and ASSEMBLE, all five entities, all features, one thread, no model.
//!
//! Keys follow a skewed popularity over enough entities that the tables do not fit the caches, and every
//! window has reached its steady state before the timing starts. A regression here means that a
//! transaction touches more cache lines or that a window does more than amortised constant work.
//!
//! `cargo bench -p fraudengine-core --bench fold`

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fraudengine_core::Batch;
use fraudengine_core::limits::BATCH_MAX;
use fraudengine_core::workers::Inline;

#[path = "support/source.rs"]
mod source;

use source::Source;

/// Populations: state that fits the last-level cache, and state that does not.
const POPULATIONS: [u64; 2] = [10_000, 100_000];

fn fold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("five_entities_all_features");
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    for customers in POPULATIONS {
        let (mut source, mut engine, mut out) = Source::settled(customers);
        let bytes: usize = engine.tables().iter().map(|table| table.bytes).sum();
        let table = engine.tables()[0];
        println!(
            "{customers} customers: {} bytes each in their own table, {} in all tables",
            table.bytes / table.entities,
            bytes / table.entities
        );
        group.bench_function(customers.to_string(), |bencher| {
            bencher.iter_batched(
                || source.batch(),
                |batch| {
                    let batch = Batch { transactions: &batch, labels: &[] };
                    engine.process_batch(batch, None, &Inline, &mut out);
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, fold);
criterion_main!(benches);
