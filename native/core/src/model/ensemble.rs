//! A parsed model file with the backends that can run it here.

use std::path::Path;
use std::sync::Arc;

use super::compiled::Compiled;
use super::format::{self, Parts};
use super::portable::Portable;
use super::reference::{Reference, row_anomaly};
use super::{ModelError, Scorer, attribution};

/// Names of all backends, fastest first; those before `compiled` agree bit for bit.
const NAMES: [&str; 5] = ["avx512", "avx2", "portable", "reference", "compiled"];

/// An ensemble ready to score.
///
/// # Thread Safety
/// Scoring takes `&self` from any number of threads.
pub struct Ensemble {
    parts: Arc<Parts>,
    /// Fastest first.
    backends: Vec<Arc<dyn Scorer>>,
}

impl Ensemble {
    /// Reads `ensemble.bin` and prepares every backend that this processor can run.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        let mut parts = format::parse(bytes)?;
        for tree in parts.booster.iter_mut().flat_map(|booster| &mut booster.trees) {
            attribution::fill_means(&mut tree.nodes);
        }
        let parts = Arc::new(parts);
        let mut backends: Vec<Arc<dyn Scorer>> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use super::blocks::Blocks;
            if let Ok(kernel) = Blocks::<super::avx512::Avx512>::new(&parts) {
                backends.push(Arc::new(kernel));
            }
            if let Ok(kernel) = Blocks::<super::avx2::Avx2>::new(&parts) {
                backends.push(Arc::new(kernel));
            }
        }
        backends.push(Arc::new(Portable::new(Arc::clone(&parts))));
        backends.push(Arc::new(Reference::new(Arc::clone(&parts))));
        Ok(Self { parts, backends })
    }

    /// Number of base features: the width of a row.
    pub fn feature_count(&self) -> usize {
        self.parts.feature_count
    }

    /// Whether there is an isolation forest.
    pub fn has_forest(&self) -> bool {
        self.parts.forest.is_some()
    }

    /// Whether there is a booster.
    pub fn has_booster(&self) -> bool {
        self.parts.booster.is_some()
    }

    /// Whether the booster reads the anomaly as its last column.
    pub fn uses_anomaly(&self) -> bool {
        self.parts.booster.as_ref().is_some_and(|booster| booster.uses_anomaly)
    }

    /// Names of the backends that can run, fastest first.
    pub fn backends(&self) -> Vec<&'static str> {
        self.backends.iter().map(Scorer::name).collect()
    }

    /// A backend by name; `auto` is the fastest of those that agree bit for bit.
    pub fn scorer(&self, name: &str) -> Result<Arc<dyn Scorer>, ModelError> {
        let wanted = |backend: &&Arc<dyn Scorer>| name == "auto" || backend.name() == name;
        if let Some(backend) = self.backends.iter().find(wanted) {
            return Ok(Arc::clone(backend));
        }
        match NAMES.into_iter().find(|known| *known == name) {
            Some("compiled") => {
                let reason = "no compiled library was loaded";
                Err(ModelError::BackendUnavailable { name: "compiled", reason })
            }
            Some(name) => {
                let reason = "the processor lacks its vectors or a tree has too many leaves";
                Err(ModelError::BackendUnavailable { name, reason })
            }
            None => Err(ModelError::UnknownBackend { name: name.to_owned() }),
        }
    }

    /// Opens libraries made by `tl2cgen` from the same models, as the backend `compiled`.
    ///
    /// Only open libraries from a trusted bundle: opening one runs its code.
    pub fn load_compiled(&mut self, booster: Option<&Path>, forest: Option<&Path>) -> Result<(), ModelError> {
        let compiled = Compiled::open(Arc::clone(&self.parts), booster, forest)?;
        self.backends.retain(|backend| backend.name() != "compiled");
        self.backends.push(Arc::new(compiled));
        Ok(())
    }

    /// Columns of [`attributions`](Self::attributions): base features, the anomaly if used, the bias.
    pub fn attribution_width(&self) -> usize {
        self.parts.feature_count + usize::from(self.uses_anomaly()) + 1
    }

    /// Contributions to the margin, in log odds, row-major; zeros without a booster. Each row adds up to
    /// its margin, but for rounding.
    ///
    /// # Panics
    /// If the rows are not whole.
    pub fn attributions(&self, rows: &[f32]) -> Vec<f32> {
        let (width, out_width) = (self.parts.feature_count, self.attribution_width());
        assert_eq!(rows.len() % width, 0, "whole rows");
        let mut out = vec![0.0; rows.len() / width * out_width];
        for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(out_width)) {
            let anomaly = match &self.parts.forest {
                Some(forest) if self.uses_anomaly() => row_anomaly(forest, row),
                _ => f32::NAN,
            };
            self.attribute(row, anomaly, out);
        }
        out
    }

    /// The same of one row whose anomaly is known already; `out` has [`attribution_width`](Self::attribution_width)
    /// values, zeros without a booster.
    pub fn attribute(&self, row: &[f32], anomaly: f32, out: &mut [f32]) {
        match &self.parts.booster {
            Some(booster) => attribution::contributions(booster, row, anomaly, out),
            None => out.fill(0.0),
        }
    }
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Parts { feature_count, forest, booster } = &*self.parts;
        f.debug_struct("Ensemble")
            .field("feature_count", feature_count)
            .field("forest_trees", &forest.as_ref().map(|forest| forest.trees.len()))
            .field("booster_trees", &booster.as_ref().map(|booster| booster.trees.len()))
            .field("backends", &self.backends())
            .finish()
    }
}
