//! `_native.Scoring`: requests of the scoring service as bytes, decided by an engine, answered as bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use fraudengine_core::event;
use fraudengine_runtime::grpc::{BATCH_ROWS_MAX, Failure, Scored as ScoredBytes, Scoring};
use fraudengine_runtime::scoring::{Answer, Answers, Refusal, encode_batch, encode_response};
use fraudengine_runtime::scoring_request::{count_of, transaction_of, transactions_of};
use fraudengine_runtime::stream::short_hash;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyBytesMethods};
use tokio::sync::oneshot;

use crate::engine::PyEngine;
use crate::model::Activation;

/// Transactions decided before others get their turn.
const PIECE: usize = 256;
/// Transactions decided without letting the interpreter go.
const FEW: usize = 4;

/// See `_native.pyi`.
#[pyclass(name = "Scoring", module = "fraudengine._native", frozen)]
pub struct PyScoring(pub(crate) Arc<Own>);

/// A state, and what was answered from it.
pub(crate) struct Own {
    engine: Py<PyEngine>,
    /// The answers, and the short hash of the model that decides: exchanged together with it.
    answers: Mutex<(Answers, u64)>,
    /// To the one thread that decides batches of the native transport: with two the state would move between cores.
    batches: Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Field, code and message of a refusal.
pub type Told = (&'static str, &'static str, String);

#[derive(IntoPyObject)]
enum Scored<'py> {
    Decided(Bound<'py, PyBytes>),
    Refused(Told),
}

#[pymethods]
impl PyScoring {
    #[new]
    #[pyo3(signature = (engine, *, bundle_hash, answers_kept, ahead_micros_max, warm_transactions=0))]
    fn new(
        engine: Py<PyEngine>,
        bundle_hash: &str,
        answers_kept: usize,
        ahead_micros_max: i64,
        warm_transactions: u64,
    ) -> PyResult<Self> {
        let answers = Answers::new(answers_kept, ahead_micros_max, warm_transactions);
        let answers = Mutex::new((answers, short_hash(bundle_hash)));
        let (batches, jobs) = crossbeam_channel::unbounded::<Job>();
        let thread = std::thread::Builder::new().name("batches".to_owned());
        thread.spawn(move || jobs.into_iter().for_each(|job| job()))?;
        Ok(Self(Arc::new(Own { engine, answers, batches })))
    }

    /// Decides with another ensemble from the next call on.
    #[allow(clippy::needless_pass_by_value, reason = "an argument of a Python method, converted")]
    fn activate(&self, py: Python<'_>, model: Activation) -> PyResult<()> {
        py.detach(|| {
            let active = model.named()?;
            // Whoever decides holds this lock: an answer carries the hash of the model that gave it.
            let mut held = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.engine.get().exchange(active.model);
            held.1 = active.short_hash;
            Ok(())
        })
    }

    /// Decides `ScoreRequest` messages; each becomes a `ScoreResponse` or a refusal.
    #[allow(clippy::needless_pass_by_value, reason = "an argument of a Python method, converted")]
    fn score<'py>(&self, py: Python<'py>, requests: Vec<Bound<'py, PyBytes>>) -> Vec<Scored<'py>> {
        let bytes: Vec<&[u8]> = requests.iter().map(PyBytesMethods::as_bytes).collect();
        // Letting the interpreter go and taking it again costs more than deciding a few, unless that has to wait.
        let at_once = if bytes.len() <= FEW { self.0.decide_requests(&bytes, false) } else { None };
        let decided = at_once.or_else(|| py.detach(|| self.0.decide_requests(&bytes, true)));
        let answers = decided.unwrap_or_default();
        let told = |answer: Answer| match answer {
            Ok(decision) => Scored::Decided(PyBytes::new(py, &encode_response(&decision))),
            Err(refusal) => Scored::Refused(told(refusal)),
        };
        answers.into_iter().map(told).collect()
    }

    /// How many transactions a `ScoreBatchRequest` holds.
    #[staticmethod]
    fn rows(request: &[u8], rows_max: usize) -> usize {
        count_of(request, rows_max)
    }

    /// Decides a `ScoreBatchRequest`; the `ScoreBatchResponse`, or why the whole is refused.
    fn score_batch<'py>(&self, py: Python<'py>, request: &[u8], rows_max: usize) -> Scored<'py> {
        match py.detach(|| self.0.decide_batch(request, rows_max)) {
            Ok(response) => Scored::Decided(PyBytes::new(py, &response)),
            Err(refusal) => Scored::Refused(told(refusal)),
        }
    }
}

impl Own {
    /// Decides requests; none: that would have to wait, and must not.
    fn decide_requests(&self, requests: &[&[u8]], may_wait: bool) -> Option<Vec<Answer>> {
        let inner: Vec<Result<&[u8], Refusal>> =
            requests.iter().map(|request| transaction_of(request)).collect();
        let messages: Vec<&[u8]> = inner.iter().filter_map(|each| each.as_ref().ok().copied()).collect();
        let mut decided = self.decide(&messages, may_wait)?.into_iter();
        let all = inner.into_iter();
        Some(all.filter_map(|each| each.map_or_else(|why| Some(Err(why)), |_| decided.next())).collect())
    }

    fn decide_batch(&self, request: &[u8], rows_max: usize) -> Result<Vec<u8>, Refusal> {
        let messages = transactions_of(request, rows_max)?;
        let mut answers = Vec::with_capacity(messages.len());
        for piece in messages.chunks(PIECE) {
            answers.extend(self.decide(piece, true).unwrap_or_default());
            // A lock goes to who asks first, and this thread would: single calls wait for one piece, not for all.
            std::thread::yield_now();
        }
        Ok(encode_batch(&answers))
    }

    fn decide(&self, messages: &[&[u8]], may_wait: bool) -> Option<Vec<Answer>> {
        let mut held = if may_wait {
            self.answers.lock().unwrap_or_else(PoisonError::into_inner)
        } else {
            self.answers.try_lock().ok()?
        };
        let (answers, model_hash) = &mut *held;
        self.engine.get().score(answers, messages, *model_hash, may_wait)
    }
}

/// A refusal for Python.
pub fn told(refusal: Refusal) -> Told {
    (refusal.field, refusal.code, refusal.message)
}

impl Scoring for Own {
    async fn score(self: &Arc<Self>, request: bytes::Bytes, _: Option<Duration>) -> ScoredBytes {
        let message = transaction_of(&request)?;
        let decided = self.decide(&[message], true).and_then(|mut all| all.pop());
        let decision = decided.ok_or(Failure::Ending)??;
        Ok(encode_response(&decision))
    }

    async fn score_batch(self: &Arc<Self>, request: bytes::Bytes, _: Option<Duration>) -> ScoredBytes {
        let (answer, decided) = oneshot::channel();
        let own = Arc::clone(self);
        let job = Box::new(move || {
            // Nobody waits for a batch that was cancelled before its turn.
            if !answer.is_closed() {
                let _ = answer.send(own.decide_batch(&request, BATCH_ROWS_MAX));
            }
        });
        self.batches.send(job).map_err(|_| Failure::Ending)?;
        Ok(decided.await.map_err(|_| Failure::Ending)??)
    }
}

/// Whether a text looks like a card number.
#[pyfunction]
pub fn is_card_number(text: &str) -> bool {
    event::is_card_number(text.as_bytes())
}
