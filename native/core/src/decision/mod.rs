//! Stage 5, DECIDE: from a score to an action, by thresholds, as a pure function.

mod policy;
mod reasons;

pub use policy::{Action, Calibration, Policy};
pub use reasons::{Reason, top_reasons};
