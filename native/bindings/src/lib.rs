//! `fraudengine._native`: the Python face of the engine.
//!
//! Conversions only. Each class or group of functions has its own file; every long call releases the GIL.

use pyo3::prelude::*;

mod error;

/// The extension module; `python/fraudengine/_native.pyi` is its contract.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
