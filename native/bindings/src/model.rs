//! From the files of a bundle to a model that can be activated, in an engine or in a stream.

use std::path::PathBuf;

use fraudengine_core::Model;
use fraudengine_core::decision::{Calibration, Policy};
use fraudengine_core::feature::catalogue;
use fraudengine_core::model::Ensemble;
use fraudengine_runtime::stream::{ActiveModel, short_hash};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::error::{Kind, model_error, to_py_err};

/// What Python hands over of a bundle: `fraudengine.activation.Activation`, where the fields are explained.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Activation {
    ensemble: PyBackedBytes,
    #[pyo3(default)]
    bundle_hash: String,
    slope: f64,
    intercept: f64,
    review_from: f32,
    block_from: f32,
    #[pyo3(default = "auto".to_owned())]
    backend: String,
    #[pyo3(default)]
    booster_library: Option<PathBuf>,
    #[pyo3(default)]
    forest_library: Option<PathBuf>,
}

impl Activation {
    /// The model and the number that its decisions carry; as [`build`](Self::build) otherwise.
    pub fn named(&self) -> PyResult<ActiveModel> {
        let short_hash = short_hash(&self.bundle_hash);
        if short_hash == 0 {
            let message = format!("bundle_hash is {:?}, must be hexadecimal", self.bundle_hash);
            return Err(to_py_err(Kind::Model, message));
        }
        Ok(ActiveModel { model: self.build()?, short_hash })
    }

    /// Parses and checks everything; needs no GIL.
    pub fn build(&self) -> PyResult<Model> {
        let &Self { slope, intercept, review_from, block_from, .. } = self;
        let policy = Policy { calibration: Calibration { slope, intercept }, review_from, block_from };
        check_policy(&policy)?;
        let mut ensemble = Ensemble::parse(&self.ensemble).map_err(|error| model_error(&error))?;
        if ensemble.feature_count() != catalogue::WIDTH {
            let (found, expected) = (ensemble.feature_count(), catalogue::WIDTH);
            let message = format!("the ensemble reads {found} features, the catalogue has {expected}");
            return Err(to_py_err(Kind::Model, message));
        }
        if self.booster_library.is_some() || self.forest_library.is_some() {
            ensemble
                .load_compiled(self.booster_library.as_deref(), self.forest_library.as_deref())
                .map_err(|error| to_py_err(Kind::Compile, error.to_string()))?;
        }
        let scorer = ensemble.scorer(&self.backend).map_err(|error| model_error(&error))?;
        Ok(Model { ensemble, scorer, policy })
    }
}

fn check_policy(policy: &Policy) -> PyResult<()> {
    let Policy { calibration: Calibration { slope, intercept }, review_from, block_from } = *policy;
    let message = if !(slope.is_finite() && slope > 0.0) {
        format!("slope is {slope}, must be positive")
    } else if !intercept.is_finite() {
        format!("intercept is {intercept}, must be finite")
    } else if review_from.is_nan() || block_from.is_nan() || review_from > block_from {
        format!("review_from is {review_from} and block_from is {block_from}, must not decrease")
    } else {
        return Ok(());
    };
    Err(to_py_err(Kind::Config, message))
}
