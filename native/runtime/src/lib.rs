//! The edge of fraudengine: everything that touches a network, a disk, a clock or a thread.
//!
//! `fraudengine-core` decides; this crate brings the records to it and takes the decisions away.

pub mod follow;
pub mod generate;
pub mod grpc;
pub mod kafka;
mod kept;
pub mod keyed;
pub mod limits;
pub mod loadtest;
pub mod log;
pub mod log_reader;
pub mod metrics;
pub mod payload;
pub mod scoring;
pub mod scoring_request;
pub mod settings;
pub mod sink;
pub mod stop;
pub mod stream;
pub mod tail;
pub mod wire;
pub mod workers;
