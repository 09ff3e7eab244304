//! Records for runners that keep the state themselves (`fraudengine_core::keyed`): bytes of Kafka in, checked rows out;
//! settled rows in, records of `decisions` out.
//!
//! Decoder, checks and encoders are those of the stream, so what it refuses is refused here with the same words.

use std::collections::HashSet;

use fraudengine_core::engine::Output;
use fraudengine_core::event::{ENTITY_KINDS, EntityKind, Label, Transaction};
use fraudengine_core::feature::catalogue;
use fraudengine_core::keyed::{TRANSACTION_BYTES, cell_of, write_label, write_transaction};
use fraudengine_core::snapshot::Writer;

use crate::kafka::Message;
use crate::payload::protobuf;
use crate::settings::Settings;
use crate::stream::StreamError;
use crate::stream::chunk::{Chunk, Origin};
use crate::stream::reader::Reader;
use crate::stream::record_writer::{DecidedRow, RecordWriter};

/// Stands for no cell: the row has no entity of that kind.
pub const NO_CELL: i32 = -1;

/// A runner that keeps the state itself marks no topic.
const NO_GENERATION: i64 = 0;

/// An accepted record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Which of the records it was.
    pub at: u32,
    /// Event time of a transaction, time known of a label.
    pub time_micros: i64,
    /// The cell of each of its entities.
    pub cells: [i32; ENTITY_KINDS],
    /// As the steps read it; behind a transaction its message.
    pub body: Vec<u8>,
}

/// What became of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Accepted ones.
    pub accepted: Vec<Accepted>,
    /// Refused ones: which, and the record of `dead-letter`.
    pub refused: Vec<(u32, Vec<u8>)>,
}

/// See the module's text.
pub struct Records {
    reader: Reader,
    settings: Settings,
    cells: u32,
    writer: RecordWriter,
    chunk: Chunk,
}

impl Records {
    /// By these settings, for entities spread over so many cells.
    pub fn new(settings: Settings, cells: u32) -> Result<Self, StreamError> {
        Ok(Self {
            reader: Reader::new(&settings, HashSet::new())?,
            writer: RecordWriter::new(&settings),
            settings,
            cells,
            chunk: Chunk::default(),
        })
    }

    /// The settings.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many cells the entities of a kind are spread over.
    pub const fn cells(&self) -> u32 {
        self.cells
    }

    /// Decodes and checks records of `transactions`.
    pub fn transactions(&mut self, messages: &[Message<'_>]) -> Checked {
        let mut checked = Checked::default();
        for (at, message) in messages.iter().enumerate() {
            self.chunk.clear();
            self.reader.transaction(message, &mut self.chunk);
            if let (Some(row), Some(transaction)) = (self.chunk.rows.first(), self.chunk.transactions.first())
            {
                let mut body = Writer::default();
                write_transaction(transaction, &mut body);
                body.bytes.extend_from_slice(self.chunk.message(row));
                let cells = self.cells_of(|kind| transaction.entities[kind as usize]);
                let (at, time_micros) = (at as u32, transaction.time.0);
                checked.accepted.push(Accepted { at, time_micros, cells, body: body.bytes });
            }
            self.refuse(at, &mut checked);
        }
        checked
    }

    /// Decodes and checks records of `labels`.
    pub fn labels(&mut self, messages: &[Message<'_>]) -> Checked {
        let mut checked = Checked::default();
        for (at, message) in messages.iter().enumerate() {
            self.chunk.clear();
            self.reader.label(message, &mut self.chunk);
            if let Some(label) = self.chunk.labels.first() {
                let accepted = self.accepted_label(at, label);
                checked.accepted.push(accepted);
            }
            self.refuse(at, &mut checked);
        }
        checked
    }

    fn accepted_label(&self, at: usize, label: &Label) -> Accepted {
        let mut body = Writer::default();
        write_label(label, &mut body);
        let cells = self.cells_of(|kind| label.entities[kind as usize]);
        Accepted { at: at as u32, time_micros: label.known_time.0, cells, body: body.bytes }
    }

    fn cells_of(
        &self,
        entity: impl Fn(EntityKind) -> Option<fraudengine_core::units::EntityKey>,
    ) -> [i32; ENTITY_KINDS] {
        EntityKind::ALL.map(|kind| entity(kind).map_or(NO_CELL, |key| cell_of(key, self.cells) as i32))
    }

    fn refuse(&self, at: usize, checked: &mut Checked) {
        for refused in &self.chunk.refused {
            let mut record = Vec::new();
            self.writer.dead_letter(refused, NO_GENERATION, &mut record);
            checked.refused.push((at as u32, record));
        }
    }

    /// The records of `decisions` of settled rows, each behind its key, the customer.
    pub fn decisions(
        &self,
        bodies: &[&[u8]],
        origins: &[Origin],
        output: &Output,
        model: u64,
        decided_time_micros: i64,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut reasons = output.reasons.iter().peekable();
        let mut all = Vec::with_capacity(bodies.len());
        for (at, (body, origin)) in bodies.iter().zip(origins).enumerate() {
            let message = body.get(TRANSACTION_BYTES..).unwrap_or_default();
            let row = DecidedRow {
                message,
                origin: *origin,
                output,
                at,
                reasons: reasons.next_if(|each| each.row as usize == at),
                values: &output.features[at * catalogue::WIDTH..][..catalogue::WIDTH],
                model,
                decided_time_micros,
                label_offset: 0,
            };
            let mut record = Vec::new();
            self.writer.decision(&row, NO_GENERATION, &mut record);
            let raw = protobuf::transaction(message).ok();
            let customer = raw.and_then(|raw| raw.customer_id).unwrap_or_default();
            all.push((customer.as_bytes().to_vec(), record));
        }
        all
    }
}

/// Only the parts of bodies that the steps read, one behind the other.
pub fn packed(bodies: &[&[u8]]) -> Vec<u8> {
    bodies.iter().flat_map(|body| &body[..TRANSACTION_BYTES.min(body.len())]).copied().collect()
}

/// The transactions of bodies.
pub fn transactions(bodies: &[&[u8]]) -> Result<Vec<Transaction>, fraudengine_core::snapshot::SnapshotError> {
    fraudengine_core::keyed::read_transactions(&packed(bodies))
}
