//! The deterministic engine every path runs through: training, replay, stream, gRPC and Spark.
//!
//! `apply(state, ordered batch) -> decisions`, without I/O, clock, threads of its own or Python.
//! Time comes only from the records, so the same input gives the same output, always.

pub mod model;
