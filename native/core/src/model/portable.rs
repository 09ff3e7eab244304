//! Scalar kernel for every processor and every tree: branch-free steps, eight trees at a time.
//!
//! A value becomes an integer key with the order of the numbers, so that one integer comparison decides
//! every case: missing becomes the least key in one copy of the row (always left), the greatest in a
//! second (always right), and the forest's fill value in a third. A node picks the copy that has its
//! default direction. Leaves point to themselves, so a walk takes a fixed number of steps and the
//! processor overlaps eight of them; a branching walk waits for a misprediction at almost every node.

use std::sync::Arc;

use super::format::Parts;
use super::tree::Tree;
use super::{Scorer, check_shape};
use crate::limits::{MODEL_FEATURES_MAX, MODEL_NODES_MAX};

/// Trees walked at a time: enough to hide the latency of two loads, few enough for the registers.
const LANES: usize = 8;
/// Columns of one copy of the row: base features and the anomaly.
const COPY: usize = MODEL_FEATURES_MAX + 1;
const MISSING_LEFT: usize = 0;
const MISSING_RIGHT: usize = COPY;
const FILLED: usize = 2 * COPY;
/// Bits of a column number. A power of two of keys lets a mask replace a bounds check.
const COLUMN_BITS: u32 = 9;
const COLUMN_MASK: u32 = (1 << COLUMN_BITS) - 1;

type Keys = [i32; 1 << COLUMN_BITS];

const _: () = {
    assert!(3 * COPY <= 1 << COLUMN_BITS);
    assert!(MODEL_NODES_MAX <= 1 << (32 - COLUMN_BITS), "a node number fits beside a column");
};

/// Branch-free walk on integer keys.
#[derive(Clone, Debug)]
pub struct Portable {
    parts: Arc<Parts>,
    forest: Option<Packed<f64>>,
    booster: Option<Packed<f32>>,
}

/// A node in eight bytes; siblings are neighbours.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Right when the key is at least this.
    key: i32,
    /// Left child (itself in a leaf) above, column below.
    left_and_column: u32,
}

#[derive(Clone, Debug)]
struct Packed<V> {
    steps: Vec<Step>,
    /// Parallel to `steps`; meaningful in leaves.
    values: Vec<V>,
    /// First node of each tree.
    roots: Vec<u32>,
    /// Steps needed by each group of [`LANES`] trees.
    depths: Vec<u32>,
}

/// The key of a number: same order, and both zeros alike. Not for NaN.
pub(super) fn key(x: f32) -> i32 {
    let bits = x.to_bits() as i32;
    // Only -0.0 has the pattern of `i32::MIN`; integer code, so that no rounding mode can interfere.
    let bits = if bits == i32::MIN { 0 } else { bits };
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

impl<V: Copy> Packed<V> {
    fn new(trees: &[Tree], column: impl Fn(u16, bool) -> usize, value: impl Fn(f64) -> V) -> Self {
        let nodes = trees.iter().map(|tree| tree.nodes.len()).sum();
        let mut packed = Self {
            steps: Vec::with_capacity(nodes),
            values: Vec::with_capacity(nodes),
            roots: Vec::with_capacity(trees.len()),
            depths: trees
                .chunks(LANES)
                .map(|group| group.iter().map(|t| t.depth).max().unwrap_or(0))
                .collect(),
        };
        for tree in trees {
            let root = packed.steps.len();
            packed.roots.push(root as u32);
            // Breadth first: siblings are numbered together, and the hot upper levels share cache lines.
            let mut order = vec![0_u32];
            let mut at = 0;
            while at < order.len() {
                let node = &tree.nodes[order[at] as usize];
                let left = if node.is_leaf() { at } else { order.len() };
                let (key, column) = if node.is_leaf() {
                    // With the key below the threshold it stays on itself. `i32::MAX` in the
                    // missing-goes-left copy is reached by no number.
                    (i32::MAX, MISSING_LEFT)
                } else {
                    order.extend([node.left, node.right]);
                    (key(node.threshold), column(node.feature, node.default_left))
                };
                let left_and_column = ((root + left) as u32) << COLUMN_BITS | column as u32;
                packed.steps.push(Step { key, left_and_column });
                packed.values.push(value(node.value));
                at += 1;
            }
        }
        packed
    }

    /// Calls `add` with the leaf values in tree order.
    fn walk(&self, keys: &Keys, mut add: impl FnMut(V)) {
        for (roots, &depth) in self.roots.chunks(LANES).zip(&self.depths) {
            let mut at = [roots[0] as usize; LANES];
            for (at, &root) in at.iter_mut().zip(roots) {
                *at = root as usize;
            }
            for _ in 0..depth {
                for at in &mut at {
                    let step = self.steps[*at];
                    let right = keys[(step.left_and_column & COLUMN_MASK) as usize] >= step.key;
                    *at = (step.left_and_column >> COLUMN_BITS) as usize + usize::from(right);
                }
            }
            for &at in at.iter().take(roots.len()) {
                add(self.values[at]);
            }
        }
    }
}

impl Portable {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        let forest = parts.forest.as_ref().map(|forest| {
            Packed::new(&forest.trees, |feature, _| FILLED + usize::from(feature), |value| value)
        });
        let booster = parts.booster.as_ref().map(|booster| {
            let copy = |left| if left { MISSING_LEFT } else { MISSING_RIGHT };
            let column = |feature, left| copy(left) + usize::from(feature);
            Packed::new(&booster.trees, column, |value| value as f32)
        });
        Self { parts, forest, booster }
    }

    fn set(keys: &mut Keys, feature: usize, x: f32, fill: f32) {
        let missing = x.is_nan();
        let present = key(x);
        keys[MISSING_LEFT + feature] = if missing { i32::MIN } else { present };
        keys[MISSING_RIGHT + feature] = if missing { i32::MAX } else { present };
        keys[FILLED + feature] = if missing { key(fill) } else { present };
    }

    pub(super) fn score_row(&self, row: &[f32]) -> (f32, f32) {
        let mut keys = [0; 1 << COLUMN_BITS];
        let (mut anomaly, mut margin) = (f32::NAN, f32::NAN);
        match &self.parts.forest {
            Some(forest) => {
                for (feature, (&x, &fill)) in row.iter().zip(&forest.fill).enumerate() {
                    Self::set(&mut keys, feature, x, fill);
                }
            }
            None => {
                for (feature, &x) in row.iter().enumerate() {
                    Self::set(&mut keys, feature, x, 0.0);
                }
            }
        }
        if let (Some(packed), Some(forest)) = (&self.forest, &self.parts.forest) {
            let mut path_sum = 0.0;
            packed.walk(&keys, |value| path_sum += value);
            anomaly = forest.anomaly(path_sum);
        }
        if let (Some(packed), Some(booster)) = (&self.booster, &self.parts.booster) {
            Self::set(&mut keys, row.len(), anomaly, 0.0);
            margin = booster.base_margin;
            packed.walk(&keys, |value| margin += value);
        }
        (anomaly, margin)
    }
}

impl Scorer for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn score(&self, rows: &[f32], anomaly: &mut [f32], margin: &mut [f32]) {
        let width = self.parts.feature_count;
        check_shape(rows, width, anomaly, margin);
        let outputs = anomaly.iter_mut().zip(margin);
        for (row, (anomaly, margin)) in rows.chunks_exact(width).zip(outputs) {
            (*anomaly, *margin) = self.score_row(row);
        }
    }
}
