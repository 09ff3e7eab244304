//! Stage 4 on the hot path: nanoseconds per row of each backend, for one row and for a micro-batch.
//!
//! 200 trees of depth 6 and 100 isolation trees of depth 8 over 60 features, 15% of the values missing:
//! the size of the ensemble that training makes. 16,384 distinct rows, because a branch predictor learns a
//! repeated row by heart. The trees are random and complete, so the shapes are the worst case; a trained
//! model is measured by `benchmarks/inference.py`. A regression here is lost throughput one for one.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fraudengine_core::model::Ensemble;

const FEATURES: usize = 60;
const ROWS: usize = 16_384;

/// A fixed sequence: the same trees and rows in every run.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }
}

/// A complete tree with thresholds on a grid of 200 cuts, as histogram training makes them.
fn tree(random: &mut Random, depth: u32, out: &mut Vec<u8>) {
    let inner = (1_u32 << depth) - 1;
    let count = 2 * inner + 1;
    out.extend(count.to_le_bytes());
    for node in 0..count {
        let leaf = node >= inner;
        let feature = if leaf { u16::MAX } else { (random.unit() * FEATURES as f32) as u16 };
        out.extend(feature.to_le_bytes());
        out.extend(u16::from(!leaf && random.unit() < 0.5).to_le_bytes());
        out.extend(((random.unit() * 200.0).floor() / 200.0).to_le_bytes());
        out.extend((if leaf { 0 } else { 2 * node + 1 }).to_le_bytes());
        out.extend((if leaf { 0 } else { 2 * node + 2 }).to_le_bytes());
        out.extend(f64::from(random.unit()).to_le_bytes());
        out.extend(1.0_f32.to_le_bytes());
    }
}

fn ensemble() -> Ensemble {
    let mut random = Random(9);
    let mut body = Vec::new();
    body.extend((FEATURES as u32).to_le_bytes());
    body.extend(7_u32.to_le_bytes());
    body.extend(100_u32.to_le_bytes());
    body.extend(1_000.0_f64.to_le_bytes());
    body.extend([0.5_f32; FEATURES].iter().flat_map(|fill| fill.to_le_bytes()));
    (0..100).for_each(|_| tree(&mut random, 8, &mut body));
    body.extend(200_u32.to_le_bytes());
    body.extend((-3.0_f32).to_le_bytes());
    (0..200).for_each(|_| tree(&mut random, 6, &mut body));
    let mut bytes = b"FRAUDENS".to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
    Ensemble::parse(&bytes).expect("the file above is valid")
}

fn scoring(criterion: &mut Criterion) {
    let ensemble = ensemble();
    let mut random = Random(4);
    let rows: Vec<f32> =
        (0..ROWS * FEATURES).map(|_| if random.unit() < 0.15 { f32::NAN } else { random.unit() }).collect();
    let (mut anomaly, mut margin) = (vec![0.0; ROWS], vec![0.0; ROWS]);
    let mut group = criterion.benchmark_group("score");
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    for name in ensemble.backends() {
        let scorer = ensemble.scorer(name).expect("listed backends exist");
        for batch in [1_usize, 64, 1_024] {
            group.bench_function(format!("{name}/{batch}"), |bencher| {
                bencher.iter(|| {
                    let outputs = anomaly.chunks_mut(batch).zip(margin.chunks_mut(batch));
                    for (rows, (anomaly, margin)) in rows.chunks(batch * FEATURES).zip(outputs) {
                        scorer.score(black_box(rows), anomaly, margin);
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, scoring);
criterion_main!(benches);
