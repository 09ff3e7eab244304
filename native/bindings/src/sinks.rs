//! `_native.Sinks`: the writers to Postgres and Redis alone, behind decisions that somebody else takes.

use std::sync::{Mutex, PoisonError};

use fraudengine_runtime::settings::Settings;
use fraudengine_runtime::sink::{SinkHandle, spawn_postgres, spawn_redis};
use fraudengine_runtime::stop::Stop;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Kind, to_py_err};

/// See `_native.pyi`.
#[pyclass(name = "Sinks", module = "fraudengine._native", frozen)]
pub struct PySinks {
    stop: Stop,
    handles: Mutex<Vec<SinkHandle>>,
}

#[pymethods]
impl PySinks {
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let config = |error: String| to_py_err(Kind::Config, error);
        let settings = Settings::parse(settings).map_err(|error| config(error.to_string()))?;
        let currencies = settings.engine.currencies().map_err(|error| config(error.to_string()))?;
        let stop = Stop::default();
        let mut handles = Vec::new();
        if settings.postgres.enabled {
            let handle = spawn_postgres(&settings.postgres, &settings.kafka, currencies, None, &stop);
            handles.push(handle.map_err(|error| config(error.to_string()))?);
        }
        if settings.redis.enabled {
            let handle = spawn_redis(&settings.redis, &settings.kafka, None, &stop);
            handles.push(handle.map_err(|error| config(error.to_string()))?);
        }
        Ok(Self { stop, handles: Mutex::new(handles) })
    }

    /// How each writer stands.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let all: Vec<_> = self.lock().iter().flat_map(SinkHandle::status).collect();
        all.into_iter()
            .map(|status| {
                let told = PyDict::new(py);
                told.set_item("sink", status.sink)?;
                told.set_item("state", status.state.name())?;
                told.set_item("next_offset", status.next_offset)?;
                told.set_item("lag_records", status.lag_records)?;
                told.set_item("rows_written", status.rows_written)?;
                told.set_item("lost", status.lost)?;
                told.set_item("last_error", status.last_error)?;
                Ok(told)
            })
            .collect()
    }

    /// Ends the writers; returns when they have ended.
    fn stop(&self, py: Python<'_>) {
        self.stop.set();
        let handles = std::mem::take(&mut *self.lock());
        py.detach(|| handles.into_iter().for_each(SinkHandle::join));
    }
}

impl PySinks {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SinkHandle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PySinks {
    fn drop(&mut self) {
        self.stop.set();
    }
}
