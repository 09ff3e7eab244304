//! librdkafka, as little of it as the stream needs, in batches.
//!
//! The rdkafka crate's consumer costs 400 ns a message, librdkafka's own batch calls a third of that; so the hot
//! paths ([`Consumer::poll`], [`Lanes::poll`], [`Producer::send`]) go through the C functions. These files are the only
//! ones of this crate with `unsafe`.

mod consumer;
mod handle;
mod lanes;
mod producer;
mod seat;
mod settings;

pub use consumer::{Consumer, Message, Polled, Position};
pub use handle::{Handle, KafkaError};
pub use lanes::Lanes;
pub use producer::{Delivery, Producer, Record};
pub use seat::{Seat, SeatState};
pub use settings::{KafkaSettings, StartFrom};
