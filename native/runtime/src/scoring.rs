//! Decides requests of the scoring service: messages in, answers out, one call of the engine for all of them.
//!
//! The decoder and the checks are those of the stream. Two are stricter, because nobody stands between the caller
//! and the state: a card number is refused in every text, and an event time ahead of the clock. An id that was
//! answered before gets its first answer again, whether or not its customer's recent ids still hold it.

use std::collections::HashMap;

use fraudengine_core::engine::flag;
use fraudengine_core::event::{CurrencyTable, RawTransaction, Transaction, check, is_card_number};
use fraudengine_core::feature::catalogue;
use fraudengine_core::limits::BATCH_MAX;
use fraudengine_core::workers::Workers;
use fraudengine_core::{Batch, Engine, Model, Output};

use crate::kept::Kept;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::payload::encode;
use crate::payload::reasons::FeatureNames;
use crate::payload::{Fault, protobuf};

/// Numbers of `DegradedReason` in `decision.proto`.
pub mod degraded {
    #![allow(missing_docs, reason = "each number is documented in decision.proto")]
    pub const LATE: u8 = 1;
    pub const COARSE_WINDOW: u8 = 2;
    pub const MODEL_MISSING: u8 = 3;
    pub const STALE_STATE: u8 = 4;
    pub const COLD_STATE: u8 = 5;
    pub const SHED: u8 = 6;
    pub const NO_ANSWER: u8 = 7;
    pub const SET_ASIDE: u8 = 8;

    /// Their names in lower case, by number.
    pub const NAMES: [&str; 9] = [
        "unspecified",
        "late",
        "coarse_window",
        "model_missing",
        "stale_state",
        "cold_state",
        "shed",
        "no_answer",
        "set_aside",
    ];
}

/// Which numbers a decision's bits stand for.
pub(crate) const DEGRADED: [(u8, u8); 2] =
    [(flag::LATE, degraded::LATE), (flag::APPROXIMATE, degraded::COARSE_WINDOW)];

/// A transaction that was refused and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field at fault; empty: the message as a whole.
    pub field: &'static str,
    /// Stable code of the rule.
    pub code: &'static str,
    /// One line for people; never a card number.
    pub message: String,
}

/// An encoded `Decision`, or why there is none.
pub type Answer = Result<Vec<u8>, Refusal>;

/// What decides.
pub struct Decider<'a> {
    /// The state.
    pub engine: &'a mut Engine,
    /// The model, if there is one.
    pub model: Option<&'a Model>,
    /// Short hash of its bundle; 0: none.
    pub model_hash: u64,
    /// Threads that the engine borrows.
    pub workers: &'a dyn Workers,
    /// Memory for the engine's output.
    pub output: &'a mut Output,
    /// The currencies that amounts are accepted in.
    pub currencies: &'a CurrencyTable,
}

/// Decides for callers, and answers again who asks again.
#[derive(Debug)]
pub struct Answers {
    kept: Kept,
    names: FeatureNames,
    ahead_micros_max: i64,
    /// Transactions that a state must have seen before it is warm.
    warm_transactions: u64,
}

/// What becomes of one message.
enum Place {
    Done(Answer),
    Row(usize),
    /// The same id as an earlier message of the same call.
    SameAs(usize),
}

impl Answers {
    /// None yet; keeps at most `most`, refuses event times further ahead of the clock than given, and calls a state
    /// cold that has seen fewer transactions than given.
    pub fn new(most: usize, ahead_micros_max: i64, warm_transactions: u64) -> Self {
        Self { kept: Kept::new(most), names: FeatureNames::default(), ahead_micros_max, warm_transactions }
    }

    /// Decides messages (each a bare `Transaction`) in their order; `now_micros` is the service's clock.
    pub fn decide(&mut self, decider: &mut Decider<'_>, messages: &[&[u8]], now_micros: i64) -> Vec<Answer> {
        let mut all = Vec::with_capacity(messages.len());
        for piece in messages.chunks(BATCH_MAX) {
            self.decide_piece(decider, piece, now_micros, &mut all);
        }
        all
    }

