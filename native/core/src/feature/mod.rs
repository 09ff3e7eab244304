//! Stage 3, ASSEMBLE: from what the windows say to the columns of the feature matrix.
//!
//! [`catalogue`] is the one list of features: name, meaning and formula stand in the same line there, so
//! a feature cannot mean one thing in training and another in production.

pub mod catalogue;
mod facts;
mod matrix;

pub use facts::{Facts, HabitFacts};
pub use matrix::SharedRows;
