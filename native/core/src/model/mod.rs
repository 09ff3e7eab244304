//! Stage 4, SCORE: an isolation forest and a booster behind one trait.
//!
//! [`Ensemble`] is parsed from `ensemble.bin` ([`format`]). Its backends: `reference`, the obvious walk and
//! oracle; `portable`, branch-free scalar code for every processor; `avx512` and `avx2`, 64 rows at a time on
//! bytes; `compiled`, libraries made by `tl2cgen`. All but the last give the same bits for the same row, in any
//! batch: the sums they take are defined in `reference`. A compiled library adds in its own order, so its
//! margins agree to rounding only.

mod attribution;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod blocks;
mod compiled;
mod ensemble;
mod error;
pub mod format;
mod portable;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "its only users are the x86-64 kernels"))]
mod ranks;
mod reference;
pub mod tree;
#[cfg(target_arch = "x86_64")]
mod triples;

pub use ensemble::Ensemble;
pub use error::ModelError;

/// Scores rows of features.
///
/// # Thread Safety
/// Scorers hold no mutable state: any number of threads may score at once.
pub trait Scorer: Send + Sync {
    /// Name of the backend.
    fn name(&self) -> &'static str;

    /// Scores row-major rows into one anomaly and one margin each.
    ///
    /// NaN is a missing value. The anomaly is in (0, 1), higher is more anomalous, NaN without a forest;
    /// the margin is in log odds, NaN without a booster.
    ///
    /// # Panics
    /// If the slices do not describe the same number of rows.
    fn score(&self, rows: &[f32], anomaly: &mut [f32], margin: &mut [f32]);
}

impl<S: Scorer + ?Sized> Scorer for std::sync::Arc<S> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn score(&self, rows: &[f32], anomaly: &mut [f32], margin: &mut [f32]) {
        (**self).score(rows, anomaly, margin);
    }
}

/// The contract of [`Scorer::score`], checked at every backend's door.
fn check_shape(rows: &[f32], width: usize, anomaly: &[f32], margin: &[f32]) {
    assert_eq!(rows.len(), anomaly.len() * width, "one anomaly per row");
    assert_eq!(anomaly.len(), margin.len(), "one margin per row");
}
