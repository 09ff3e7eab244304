//! Feature values as bytes, without loss: the plan that the byte-wide kernel runs.
//!
//! All that a tree asks of a value is on which side of its thresholds it lies. So the thresholds of both
//! models on one feature are sorted and cut into segments of at most 255, and the value becomes, for each
//! segment, the number of its thresholds that are `<= x`: `x < threshold[j]` is `rank <= j`, for
//! infinities and equal values too. A segment has one byte column for each way to treat a missing value:
//! rank 0 (always left), the full count (always right), or the rank of the forest's fill value.
//!
//! A tree is a list of steps, children before parents. A step computes, for the rows, how many leaves of
//! its subtree lie left of the exit leaf: the left child's number, or the right child's plus the leaves of
//! the left subtree. Leaves are number 0, so that missing nodes cost nothing and no depth is special.

use super::format::Parts;
use super::portable::key;
use super::tree::Tree;
use crate::limits::{SIMD_COLUMNS_MAX, SIMD_LEAVES_MAX};

/// Thresholds of a segment: ranks are 0 to 255.
const SEGMENT_CUTS: usize = 255;
/// Floats of a vector.
pub(super) const LANES: usize = 16;

/// One vector of thresholds.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Cuts(pub(super) [f32; LANES]);

/// One search: a feature's value in, one rank out, stored into one to three columns.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) feature: usize,
    /// First vector in [`Plan::cuts`]: the only one, or the last of each of 16 that follow.
    pub(super) cuts: usize,
    pub(super) two_levels: bool,
    /// Columns `first_column..first_column + missing.len()`.
    pub(super) first_column: usize,
    /// Rank of a missing value in each column.
    pub(super) missing: Vec<u8>,
}

/// One inner node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) column: u32,
    /// Slot of the left child; 0 is a leaf.
    pub(super) left: u16,
    pub(super) right: u16,
    /// Right when the rank is above this.
    pub(super) cut: u8,
    /// Leaves of the left subtree.
    pub(super) skip: u8,
}

/// Where a tree's steps and leaf values are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) steps: usize,
    pub(super) step_count: usize,
    /// Step `k` writes slot `k + 1`; the last step is the root. A tree without steps reads slot 0.
    pub(super) values: usize,
    pub(super) leaf_count: usize,
}

/// Everything the kernel reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) cuts: Vec<Cuts>,
    /// Segments of base features.
    pub(super) segments: Vec<Segment>,
    /// Segments of the anomaly.
    pub(super) anomaly_segments: Vec<Segment>,
    pub(super) column_count: usize,
    pub(super) steps: Vec<Step>,
    pub(super) forest: Vec<Program>,
    pub(super) booster: Vec<Program>,
    pub(super) path_lengths: Vec<f64>,
    /// Each tree padded to whole vectors.
    pub(super) margins: Vec<f32>,
}

/// How a missing value is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Left,
    Right,
    Fill,
}

/// A segment while columns are still added to it.
struct Draft {
    /// Keys of the thresholds, ascending.
    keys: Vec<i32>,
    fill: f32,
    columns: Vec<(u8, usize)>,
}

impl Draft {
    fn rank(&self, key: i32) -> u8 {
        self.keys.partition_point(|&cut| cut <= key) as u8
    }

    fn missing_rank(&self, missing: Missing) -> u8 {
        match missing {
            Missing::Left => 0,
            Missing::Right => self.keys.len() as u8,
            Missing::Fill => self.rank(key(self.fill)),
        }
    }
}

impl Plan {
    /// The plan, or `None` where a tree has too many leaves or the columns too many bytes.
    pub(super) fn new(parts: &Parts) -> Option<Self> {
        let trees = || {
            let forest = parts.forest.iter().flat_map(|forest| &forest.trees);
            forest.chain(parts.booster.iter().flat_map(|booster| &booster.trees))
        };
        if trees().any(|tree| tree.leaf_count() > SIMD_LEAVES_MAX) {
            return None;
        }
        let mut thresholds = vec![Vec::new(); parts.feature_count + 1];
        for node in trees().flat_map(|tree| &tree.nodes).filter(|node| !node.is_leaf()) {
            thresholds[usize::from(node.feature)].push((key(node.threshold), node.threshold));
        }
        let mut plan = Self::default();
        let mut drafts: Vec<Vec<Draft>> = Vec::new();
        for (feature, cuts) in thresholds.iter_mut().enumerate() {
            cuts.sort_unstable_by_key(|cut| cut.0);
            cuts.dedup_by_key(|cut| cut.0);
            let fill = parts.forest.as_ref().and_then(|forest| forest.fill.get(feature).copied());
            drafts.push(
                cuts.chunks(SEGMENT_CUTS)
                    .map(|cuts| Draft {
                        keys: cuts.iter().map(|cut| cut.0).collect(),
                        fill: fill.unwrap_or(0.0),
                        columns: Vec::new(),
                    })
                    .collect(),
            );
        }
        plan.add_columns(parts, &mut drafts)?;
        plan.add_segments(&drafts, &thresholds);
        for tree in parts.forest.iter().flat_map(|forest| &forest.trees) {
            let values = plan.path_lengths.len();
            let program = plan.add_tree(tree, &drafts, |_| Missing::Fill, values);
            plan.path_lengths.extend(leaves_in_order(tree));
            plan.forest.push(program);
        }
        let side = |left| if left { Missing::Left } else { Missing::Right };
        for tree in parts.booster.iter().flat_map(|booster| &booster.trees) {
            let values = plan.margins.len();
            let program = plan.add_tree(tree, &drafts, side, values);
            plan.margins.extend(leaves_in_order(tree).into_iter().map(|value| value as f32));
            plan.margins.resize(plan.margins.len().next_multiple_of(LANES), 0.0);
            plan.booster.push(program);
        }
        Some(plan)
    }

