//! Feature values as bytes, without loss: the plan that the byte-wide kernel runs.
//!
//! All that a tree asks of a value is on which side of its thresholds it lies. So the thresholds of both
//! models on one feature are sorted and cut into segments of at most 255, and the value becomes, for each
//! segment, the number of its thresholds that are `<= x`: `x < threshold[j]` is `rank <= j`, for
//! infinities and equal values too. A segment has one byte column for each way to treat a missing value:
//! rank 0 (always left), the full count (always right), or the rank of the forest's fill value.
//!
//! A tree is a list of steps, children before parents. A step chooses, for each row, between what its two children
//! have chosen: the number of a leaf value. A value that several leaves share has one number, and a split of which both
//! sides end at the same value (an isolation tree is full of them) is no step.

use std::ops::Range;

use super::format::Parts;
use super::portable::key;
use super::tree::{Node, Tree};
use crate::limits::{SIMD_COLUMNS_MAX, SIMD_LEAVES_MAX};

/// Thresholds of a segment: ranks are 0 to 255.
const SEGMENT_CUTS: usize = 255;
/// Floats of a vector; leaf values are padded to as many.
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
    /// Slots of the children.
    pub(super) left: u16,
    pub(super) right: u16,
    /// Right when the rank is above this.
    pub(super) cut: u8,
}

/// Where a tree's steps and leaf values are.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) steps: Range<usize>,
    /// Slot of the root.
    pub(super) root: usize,
    /// Values with their padding.
    pub(super) values: Range<usize>,
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
    /// The first slots stand for the values of a tree: each holds its number. Step `k` of a tree writes the `k`-th behind them.
    pub(super) value_slots: usize,
    pub(super) step_slots: usize,
    pub(super) steps: Vec<Step>,
    pub(super) forest: Vec<Program>,
    pub(super) booster: Vec<Program>,
    /// Each tree padded to a multiple of [`LANES`], like `margins`.
    pub(super) path_lengths: Vec<f64>,
    pub(super) margins: Vec<f32>,
}

/// A tree without the splits that decide nothing.
struct Pruned<'a> {
    tree: &'a Tree,
    /// Number of the value that every row gets below a node; none where it depends.
    numbers: Vec<Option<u8>>,
    values: Vec<f64>,
}

impl<'a> Pruned<'a> {
    /// Of a tree with at most [`SIMD_LEAVES_MAX`] leaves.
    fn new(tree: &'a Tree) -> Self {
        let mut values: Vec<f64> = Vec::new();
        let mut numbers: Vec<Option<u8>> = vec![None; tree.nodes.len()];
        // Children follow parents, so backwards both are known.
        for (index, node) in tree.nodes.iter().enumerate().rev() {
            numbers[index] = if node.is_leaf() {
                let known = values.iter().position(|value| value.to_bits() == node.value.to_bits());
                Some(known.unwrap_or_else(|| {
                    values.push(node.value);
                    values.len() - 1
                }) as u8)
            } else {
                let [left, right] = [node.left, node.right].map(|child| numbers[child as usize]);
                left.filter(|_| left == right)
            };
        }
        Self { tree, numbers, values }
    }

    /// The splits that decide something, children after parents.
    fn splits(&self) -> impl DoubleEndedIterator<Item = (usize, &'a Node)> {
        let nodes = self.tree.nodes.iter().enumerate();
        nodes.filter(|(index, _)| self.numbers[*index].is_none())
    }
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
        let forest = parts.forest.iter().flat_map(|forest| &forest.trees);
        let booster = parts.booster.iter().flat_map(|booster| &booster.trees);
        if forest.clone().chain(booster.clone()).any(|tree| tree.leaf_count() > SIMD_LEAVES_MAX) {
            return None;
        }
        let forest: Vec<_> = forest.map(Pruned::new).collect();
        let booster: Vec<_> = booster.map(Pruned::new).collect();
        let trees = || forest.iter().map(|tree| (tree, true)).chain(booster.iter().map(|tree| (tree, false)));
        let mut thresholds = vec![Vec::new(); parts.feature_count + 1];
        for (_, node) in trees().flat_map(|(tree, _)| tree.splits()) {
            thresholds[usize::from(node.feature)].push((key(node.threshold), node.threshold));
        }
        let mut plan = Self {
            value_slots: trees().map(|(tree, _)| tree.values.len()).max().unwrap_or(0),
            step_slots: trees().map(|(tree, _)| tree.splits().count()).max().unwrap_or(0),
            ..Self::default()
        };
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
        plan.add_columns(trees(), &mut drafts)?;
        plan.add_segments(&drafts, &thresholds);
        for tree in &forest {
            let values = append(&mut plan.path_lengths, tree.values.iter().copied());
            let program = plan.add_tree(tree, &drafts, |_| Missing::Fill, values);
            plan.forest.push(program);
        }
        let side = |left| if left { Missing::Left } else { Missing::Right };
        for tree in &booster {
            let values = append(&mut plan.margins, tree.values.iter().map(|&value| value as f32));
            let program = plan.add_tree(tree, &drafts, side, values);
            plan.booster.push(program);
        }
        Some(plan)
    }

    /// Finds out which columns each segment needs and numbers them segment by segment.
    fn add_columns<'a>(
        &mut self,
        trees: impl Iterator<Item = (&'a Pruned<'a>, bool)>,
        drafts: &mut [Vec<Draft>],
    ) -> Option<()> {
        for (tree, fill) in trees {
            for (_, node) in tree.splits() {
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
        tree: &Pruned<'_>,
        drafts: &[Vec<Draft>],
        missing: impl Fn(bool) -> Missing,
        values: Range<usize>,
    ) -> Program {
        let first = self.steps.len();
        let mut slots: Vec<_> = tree.numbers.iter().map(|number| number.map_or(0, u16::from)).collect();
        // Backwards every child has its slot before its parent needs it.
        for (index, node) in tree.splits().rev() {
            let drafts = &drafts[usize::from(node.feature)];
            let (segment, cut) = locate(drafts, key(node.threshold));
            let draft = &drafts[segment];
            let rank = draft.missing_rank(missing(node.default_left));
            let column = draft.columns.iter().find(|column| column.0 == rank);
            let column = column.expect("add_columns saw every split").1;
            slots[index] = (self.value_slots + self.steps.len() - first) as u16;
            self.steps.push(Step {
                column: column as u32,
                left: slots[node.left as usize],
                right: slots[node.right as usize],
                cut: cut as u8,
            });
        }
        Program { steps: first..self.steps.len(), root: usize::from(slots[0]), values }
    }
}

/// Appends the values of a tree, padded to whole vectors, and says where they are.
fn append<T: Clone + Default>(all: &mut Vec<T>, values: impl Iterator<Item = T>) -> Range<usize> {
    let first = all.len();
    all.extend(values);
    all.resize(all.len().next_multiple_of(LANES), T::default());
    first..all.len()
}

/// Segment of a threshold, and its position there.
fn locate(drafts: &[Draft], key: i32) -> (usize, usize) {
    let segment = drafts.partition_point(|draft| draft.keys.last().is_some_and(|&last| last < key));
    (segment, drafts[segment].keys.partition_point(|&cut| cut < key))
}
