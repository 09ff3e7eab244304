//! Why a model file or a compiled library was refused. One variant per kind, naming what was found.

use thiserror::Error;

/// A model that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ModelError {
    /// The bytes do not start with the magic of a model file.
    #[error("not an ensemble file: wrong magic")]
    Magic,
    /// Written by another version of the format.
    #[error("ensemble format version {found} is not supported, expected {expected}")]
    Version {
        /// Version in the file.
        found: u32,
        /// Version of this build.
        expected: u32,
    },
    /// The checksum does not match the content.
    #[error("ensemble checksum is {found:#010x}, content has {actual:#010x}")]
    Checksum {
        /// Checksum in the file.
        found: u32,
        /// Checksum of the content.
        actual: u32,
    },
    /// The bytes end too early.
    #[error("ensemble file ends inside {field} at byte {offset}")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Where.
        offset: usize,
    },
    /// Bytes follow the last tree.
    #[error("ensemble file has {count} bytes after its last tree")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A count or an index outside its range.
    #[error("{field} is {value}, must be {min} to {max}")]
    Range {
        /// Name of the quantity.
        field: &'static str,
        /// Value found.
        value: u64,
        /// Least accepted.
        min: u64,
        /// Greatest accepted.
        max: u64,
    },
    /// A number that must be finite (or positive) is not.
    #[error("{field} is {value}, must be {expected}")]
    Number {
        /// Name of the quantity.
        field: &'static str,
        /// Value found.
        value: f64,
        /// What is accepted.
        expected: &'static str,
    },
    /// The nodes of a tree do not form one tree whose children follow their parents.
    #[error("node {node} of {model} tree {tree} is not reached exactly once, from a node before it")]
    Shape {
        /// `forest` or `booster`.
        model: &'static str,
        /// Index of the tree.
        tree: usize,
        /// Index of the node.
        node: usize,
    },
    /// Neither a forest nor a booster.
    #[error("the ensemble holds no model")]
    Empty,
    /// The booster reads the anomaly but there is no forest to compute it.
    #[error("the booster reads the anomaly score but the ensemble has no forest")]
    AnomalyWithoutForest,
    /// A backend that this build does not know.
    #[error("unknown backend {name:?}")]
    UnknownBackend {
        /// Name asked for.
        name: String,
    },
    /// A backend that cannot run this ensemble on this processor.
    #[error("backend {name} is not available: {reason}")]
    BackendUnavailable {
        /// Name asked for.
        name: &'static str,
        /// What it lacks.
        reason: &'static str,
    },
    /// A compiled library cannot be opened or lacks a symbol.
    #[error("compiled library {path}: {message}")]
    Library {
        /// Path of the library.
        path: String,
        /// The loader's message.
        message: String,
    },
    /// A compiled library was made for another model.
    #[error("compiled library {path} has {property} {found}, the ensemble needs {expected}")]
    LibraryMismatch {
        /// Path of the library.
        path: String,
        /// Which property differs.
        property: &'static str,
        /// Value in the library.
        found: String,
        /// Value of the ensemble.
        expected: String,
    },
}
