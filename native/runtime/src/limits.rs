//! Every bound of the edge in one file; the engine's own are in `fraudengine_core::limits`.
//!
//! A bound is part of the contract: each constant says what happens when it is reached.

/// Longest record value that is looked at, in bytes; a longer one is a dead letter (`TOO_LARGE`).
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Deepest nesting of a JSON value under a key that is not ours; a deeper one is refused.
pub const JSON_DEPTH_MAX: u32 = 32;
/// Deepest nesting of protobuf groups in a field that is not ours; a deeper one is refused.
pub const GROUP_DEPTH_MAX: u32 = 100;
/// Longest path of message indexes in a schema registry's framing.
pub const MESSAGE_INDEXES_MAX: u64 = 16;
/// Characters of a refused value that its message shows.
pub const SHOWN_CHARACTERS_MAX: usize = 24;

const _: () = assert!(MESSAGE_BYTES_MAX <= u32::MAX as usize, "lengths and offsets of a record fit 32 bits");
