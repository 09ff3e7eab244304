//! `_native.send_load`: the sender of the load test.

use std::collections::BTreeMap;
use std::time::Duration;

use fraudengine_runtime::loadtest::{self, LoadError, LoadPlan, LoadTls};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;

use crate::error::{Kind, to_py_err};

/// Certificates of the service's signers, the client's own certificate and key (PEM), the service's name.
type Tls = (Option<Vec<u8>>, Option<(Vec<u8>, Vec<u8>)>, Option<String>);
/// Latencies, rejections, delays, statuses, outcomes, seconds, busy.
type Sent<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    BTreeMap<&'static str, u64>,
    BTreeMap<&'static str, u64>,
    f64,
    f64,
);

/// See `_native.pyi`.
#[pyfunction]
#[pyo3(signature = (address, *, tls, authorization, timeout_seconds, calls, concurrency, rate, batch, threads, warmup_calls, pool, prefix))]
#[allow(clippy::too_many_arguments, reason = "named arguments of a Python function")]
pub fn send_load(
    py: Python<'_>,
    address: String,
    tls: Option<Tls>,
    authorization: Option<String>,
    timeout_seconds: f64,
    calls: usize,
    concurrency: usize,
    rate: Option<f64>,
    batch: usize,
    threads: usize,
    warmup_calls: usize,
    pool: Vec<Vec<u8>>,
    prefix: String,
) -> PyResult<Sent<'_>> {
    let plan = LoadPlan {
        address,
        tls: tls.map(|(ca, identity, name)| LoadTls { ca, identity, name }),
        authorization,
        timeout: Duration::from_secs_f64(timeout_seconds.clamp(0.001, 3_600.0)),
        calls,
        concurrency,
        rate,
        batch,
        threads,
        warmup_calls,
        pool,
        prefix,
    };
    let sent = py.detach(|| loadtest::send_load(&plan)).map_err(|error| match error {
        LoadError::Config(_) => to_py_err(Kind::Config, error.to_string()),
        LoadError::NoAnswer(_) => to_py_err(Kind::Service, error.to_string()),
    })?;
    let [latencies, rejections, delays] =
        [sent.latencies, sent.rejections, sent.delays].map(|times| times.into_pyarray(py));
    Ok((latencies, rejections, delays, sent.statuses, sent.outcomes, sent.elapsed.as_secs_f64(), sent.busy))
}
