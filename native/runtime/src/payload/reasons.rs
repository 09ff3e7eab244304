//! The reasons of a decision as they are sent: with the names and values of their features.

use fraudengine_core::decision::Reason as Found;
use fraudengine_core::feature::catalogue;

use super::encode::Reason;
use super::record::REASONS_MAX;

/// Names of the features by their number; the one behind the catalogue is the forest's anomaly.
#[derive(Debug)]
pub struct FeatureNames(Vec<&'static str>);

/// The reasons of one decision, at most [`REASONS_MAX`].
#[derive(Debug)]
pub struct Named {
    all: [Reason<'static>; REASONS_MAX],
    count: usize,
}

impl Default for FeatureNames {
    fn default() -> Self {
        Self(catalogue::all().map(|feature| feature.name).chain(["anomaly"]).collect())
    }
}

impl FeatureNames {
    /// Names reasons; `values` are the row's features in catalogue order.
    pub fn of(&self, reasons: &[Found], values: &[f32], anomaly: f32) -> Named {
        let mut all = [Reason { feature: "", value: 0.0, contribution: 0.0 }; REASONS_MAX];
        let mut count = 0;
        for (slot, reason) in all.iter_mut().zip(reasons) {
            let feature = usize::from(reason.feature);
            let value = values.get(feature).copied().unwrap_or(anomaly);
            *slot = Reason { feature: self.0[feature], value, contribution: reason.contribution };
            count += 1;
        }
        Named { all, count }
    }
}

impl Named {
    /// Largest first.
    pub fn as_slice(&self) -> &[Reason<'static>] {
        &self.all[..self.count]
    }
}
