//! `_native.Stream`: the native stream, started, watched and stopped from Python.
//!
//! Its threads never touch the interpreter.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fraudengine_runtime::log;
use fraudengine_runtime::metrics::Metrics;
use fraudengine_runtime::settings::Settings;
use fraudengine_runtime::stream::Stream;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

use crate::error::{Kind, to_py_err};
use crate::model::Activation;

/// See `_native.pyi`.
#[pyclass(name = "Stream", module = "fraudengine._native", frozen)]
pub struct PyStream {
    inner: Mutex<Option<Arc<Stream>>>,
}

fn closed() -> PyErr {
    to_py_err(Kind::Config, "the stream has been closed")
}

#[pymethods]
impl PyStream {
    #[new]
    fn new(py: Python<'_>, settings: &str, instance: String) -> PyResult<Self> {
        let config = |error: String| to_py_err(Kind::Config, error);
        let settings = Settings::parse(settings).map_err(|error| config(error.to_string()))?;
        let stream = py.detach(|| Stream::prepare(settings, instance));
        let stream = stream.map_err(|error| config(error.to_string()))?;
        Ok(Self { inner: Mutex::new(Some(Arc::new(stream))) })
    }

    /// Lets it compete for the seat; `last_words` are those of the process before it.
    #[pyo3(signature = (last_words=None))]
    fn admit(&self, py: Python<'_>, last_words: Option<&str>) -> PyResult<()> {
        let stream = self.stream()?;
        py.detach(|| stream.admit(last_words)).map_err(|error| to_py_err(Kind::Config, error.to_string()))
    }

    /// Starts the threads.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let stream = self.stream()?;
        py.detach(|| stream.start()).map_err(|error| to_py_err(Kind::Config, error.to_string()))
    }

    /// Decides with this ensemble from the next chunk on; returns the name of the backend.
    #[allow(clippy::needless_pass_by_value, reason = "an argument of a Python method, converted")]
    fn activate(&self, py: Python<'_>, model: Activation) -> PyResult<&'static str> {
        py.detach(|| {
            let active = model.named()?;
            let name = active.model.scorer.name();
            self.stream()?.activate(active);
            Ok(name)
        })
    }

    /// Phase and last error.
    fn phase(&self) -> PyResult<(&'static str, Option<String>)> {
        let (phase, error) = self.stream()?.phase();
        Ok((phase.name(), error))
    }

    /// Waits for the end; returns whether it has come.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let stream = self.stream()?;
        let timeout = Duration::from_secs_f64(seconds.clamp(0.0, 3_600.0));
        Ok(py.detach(|| stream.wait_for_end(timeout)).is_final())
    }

    /// The page for Prometheus.
    fn metrics(&self, py: Python<'_>) -> PyResult<String> {
        let stream = self.stream()?;
        Ok(py.detach(|| stream.metrics().page()))
    }

    /// A few figures for people.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stream = self.stream()?;
        let (phase, error) = stream.phase();
        let status = PyDict::new(py);
        status.set_item("phase", phase.name())?;
        status.set_item("error", error)?;
        figures(stream.metrics(), &status)?;
        Ok(status)
    }

    /// Asks for a snapshot now; returns the number of the request.
    fn ask_snapshot(&self) -> PyResult<u64> {
        Ok(self.stream()?.metrics().snapshots_asked.fetch_add(1, Relaxed) + 1)
    }

    /// Number of the newest request that has its snapshot.
    fn snapshots_answered(&self) -> PyResult<u64> {
        Ok(self.stream()?.metrics().snapshots_answered.load(Relaxed))
    }

    /// Asks it to end in order; `hand_over`: at once, because another process has the state at hand and waits.
    #[pyo3(signature = (*, hand_over=false))]
    fn stop(&self, hand_over: bool) -> PyResult<()> {
        self.stream().map(|stream| if hand_over { stream.hand_over() } else { stream.stop() })
    }

    /// Ends it in order and waits for that.
    fn close(&self, py: Python<'_>) {
        let stream = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(stream));
    }
}

impl PyStream {
    /// The stream; calls that wait hold no lock.
    fn stream(&self) -> PyResult<Arc<Stream>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)
    }
}

fn figures(metrics: &Metrics, status: &Bound<'_, PyDict>) -> PyResult<()> {
    let [approve, review, block] = &metrics.actions;
    let [duplicates, late, approximate] = &metrics.flagged;
    for (name, value) in [
        ("approve", approve),
        ("review", review),
        ("block", block),
        ("duplicates", duplicates),
        ("late", late),
        ("approximate", approximate),
        ("labels", &metrics.labels),
        ("labels_pending", &metrics.labels_pending),
        ("alerts", &metrics.alerts),
        ("delivered", &metrics.delivered),
        ("in_flight", &metrics.in_flight),
        ("snapshots", &metrics.snapshots),
        ("restarts", &metrics.restarts),
        ("recovered", &metrics.recovered),
        ("recovery_micros", &metrics.recovery_micros),
    ] {
        status.set_item(name, value.load(Relaxed))?;
    }
    status.set_item("decisions", metrics.decisions())?;
    status
        .set_item("dead_letters", metrics.dead_letters.iter().map(|each| each.load(Relaxed)).sum::<u64>())?;
    status.set_item("careful", metrics.careful.load(Relaxed) == 1)?;
    let lag = metrics.lag.load(Relaxed);
    status.set_item("lag", (lag >= 0).then_some(lag))?;
    let behind = metrics.standby_behind.load(Relaxed);
    status.set_item("standby_behind", (behind >= 0).then_some(behind))?;
    status.set_item("watermark_micros", metrics.watermark.load(Relaxed))?;
    status.set_item("snapshot_time_micros", metrics.snapshot_time.load(Relaxed))?;
    status.set_item("model", format!("{:016x}", metrics.model.load(Relaxed)))?;
    let sinks = PyDict::new(status.py());
    for sink in metrics.sinks() {
        let one = PyDict::new(status.py());
        one.set_item("state", sink.state.name())?;
        one.set_item("lag", sink.lag_records)?;
        one.set_item("lag_seconds", sink.lag_seconds)?;
        one.set_item("rows", sink.rows_written)?;
        one.set_item("retries", sink.retries)?;
        one.set_item("error", sink.last_error)?;
        sinks.set_item(sink.sink, one)?;
    }
    status.set_item("sinks", sinks)?;
    for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        status.set_item(format!("latency_{name}_micros"), metrics.latency.quantile(share))?;
    }
    Ok(())
}

/// Sends the log of the native threads to standard error.
#[pyfunction]
pub fn init_logging(py: Python<'_>, level: &str, json: bool) -> PyResult<()> {
    if log::init(level, json).map_err(|error| to_py_err(Kind::Config, error))? {
        let end = PyCFunction::new_closure(py, None, None, |_, _| log::end())?;
        py.import("atexit")?.call_method1("register", (end,))?;
    }
    Ok(())
}
