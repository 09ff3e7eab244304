//! The fold one kind of entity at a time, with the state handed in and out as bytes.
//!
//! For runners that keep state themselves (Spark): they spread the entities of a kind over cells by their keys, store one
//! state a cell, and call [`step`] with the rows of a batch and the cells that these touch. Kinds go one after the other,
//! customers first, because they know the repeated ids; [`settle`] then scores the whole rows and answers the repeated
//! ones. The code is that of [`Engine`](crate::Engine): the same tables, filled from the cells, take in the same
//! [`Batch`]. So the same order gives the same bits (`tests/keyed.rs`), whatever the cut into cells and batches.
//!
//! What is global to the engine must come from the caller: the newest event time before the batch ([`late_flags`]), and
//! which labels are due ([`due_labels`]). Nothing is evicted here; who is bounded is the caller's store.

mod answers;
mod cells;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicU8;

pub use answers::{Settled, settle};
pub use rows::{
    LABEL_BYTES, TRANSACTION_BYTES, read_labels, read_transactions, write_label, write_transaction,
};

use crate::engine::{Batch, flag};
use crate::entity::{CardState, Context, CustomerState, DeviceState, IpState, MerchantState, Profile};
use crate::event::{EntityKind, Label, Transaction};
use crate::feature::{SharedRows, catalogue};
use crate::fold::Update;
use crate::limits::IDLE_MAX;
use crate::pending::PendingLabels;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::units::{DurationMicros, EntityKey, EventTimeMicros};
use crate::window::Table;
use crate::workers::Inline;
use cells::{Cells, Stored, encoded};

/// A cell and what is stored of it; none: nothing yet.
pub type CellState<'a> = (u32, Option<&'a [u8]>);

/// Labels with the row before which each becomes known, and the bytes of those that go on waiting.
pub type Due = (Vec<(u32, Label)>, Vec<u8>);

/// The cell of a key, one of `cells`. By the upper bits: the lower ones choose the slab.
pub const fn cell_of(key: EntityKey, cells: u32) -> u32 {
    ((key.get() >> 32) % cells as u64) as u32
}

/// One kind of entity and a batch.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The kind.
    pub kind: EntityKind,
    /// How many cells the entities of this kind are spread over.
    pub cells: u32,
    /// Lateness bound.
    pub lateness: DurationMicros,
    /// Digits after the decimal point of the reference currency.
    pub minor_digits: u32,
    /// Rows and labels in their order; only those with an entity of this kind matter.
    pub batch: Batch<'a>,
    /// Bits of [`flag`] of each row: late, and after the step of the customers repeated.
    pub flags: &'a [u8],
    /// Newest event time behind the batch: entities that were idle for long are forgotten.
    pub now: EventTimeMicros,
}

/// What a step gives back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stepped {
    /// Columns of this kind, row by row; NaN where the row has no such entity or is repeated.
    pub features: Vec<f32>,
    /// Flags of each row.
    pub flags: Vec<u8>,
    /// What to store of each cell, in the order in which they were handed in.
    pub states: Vec<Vec<u8>>,
}

/// Flags what lies behind the lateness bound, in the order of the rows; `now` is the newest event time before.
pub fn late_flags(transactions: &[Transaction], lateness: DurationMicros, now: EventTimeMicros) -> Vec<u8> {
    let flag_one = |now: &mut EventTimeMicros, transaction: &Transaction| {
        *now = (*now).max(transaction.time);
        Some(if transaction.time < now.window_start(lateness) { flag::LATE } else { 0 })
    };
    transactions.iter().scan(now, flag_one).collect()
}

/// Takes in labels in the order of their arrival and hands out the due ones, each with the row before which it becomes
/// known; those known by `after`, the newest event time behind the whole batch, come last. `waiting` is what this
/// function left the last time.
pub fn due_labels(
    waiting: Option<&[u8]>,
    arrived: &[Label],
    transactions: &[Transaction],
    before: EventTimeMicros,
    after: EventTimeMicros,
) -> Result<Due, SnapshotError> {
    let mut pending = match waiting {
        Some(bytes) => {
            let mut input = Reader::new(bytes);
            let pending = PendingLabels::read(&mut input)?;
            input.finish()?;
            pending
        }
        None => PendingLabels::default(),
    };
    for label in arrived {
        pending.push(*label);
    }
    let mut due = pending.due(transactions, Some(before));
    let known: Vec<Label> = pending.known_by(after).copied().collect();
    due.extend(known.iter().map(|label| (transactions.len() as u32, *label)));
    pending.forget_known_by(after);
    let mut left = Writer::default();
    pending.write(&mut left);
    Ok((due, left.bytes))
}

