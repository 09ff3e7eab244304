//! The methods: from an HTTP request to a scored answer.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tower_service::Service;

use super::call::{Call, Desk};
use super::callers::{Admitted, Callers};
use super::messages::{Answer, Raw, framed};
use super::{BATCH_ROWS_MAX, Failure, Scoring, refusals};
use crate::payload::encode::embed;
use crate::scoring::encode_result;
use crate::scoring_request::count_of;

const SCORE: usize = 0;
const SCORE_BATCH: usize = 1;
const SCORE_STREAM: usize = 2;
/// Requests of one stream that are taken in before the first of them is answered.
const STREAM_AHEAD: usize = 64;

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// What the methods work with.
#[derive(Debug)]
pub struct Shared<S> {
    /// Who decides.
    pub scoring: Arc<S>,
    /// Who may call; none: everybody.
    pub callers: Option<Arc<Callers>>,
    /// What calls share.
    pub desk: Arc<Desk>,
    /// Most calls under way.
    pub calls_max: usize,
    /// Transactions of batches under way from which on no further batch is let in.
    pub rows_max: usize,
    /// Longest request in bytes.
    pub message_bytes_max: usize,
}

/// Sends each request to its method.
#[derive(Debug)]
pub struct Front<S> {
    shared: Arc<Shared<S>>,
    health: HealthServer<HealthService>,
}

impl<S> Front<S> {
    /// Of these methods.
    pub fn new(shared: Shared<S>, health: HealthServer<HealthService>) -> Self {
        Self { shared: Arc::new(shared), health }
    }
}

impl<S> Clone for Front<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), health: self.health.clone() }
    }
}

impl<S: Scoring> Service<Request<Body>> for Front<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let path = request.uri().path();
        let shared = Arc::clone(&self.shared);
        match path.strip_prefix("/fraudengine.v1.ScoringService/") {
            Some("Score") => Box::pin(shared.unary(SCORE, request)),
            Some("ScoreBatch") => Box::pin(shared.unary(SCORE_BATCH, request)),
            Some("ScoreStream") => Box::pin(ready(Ok(shared.stream(request)))),
            _ if path.strip_prefix('/').is_some_and(is_health) => {
                let answered = self.health.call(request);
                Box::pin(async { answered.await.map(decoded) })
            }
            _ => {
                let status = Status::unimplemented("this port has the scoring service and health only");
                Box::pin(ready(Ok(status.into_http())))
            }
        }
    }
}

/// What health cannot decode is the caller's fault, as everywhere; tonic says that it is the service's.
fn decoded(mut response: Response<Body>) -> Response<Body> {
    if let Some(status) = response.headers_mut().get_mut(Status::GRPC_STATUS)
        && *status == (Code::Internal as i32).to_string().as_str()
    {
        *status = HeaderValue::from(Code::InvalidArgument as i32);
    }
    response
}

fn is_health(path: &str) -> bool {
    path.strip_prefix(HealthServer::<HealthService>::NAME).is_some_and(|rest| rest.starts_with('/'))
}

impl<S: Scoring> Shared<S> {
    async fn unary(
        self: Arc<Self>,
        method: usize,
        request: Request<Body>,
    ) -> Result<Response<Body>, Infallible> {
        let mut call = Call::begin(&self.desk, method, &request);
        let answered = self.answer(&mut call, method, request).await;
        Ok(match answered {
            Err(status) => ended(&mut call, &status),
            Ok(message) => {
                let trailers = call.end(&Status::ok(""));
                let body = Answer { message: Some(framed(&message)), trailers: Some(trailers) };
                response(Body::new(body))
            }
        })
    }

    async fn answer(
        &self,
        call: &mut Call,
        method: usize,
        request: Request<Body>,
    ) -> Result<Vec<u8>, Status> {
        self.admit(call, request.headers(), method == SCORE_BATCH)?;
        let mut messages = self.messages(request)?;
        let message = messages.message().await.map_err(too_long)?;
        let message = message.ok_or_else(|| Status::invalid_argument("the call carries no message"))?;
        // The end of the request is taken too: a stream that is left half read is reset.
        messages.trailers().await?;
        let left = call.left();
        if left.is_some_and(|left| left.is_zero()) {
            return Err(refusals::expired());
        }
        let scored = if method == SCORE_BATCH {
            if !call.enter_rows(count_of(&message, BATCH_ROWS_MAX).max(1), self.rows_max) {
                return Err(self.turned_away());
            }
            self.scoring.score_batch(message, left).await
        } else {
            self.scoring.score(message, left).await
        };
        scored.map_err(|failure| self.failed(&failure))
    }

