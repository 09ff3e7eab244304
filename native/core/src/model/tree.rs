//! Decision trees as plain checked values: what every backend is built from.
//!
//! One comparison serves both models: a row goes left when `x < threshold`. `XGBoost`'s trees are stored as
//! they are; scikit-learn's `x <= t` (t in f64, x in f32) becomes `x < c`, c being the smallest f32 above
//! every f32 that is `<= t`, which decides every f32 alike.

/// Marks a leaf in [`Node::feature`].
pub const LEAF: u16 = u16::MAX;

/// A node; a leaf when `feature` is [`LEAF`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Column that is compared; the number of base features stands for the anomaly.
    pub feature: u16,
    /// Where a missing value goes (booster only; the forest fills missing values in).
    pub default_left: bool,
    /// Left when `x < threshold`. May be infinite, never NaN.
    pub threshold: f32,
    /// Child for `x < threshold`; greater than the node's own index.
    pub left: u32,
    /// The other child.
    pub right: u32,
    /// Value of a leaf: margin (an f32) or path length; of an inner node: mean margin, see `attribution`.
    pub value: f64,
    /// Training weight that reached the node: hessian sum or samples.
    pub cover: f32,
}

impl Node {
    /// Whether the node is a leaf.
    pub const fn is_leaf(&self) -> bool {
        self.feature == LEAF
    }

    /// The child a present value goes to.
    pub fn child(&self, x: f32) -> usize {
        if x < self.threshold { self.left as usize } else { self.right as usize }
    }

    /// The child for a value that may be missing (NaN).
    pub fn child_or_default(&self, x: f32) -> usize {
        if x.is_nan() {
            if self.default_left { self.left as usize } else { self.right as usize }
        } else {
            self.child(x)
        }
    }
}

/// A tree; node 0 is the root.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// Nodes, children after parents.
    pub nodes: Vec<Node>,
    /// Edges from the root to the deepest leaf.
    pub depth: u32,
}

impl Tree {
    /// Number of leaves.
    pub fn leaf_count(&self) -> usize {
        self.nodes.len().div_ceil(2)
    }
}

/// An isolation forest.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    /// Trees; a leaf's value is its path length, expected remainder included.
    pub trees: Vec<Tree>,
    /// What stands in for a missing value, per feature.
    pub fill: Vec<f32>,
    /// Number of trees times the expected path length of the training sample size.
    pub denominator: f64,
}

impl Forest {
    /// Anomaly in (0, 1), higher is more anomalous, from the sum of the path lengths.
    pub fn anomaly(&self, path_sum: f64) -> f32 {
        libm::exp2(-(path_sum / self.denominator)) as f32
    }
}

/// A boosted ensemble for binary classification.
#[derive(Clone, Debug, PartialEq)]
pub struct Booster {
    /// Trees; a leaf's value is an f32 margin.
    pub trees: Vec<Tree>,
    /// Log odds that the leaves are added to.
    pub base_margin: f32,
    /// Whether column `feature_count` (the anomaly) is read.
    pub uses_anomaly: bool,
}
