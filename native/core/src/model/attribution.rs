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

/// Trees that are walked side by side: a walk waits for memory at every step, eight of them wait together.
const ABREAST: usize = 8;

/// Writes the contributions of one row to `out`: base features, then the anomaly if used, then the bias.
pub(super) fn contributions(booster: &Booster, row: &[f32], anomaly: f32, out: &mut [f32]) {
    let bias = out.len() - 1;
    let mut sums = vec![0.0_f64; out.len()];
    sums[bias] += f64::from(booster.base_margin);
    for trees in booster.trees.chunks(ABREAST) {
        let mut places = [0_usize; ABREAST];
        sums[bias] += trees.iter().map(|tree| tree.nodes[0].value).sum::<f64>();
        let mut walking = true;
        while walking {
            walking = false;
            for (tree, place) in trees.iter().zip(&mut places) {
                let node = &tree.nodes[*place];
                if node.is_leaf() {
                    continue;
                }
                let feature = usize::from(node.feature);
                let x = row.get(feature).copied().unwrap_or(anomaly);
                *place = node.child_or_default(x);
                sums[feature] += tree.nodes[*place].value - node.value;
                walking = true;
            }
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum as f32;
    }
}
