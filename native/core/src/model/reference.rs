//! The obvious tree walk: the oracle that every other backend must equal bit for bit.
//!
//! It defines the sums: path lengths are added in f64 and leaf margins in f32, both one tree after the
//! other in tree order, as scikit-learn and `XGBoost`'s own predictor do.

use std::sync::Arc;

use super::format::Parts;
use super::tree::{Booster, Forest};
use super::{Scorer, check_shape};

/// Walks each row through each tree.
#[derive(Clone, Debug)]
pub struct Reference {
    parts: Arc<Parts>,
}

impl Reference {
    pub(super) const fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }
}

impl Scorer for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn score(&self, rows: &[f32], anomaly: &mut [f32], margin: &mut [f32]) {
        let width = self.parts.feature_count;
        check_shape(rows, width, anomaly, margin);
        let outputs = anomaly.iter_mut().zip(margin);
        for (row, (anomaly, margin)) in rows.chunks_exact(width).zip(outputs) {
            *anomaly = self.parts.forest.as_ref().map_or(f32::NAN, |forest| row_anomaly(forest, row));
            *margin = match &self.parts.booster {
                Some(booster) => row_margin(booster, row, *anomaly),
                None => f32::NAN,
            };
        }
    }
}

/// Anomaly of one row.
pub(super) fn row_anomaly(forest: &Forest, row: &[f32]) -> f32 {
    let mut path_sum = 0.0;
    for tree in &forest.trees {
        let mut node = &tree.nodes[0];
        while !node.is_leaf() {
            let feature = usize::from(node.feature);
            let x = if row[feature].is_nan() { forest.fill[feature] } else { row[feature] };
            node = &tree.nodes[node.child(x)];
        }
        path_sum += node.value;
    }
    forest.anomaly(path_sum)
}

fn row_margin(booster: &Booster, row: &[f32], anomaly: f32) -> f32 {
    let mut margin = booster.base_margin;
    for tree in &booster.trees {
        let mut node = &tree.nodes[0];
        while !node.is_leaf() {
            let x = row.get(usize::from(node.feature)).copied().unwrap_or(anomaly);
            node = &tree.nodes[node.child_or_default(x)];
        }
        margin += node.value as f32;
    }
    margin
}
