//! `_native.Predictor`: stages 4 and 5 for feature vectors that somebody else assembled; no state, no GIL.

use fraudengine_core::Model;
use fraudengine_core::decision::Action;
use fraudengine_core::feature::catalogue;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::error::{Kind, to_py_err};
use crate::model::Activation;

/// Score, action and anomaly of each row.
type Predicted<'py> = (Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<f32>>);

/// See `_native.pyi`.
#[pyclass(name = "Predictor", module = "fraudengine._native", frozen)]
pub struct PyPredictor {
    model: Model,
}

#[pymethods]
#[allow(clippy::needless_pass_by_value, reason = "arguments of Python methods, converted to owned values")]
impl PyPredictor {
    #[new]
    fn new(py: Python<'_>, model: Activation) -> PyResult<Self> {
        Ok(Self { model: py.detach(|| model.build())? })
    }

    /// Score, action and anomaly of each row.
    fn predict<'py>(&self, py: Python<'py>, rows: PyReadonlyArray2<'py, f32>) -> PyResult<Predicted<'py>> {
        let (count, width) = (rows.shape()[0], rows.shape()[1]);
        if width != catalogue::WIDTH || !rows.is_c_contiguous() {
            let message =
                format!("rows have {width} features, must be C-contiguous with {}", catalogue::WIDTH);
            return Err(to_py_err(Kind::Model, message));
        }
        let values = rows.as_slice().map_err(|error| to_py_err(Kind::Model, error.to_string()))?;
        let (score, action, anomaly) = py.detach(|| {
            let (mut anomaly, mut margin, mut score) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
            let mut action = vec![Action::Review; count];
            self.model.judge(values, &mut anomaly, &mut margin, &mut score, &mut action);
            (score, action.into_iter().map(Action::code).collect::<Vec<u8>>(), anomaly)
        });
        Ok((score.into_pyarray(py), action.into_pyarray(py), anomaly.into_pyarray(py)))
    }
}
