//! Stage 5, DECIDE: from a score to an action, by thresholds, as a pure function.

mod policy;

pub use policy::{Action, Calibration, Policy};
