//! The deterministic engine every path runs through: training, replay, stream, gRPC and Spark.
//!
//! `apply(state, ordered batch) -> decisions`, without I/O, clock, threads of its own or Python.
//! Time comes only from the records, so the same input gives the same output, always.

pub mod decision;
pub mod engine;
pub mod entity;
pub mod event;
pub mod feature;
mod fold;
pub mod keyed;
pub mod limits;
pub mod model;
mod peek;
pub mod pending;
mod prefetch;
mod recovery;
pub mod snapshot;
pub mod units;
pub mod window;
pub mod workers;

pub use engine::{Batch, Engine, EngineConfig, Model, Output};
pub use peek::STANDING;
pub use recovery::{Decided, Stands};