/// The cells that a batch touches, ascending.
pub fn cells_touched(kind: EntityKind, cells: u32, batch: Batch<'_>) -> Vec<u32> {
    let rows = batch.transactions.iter().filter_map(|row| row.entity(kind));
    let labels = batch.labels.iter().filter_map(|(_, label)| label.entities[kind as usize]);
    let touched: BTreeSet<u32> = rows.chain(labels).map(|key| cell_of(key, cells)).collect();
    touched.into_iter().collect()
}

/// Lets the entities of one kind take in a batch; `states` has the cells of [`cells_touched`].
pub fn step(step: &Step<'_>, states: &[CellState<'_>]) -> Result<Stepped, SnapshotError> {
    match step.kind {
        EntityKind::Customer => run::<CustomerState>(step, states),
        EntityKind::Card => run::<CardState>(step, states),
        EntityKind::Device => run::<DeviceState>(step, states),
        EntityKind::Merchant => run::<MerchantState>(step, states),
        EntityKind::Ip => run::<IpState>(step, states),
    }
}

/// An entity in a cell.
struct Whole<P>(P);

impl<P: Profile> Stored for Whole<P> {
    const WHAT: u8 = P::KIND as u8;

    fn write(&self, out: &mut Writer) {
        self.0.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        P::read(input).map(Self)
    }
}

fn run<P: Profile>(step: &Step<'_>, states: &[CellState<'_>]) -> Result<Stepped, SnapshotError> {
    let mut table: Table<P> = Table::new(usize::MAX, usize::MAX);
    let cells = Cells::<Whole<P>>::new(step.cells);
    let mut keys: BTreeMap<u32, BTreeSet<EntityKey>> = BTreeMap::new();
    for (cell, bytes) in states {
        let held = keys.entry(*cell).or_default();
        for (key, entity) in cells.read(*cell, *bytes)? {
            held.insert(key);
            table.admit(key, entity.0);
        }
    }
    // All that the batch names are there before it begins: the table itself then never drops an idle one.
    let rows = step.batch.transactions.iter().filter_map(|row| row.entity(P::KIND));
    let labels = step.batch.labels.iter().filter_map(|(_, label)| label.entities[P::KIND as usize]);
    for key in rows.chain(labels) {
        if keys.entry(cell_of(key, step.cells)).or_default().insert(key) {
            table.admit(key, P::default());
        }
    }
    let (features, flags) = take_in(step, &mut table);
    let nothing = encoded(&Whole(P::default()));
    // Saturating: before the first transaction there is no time.
    let oldest = step.now.0.saturating_sub(IDLE_MAX.0);
    let states = states
        .iter()
        .map(|(cell, _)| {
            let held = keys.remove(cell).unwrap_or_default().into_iter();
            let found = held.filter_map(|key| Some((key, table.get(key)?)));
            let kept = found.filter(|(_, entity)| entity.last_seen() >= oldest);
            let encoded = kept.map(|(key, entity)| {
                let mut out = Writer::default();
                entity.write(&mut out);
                (key, out.bytes)
            });
            cells.write(encoded.filter(|(_, bytes)| *bytes != nothing))
        })
        .collect();
    Ok(Stepped { features, flags, states })
}

/// The update of the fold, of one table.
fn take_in<P: Profile>(step: &Step<'_>, table: &mut Table<P>) -> (Vec<f32>, Vec<u8>) {
    let mut matrix = vec![f32::NAN; step.batch.transactions.len() * catalogue::WIDTH];
    let flags: Vec<AtomicU8> = step.flags.iter().map(|&flags| AtomicU8::new(flags)).collect();
    let context = Context::new(step.lateness, step.minor_digits);
    let repeated = Mutex::new(Vec::new());
    let rows = SharedRows::new(&mut matrix, catalogue::WIDTH);
    let update = Update {
        batch: step.batch,
        context: &context,
        rows: &rows,
        flags: &flags,
        repeated: &repeated,
        replayed: None,
    };
    update.run(table, &Inline);
    let first = const { catalogue::first_column(P::KIND) };
    let columns = matrix.chunks_exact(catalogue::WIDTH).flat_map(|row| &row[first..first + P::COLUMNS]);
    (columns.copied().collect(), flags.into_iter().map(AtomicU8::into_inner).collect())
}
