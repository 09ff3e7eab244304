//! The last step: whole rows are scored and decided, repeated ids get their first answer.

use std::collections::BTreeMap;

use super::cells::{Cells, Stored, encoded};
use super::{CellState, cell_of};
use crate::engine::{Model, Output, flag, score_and_decide};
use crate::entity::{Earlier, RecentIds};
use crate::event::{EntityKind, Transaction};
use crate::feature::catalogue;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::units::EntityKey;
use crate::workers::Inline;

/// Tells cells of answers from those of customers.
const ANSWERS: u8 = 0x10;

impl Stored for RecentIds {
    const WHAT: u8 = ANSWERS;

    fn write(&self, out: &mut Writer) {
        Self::write(self, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Self::read(input)
    }
}

/// What [`settle`] gives back.
#[derive(Debug, Default)]
pub struct Settled {
    /// As the engine gives it.
    pub output: Output,
    /// What to store of each cell, in the order in which they were handed in.
    pub states: Vec<Vec<u8>>,
}

/// Scores and decides whole rows, in their order. `features` has [`catalogue::WIDTH`] values a row, `states` the cells of
/// the rows' customers: their newest answers, by which a repeated id is answered.
pub fn settle(
    transactions: &[Transaction],
    features: &[f32],
    flags: &[u8],
    cells: u32,
    states: &[CellState<'_>],
    model: Option<&Model>,
) -> Result<Settled, SnapshotError> {
    let mut output = Output::default();
    output.reset(transactions.len());
    output.features[..transactions.len() * catalogue::WIDTH].copy_from_slice(features);
    output.flags = flags.to_vec();
    if let Some(model) = model {
        score_and_decide(model, &Inline, &mut output);
    }
    let coder = Cells::<RecentIds>::new(cells);
    let mut kept: BTreeMap<u32, BTreeMap<EntityKey, RecentIds>> = BTreeMap::new();
    for (cell, bytes) in states {
        kept.insert(*cell, coder.read(*cell, *bytes)?.into_iter().collect());
    }
    for (row, transaction) in transactions.iter().enumerate() {
        let Some(customer) = transaction.entity(EntityKind::Customer) else { continue };
        let ids = kept.entry(cell_of(customer, cells)).or_default().entry(customer).or_default();
        answer(ids, transaction, row, &mut output);
    }
    let encode = |(key, ids): (&EntityKey, &RecentIds)| (*key, encoded(ids));
    let states = states.iter().map(|(cell, _)| coder.write(kept[cell].iter().map(encode))).collect();
    Ok(Settled { output, states })
}

/// What `Engine::settle` does for one row.
fn answer(ids: &mut RecentIds, transaction: &Transaction, row: usize, output: &mut Output) {
    let flags = output.flags[row];
    if flags & flag::DUPLICATE != 0 {
        (output.margin[row], output.anomaly[row]) = (f32::NAN, f32::NAN);
        if let Some(Earlier::Decided { score, action }) = ids.find(transaction.id) {
            (output.score[row], output.action[row]) = (score, action);
        }
    } else if flags & flag::LATE == 0 {
        ids.remember(transaction.id, row as u32);
        ids.decide(transaction.id, output.score[row], output.action[row]);
    }
}
