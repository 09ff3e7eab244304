//! Why a margin is what it is: Saabas contributions, for the few rows that are flagged.
//!
//! Each step of a row's path changes the expected margin from one node's mean to the next; that difference
//! is credited to the feature the node asks about. What remains (base margin and the means of the roots) is
//! the bias. Bias and contributions add up to the margin, but for rounding. Equals `XGBoost`'s
//! `pred_contribs=True, approx_contribs=True`.

use super::tree::{Booster, Node};
use crate::prefetch::prefetch;

/// Gives inner nodes the cover-weighted mean of their children. A node without cover gets the plain mean.
pub(super) fn fill_means(nodes: &mut [Node]) {
    // Children follow parents, so one backward pass sees both children first.
    for index in (0..nodes.len()).rev() {
        let node = nodes[index];
        if node.is_leaf() {
            continue;
        }
        let (left, right) = (nodes[node.left as usize], nodes[node.right as usize]);
        let total = f64::from(left.cover) + f64::from(right.cover);
        nodes[index].value = if total > 0.0 {
            (left.value * f64::from(left.cover) + right.value * f64::from(right.cover)) / total
        } else {
            f64::midpoint(left.value, right.value)
        };
    }
}

/// Trees that are walked side by side: a walk waits for memory at every step. While the others take theirs, the node
/// that a tree has asked for arrives.
const ABREAST: usize = 32;

/// Writes the contributions of one row to `out`: base features, then the anomaly if used, then the bias.
pub(super) fn contributions(booster: &Booster, row: &[f32], anomaly: f32, out: &mut [f32]) {
    let bias = out.len() - 1;
    let mut sums = vec![0.0_f64; out.len()];
    sums[bias] += f64::from(booster.base_margin);
    for trees in booster.trees.chunks(ABREAST) {
        // Of each tree the node to look at, and what the step to it started from.
        let mut steps = [(0_usize, bias, 0.0_f64); ABREAST];
        let mut walking = true;
        while walking {
            walking = false;
            for (tree, (place, asked, before)) in trees.iter().zip(&mut steps) {
                let Some(node) = tree.nodes.get(*place) else { continue };
                sums[*asked] += node.value - *before;
                if node.is_leaf() {
                    *place = usize::MAX;
                    continue;
                }
                (*asked, *before) = (usize::from(node.feature), node.value);
                let x = row.get(*asked).copied().unwrap_or(anomaly);
                *place = node.child_or_default(x);
                prefetch(tree.nodes.as_ptr().wrapping_add(*place));
                walking = true;
            }
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum as f32;
    }
}
