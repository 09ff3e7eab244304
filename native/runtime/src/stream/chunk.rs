//! What travels between the threads of the stream: a piece of the input, then the same piece decided.

use fraudengine_core::Output;
use fraudengine_core::event::{Label, Transaction};
use fraudengine_core::feature::catalogue;

use crate::settings::FeaturesIn;
use crate::wire::DeadLetterReason;

/// Where a record came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Partition of its topic.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// Broker's time, microseconds since 1970; 0: none.
    pub time_micros: i64,
}

/// Where an accepted transaction came from, and where its bytes are.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// In the transactions topic.
    pub origin: Origin,
    /// Length of the customer id, which follows the message.
    pub customer_length: u16,
    /// Length of the message.
    pub length: u32,
    /// First byte of the message in [`Chunk::bytes`].
    pub start: usize,
}

/// A record that was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Whether it was a label; a transaction otherwise.
    pub is_label: bool,
    /// Where it was.
    pub origin: Origin,
    /// Why.
    pub reason: DeadLetterReason,
    /// One line for people.
    pub detail: String,
    /// Length of its value.
    pub length: u32,
    /// Keyed hash of its value.
    pub keyed_hash: u64,
    /// The value itself, where the settings say so.
    pub raw: Option<Vec<u8>>,
}

/// A piece of the input. Its labels were read before its transactions.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Of each row: the transaction as a protobuf message, then its customer id.
    pub bytes: Vec<u8>,
    /// Accepted transactions.
    pub rows: Vec<Row>,
    /// The same, as the engine reads them.
    pub transactions: Vec<Transaction>,
    /// Accepted labels.
    pub labels: Vec<Label>,
    /// Offset of the label after the last one that was read.
    pub label_offset: i64,
    /// Refused records.
    pub refused: Vec<Refused>,
    /// Filled by the engine.
    pub decided: Option<DecidedChunk>,
    /// Memory for the engine's output.
    pub spare: Output,
}

/// What the engine added to a chunk.
#[derive(Debug)]
pub struct DecidedChunk {
    /// Scores, actions, flags, reasons; of the features the rows that travel (see [`Self::keep`]).
    pub output: Output,
    /// Short hash of the bundle that decided; 0: there was no model.
    pub model: u64,
    /// When, by the engine's clock, microseconds since 1970.
    pub time_micros: i64,
    /// Position of the first row: rows decided before it since the log began to be counted.
    pub first: u64,
}

impl DecidedChunk {
    /// Takes over the feature values that are sent or explain a decision: those of the rows that
    /// [`FeaturesIn::needed_for`] names, in their order. The matrix itself stays with the engine's thread, in its core's cache.
    pub fn keep(output: &mut Output, matrix: &[f32], wanted: FeaturesIn) {
        output.features.clear();
        for (&action, values) in output.action.iter().zip(matrix.chunks_exact(catalogue::WIDTH)) {
            if wanted.needed_for(action) {
                output.features.extend_from_slice(values);
            }
        }
    }
}

impl Chunk {
    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.transactions.clear();
        self.labels.clear();
        self.refused.clear();
        if let Some(decided) = self.decided.take() {
            self.spare = decided.output;
        }
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.labels.is_empty() && self.refused.is_empty()
    }

    /// The message of a row.
    pub fn message(&self, row: &Row) -> &[u8] {
        &self.bytes[row.start..row.start + row.length as usize]
    }

    /// The customer id of a row.
    pub fn customer(&self, row: &Row) -> &[u8] {
        let start = row.start + row.length as usize;
        &self.bytes[start..start + usize::from(row.customer_length)]
    }
}
