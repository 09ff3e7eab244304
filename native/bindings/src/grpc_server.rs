//! `_native.GrpcServer` and `_native.Callers`: the native transport of the scoring service, and who may call.

use std::sync::Arc;
use std::time::Duration;

use fraudengine_runtime::grpc::{
    self, Admitted, Callers, GrpcSettings, METHODS, Scoring, Server, ServerError,
};
use fraudengine_runtime::log;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Kind, to_py_err};
use crate::follow::PyStreamScoring;
use crate::scoring::PyScoring;

/// See `_native.pyi`.
#[pyclass(name = "Callers", module = "fraudengine._native", frozen)]
pub struct PyCallers(Arc<Callers>);

#[pymethods]
impl PyCallers {
    #[new]
    fn new(clients: Vec<([u8; 32], f64)>) -> PyResult<Self> {
        let mut all = Callers::default();
        for (digest, calls_per_second) in clients {
            if !(calls_per_second.is_finite() && calls_per_second > 0.0) {
                return Err(PyValueError::new_err(format!("calls_per_second is {calls_per_second}")));
            }
            all.add(digest, calls_per_second);
        }
        Ok(Self(Arc::new(all)))
    }

    /// Takes a call from the bucket of the client whose token the value of `authorization` carries.
    fn admit(&self, authorization: &str) -> Option<f64> {
        match self.0.admit(authorization.as_bytes()) {
            Admitted::Unknown => None,
            Admitted::Yes => Some(0.0),
            Admitted::TooSoon(wait) => Some(wait.as_secs_f64().max(f64::MIN_POSITIVE)),
        }
    }
}

/// See `_native.pyi`.
#[pyclass(name = "GrpcServer", module = "fraudengine._native", frozen)]
pub struct PyGrpcServer(Server);

/// Who decides: one of the classes that the service has for that.
#[derive(FromPyObject)]
enum Decides<'py> {
    Own(Bound<'py, PyScoring>),
    Stream(Bound<'py, PyStreamScoring>),
}

#[pymethods]
impl PyGrpcServer {
    #[new]
    #[pyo3(signature = (scoring, settings, callers=None))]
    #[allow(clippy::needless_pass_by_value, reason = "an argument of a Python method, converted")]
    fn new(
        py: Python<'_>,
        scoring: Decides<'_>,
        settings: &str,
        callers: Option<&Bound<'_, PyCallers>>,
    ) -> PyResult<Self> {
        let config = |error: String| to_py_err(Kind::Config, error);
        let settings = GrpcSettings::parse(settings).map_err(|error| config(error.to_string()))?;
        let callers = callers.map(|callers| Arc::clone(&callers.get().0));
        let server = match scoring {
            Decides::Own(own) => open(py, &settings, callers, Arc::clone(&own.get().0)),
            Decides::Stream(stream) => open(py, &settings, callers, Arc::clone(&stream.get().0)),
        };
        Ok(Self(server.map_err(|error| config(error.to_string()))?))
    }

    /// Where it listens, `HOST:PORT`.
    #[getter]
    fn address(&self) -> String {
        self.0.address().to_string()
    }

    /// Tells health whether calls are answered.
    fn say_ready(&self, py: Python<'_>, ready: bool) {
        py.detach(|| self.0.say_ready(ready));
    }

    /// Takes no more calls, lets those under way end for so long, then cancels them.
    fn stop(&self, py: Python<'_>, seconds: f64) {
        py.detach(|| self.0.stop(Duration::from_secs_f64(seconds.clamp(0.0, 3_600.0))));
    }

    /// What it counts, for metrics.
    fn figures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = self.0.figures();
        let all = PyDict::new(py);
        let calls = PyDict::new(py);
        for (method, histogram) in METHODS.iter().zip(&figures.calls) {
            calls.set_item(method, (histogram.cumulative(), histogram.sum_seconds()))?;
        }
        all.set_item("calls", calls)?;
        all.set_item("open", figures.open.load(std::sync::atomic::Ordering::Relaxed))?;
        all.set_item("log_lines_dropped", log::lines_dropped())?;
        all.set_item("refused", figures.refused())?;
        all.set_item("denied", figures.denied().into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
        Ok(all)
    }
}

fn open<S: Scoring>(
    py: Python<'_>,
    settings: &GrpcSettings,
    callers: Option<Arc<Callers>>,
    scoring: Arc<S>,
) -> Result<Server, ServerError> {
    py.detach(|| Server::open(settings, callers, scoring))
}

/// Whether a text may go on as the id of a call.
#[pyfunction]
pub fn is_request_id(text: &str) -> bool {
    grpc::is_request_id(text.as_bytes())
}