    fn decide_piece(
        &mut self,
        decider: &mut Decider<'_>,
        messages: &[&[u8]],
        now_micros: i64,
        all: &mut Vec<Answer>,
    ) {
        let mut rows: Vec<Transaction> = Vec::with_capacity(messages.len());
        let mut ids: Vec<&str> = Vec::with_capacity(messages.len());
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let places: Vec<Place> = messages
            .iter()
            .map(|message| match read(message, decider.currencies, now_micros, self.ahead_micros_max) {
                Err(refusal) => Place::Done(Err(refusal)),
                Ok((raw, transaction)) => {
                    let key = transaction.id.get();
                    if let Some(first) = self.kept.again(key) {
                        return Place::Done(Ok(first));
                    }
                    if let Some(&row) = seen.get(&key) {
                        return Place::SameAs(row);
                    }
                    seen.insert(key, rows.len());
                    ids.push(raw.transaction_id.unwrap_or_default());
                    rows.push(transaction);
                    Place::Row(rows.len() - 1)
                }
            })
            .collect();
        let labels = decider.engine.due_labels(&rows);
        let batch = Batch { transactions: &rows, labels: &labels };
        decider.engine.process_batch(batch, decider.model, decider.workers, decider.output);
        let encoded = self.encode(decider, &rows, &ids, now_micros);
        for (row, answer) in rows.iter().zip(&encoded) {
            self.kept.keep(row.id.get(), answer);
        }
        all.extend(places.into_iter().map(|place| match place {
            Place::Done(answer) => answer,
            Place::Row(row) => Ok(encoded[row].clone()),
            Place::SameAs(row) => Ok(repeated(encoded[row].clone())),
        }));
    }

    /// Encodes the engine's output, row by row.
    fn encode(&self, decider: &Decider<'_>, rows: &[Transaction], ids: &[&str], now: i64) -> Vec<Vec<u8>> {
        let output = &*decider.output;
        let cold = decider.engine.counters().transactions < self.warm_transactions;
        let missing = decider.model.is_none().then_some(degraded::MODEL_MISSING);
        let more: Vec<u8> = missing.into_iter().chain(cold.then_some(degraded::COLD_STATE)).collect();
        let encode_one = |(at, row): (usize, &Transaction)| {
            let said = Said { id: ids[at], row, model: decider.model_hash, now_micros: now, more: &more };
            encode_row(output, at, &self.names, &said)
        };
        rows.iter().enumerate().map(encode_one).collect()
    }
}

/// What an answer says that the engine's output does not.
pub(crate) struct Said<'a> {
    /// Id of the transaction, as text.
    pub id: &'a str,
    /// The transaction.
    pub row: &'a Transaction,
    /// Short hash of the model's bundle.
    pub model: u64,
    /// When it was decided.
    pub now_micros: i64,
    /// Numbers of `DegradedReason` beside those that the output's flags stand for.
    pub more: &'a [u8],
}

/// The `Decision` of one row of an engine's output.
pub(crate) fn encode_row(output: &Output, at: usize, names: &FeatureNames, said: &Said<'_>) -> Vec<u8> {
    // By row, ascending.
    let found = output.reasons.binary_search_by_key(&at, |each| each.row as usize);
    let found = found.map_or(&[][..], |place| &output.reasons[place].reasons);
    let values = &output.features[at * catalogue::WIDTH..(at + 1) * catalogue::WIDTH];
    let reasons = names.of(found, values, output.anomaly[at]);
    let bits = DEGRADED.iter().filter(|(bit, _)| output.flags[at] & bit != 0).map(|(_, code)| *code);
    let degraded_reasons: Vec<u8> = bits.chain(said.more.iter().copied()).collect();
    let answer = encode_answer(&encode::Answer {
        transaction_id: said.id,
        event_time_micros: said.row.time.0,
        score: output.score[at],
        action: output.action[at],
        reasons: reasons.as_slice(),
        degraded_reasons: &degraded_reasons,
        model: said.model,
        decided_time_micros: said.now_micros,
    });
    if output.flags[at] & flag::DUPLICATE != 0 { repeated(answer) } else { answer }
}

