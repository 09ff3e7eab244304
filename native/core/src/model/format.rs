//! `ensemble.bin`: little-endian, versioned, checksummed; written by `training/export.py`.
//!
//! Header: magic (8 bytes), version u32, CRC-32 u32 of all that follows. Then: base feature count u32, flags
//! u32 (1 forest, 2 booster, 4 the booster reads the anomaly); the forest if present: tree count u32,
//! denominator f64, one f32 fill value per feature, trees; the booster if present: tree count u32, base
//! margin f32, trees. A tree is a node count u32 and nodes of 28 bytes: feature u16 (65535 is a leaf),
//! flags u16 (1 missing goes left), threshold f32, left u32, right u32, value f64, cover f32.
//!
//! The bytes may be hostile: every count is checked against its limit and against the bytes that are left
//! before anything is allocated, and nothing here panics.

use super::error::ModelError;
use super::tree::{Booster, Forest, LEAF, Node, Tree};
use crate::limits::{
    MODEL_FEATURES_MAX, MODEL_NODES_MAX, MODEL_TREE_DEPTH_MAX, MODEL_TREE_NODES_MAX, MODEL_TREES_MAX,
};

const MAGIC: &[u8; 8] = b"FRAUDENS";
/// Version this build reads.
pub const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const NODE_BYTES: usize = 28;

const HAS_FOREST: u32 = 1;
const HAS_BOOSTER: u32 = 2;
const USES_ANOMALY: u32 = 4;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Number of base features.
    pub feature_count: usize,
    /// The isolation forest.
    pub forest: Option<Forest>,
    /// The booster.
    pub booster: Option<Booster>,
}

/// Reads a file.
pub fn parse(bytes: &[u8]) -> Result<Parts, ModelError> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take::<8>("magic")? != *MAGIC {
        return Err(ModelError::Magic);
    }
    let version = reader.u32("version")?;
    if version != VERSION {
        return Err(ModelError::Version { found: version, expected: VERSION });
    }
    let found = reader.u32("checksum")?;
    let actual = crc32fast::hash(bytes.get(HEADER_BYTES..).unwrap_or_default());
    if found != actual {
        return Err(ModelError::Checksum { found, actual });
    }
    let feature_count = reader.count("feature count", 1, MODEL_FEATURES_MAX)?;
    let flags = reader.u32("flags")?;
    in_range("flags", flags as usize, 0, (HAS_FOREST | HAS_BOOSTER | USES_ANOMALY) as usize)?;
    let mut nodes_left = MODEL_NODES_MAX;
    let forest = if flags & HAS_FOREST == 0 {
        None
    } else {
        Some(forest(&mut reader, feature_count, &mut nodes_left)?)
    };
    let uses_anomaly = flags & USES_ANOMALY != 0;
    if uses_anomaly && forest.is_none() {
        return Err(ModelError::AnomalyWithoutForest);
    }
    let booster = if flags & HAS_BOOSTER == 0 {
        None
    } else {
        Some(booster(&mut reader, feature_count, uses_anomaly, &mut nodes_left)?)
    };
    if forest.is_none() && booster.is_none() {
        return Err(ModelError::Empty);
    }
    match bytes.len() - reader.at {
        0 => Ok(Parts { feature_count, forest, booster }),
        count => Err(ModelError::TrailingBytes { count }),
    }
}

fn forest(reader: &mut Reader<'_>, features: usize, nodes_left: &mut usize) -> Result<Forest, ModelError> {
    let tree_count = reader.count("forest tree count", 1, MODEL_TREES_MAX)?;
    let denominator = reader.f64("forest denominator")?;
    if !(denominator.is_finite() && denominator > 0.0) {
        let (field, expected) = ("forest denominator", "finite and above 0");
        return Err(ModelError::Number { field, value: denominator, expected });
    }
    let mut fill = Vec::with_capacity(features);
    for _ in 0..features {
        fill.push(finite_f32("fill value", reader.f32("fill value")?)?);
    }
    let shape = Shape { model: "forest", features, margins: false };
    Ok(Forest { trees: trees(reader, &shape, tree_count, nodes_left)?, fill, denominator })
}

fn booster(
    reader: &mut Reader<'_>,
    features: usize,
    uses_anomaly: bool,
    nodes_left: &mut usize,
) -> Result<Booster, ModelError> {
    let tree_count = reader.count("booster tree count", 1, MODEL_TREES_MAX)?;
    let base_margin = finite_f32("base margin", reader.f32("base margin")?)?;
    let shape = Shape { model: "booster", features: features + usize::from(uses_anomaly), margins: true };
    let trees = trees(reader, &shape, tree_count, nodes_left)?;
    Ok(Booster { trees, base_margin, uses_anomaly })
}

/// What a tree is checked against.
struct Shape {
    model: &'static str,
    features: usize,
    /// Leaves must be f32 values.
    margins: bool,
}