    fn stream(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let mut call = Call::begin(&self.desk, SCORE_STREAM, &request);
        let admitted = self.admit(&mut call, request.headers(), false);
        let messages = match admitted.and_then(|()| self.messages(request)) {
            Ok(messages) => messages,
            Err(status) => return ended(&mut call, &status),
        };
        let call = Arc::new(call);
        let (shared, timed) = (self, Arc::clone(&call));
        let answers = messages.map(move |message| {
            let (shared, call) = (Arc::clone(&shared), Arc::clone(&timed));
            async move { shared.one_of_stream(&call, message).await }
        });
        response(Body::new(StreamBody::new(until_the_end(answers.buffered(STREAM_AHEAD), call))))
    }

    async fn one_of_stream(&self, call: &Call, message: Result<Bytes, Status>) -> Result<Bytes, Status> {
        let message = message.map_err(too_long)?;
        let (since, left) = (Instant::now(), call.left());
        if left.is_some_and(|left| left.is_zero()) {
            return Err(refusals::expired());
        }
        let scored = self.scoring.score(message, left).await;
        let mut result = Vec::new();
        match scored {
            // A `ScoreResponse` has the bytes of a `ScoreResult`: the decision is field 1 of both.
            Ok(response) => result = response,
            Err(Failure::Refused(refusal)) => {
                self.desk.figures.refuse(refusal.code);
                encode_result(&Err(refusal), &mut result);
            }
            Err(failure) => return Err(self.failed(&failure)),
        }
        let mut out = Vec::with_capacity(result.len() + 4);
        embed(1, &result, &mut out);
        call.observe(since);
        Ok(framed(&out))
    }

    /// Lets a call in or says why not; nothing of its message was looked at.
    fn admit(&self, call: &mut Call, headers: &HeaderMap, several: bool) -> Result<(), Status> {
        let figures = &self.desk.figures;
        if let Some(callers) = &self.callers {
            let told = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
            match callers.admit(told) {
                Admitted::Yes => {}
                Admitted::Unknown => {
                    figures.denied_token.fetch_add(1, Relaxed);
                    return Err(refusals::unknown_token());
                }
                Admitted::TooSoon(wait) => {
                    figures.denied_rate.fetch_add(1, Relaxed);
                    return Err(refusals::too_soon(wait));
                }
            }
        }
        let full = several && figures.rows.load(Relaxed) >= self.rows_max as i64;
        if full || !call.enter(self.calls_max) {
            return Err(self.turned_away());
        }
        Ok(())
    }

    fn turned_away(&self) -> Status {
        self.desk.figures.denied_overload.fetch_add(1, Relaxed);
        refusals::overloaded()
    }

    fn failed(&self, failure: &Failure) -> Status {
        match failure {
            Failure::Refused(refusal) => {
                self.desk.figures.refuse(refusal.code);
                refusals::invalid(refusal)
            }
            Failure::Ending => Status::unavailable("the service is ending"),
        }
    }

    fn messages(&self, request: Request<Body>) -> Result<Streaming<Bytes>, Status> {
        let encoding = request.headers().get("grpc-encoding");
        if encoding.is_some_and(|name| name.as_bytes() != b"identity") {
            return Err(Status::unimplemented("requests must not be compressed"));
        }
        Ok(Streaming::new_request(Raw, request.into_body(), None, Some(self.message_bytes_max)))
    }
}

/// A message that is too long is told as grpcio tells it.
fn too_long(status: Status) -> Status {
    if status.code() == Code::OutOfRange { Status::resource_exhausted(status.message()) } else { status }
}

/// The frames of a stream of answers, and of its end: an error ends it.
fn until_the_end(
    answers: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
    call: Arc<Call>,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    let start = Some((Box::pin(answers), call));
    stream::unfold(start, |state| async move {
        let (mut answers, mut call) = state?;
        match answers.next().await {
            Some(Ok(bytes)) => Some((Ok(Frame::data(bytes)), Some((answers, call)))),
            other => {
                let status = other.and_then(Result::err).unwrap_or_else(|| Status::ok(""));
                // Whoever else held the call was an answer of it, and there are no more.
                drop(answers);
                let trailers = Arc::get_mut(&mut call).map(|call| call.end(&status));
                trailers.map(|trailers| (Ok(Frame::trailers(trailers)), None))
            }
        }
    })
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The response that has a status only.
fn ended(call: &mut Call, status: &Status) -> Response<Body> {
    let mut response = response(Body::default());
    response.headers_mut().extend(call.end(status));
    response
}
