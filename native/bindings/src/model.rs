//! From the files of a bundle to a model that can be activated, in an engine or in a stream.

use std::path::PathBuf;

use fraudengine_core::Model;
use fraudengine_core::decision::{Calibration, Policy};
use fraudengine_core::feature::catalogue;
use fraudengine_core::model::Ensemble;
use pyo3::PyResult;

use crate::error::{Kind, model_error, to_py_err};

/// What Python hands over of a bundle.
pub struct ModelRequest<'a> {
    /// `ensemble.bin`.
    pub ensemble: &'a [u8],
    /// Calibration and thresholds.
    pub policy: Policy,
    /// Name of the backend, or `auto`.
    pub backend: &'a str,
    /// Compiled libraries, only for the backend `compiled`.
    pub booster_library: Option<PathBuf>,
    /// As above.
    pub forest_library: Option<PathBuf>,
}

impl ModelRequest<'_> {
    /// Parses and checks everything; needs no GIL.
    pub fn build(&self) -> PyResult<Model> {
        check_policy(&self.policy)?;
        let mut ensemble = Ensemble::parse(self.ensemble).map_err(|error| model_error(&error))?;
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
        let scorer = ensemble.scorer(self.backend).map_err(|error| model_error(&error))?;
        Ok(Model { ensemble, scorer, policy: self.policy })
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
