//! The bytes of an answer: from a record of the log, or without the stream.

use fraudengine_core::decision::Action;
use fraudengine_core::engine::flag;
use fraudengine_core::event::Transaction;

use super::replica::Look;
use crate::payload::encode::{self, Reason};
use crate::payload::reasons::FeatureNames;
use crate::payload::record::{DecisionView, ReasonView};
use crate::scoring::{DEGRADED, Said, degraded, encode_answer, encode_row, repeated};
use crate::stream::record_writer::NO_MODEL;

/// The action on a transaction that nothing can score, by its amount in minor units of the reference currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// Smaller amounts are approved.
    pub approve_below: i64,
    /// These and larger ones are blocked; 0: none.
    pub block_from: i64,
}

impl NoAnswer {
    /// What to do.
    pub const fn action(self, amount_minor: i64) -> Action {
        if self.block_from > 0 && amount_minor >= self.block_from {
            Action::Block
        } else if amount_minor < self.approve_below {
            Action::Approve
        } else {
            Action::Review
        }
    }
}

/// A `Decision` with what a record of the log says.
pub fn of_record(record: &DecisionView<'_>) -> Vec<u8> {
    let raw = record.transaction.unwrap_or_default();
    let found = record.reasons().iter().map(|&ReasonView { feature, value, contribution }| Reason {
        feature,
        value: value.unwrap_or(f32::NAN),
        contribution,
    });
    let reasons: Vec<Reason<'_>> = found.collect();
    let bits = DEGRADED.iter().filter(|(bit, _)| record.flags & u32::from(*bit) != 0).map(|(_, code)| *code);
    let missing = (record.flags & NO_MODEL != 0).then_some(degraded::MODEL_MISSING);
    let codes: Vec<u8> = bits.chain(missing).collect();
    let answer = encode_answer(&encode::Answer {
        transaction_id: raw.transaction_id.unwrap_or_default(),
        event_time_micros: raw.event_time_micros.unwrap_or_default(),
        score: record.score,
        action: Action::from_code((record.action - 1).clamp(0, 2) as u8),
        reasons: &reasons,
        degraded_reasons: &codes,
        model: record.model,
        decided_time_micros: record.decided_time_micros,
    });
    if record.flags & u32::from(flag::DUPLICATE) != 0 { repeated(answer) } else { answer }
}

/// A `Decision` by a look at the replica; `at` is the row of the look, `why` the reason to look.
pub fn of_look(
    look: &Look,
    at: usize,
    id: &str,
    row: &Transaction,
    why: u8,
    names: &FeatureNames,
    now_micros: i64,
) -> Vec<u8> {
    let more: Vec<u8> = [why].into_iter().chain(look.cold.then_some(degraded::COLD_STATE)).collect();
    encode_row(&look.output, at, names, &Said { id, row, model: look.model, now_micros, more: &more })
}

/// A `Decision` that rests on nothing but the amount; `why` says what was missing.
pub fn of_nothing(id: &str, row: &Transaction, no_answer: NoAnswer, why: &[u8], now_micros: i64) -> Vec<u8> {
    let mut codes = why.to_vec();
    codes.push(degraded::NO_ANSWER);
    encode_answer(&encode::Answer {
        transaction_id: id,
        event_time_micros: row.time.0,
        score: f32::NAN,
        action: no_answer.action(row.amount.0),
        reasons: &[],
        degraded_reasons: &codes,
        model: 0,
        decided_time_micros: now_micros,
    })
}
