//! Why a margin is what it is: Saabas contributions, for the few rows that are flagged.
//!
//! Each step of a row's path changes the expected margin from one node's mean to the next; that difference
//! is credited to the feature the node asks about. What remains (base margin and the means of the roots) is
//! the bias. Bias and contributions add up to the margin, but for rounding. Equals `XGBoost`'s
//! `pred_contribs=True, approx_contribs=True`.

use super::tree::{Booster, Node};

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

/// Adds the contributions of one row to `out`: base features, then the anomaly if used, then the bias.
pub(super) fn contributions(booster: &Booster, row: &[f32], anomaly: f32, out: &mut [f32]) {
    let bias = out.len() - 1;
    let mut sums = vec![0.0_f64; out.len()];
    sums[bias] += f64::from(booster.base_margin);
    for tree in &booster.trees {
        let mut node = &tree.nodes[0];
        sums[bias] += node.value;
        while !node.is_leaf() {
            let feature = usize::from(node.feature);
            let x = row.get(feature).copied().unwrap_or(anomaly);
            let next = &tree.nodes[node.child_or_default(x)];
            sums[feature] += next.value - node.value;
            node = next;
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum as f32;
    }
}