fn trees(
    reader: &mut Reader<'_>,
    shape: &Shape,
    count: usize,
    nodes_left: &mut usize,
) -> Result<Vec<Tree>, ModelError> {
    // Not `with_capacity(count)`: the count may lie, the bytes of each tree are checked as they come.
    let mut trees = Vec::new();
    for index in 0..count {
        let node_count = reader.count("tree node count", 1, MODEL_TREE_NODES_MAX.min(*nodes_left))?;
        *nodes_left -= node_count;
        let mut record = reader.fork(node_count * NODE_BYTES, "tree nodes")?;
        let mut nodes = Vec::with_capacity(node_count);
        for _ in 0..node_count {
            nodes.push(node(&mut record, shape, node_count)?);
        }
        let depth = depth(&nodes, shape.model, index)?;
        trees.push(Tree { nodes, depth });
    }
    Ok(trees)
}

fn node(reader: &mut Reader<'_>, shape: &Shape, node_count: usize) -> Result<Node, ModelError> {
    let feature = u16::from_le_bytes(reader.take("node feature")?);
    let flags = u16::from_le_bytes(reader.take("node flags")?);
    let threshold = reader.f32("node threshold")?;
    let left = reader.u32("left child")?;
    let right = reader.u32("right child")?;
    let value = reader.f64("node value")?;
    let cover = finite_f32("node cover", reader.f32("node cover")?)?;
    in_range("node flags", usize::from(flags), 0, 1)?;
    if feature == LEAF {
        // A margin that is no f32 would not add up the same way in every backend.
        let representable = !shape.margins || f64::from(value as f32).to_bits() == value.to_bits();
        if !value.is_finite() || !representable {
            return Err(ModelError::Number {
                field: "leaf value",
                value,
                expected: "finite, f32 in a booster",
            });
        }
    } else {
        in_range("node feature", usize::from(feature), 0, shape.features - 1)?;
        in_range("left child", left as usize, 1, node_count.max(2) - 1)?;
        in_range("right child", right as usize, 1, node_count.max(2) - 1)?;
        if threshold.is_nan() {
            let (field, expected) = ("node threshold", "a number");
            return Err(ModelError::Number { field, value: f64::from(threshold), expected });
        }
    }
    Ok(Node { feature, default_left: flags == 1, threshold, left, right, value, cover })
}

/// Depth of a tree; refuses node lists in which some node has no parent before it, or two.
fn depth(nodes: &[Node], model: &'static str, tree: usize) -> Result<u32, ModelError> {
    const UNSEEN: u32 = u32::MAX;
    let mut depths = vec![UNSEEN; nodes.len()];
    depths[0] = 0;
    let mut deepest = 0;
    for (index, node) in nodes.iter().enumerate() {
        let depth = depths[index];
        if depth == UNSEEN {
            return Err(ModelError::Shape { model, tree, node: index });
        }
        deepest = deepest.max(depth);
        if node.is_leaf() {
            continue;
        }
        for child in [node.left as usize, node.right as usize] {
            match depths.get_mut(child) {
                Some(slot) if child > index && *slot == UNSEEN => *slot = depth + 1,
                _ => return Err(ModelError::Shape { model, tree, node: child }),
            }
        }
    }
    in_range("tree depth", deepest as usize, 0, MODEL_TREE_DEPTH_MAX)?;
    Ok(deepest)
}

fn in_range(field: &'static str, value: usize, min: usize, max: usize) -> Result<(), ModelError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ModelError::Range { field, value: value as u64, min: min as u64, max: max as u64 })
}

fn finite_f32(field: &'static str, value: f32) -> Result<f32, ModelError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(ModelError::Number { field, value: f64::from(value), expected: "finite" })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], ModelError> {
        let end = self.at.checked_add(length);
        let slice = end.and_then(|end| self.bytes.get(self.at..end));
        let slice = slice.ok_or(ModelError::Truncated { field, offset: self.at })?;
        self.at += length;
        Ok(slice)
    }

    fn fork(&mut self, length: usize, field: &'static str) -> Result<Reader<'a>, ModelError> {
        Ok(Reader { bytes: self.slice(length, field)?, at: 0 })
    }

    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ModelError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N, field)?);
        Ok(out)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, ModelError> {
        self.take(field).map(u32::from_le_bytes)
    }

    fn f32(&mut self, field: &'static str) -> Result<f32, ModelError> {
        self.take(field).map(f32::from_le_bytes)
    }

    fn f64(&mut self, field: &'static str) -> Result<f64, ModelError> {
        self.take(field).map(f64::from_le_bytes)
    }

    fn count(&mut self, field: &'static str, min: usize, max: usize) -> Result<usize, ModelError> {
        let value = self.u32(field)? as usize;
        in_range(field, value, min, max)?;
        Ok(value)
    }
}
