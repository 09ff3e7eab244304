//! How a call is refused: a status with details that a program can read (google.rpc.Status), as `serving/refusals.py`.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::scoring::Refusal;

/// Domain of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "fraudengine";
/// When a call that was turned away should come again.
const RETRY: Duration = Duration::from_millis(100);

fn info(reason: &str) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    details
}

/// A transaction, or a batch as a whole, breaks a rule.
pub fn invalid(refusal: &Refusal) -> Status {
    let mut details = info(&refusal.code.to_uppercase());
    if !refusal.field.is_empty() {
        details.add_bad_request_violation(refusal.field, &refusal.message);
    }
    Status::with_error_details(Code::InvalidArgument, &refusal.message, details)
}

/// The call carries no token that somebody has.
pub fn unknown_token() -> Status {
    let message = "the call carries no known bearer token";
    Status::with_error_details(Code::Unauthenticated, message, info("TOKEN_UNKNOWN"))
}

/// The client has to wait so long.
pub fn too_soon(wait: Duration) -> Status {
    let mut details = info("RATE_EXCEEDED");
    details.set_retry_info(Some(wait));
    Status::with_error_details(Code::ResourceExhausted, "the client's rate is exceeded", details)
}

/// Too much is under way.
pub fn overloaded() -> Status {
    let mut details = info("OVERLOADED");
    details.set_retry_info(Some(RETRY));
    let message = "the service is at its bound of calls or transactions under way";
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// The call came too late.
pub fn expired() -> Status {
    let message = "the deadline passed before anything was decided; nothing has changed";
    Status::with_error_details(Code::DeadlineExceeded, message, info("DEADLINE_PASSED"))
}
