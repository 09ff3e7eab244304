//! Every bound of the edge in one file; the engine's own are in `fraudengine_core::limits`.
//!
//! A bound is part of the contract: each constant says what happens when it is reached.

/// Longest record value that is looked at, in bytes; a longer one is a dead letter (`TOO_LARGE`).
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Most bytes of a refused record that its dead letter carries where that is switched on; the rest is left out,
/// because a dead letter must fit into a record itself (the broker's bound is 1,048,588 unless changed).
pub const RAW_BYTES_MAX: usize = 900_000;
/// Deepest nesting of a JSON value under a key that is not ours; a deeper one is refused.
pub const JSON_DEPTH_MAX: u32 = 32;
/// Deepest nesting of protobuf groups in a field that is not ours; a deeper one is refused.
pub const GROUP_DEPTH_MAX: u32 = 100;
/// Longest path of message indexes in a schema registry's framing.
pub const MESSAGE_INDEXES_MAX: u64 = 16;
/// Characters of a refused value that its message shows.
pub const SHOWN_CHARACTERS_MAX: usize = 24;
/// Partitions of the transactions topic; more are refused at the start.
pub const PARTITIONS_MAX: usize = 1_024;
/// Largest part of a snapshot file; a larger one is not believed.
pub const SNAPSHOT_PART_BYTES_MAX: u64 = 1 << 31;
/// Lines of the log that wait to be written; further ones are dropped and counted.
pub const LOG_LINES_WAITING_MAX: usize = 1_000;

/// Chunks between two threads of the stream; at the bound the earlier thread waits.
pub const CHUNKS_QUEUED_MAX: usize = 4;

/// Acknowledged decisions that are kept for the writers of the same process, in bytes; a writer that is further behind reads
/// the topic.
pub const TAIL_BYTES_MAX: usize = 64 << 20;
/// Chunks in circulation: both channels full, and one in the hand of each thread.
pub const CHUNKS_MAX: usize = 2 * CHUNKS_QUEUED_MAX + 3;

const _: () = assert!(MESSAGE_BYTES_MAX <= u32::MAX as usize, "lengths and offsets of a record fit 32 bits");
