//! `_native.StreamScoring`: requests of the scoring service that the stream decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fraudengine_core::units::EntityKey;
use fraudengine_runtime::follow::{Gateway, ServeSettings, Target, Through, Told as Outcome};
use fraudengine_runtime::scoring::{Refusal, degraded, encode_response};
use fraudengine_runtime::scoring_request::{transaction_of, transactions_of};
use fraudengine_runtime::settings::Settings;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyBytesMethods, PyDict};

use crate::error::{Kind, to_py_err};
use crate::model::Activation;
use crate::scoring::{Told, told};

/// See `_native.pyi`.
#[pyclass(name = "StreamScoring", module = "fraudengine._native", frozen)]
pub struct PyStreamScoring(pub(crate) Arc<Through>);

#[derive(IntoPyObject)]
enum Asked<'py> {
    Decided(Bound<'py, PyBytes>),
    Refused(Told),
    Ticket(u64),
}

/// Seconds that are left; negative or infinite: there is no deadline.
fn left(seconds: f64) -> Option<Duration> {
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[pymethods]
impl PyStreamScoring {
    #[new]
    fn new(py: Python<'_>, settings: &str, serve: &str) -> PyResult<Self> {
        let config = |error: String| to_py_err(Kind::Config, error);
        let settings = Settings::parse(settings).map_err(|error| config(error.to_string()))?;
        let serve = ServeSettings::parse(serve).map_err(|error| config(error.to_string()))?;
        let gateway = py.detach(|| Gateway::start(settings, &serve));
        Ok(Self(Arc::new(Through::new(gateway.map_err(|error| config(error.to_string()))?))))
    }

    /// Looks with this ensemble from now on; returns the name of the backend.
    #[allow(clippy::needless_pass_by_value, reason = "an argument of a Python method, converted")]
    fn activate(&self, py: Python<'_>, model: Activation) -> PyResult<&'static str> {
        py.detach(|| {
            let active = model.named()?;
            let name = active.model.scorer.name();
            self.0.gateway().activate(active);
            Ok(name)
        })
    }

    /// Takes `ScoreRequest` messages in, each with the seconds that are left: a `ScoreResponse`, a refusal, or the
    /// ticket under which the response will come.
    #[allow(clippy::needless_pass_by_value, reason = "an argument of a Python method, converted")]
    fn ask<'py>(&self, py: Python<'py>, requests: Vec<(Bound<'py, PyBytes>, f64)>) -> Vec<Asked<'py>> {
        let bytes: Vec<(&[u8], f64)> =
            requests.iter().map(|(request, seconds)| (request.as_bytes(), *seconds)).collect();
        let asked = py.detach(|| self.ask_all(&bytes));
        let to_python = |(ticket, outcome)| match outcome {
            Outcome::Answered(decision) => Asked::Decided(PyBytes::new(py, &encode_response(&decision))),
            Outcome::Refused(refusal) => Asked::Refused(told(refusal)),
            Outcome::Later => Asked::Ticket(ticket),
        };
        asked.into_iter().map(to_python).collect()
    }

    /// A ticket that nobody else has.
    fn ticket(&self) -> u64 {
        self.0.gateway().ticket()
    }

    /// Takes a `ScoreBatchRequest` in: its `ScoreBatchResponse` comes with the ticket, unless it is refused.
    fn ask_batch(
        &self,
        py: Python<'_>,
        ticket: u64,
        request: &[u8],
        rows_max: usize,
        seconds: f64,
    ) -> Option<Told> {
        let asked = py.detach(|| {
            let messages = transactions_of(request, rows_max)?;
            self.0.gateway().ask_batch(ticket, &messages, left(seconds));
            Ok(())
        });
        asked.err().map(told)
    }

    /// Waits for responses, each with its ticket.
    fn take<'py>(&self, py: Python<'py>, seconds: f64) -> Vec<(u64, Bound<'py, PyBytes>)> {
        let wait = Duration::from_secs_f64(seconds.clamp(0.0, 60.0));
        let answers = py.detach(|| self.0.take(wait));
        answers.into_iter().map(|(ticket, answer)| (ticket, PyBytes::new(py, &answer))).collect()
    }

    /// What a customer's windows hold in the replica, by feature name; none: not known, or there is no state yet.
    fn customer_windows(&self, py: Python<'_>, customer_id: &str) -> Option<HashMap<&'static str, f32>> {
        let key = EntityKey::of(customer_id.as_bytes());
        let found = py.detach(|| self.0.gateway().replica().read(|engine| engine.customer_windows(key)));
        found.ok().flatten().map(HashMap::from)
    }

    /// Whether the state is as new as the log.
    fn is_ready(&self) -> bool {
        self.0.gateway().replica().is_ready()
    }

    /// A few figures for people and metrics.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let replica = self.0.gateway().replica();
        let counts = self.0.gateway().counts();
        let (under_way, oldest, unacknowledged) = py.detach(|| self.0.gateway().under_way());
        let (position, lag) = replica.position();
        let status = PyDict::new(py);
        status.set_item("phase", replica.phase().name())?;
        status.set_item("ready", replica.is_ready())?;
        status.set_item("error", replica.trouble())?;
        status.set_item("position", position)?;
        status.set_item("lag", lag)?;
        status.set_item("in_flight", under_way)?;
        status.set_item("oldest_seconds", oldest.as_secs_f64())?;
        status.set_item("unacknowledged", unacknowledged)?;
        status.set_item("decided", counts.decided.load(Relaxed))?;
        status.set_item("repeated", counts.repeated.load(Relaxed))?;
        let by_reason = PyDict::new(py);
        for (name, count) in degraded::NAMES.iter().zip(&counts.degraded) {
            let count = count.load(Relaxed);
            if count > 0 {
                by_reason.set_item(name, count)?;
            }
        }
        status.set_item("degraded", by_reason)?;
        Ok(status)
    }

    /// Waits until the broker has everything, for so long at most, and ends; returns how many records it does not have.
    fn close(&self, py: Python<'_>, seconds: f64) -> usize {
        py.detach(|| self.0.gateway().close(Duration::from_secs_f64(seconds.clamp(0.0, 3_600.0))))
    }
}

impl PyStreamScoring {
    fn ask_all(&self, requests: &[(&[u8], f64)]) -> Vec<(u64, Outcome)> {
        let inner: Vec<(u64, Result<&[u8], Refusal>)> = requests
            .iter()
            .map(|(request, _)| (self.0.gateway().ticket(), transaction_of(request)))
            .collect();
        let good = inner.iter().zip(requests).filter_map(|((ticket, message), (_, seconds))| {
            message.as_ref().ok().map(|message| (*message, Target::Call(*ticket), left(*seconds)))
        });
        let mut asked = self.0.gateway().ask(good).into_iter();
        let outcome = |(ticket, message): (u64, Result<&[u8], Refusal>)| match message {
            Ok(_) => asked.next().map(|outcome| (ticket, outcome)),
            Err(refusal) => Some((ticket, Outcome::Refused(refusal))),
        };
        inner.into_iter().filter_map(outcome).collect()
    }
}
