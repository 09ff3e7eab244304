//! One sending thread.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use super::requests::Stock;
use super::{LoadError, LoadPlan, LoadTls, Sent};
use crate::grpc::{Raw, SCORING_SERVICE};

/// Calls of an open loop that are under way at most in one thread.
const IN_FLIGHT_MAX: usize = 10_000;
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const WINDOW_BYTES: u32 = 4 << 20;

/// One thread's connection.
pub(super) struct Sender<'p> {
    plan: &'p LoadPlan,
    stock: &'p Stock<'p>,
    runtime: Runtime,
    caller: Caller,
}

#[derive(Clone)]
struct Caller {
    grpc: Grpc<Channel>,
    path: http::uri::PathAndQuery,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Caller {
    async fn call(&mut self, message: Bytes) -> Result<Bytes, Status> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        if let Some(told) = &self.authorization {
            request.metadata_mut().insert("authorization", told.clone());
        }
        let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        self.grpc.ready().await.map_err(unavailable)?;
        let since = Instant::now();
        let answer = self.grpc.unary(request, self.path.clone(), Raw);
        // The service may not answer at all: the deadline is kept here too.
        let answer = tokio::time::timeout(self.timeout, answer).await.unwrap_or_else(|_| Err(late()));
        answer.map(tonic::Response::into_inner).map_err(|status| {
            // A service that ends a call at its deadline resets it, which reads CANCELLED.
            let cancelled = status.code() == Code::Cancelled;
            if cancelled && since.elapsed() >= self.timeout { late() } else { status }
        })
    }
}

fn late() -> Status {
    Status::deadline_exceeded("the deadline passed")
}

impl<'p> Sender<'p> {
    /// Connects and warms up.
    pub(super) fn connect(
        plan: &'p LoadPlan,
        stock: &'p Stock<'p>,
        endpoint: &Endpoint,
    ) -> Result<Self, LoadError> {
        let config = |error: &dyn std::fmt::Display| LoadError::Config(error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| config(&error))?;
        let connected =
            runtime.block_on(async { tokio::time::timeout(plan.timeout, endpoint.connect()).await });
        let channel = connected.ok().and_then(Result::ok);
        let channel = channel.ok_or_else(|| LoadError::NoAnswer(plan.address.clone()))?;
        let method = if plan.batch > 0 { "ScoreBatch" } else { "Score" };
        let path = format!("/{SCORING_SERVICE}/{method}");
        let authorization = plan.authorization.as_ref().map(|told| {
            MetadataValue::try_from(told).map_err(|error| LoadError::Config(format!("token: {error}")))
        });
        let caller = Caller {
            grpc: Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
            path: path.parse().map_err(|error: http::uri::InvalidUri| config(&error))?,
            authorization: authorization.transpose()?,
            timeout: plan.timeout,
        };
        let sender = Self { plan, stock, runtime, caller };
        // In an open loop nobody knows how many calls will be under way; a warm service has few.
        let at_once = if plan.rate.is_none() { plan.concurrency.div_ceil(plan.threads) } else { 1 };
        sender.closed(plan.warmup_calls.min(plan.calls), at_once);
        Ok(sender)
    }

    /// Sends this thread's share from a moment on.
    pub(super) fn run(&self, number: usize, start: Instant) -> Sent {
        let share = |whole: usize| (number..whole).step_by(self.plan.threads).count();
        let busy = thread_seconds();
        std::thread::sleep(start.saturating_duration_since(Instant::now()));
        let mut sent = match self.plan.rate {
            None => self.closed(share(self.plan.calls), share(self.plan.concurrency).max(1)),
            Some(rate) => self.open(number, rate, start),
        };
        sent.elapsed = start.elapsed();
        sent.busy = (thread_seconds() - busy) / sent.elapsed.as_secs_f64().max(1e-9);
        sent
    }

    /// Makes a call that was due at a time; none: now. Returns when it was due, when it was sent, and the answer.
    async fn call(&self, due: Option<Instant>) -> (Instant, Instant, Result<Bytes, Status>) {
        let mut caller = self.caller.clone();
        let since = Instant::now();
        let answer = caller.call(self.stock.request()).await;
        (due.unwrap_or(since), since, answer)
    }

    /// Makes calls, so many of them under way at any time.
    fn closed(&self, calls: usize, at_once: usize) -> Sent {
        let mut sent = Sent::default();
        self.runtime.block_on(async {
            let mut under_way: FuturesUnordered<_> =
                (0..calls.min(at_once)).map(|_| self.call(None)).collect();
            let mut left = calls - under_way.len();
            while let Some((due, since, answer)) = under_way.next().await {
                sent.take(due, since, answer, self.plan.batch > 0);
                if left > 0 {
                    left -= 1;
                    under_way.push(self.call(None));
                }
            }
        });
        sent
    }

    /// Makes a call at each of its times. A thread beside it keeps the time: a timer of the runtime is exact to a
    /// millisecond only.
    fn open(&self, number: usize, rate: f64, start: Instant) -> Sent {
        let (ring, mut rings) = mpsc::unbounded_channel::<Instant>();
        let (calls, threads) = (self.plan.calls, self.plan.threads);
        let mut sent = Sent::default();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for each in (number..calls).step_by(threads) {
                    let due = start + Duration::from_secs_f64(each as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    if ring.send(due).is_err() {
                        return;
                    }
                }
            });
            self.runtime.block_on(async {
                let mut under_way = FuturesUnordered::new();
                let mut open = true;
                while open || !under_way.is_empty() {
                    tokio::select! {
                        biased;
                        due = rings.recv(), if open && under_way.len() < IN_FLIGHT_MAX => match due {
                            Some(due) => under_way.push(self.call(Some(due))),
                            None => open = false,
                        },
                        Some((due, since, answer)) = under_way.next(), if !under_way.is_empty() => {
                            sent.take(due, since, answer, self.plan.batch > 0);
                        }
                    }
                }
            });
        });
        sent
    }
}

/// Where all threads connect to.
pub(super) fn endpoint(plan: &LoadPlan) -> Result<Endpoint, LoadError> {
    let wrong = |error: &dyn std::fmt::Display| LoadError::Config(format!("{}: {error}", plan.address));
    let scheme = if plan.tls.is_some() { "https" } else { "http" };
    let made =
        Endpoint::from_shared(format!("{scheme}://{}", plan.address)).map_err(|error| wrong(&error))?;
    let endpoint = made
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let Some(LoadTls { ca, identity, name }) = &plan.tls else { return Ok(endpoint) };
    let mut tls = ClientTlsConfig::new();
    tls = match ca {
        Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
        None => tls.with_enabled_roots(),
    };
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = name {
        tls = tls.domain_name(name);
    }
    endpoint.tls_config(tls).map_err(|error| wrong(&error))
}

/// Processor time of this thread.
fn thread_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on Linux, and `time` outlives the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0;
    if failed { 0.0 } else { time.tv_sec as f64 + time.tv_nsec as f64 / 1e9 }
}
