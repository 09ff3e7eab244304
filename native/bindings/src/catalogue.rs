//! The feature catalogue for Python.

use fraudengine_core::feature::catalogue;
use pyo3::prelude::*;

/// Features in column order: `(name, entity, group, window, unit, meaning)`.
#[pyfunction]
pub fn catalogue_features()
-> Vec<(&'static str, &'static str, &'static str, &'static str, &'static str, &'static str)> {
    catalogue::all().map(|f| (f.name, f.entity.name(), f.group.name(), f.window, f.unit, f.meaning)).collect()
}

/// Hash of everything that gives feature values their meaning.
#[pyfunction]
pub fn catalogue_hash() -> String {
    catalogue::hash()
}
