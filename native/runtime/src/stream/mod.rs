//! The stream: transactions in, decisions out, state kept, nothing lost, nothing counted twice.
//!
//! ```text
//! source ──chunks──> decider ──decided chunks──> output ──> decisions, alerts, dead-letter
//!   decode, check      windows, model,              encode, send, acknowledge
//!                      parts of the snapshot ──> snapshot writer
//! ```
//!
//! One thread each, joined by bounded channels; the chunks are reused. [`Stream`] runs them whenever this
//! process has the seat, beginning each time with [`recovery`].

pub mod alignment;
pub mod care;
mod catch_up;
pub mod chunk;
pub mod decider;
pub mod delivery;
pub mod drill;
pub mod encoder;
mod error;
mod model;
pub mod output;
pub mod quarantine;
pub mod reader;
pub mod rebuild;
pub mod record_writer;
pub mod recovery;
mod run;
mod sinks;
pub mod snapshot_file;
pub mod snapshot_writer;
pub mod source;
mod standby;
mod supervisor;

pub use error::StreamError;
pub use model::{ActiveModel, ModelSlot};
pub use record_writer::short_hash;
pub use supervisor::{Phase, Stream};