/// The bytes of a `Decision`.
pub(crate) fn encode_answer(parts: &encode::Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    encode::answer(parts, &mut out);
    out
}

/// Decodes and checks one message.
pub(crate) fn read<'m>(
    message: &'m [u8],
    currencies: &CurrencyTable,
    now_micros: i64,
    ahead_micros_max: i64,
) -> Result<(RawTransaction<'m>, Transaction), Refusal> {
    if message.len() > MESSAGE_BYTES_MAX {
        let message = format!("the transaction has {} bytes, at most {MESSAGE_BYTES_MAX}", message.len());
        return Err(Refusal { field: "", code: Fault::TooLarge.code(), message });
    }
    let raw = protobuf::transaction(message).map_err(|malformed| Refusal {
        field: on_the_wire(malformed.field.unwrap_or_default()),
        code: malformed.fault.code(),
        message: malformed.to_string(),
    })?;
    if let Some(field) = holds_card_number(&raw) {
        let message = format!("{field} looks like a card number; send a token instead");
        return Err(Refusal { field, code: "card_number", message });
    }
    let transaction = check(&raw, currencies).map_err(|violation| Refusal {
        field: on_the_wire(violation.field().name()),
        code: violation.code(),
        message: violation.to_string(),
    })?;
    if transaction.time.0 > now_micros.saturating_add(ahead_micros_max) {
        let micros = transaction.time.0;
        let message =
            format!("event_time_micros is {micros}, which is ahead of the service's time {now_micros}");
        return Err(Refusal { field: "event_time_micros", code: "time_ahead", message });
    }
    Ok((raw, transaction))
}

/// The answer as one that was given before.
pub(crate) fn repeated(mut answer: Vec<u8>) -> Vec<u8> {
    encode::repeated_id(&mut answer);
    answer
}

/// The name of a field in `transaction.proto`, which says the unit of times.
fn on_the_wire(name: &'static str) -> &'static str {
    if name == "event_time" { "event_time_micros" } else { name }
}

fn holds_card_number(raw: &RawTransaction<'_>) -> Option<&'static str> {
    let texts = [
        ("transaction_id", raw.transaction_id),
        ("customer_id", raw.customer_id),
        ("card_id", raw.card_id),
        ("device_id", raw.device_id),
        ("merchant_id", raw.merchant_id),
        ("ip_address", raw.ip_address),
        ("currency", raw.currency),
        ("country", raw.country),
    ];
    let found = texts.iter().find(|(_, text)| text.is_some_and(|text| is_card_number(text.as_bytes())));
    found.map(|(field, _)| *field)
}

/// The `ScoreResponse` of a decision.
pub fn encode_response(decision: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(decision.len() + 4);
    encode::embed(1, decision, &mut out);
    out
}

/// The `ScoreBatchResponse` of answers.
pub fn encode_batch(answers: &[Answer]) -> Vec<u8> {
    let mut out = Vec::with_capacity(answers.len() * 96);
    let mut result = Vec::new();
    for answer in answers {
        encode_result(answer, &mut result);
        encode::embed(1, &result, &mut out);
    }
    out
}

/// Replaces the content of `out` by the `ScoreResult` of an answer.
pub fn encode_result(answer: &Answer, out: &mut Vec<u8>) {
    out.clear();
    match answer {
        Ok(decision) => encode::embed(1, decision, out),
        Err(refusal) => {
            let mut body = Vec::new();
            encode::refusal(refusal.field, refusal.code, &refusal.message, &mut body);
            encode::embed(2, &body, out);
        }
    }
}

#[cfg(test)]
#[path = "scoring_tests.rs"]
mod tests;