    /// Finds out which columns each segment needs and numbers them segment by segment.
    fn add_columns(&mut self, parts: &Parts, drafts: &mut [Vec<Draft>]) -> Option<()> {
        let forest = parts.forest.iter().flat_map(|forest| &forest.trees).map(|tree| (tree, true));
        let booster = parts.booster.iter().flat_map(|booster| &booster.trees).map(|tree| (tree, false));
        for (tree, fill) in forest.chain(booster) {
            for node in tree.nodes.iter().filter(|node| !node.is_leaf()) {
                let missing = match (fill, node.default_left) {
                    (true, _) => Missing::Fill,
                    (false, true) => Missing::Left,
                    (false, false) => Missing::Right,
                };
                let (segment, _) = locate(&drafts[usize::from(node.feature)], key(node.threshold));
                let draft = &mut drafts[usize::from(node.feature)][segment];
                let rank = draft.missing_rank(missing);
                if draft.columns.iter().all(|column| column.0 != rank) {
                    draft.columns.push((rank, 0));
                }
            }
        }
        for column in drafts.iter_mut().flatten().flat_map(|draft| &mut draft.columns) {
            column.1 = self.column_count;
            self.column_count += 1;
        }
        (self.column_count <= SIMD_COLUMNS_MAX).then_some(())
    }

    fn add_segments(&mut self, drafts: &[Vec<Draft>], thresholds: &[Vec<(i32, f32)>]) {
        let anomaly = drafts.len() - 1;
        for (feature, (drafts, thresholds)) in drafts.iter().zip(thresholds).enumerate() {
            for (draft, cuts) in drafts.iter().zip(thresholds.chunks(SEGMENT_CUTS)) {
                let cuts: Vec<f32> = cuts.iter().map(|cut| cut.1).collect();
                let segment = Segment {
                    feature: if feature == anomaly { 0 } else { feature },
                    cuts: self.cuts.len(),
                    two_levels: cuts.len() > LANES,
                    first_column: draft.columns[0].1,
                    missing: draft.columns.iter().map(|column| column.0).collect(),
                };
                if segment.two_levels {
                    let mut pivots = Cuts([f32::NAN; LANES]);
                    for (pivot, bucket) in pivots.0.iter_mut().zip(cuts.chunks_exact(LANES)) {
                        *pivot = bucket[LANES - 1];
                    }
                    self.cuts.push(pivots);
                }
                // NaN is `<=` nothing: padding is never counted, not even for infinity. All 16 vectors
                // exist, because a value above a full last bucket looks one further.
                let vectors = if segment.two_levels { LANES } else { 1 };
                for vector in 0..vectors {
                    let mut lanes = Cuts([f32::NAN; LANES]);
                    for (lane, &cut) in lanes.0.iter_mut().zip(cuts.iter().skip(vector * LANES)) {
                        *lane = cut;
                    }
                    self.cuts.push(lanes);
                }
                if feature == anomaly { &mut self.anomaly_segments } else { &mut self.segments }
                    .push(segment);
            }
        }
    }

    fn add_tree(
        &mut self,
        tree: &Tree,
        drafts: &[Vec<Draft>],
        missing: impl Fn(bool) -> Missing,
        values: usize,
    ) -> Program {
        let first = self.steps.len();
        let mut slots = vec![0_u16; tree.nodes.len()];
        let mut leaves = vec![1_usize; tree.nodes.len()];
        // Children follow parents, so backwards every child has its slot before its parent needs it.
        for (index, node) in tree.nodes.iter().enumerate().rev().filter(|(_, node)| !node.is_leaf()) {
            let (left, right) = (node.left as usize, node.right as usize);
            let drafts = &drafts[usize::from(node.feature)];
            let (segment, cut) = locate(drafts, key(node.threshold));
            let draft = &drafts[segment];
            let rank = draft.missing_rank(missing(node.default_left));
            let column = draft.columns.iter().find(|column| column.0 == rank);
            let column = column.expect("add_columns saw every node").1;
            self.steps.push(Step {
                column: column as u32,
                left: slots[left],
                right: slots[right],
                cut: cut as u8,
                skip: leaves[left] as u8,
            });
            slots[index] = (self.steps.len() - first) as u16;
            leaves[index] = leaves[left] + leaves[right];
        }
        let step_count = self.steps.len() - first;
        Program { steps: first, step_count, values, leaf_count: leaves[0] }
    }
}

/// Segment of a threshold, and its position there.
fn locate(drafts: &[Draft], key: i32) -> (usize, usize) {
    let segment = drafts.partition_point(|draft| draft.keys.last().is_some_and(|&last| last < key));
    (segment, drafts[segment].keys.partition_point(|&cut| cut < key))
}

/// Values of the leaves from left to right.
fn leaves_in_order(tree: &Tree) -> Vec<f64> {
    let mut values = Vec::with_capacity(tree.leaf_count());
    let mut stack = vec![0_u32];
    while let Some(index) = stack.pop() {
        let node = &tree.nodes[index as usize];
        if node.is_leaf() {
            values.push(node.value);
        } else {
            stack.extend([node.right, node.left]);
        }
    }
    values
}
