//! Decides requests of the scoring service: messages in, answers out, one call of the engine for all of them.
//!
//! The decoder and the checks are those of the stream. Two are stricter, because nobody stands between the caller
//! and the state: a card number is refused in every text, and an event time ahead of the clock. An id that was
//! answered before gets its first answer again, whether or not its customer's recent ids still hold it.

use std::collections::{HashMap, VecDeque};

use fraudengine_core::engine::flag;
use fraudengine_core::event::{CurrencyTable, RawTransaction, Transaction, check, is_card_number};
use fraudengine_core::feature::catalogue;
use fraudengine_core::limits::BATCH_MAX;
use fraudengine_core::workers::Workers;
use fraudengine_core::{Batch, Engine, Model, Output};

use crate::limits::MESSAGE_BYTES_MAX;
use crate::payload::encode;
use crate::payload::reasons::FeatureNames;
use crate::payload::{Fault, protobuf};

/// Numbers of `DegradedReason` in `decision.proto`, beside the bits that say so.
const DEGRADED: [(u8, u8); 2] = [(flag::LATE, 1), (flag::APPROXIMATE, 2)];
const MODEL_MISSING: u8 = 3;

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

/// The newest answers by id. At its bound the oldest makes room.
#[derive(Debug)]
pub struct Answers {
    by_id: HashMap<u64, Vec<u8>>,
    order: VecDeque<u64>,
    most: usize,
    names: FeatureNames,
    ahead_micros_max: i64,
}

/// What becomes of one message.
enum Place {
    Done(Answer),
    Row(usize),
    /// The same id as an earlier message of the same call.
    SameAs(usize),
}

impl Answers {
    /// None yet; keeps at most `most`, and refuses event times further ahead of the clock than given.
    pub fn new(most: usize, ahead_micros_max: i64) -> Self {
        let names = FeatureNames::default();
        Self { by_id: HashMap::new(), order: VecDeque::new(), most, names, ahead_micros_max }
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
            .map(|message| match self.read(message, decider.currencies, now_micros) {
                Err(refusal) => Place::Done(Err(refusal)),
                Ok((id, transaction)) => {
                    let key = transaction.id.get();
                    if let Some(first) = self.again(key) {
                        return Place::Done(Ok(first));
                    }
                    if let Some(&row) = seen.get(&key) {
                        return Place::SameAs(row);
                    }
                    seen.insert(key, rows.len());
                    ids.push(id);
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
            self.keep(row.id.get(), answer);
        }
        all.extend(places.into_iter().map(|place| match place {
            Place::Done(answer) => answer,
            Place::Row(row) => Ok(encoded[row].clone()),
            Place::SameAs(row) => Ok(repeated(encoded[row].clone())),
        }));
    }

    /// Decodes and checks one message.
    fn read<'m>(
        &self,
        message: &'m [u8],
        currencies: &CurrencyTable,
        now_micros: i64,
    ) -> Result<(&'m str, Transaction), Refusal> {
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
        if transaction.time.0 > now_micros.saturating_add(self.ahead_micros_max) {
            let micros = transaction.time.0;
            let message =
                format!("event_time_micros is {micros}, which is ahead of the service's time {now_micros}");
            return Err(Refusal { field: "event_time_micros", code: "time_ahead", message });
        }
        Ok((raw.transaction_id.unwrap_or_default(), transaction))
    }

    /// Encodes the engine's output, row by row.
    fn encode(&self, decider: &Decider<'_>, rows: &[Transaction], ids: &[&str], now: i64) -> Vec<Vec<u8>> {
        let output = &*decider.output;
        let mut flagged = output.reasons.iter().peekable();
        let encode_one = |(at, row): (usize, &Transaction)| {
            let found = flagged.next_if(|each| each.row as usize == at).map_or(&[][..], |each| &each.reasons);
            let values = &output.features[at * catalogue::WIDTH..(at + 1) * catalogue::WIDTH];
            let reasons = self.names.of(found, values, output.anomaly[at]);
            let bits = DEGRADED.iter().filter(|(bit, _)| output.flags[at] & bit != 0).map(|(_, code)| *code);
            let missing = decider.model.is_none().then_some(MODEL_MISSING);
            let degraded: Vec<u8> = bits.chain(missing).collect();
            let parts = encode::Answer {
                transaction_id: ids[at],
                event_time_micros: row.time.0,
                score: output.score[at],
                action: output.action[at],
                reasons: reasons.as_slice(),
                degraded_reasons: &degraded,
                model: decider.model_hash,
                decided_time_micros: now,
            };
            let mut answer = Vec::with_capacity(128);
            encode::answer(&parts, &mut answer);
            if output.flags[at] & flag::DUPLICATE != 0 { repeated(answer) } else { answer }
        };
        rows.iter().enumerate().map(encode_one).collect()
    }

    fn again(&self, key: u64) -> Option<Vec<u8>> {
        self.by_id.get(&key).cloned().map(repeated)
    }

    fn keep(&mut self, key: u64, answer: &[u8]) {
        if self.most == 0 {
            return;
        }
        if self.order.len() == self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(key, answer.to_vec());
        self.order.push_back(key);
    }
}

fn repeated(mut answer: Vec<u8>) -> Vec<u8> {
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
