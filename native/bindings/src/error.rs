//! The one map from Rust errors to the exceptions of `fraudengine.errors`.
//!
//! Exceptions are defined in Python, so that they can be caught and documented without the binary;
//! this file imports them by name. Every core error becomes exactly one of them.

use fraudengine_core::model::ModelError;
use fraudengine_core::snapshot::SnapshotError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// An exception class of `fraudengine.errors`.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A setting outside its range.
    Config,
    /// A frame that lacks a column or has one of the wrong type.
    Schema,
    /// Bytes that are not a snapshot of this build.
    Snapshot,
    /// An ensemble file that cannot be used, or rows that do not fit it.
    Model,
    /// A compiled library that cannot be used.
    Compile,
    /// A server that does not answer.
    Service,
}

impl Kind {
    const fn class(self) -> &'static str {
        match self {
            Self::Config => "ConfigError",
            Self::Schema => "SchemaError",
            Self::Snapshot => "SnapshotError",
            Self::Model => "ModelError",
            Self::Compile => "CompileError",
            Self::Service => "ServiceError",
        }
    }
}

/// The exception of a kind, with a message.
pub fn to_py_err(kind: Kind, message: impl Into<String>) -> PyErr {
    let message = message.into();
    Python::attach(|py| {
        let class = py.import("fraudengine.errors").and_then(|module| module.getattr(kind.class()));
        match class.and_then(|class| class.call1((message.clone(),))) {
            Ok(exception) => PyErr::from_value(exception),
            Err(_) => PyRuntimeError::new_err(message),
        }
    })
}

/// The exception of a refused snapshot.
pub fn snapshot_error(error: &SnapshotError) -> PyErr {
    to_py_err(Kind::Snapshot, error.to_string())
}

/// The exception of a refused ensemble.
pub fn model_error(error: &ModelError) -> PyErr {
    to_py_err(Kind::Model, error.to_string())
}
