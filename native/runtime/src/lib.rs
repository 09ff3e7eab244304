//! The edge of fraudengine: everything that touches a network, a disk, a clock or a thread.
//!
//! `fraudengine-core` decides; this crate brings the records to it and takes the decisions away.

pub mod kafka;
pub mod limits;
pub mod log_reader;
pub mod payload;
pub mod sink;
pub mod wire;
