//! `fraudengine._native`: the Python face of the engine.
//!
//! Conversions only. Each class or group of functions has its own file; every long call releases the GIL.

use pyo3::prelude::*;

mod catalogue;
mod columns;
mod engine;
mod ensemble;
mod error;
mod follow;
mod grpc_server;
mod keyed;
mod load;
mod loadtest;
mod model;
mod predictor;
mod results;
mod scoring;
mod sinks;
mod stream;
mod synthetic;

/// Entities own many small blocks; `benches/fold.rs` measures what the allocator does for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The extension module; `python/fraudengine/_native.pyi` is its contract.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<grpc_server::PyCallers>()?;
    module.add_class::<engine::PyEngine>()?;
    module.add_class::<ensemble::PyEnsemble>()?;
    module.add_class::<grpc_server::PyGrpcServer>()?;
    module.add_class::<keyed::PyKeyed>()?;
    module.add_class::<load::PyLoad>()?;
    module.add_class::<predictor::PyPredictor>()?;
    module.add_class::<scoring::PyScoring>()?;
    module.add_class::<sinks::PySinks>()?;
    module.add_class::<stream::PyStream>()?;
    module.add_class::<follow::PyStreamScoring>()?;
    module.add_class::<synthetic::PySyntheticStream>()?;
    module.add_function(wrap_pyfunction!(stream::init_logging, module)?)?;
    module.add_function(wrap_pyfunction!(catalogue::catalogue_features, module)?)?;
    module.add_function(wrap_pyfunction!(catalogue::catalogue_hash, module)?)?;
    module.add_function(wrap_pyfunction!(loadtest::send_load, module)?)?;
    module.add_function(wrap_pyfunction!(scoring::is_card_number, module)?)?;
    module.add_function(wrap_pyfunction!(grpc_server::is_request_id, module)?)?;
    Ok(())
}
