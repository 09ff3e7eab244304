//! Every backend against the oracle, and the parser against hostile bytes.
//!
//! Random trees of every shape, thresholds from a small set (so that rows hit them exactly), values with
//! NaN, infinities, both zeros, denormals and extremes. Equality is of bits.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's failure")]

use fraudengine_core::model::{Ensemble, Scorer};
use proptest::prelude::*;

const LEAF: u16 = u16::MAX;

/// Values that features and thresholds are drawn from; the last one is NaN, for features only.
const POOL: [f32; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1.5,
    1e-40,
    -1e-40,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    0.1,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// A small generator, so that one number describes a whole ensemble.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn value(&mut self, wide: bool) -> f32 {
        if wide && self.below(2) == 0 {
            self.below(100_000) as f32 / 997.0 - 50.0
        } else {
            POOL[self.below(13)]
        }
    }
}

/// Appends a tree: `splits` inner nodes grown at random leaves, so shapes range from chains to bushes.
fn tree(random: &mut Random, features: usize, splits: usize, margins: bool, chain: bool, out: &mut Vec<u8>) {
    // (feature, flags, threshold, left, right)
    let mut nodes = vec![(LEAF, 0_u16, 0.0_f32, 0_u32, 0_u32)];
    let mut leaves = vec![0_usize];
    for _ in 0..splits {
        let pick = if chain { leaves.len() - 1 } else { random.below(leaves.len()) };
        let at = leaves.swap_remove(pick);
        let next = nodes.len();
        let (left, right) = if random.below(2) == 0 { (next, next + 1) } else { (next + 1, next) };
        let flags = if margins { random.below(2) as u16 } else { 0 };
        nodes[at] = (random.below(features) as u16, flags, random.value(true), left as u32, right as u32);
        nodes.extend([(LEAF, 0, 0.0, 0, 0); 2]);
        leaves.extend([next, next + 1]);
    }
    out.extend((nodes.len() as u32).to_le_bytes());
    // Leaves that share a value, as those of an isolation tree do: a few, some, nearly none.
    let values = [2, 13, 29, 1_000_000][random.below(4)];
    for (feature, flags, threshold, left, right) in nodes {
        out.extend(feature.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(threshold.to_le_bytes());
        out.extend(left.to_le_bytes());
        out.extend(right.to_le_bytes());
        let value = random.below(values) as f32 / 333_333.0 - 1.0;
        out.extend(f64::from(value).to_le_bytes());
        out.extend((random.below(50) as f32).to_le_bytes());
    }
}

struct Spec {
    features: usize,
    forest_trees: usize,
    booster_trees: usize,
    splits_max: usize,
    chain: bool,
}

fn ensemble(seed: u64, spec: &Spec) -> Vec<u8> {
    let mut random = Random(seed);
    let both = spec.forest_trees > 0 && spec.booster_trees > 0;
    let uses_anomaly = both && random.below(2) == 0;
    let flags = u32::from(spec.forest_trees > 0)
        | u32::from(spec.booster_trees > 0) << 1
        | u32::from(uses_anomaly) << 2;
    let mut body = Vec::new();
    body.extend((spec.features as u32).to_le_bytes());
    body.extend(flags.to_le_bytes());
    if spec.forest_trees > 0 {
        body.extend((spec.forest_trees as u32).to_le_bytes());
        body.extend((spec.forest_trees as f64 * 3.7).to_le_bytes());
        for _ in 0..spec.features {
            body.extend((random.below(40) as f32 - 20.0).to_le_bytes());
        }
        for _ in 0..spec.forest_trees {
            let splits = random.below(spec.splits_max + 1);
            tree(&mut random, spec.features, splits, false, spec.chain, &mut body);
        }
    }
    if spec.booster_trees > 0 {
        body.extend((spec.booster_trees as u32).to_le_bytes());
        body.extend((-2.25_f32).to_le_bytes());
        for _ in 0..spec.booster_trees {
            let splits = random.below(spec.splits_max + 1);
            let features = spec.features + usize::from(uses_anomaly);
            tree(&mut random, features, splits, true, spec.chain, &mut body);
        }
    }
    file(&body)
}

fn file(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"FRAUDENS".to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(crc32fast::hash(body).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn score(scorer: &dyn Scorer, rows: &[f32], width: usize) -> Vec<(u32, u32)> {
    let count = rows.len() / width;
    let (mut anomaly, mut margin) = (vec![0.0; count], vec![0.0; count]);
    scorer.score(rows, &mut anomaly, &mut margin);
    let bits = |x: f32| if x.is_nan() { 0 } else { x.to_bits() };
    anomaly.into_iter().map(bits).zip(margin.into_iter().map(bits)).collect()
}

fn check(seed: u64, spec: &Spec, row_count: usize) -> Vec<&'static str> {
    let ensemble = Ensemble::parse(&ensemble(seed, spec)).unwrap();
    let mut random = Random(!seed);
    let rows: Vec<f32> = (0..row_count * spec.features)
        .map(|_| if random.below(4) == 0 { f32::NAN } else { random.value(true) })
        .collect();
    let oracle = ensemble.scorer("reference").unwrap();
    let expected = score(&*oracle, &rows, spec.features);
    for name in ensemble.backends() {
        let scorer = ensemble.scorer(name).unwrap();
        assert_eq!(scorer.name(), name);
        assert_eq!(score(&*scorer, &rows, spec.features), expected, "{name}");
    }
    ensemble.backends()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_backends_give_the_bits_of_the_reference(
        seed: u64,
        features in 1_usize..40,
        forest_trees in 0_usize..12,
        booster_trees in 0_usize..20,
        splits_max in 0_usize..120,
        chain: bool,
        row_count in 0_usize..150,
    ) {
        prop_assume!(forest_trees + booster_trees > 0);
        let splits_max = if chain { splits_max.min(60) } else { splits_max };
        check(seed, &Spec { features, forest_trees, booster_trees, splits_max, chain }, row_count);
    }

    #[test]
    fn attributions_add_up_to_the_margin(seed: u64, features in 1_usize..10, trees in 1_usize..10) {
        let spec = Spec { features, forest_trees: 1, booster_trees: trees, splits_max: 20, chain: false };
        let ensemble = Ensemble::parse(&ensemble(seed, &spec)).unwrap();
        let mut random = Random(seed);
        let rows: Vec<f32> = (0..features * 8).map(|_| random.value(true)).collect();
        let (mut anomaly, mut margin) = ([0.0; 8], [0.0; 8]);
        ensemble.scorer("auto").unwrap().score(&rows, &mut anomaly, &mut margin);
        let contributions = ensemble.attributions(&rows);
        for (row, margin) in contributions.chunks_exact(ensemble.attribution_width()).zip(margin) {
            prop_assert!((row.iter().sum::<f32>() - margin).abs() < 1e-4);
        }
    }

    #[test]
    fn mutated_files_are_refused_or_scored_but_never_panic(
        seed: u64,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        shorten: bool,
    ) {
        let spec = Spec { features: 3, forest_trees: 2, booster_trees: 2, splits_max: 6, chain: false };
        let mut body = ensemble(seed, &spec)[16..].to_vec();
        for (index, byte) in changes {
            let at = index.index(body.len());
            body[at] = byte;
        }
        if shorten {
            body.truncate(cut.index(body.len()));
        }
        // The checksum is right, so that the checks behind it are what is tested.
        if let Ok(ensemble) = Ensemble::parse(&file(&body)) {
            let rows = vec![0.5; ensemble.feature_count() * 70];
            for name in ensemble.backends() {
                score(&*ensemble.scorer(name).unwrap(), &rows, ensemble.feature_count());
            }
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Ensemble::parse(&bytes).is_err());
    }
}

#[test]
fn features_with_more_cuts_than_a_byte_counts_are_split_without_loss() {
    let spec = Spec { features: 2, forest_trees: 20, booster_trees: 30, splits_max: 200, chain: false };
    let backends = check(7, &spec, 200);
    assert_eq!(backends.last(), Some(&"reference"));
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(backends.contains(&"avx512"), std::is_x86_feature_detected!("avx512bw"));
        assert_eq!(backends.contains(&"avx2"), std::is_x86_feature_detected!("avx2"));
    }
}

#[test]
fn trees_too_large_for_the_byte_kernel_fall_back() {
    let mut random = Random(3);
    let mut body = Vec::new();
    for word in [1_u32, 2, 1] {
        body.extend(word.to_le_bytes());
    }
    body.extend(0.5_f32.to_le_bytes());
    tree(&mut random, 1, 256, true, false, &mut body);
    let ensemble = Ensemble::parse(&file(&body)).unwrap();
    assert_eq!(ensemble.backends(), ["portable", "reference"], "257 leaves do not fit a byte");
    assert!(ensemble.scorer("avx512").is_err());
    assert_eq!(ensemble.scorer("auto").unwrap().name(), "portable");
    let rows: Vec<f32> = (0..500).map(|_| random.value(true)).collect();
    let expected = score(&*ensemble.scorer("reference").unwrap(), &rows, 1);
    assert_eq!(score(&*ensemble.scorer("portable").unwrap(), &rows, 1), expected);
}

#[test]
fn every_prefix_of_a_file_is_refused() {
    let spec = Spec { features: 2, forest_trees: 1, booster_trees: 1, splits_max: 3, chain: false };
    let bytes = ensemble(1, &spec);
    assert!(Ensemble::parse(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(Ensemble::parse(&bytes[..length]).is_err(), "{length} bytes");
        // Also behind a correct checksum.
        assert!(length < 16 || Ensemble::parse(&file(&bytes[16..length])).is_err(), "{length} bytes");
    }
}

#[test]
fn refusals_name_what_is_wrong() {
    let spec = Spec { features: 2, forest_trees: 1, booster_trees: 0, splits_max: 0, chain: false };
    let good = ensemble(1, &spec);
    let refusal = |at: usize, with: &[u8]| {
        let mut body = good[16..].to_vec();
        body[at..at + with.len()].copy_from_slice(with);
        Ensemble::parse(&file(&body)).unwrap_err().to_string()
    };
    assert_eq!(refusal(0, &200_u32.to_le_bytes()), "feature count is 200, must be 1 to 127");
    assert_eq!(refusal(4, &0_u32.to_le_bytes()), "the ensemble holds no model");
    assert_eq!(refusal(8, &u32::MAX.to_le_bytes()), "forest tree count is 4294967295, must be 1 to 4096");
    assert_eq!(refusal(12, &0.0_f64.to_le_bytes()), "forest denominator is 0, must be finite and above 0");
    let mut bytes = good.clone();
    bytes[20] ^= 1;
    assert!(Ensemble::parse(&bytes).unwrap_err().to_string().contains("checksum"));
    bytes[8] = 9;
    let message = Ensemble::parse(&bytes).unwrap_err().to_string();
    assert_eq!(message, "ensemble format version 9 is not supported, expected 1");
    let ensemble = Ensemble::parse(&good).unwrap();
    assert!(ensemble.scorer("compiled").is_err());
    assert!(ensemble.scorer("gpu").is_err());
}
