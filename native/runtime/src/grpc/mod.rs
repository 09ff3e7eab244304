//! The scoring service without the interpreter: HTTP/2, tokens, bounds, deadlines and status details in this process.
//!
//! It speaks `fraudengine.v1.ScoringService` and `grpc.health.v1` on a port of its own, beside the server of grpcio, which
//! has all other services. A call costs a tenth of the processor time there. Both hand the same bytes to the same
//! [`Scoring`], so they give the same answers.

mod call;
mod callers;
mod figures;
mod messages;
mod refusals;
mod server;
mod service;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::scoring::Refusal;

pub(crate) use call::code_name;
pub use call::is_request_id;
pub use callers::{Admitted, Callers};
pub use figures::{Figures, METHODS};
pub(crate) use messages::Raw;
pub use server::{Server, ServerError};
pub use settings::{GrpcSettings, TlsFiles};

/// Full name of the scoring service.
pub const SCORING_SERVICE: &str = "fraudengine.v1.ScoringService";
/// Most transactions of one `ScoreBatch`.
pub const BATCH_ROWS_MAX: usize = 4_096;

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The transaction, or the batch as a whole, breaks a rule.
    Refused(Refusal),
    /// The service ends, or whoever decides does.
    Ending,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// An encoded response, or why there is none.
pub type Scored = Result<Vec<u8>, Failure>;

/// Who decides. A future that is dropped was cancelled by its caller.
pub trait Scoring: Send + Sync + 'static {
    /// Decides a `ScoreRequest` within the time that is left; answers with a `ScoreResponse`.
    fn score(self: &Arc<Self>, request: Bytes, left: Option<Duration>)
    -> impl Future<Output = Scored> + Send;

    /// Decides a `ScoreBatchRequest`; answers with a `ScoreBatchResponse`.
    fn score_batch(
        self: &Arc<Self>,
        request: Bytes,
        left: Option<Duration>,
    ) -> impl Future<Output = Scored> + Send;
}
