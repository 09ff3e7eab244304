//! The sender of a load test: calls to a scoring service, each measured from the time at which it should have been sent.
//!
//! In a closed loop the answer to a call sends the next one. In an open loop calls are begun on time, whatever comes
//! back; a call that had to wait for room is still measured from its time, so that a slow service cannot hide behind a
//! sender that waits for it (coordinated omission).

mod requests;
mod sender;
mod sent;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use thiserror::Error;

use requests::Stock;
use sender::{Sender, endpoint};
pub use sent::Sent;

/// From the moment when all threads are ready to the first call.
const LEAD: Duration = Duration::from_millis(20);

/// Why nothing was sent.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A value cannot be used.
    #[error("{0}")]
    Config(String),
    /// Nobody answers.
    #[error("{0} does not answer")]
    NoAnswer(String),
}

/// PEM texts and the name of the service.
#[derive(Clone, Default)]
pub struct LoadTls {
    /// Who may sign the service's certificate; none: whom the system trusts.
    pub ca: Option<Vec<u8>>,
    /// The client's own certificate chain and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Name in the service's certificate where it is not that of the address.
    pub name: Option<String>,
}

/// What to send.
#[derive(Clone)]
pub struct LoadPlan {
    /// `HOST:PORT`.
    pub address: String,
    /// None: plain text.
    pub tls: Option<LoadTls>,
    /// Value of `authorization`.
    pub authorization: Option<String>,
    /// Deadline of a call.
    pub timeout: Duration,
    /// Calls in all.
    pub calls: usize,
    /// Closed loop: calls under way at any time.
    pub concurrency: usize,
    /// Open loop: calls begun in a second.
    pub rate: Option<f64>,
    /// Transactions of a call by `ScoreBatch`; 0: one by `Score`.
    pub batch: usize,
    /// Threads that send, each on a connection of its own.
    pub threads: usize,
    /// Calls of each thread before the test.
    pub warmup_calls: usize,
    /// Encoded transactions without id and time.
    pub pool: Vec<Vec<u8>>,
    /// Beginning of every id.
    pub prefix: String,
}

/// Sends the load of a plan and returns what came of it.
pub fn send_load(plan: &LoadPlan) -> Result<Sent, LoadError> {
    let stock = Stock::new(plan);
    let endpoint = endpoint(plan)?;
    let barrier = Barrier::new(plan.threads);
    let failed = AtomicUsize::new(0);
    let start = OnceLock::new();
    let send = |number: usize| -> Result<Sent, LoadError> {
        let sender = Sender::connect(plan, &stock, &endpoint);
        failed.fetch_add(usize::from(sender.is_err()), Relaxed);
        // All connect and warm up before any begins; nobody begins when one of them could not connect.
        barrier.wait();
        let sender = sender?;
        if failed.load(Relaxed) > 0 {
            return Ok(Sent::default());
        }
        Ok(sender.run(number, *start.get_or_init(|| Instant::now() + LEAD)))
    };
    let all: Vec<Result<Sent, LoadError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads).map(|number| scope.spawn(move || send(number))).collect();
        let ended = |_| Err(LoadError::Config("a sending thread ended early".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(ended)).collect()
    });
    all.into_iter().try_fold(Sent::default(), |all, each| Ok(all.with(each?)))
}
