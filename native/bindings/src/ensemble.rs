//! `_native.Ensemble`: the SCORE stage for Python. Rows in, scores out, the GIL released in between.

use std::path::PathBuf;
use std::sync::Mutex;

use fraudengine_core::model::{Ensemble, Scorer};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::error::{Kind, model_error, to_py_err};

const THREADS_MAX: usize = 64;

/// Anomaly and margin of each row.
type Scores<'py> = (Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<f32>>);

/// See `_native.pyi`.
#[pyclass(name = "Ensemble", module = "fraudengine._native", frozen)]
pub struct PyEnsemble {
    /// The lock covers `load_compiled` only; scorers are taken out and run outside.
    inner: Mutex<Ensemble>,
    feature_count: usize,
}

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "the signature is pyo3's")]
impl PyEnsemble {
    #[new]
    fn new(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let ensemble = py.detach(|| Ensemble::parse(data)).map_err(|error| model_error(&error))?;
        Ok(Self { feature_count: ensemble.feature_count(), inner: Mutex::new(ensemble) })
    }

    /// Number of base features.
    #[getter]
    fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// Width of `attributions`.
    #[getter]
    fn attribution_width(&self) -> usize {
        self.lock().attribution_width()
    }

    /// Whether the booster reads the anomaly.
    #[getter]
    fn uses_anomaly(&self) -> bool {
        self.lock().uses_anomaly()
    }

    /// Backends that can run, fastest first.
    fn backends(&self) -> Vec<&'static str> {
        self.lock().backends()
    }

    /// Anomaly and margin of each row.
    #[pyo3(signature = (rows, backend="auto", threads=1))]
    fn score<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
        backend: &str,
        threads: usize,
    ) -> PyResult<Scores<'py>> {
        if !(1..=THREADS_MAX).contains(&threads) {
            let message = format!("threads is {threads}, must be 1 to {THREADS_MAX}");
            return Err(to_py_err(Kind::Config, message));
        }
        let scorer = self.lock().scorer(backend).map_err(|error| model_error(&error))?;
        let values = self.values(&rows)?;
        let count = rows.shape()[0];
        let (mut anomaly, mut margin) = (vec![0.0; count], vec![0.0; count]);
        let width = self.feature_count;
        py.detach(|| score_threads(&*scorer, width, threads, values, &mut anomaly, &mut margin));
        Ok((anomaly.into_pyarray(py), margin.into_pyarray(py)))
    }

    /// Contributions to the margin of each row.
    fn attributions<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let values = self.values(&rows)?;
        let count = rows.shape()[0];
        let (out, width) = py.detach(|| {
            let ensemble = self.lock();
            (ensemble.attributions(values), ensemble.attribution_width())
        });
        out.into_pyarray(py).reshape([count, width])
    }

    /// Opens compiled libraries as the backend `compiled`.
    #[pyo3(signature = (booster=None, forest=None))]
    fn load_compiled(
        &self,
        py: Python<'_>,
        booster: Option<PathBuf>,
        forest: Option<PathBuf>,
    ) -> PyResult<()> {
        py.detach(|| self.lock().load_compiled(booster.as_deref(), forest.as_deref()))
            .map_err(|error| to_py_err(Kind::Compile, error.to_string()))
    }
}

impl PyEnsemble {
    fn lock(&self) -> std::sync::MutexGuard<'_, Ensemble> {
        // Nothing that holds the lock leaves the ensemble half changed.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn values<'a>(&self, rows: &'a PyReadonlyArray2<'_, f32>) -> PyResult<&'a [f32]> {
        let width = rows.shape()[1];
        if width != self.feature_count {
            let message = format!("rows have {width} features, the ensemble needs {}", self.feature_count);
            return Err(to_py_err(Kind::Model, message));
        }
        let refused = || to_py_err(Kind::Model, "rows must be C-contiguous");
        // `as_slice` alone would take Fortran order too.
        if rows.is_c_contiguous() { rows.as_slice().map_err(|_| refused()) } else { Err(refused()) }
    }
}

/// Scores contiguous parts of the rows on their own threads; the result does not depend on the cut.
fn score_threads(
    scorer: &dyn Scorer,
    width: usize,
    threads: usize,
    rows: &[f32],
    anomaly: &mut [f32],
    margin: &mut [f32],
) {
    let part = anomaly.len().div_ceil(threads).max(1);
    if part >= anomaly.len() {
        return scorer.score(rows, anomaly, margin);
    }
    std::thread::scope(|scope| {
        let parts = rows.chunks(part * width).zip(anomaly.chunks_mut(part).zip(margin.chunks_mut(part)));
        for (rows, (anomaly, margin)) in parts {
            scope.spawn(move || scorer.score(rows, anomaly, margin));
        }
    });
}
