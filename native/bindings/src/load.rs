//! `_native.Load`: a synthetic history sent to Kafka by native threads, watched and stopped from Python.

use std::collections::BTreeMap;
use std::time::Duration;

use fraudengine_generator::Config;
use fraudengine_runtime::generate::{Load, LoadError, LoadSettings};
use fraudengine_runtime::payload::Format;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Kind, to_py_err};

/// The history, as a mapping with the names of `SyntheticConfig`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct History {
    seed: u64,
    customers: u32,
    merchants: u32,
    days: u32,
    start_micros: i64,
    daily_mean: f64,
    fraud_rate: f64,
    label_delay_hours: f64,
    label_noise: f64,
    duplicate_rate: f64,
    late_rate: f64,
    late_seconds_max: f64,
    jitter_seconds: f64,
    drift: f64,
}

impl From<History> for Config {
    fn from(history: History) -> Self {
        Self {
            seed: history.seed,
            customers: history.customers,
            merchants: history.merchants,
            days: history.days,
            start_micros: history.start_micros,
            daily_mean: history.daily_mean,
            fraud_rate: history.fraud_rate,
            label_delay_hours: history.label_delay_hours,
            label_noise: history.label_noise,
            duplicate_rate: history.duplicate_rate,
            late_rate: history.late_rate,
            late_seconds_max: history.late_seconds_max,
            jitter_seconds: history.jitter_seconds,
            drift: history.drift,
        }
    }
}

/// See `_native.pyi`.
#[pyclass(name = "Load", module = "fraudengine._native", frozen)]
pub struct PyLoad(Load);

fn load_error(error: &LoadError) -> PyErr {
    let kind = match error {
        LoadError::World(_) | LoadError::Range { .. } | LoadError::Client(_) => Kind::Config,
        LoadError::Unreachable { .. } | LoadError::Topic { .. } | LoadError::Thread(_) => Kind::Service,
    };
    to_py_err(kind, error.to_string())
}

#[pymethods]
impl PyLoad {
    #[new]
    #[pyo3(signature = (history, *, brokers, client, transactions_topic, labels_topic, genuine_labels, payload_format, schema_id, tps, skip_days, warm_days, hold, count, seconds, malformed))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    fn new(
        py: Python<'_>,
        history: History,
        brokers: String,
        client: BTreeMap<String, String>,
        transactions_topic: String,
        labels_topic: String,
        genuine_labels: bool,
        payload_format: &str,
        schema_id: Option<u32>,
        tps: f64,
        skip_days: u32,
        warm_days: u32,
        hold: bool,
        count: u64,
        seconds: f64,
        malformed: f64,
    ) -> PyResult<Self> {
        let format = Format::parse(payload_format).ok_or_else(|| {
            to_py_err(Kind::Config, format!("format is {payload_format:?}, must be protobuf or json"))
        })?;
        let settings = LoadSettings {
            world: history.into(),
            brokers,
            client,
            transactions_topic,
            labels_topic,
            genuine_labels,
            format,
            schema_id,
            tps,
            skip_days,
            warm_days,
            hold,
            count,
            seconds,
            malformed,
        };
        py.detach(|| Load::start(settings)).map(Self).map_err(|error| load_error(&error))
    }

    /// Where it stands.
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = self.0.report();
        let dict = PyDict::new(py);
        dict.set_item("phase", report.phase.name())?;
        dict.set_item("day", report.day)?;
        dict.set_item("transactions", report.transactions)?;
        dict.set_item("warm_transactions", report.warm_transactions)?;
        dict.set_item("labels", report.labels)?;
        dict.set_item("malformed", report.malformed)?;
        dict.set_item("acked", report.acked)?;
        dict.set_item("failed", report.failed)?;
        dict.set_item("seconds", report.seconds)?;
        dict.set_item("rate", report.rate)?;
        dict.set_item("late_seconds", report.late_seconds)?;
        dict.set_item("late_seconds_max", report.late_seconds_max)?;
        dict.set_item("error", report.error)?;
        Ok(dict)
    }

    /// Lets it go on after the warm-up.
    fn release(&self) {
        self.0.release();
    }

    /// Asks it to stop and flush.
    fn stop(&self) {
        self.0.stop();
    }

    /// Waits until all is sent and flushed, or the time is over; whether it is.
    fn wait(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout_seconds).map_err(|error| {
            to_py_err(Kind::Config, format!("timeout_seconds is {timeout_seconds}: {error}"))
        })?;
        Ok(py.detach(|| self.0.wait(timeout)))
    }
}
