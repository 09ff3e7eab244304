//! One call from its first byte to its status: an id, a place among those under way, a deadline, a line in the log.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fraudengine_core::event::is_card_number;
use http::{HeaderMap, HeaderValue, Request};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Status};

use super::figures::{Figures, METHODS};
use super::settings::{GrpcSettings, LogScores};

/// Name of the metadata that carry the id of a call.
pub const REQUEST_ID: &str = "x-request-id";
/// Most lines about scoring in a second; further ones are counted and told with the next.
const LINES_A_SECOND: u64 = 100;
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The name of a status code as the specification spells it.
pub fn code_name(code: Code) -> &'static str {
    NAMES[code as usize]
}

/// What all calls of a server share.
#[derive(Debug)]
pub struct Desk {
    pub figures: Arc<Figures>,
    prefix: String,
    next: AtomicU64,
    told_of: LogScores,
    slow: Duration,
    began: Instant,
    /// Second since `began`, and lines written in it.
    second: AtomicU64,
    lines: AtomicU64,
    left_out: AtomicU64,
}

impl Desk {
    pub fn new(settings: &GrpcSettings, figures: Arc<Figures>) -> Self {
        Self {
            figures,
            prefix: format!("{:012x}", RandomState::new().hash_one(0_u8) >> 16),
            next: AtomicU64::new(1),
            told_of: settings.log_scores,
            slow: Duration::from_secs_f64(settings.slow_ms / 1e3),
            began: Instant::now(),
            second: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// The id that the caller sent if it is sane, else a new one.
    fn id(&self, headers: &HeaderMap) -> HeaderValue {
        let sent = headers.get(REQUEST_ID).filter(|value| is_request_id(value.as_bytes()));
        let made = || {
            let text = format!("{}-{:x}", self.prefix, self.next.fetch_add(1, Relaxed));
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
        };
        sent.cloned().unwrap_or_else(made)
    }

    fn has_room(&self) -> bool {
        let second = self.began.elapsed().as_secs();
        if self.second.swap(second, Relaxed) != second {
            self.lines.store(0, Relaxed);
        }
        if self.lines.fetch_add(1, Relaxed) < LINES_A_SECOND {
            return true;
        }
        self.left_out.fetch_add(1, Relaxed);
        false
    }
}

/// See the module's text. Dropped without an end it was cancelled.
#[derive(Debug)]
pub struct Call {
    desk: Arc<Desk>,
    method: usize,
    began: Instant,
    deadline: Option<Duration>,
    peer: Option<SocketAddr>,
    /// Its id.
    pub id: HeaderValue,
    entered: bool,
    rows: i64,
    code: Code,
}

impl Call {
    /// Of a request that has come.
    pub fn begin<B>(desk: &Arc<Desk>, method: usize, request: &Request<B>) -> Self {
        let told = request.extensions();
        let plain = told.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let secured = || told.get::<TlsConnectInfo<TcpConnectInfo>>()?.get_ref().remote_addr();
        Self {
            method,
            began: Instant::now(),
            deadline: request.headers().get("grpc-timeout").and_then(timeout),
            peer: plain.or_else(secured),
            id: desk.id(request.headers()),
            desk: Arc::clone(desk),
            entered: false,
            rows: 0,
            code: Code::Cancelled,
        }
    }

    /// Takes a place among the calls under way, if there is one; it is given back at the end.
    pub fn enter(&mut self, calls_max: usize) -> bool {
        self.entered = true;
        self.desk.figures.open.fetch_add(1, Relaxed) < calls_max as i64
    }

    /// Takes room for transactions of a batch, if any is left; it is given back at the end.
    pub fn enter_rows(&mut self, rows: usize, rows_max: usize) -> bool {
        self.rows = rows as i64;
        self.desk.figures.rows.fetch_add(self.rows, Relaxed) < rows_max as i64
    }

    /// What is left until the deadline; none: there is no deadline.
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(self.began.elapsed()))
    }

    /// Observes one request of a stream and its answer.
    pub fn observe(&self, since: Instant) {
        self.desk.figures.calls[self.method].observe(since.elapsed().as_micros() as u64);
    }

    /// The trailers of an end: its status and the id.
    pub fn end(&mut self, status: &Status) -> HeaderMap {
        self.code = status.code();
        let mut trailers = HeaderMap::with_capacity(4);
        if status.code() == Code::Ok {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        } else if status.add_header(&mut trailers).is_err() {
            // The message cannot be written as a header; the code can.
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
        }
        trailers.insert(REQUEST_ID, self.id.clone());
        trailers
    }

    fn tell(&self, took: Duration) {
        // A stream lasts as long as its caller wants.
        let is_slow = METHODS[self.method] != "ScoreStream" && took > self.desk.slow;
        let wanted = match self.desk.told_of {
            LogScores::All => true,
            LogScores::Problems => self.code != Code::Ok || is_slow,
            LogScores::None => false,
        };
        if !wanted || !self.desk.has_room() {
            return;
        }
        let (request_id, code) = (self.id.to_str().unwrap_or_default(), code_name(self.code));
        let method = format!("/{}/{}", super::SCORING_SERVICE, METHODS[self.method]);
        let peer = self.peer.map(|peer| peer.to_string()).unwrap_or_default();
        let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        let left_out = Some(self.desk.left_out.swap(0, Relaxed)).filter(|&count| count > 0);
        if matches!(self.code, Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable) {
            tracing::warn!(target: "call", request_id, method, code, ms, peer, left_out);
        } else {
            tracing::info!(target: "call", request_id, method, code, ms, peer, left_out);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        if self.entered {
            self.desk.figures.open.fetch_sub(1, Relaxed);
            self.desk.figures.rows.fetch_sub(self.rows, Relaxed);
        }
        if METHODS[self.method] != "ScoreStream" {
            self.desk.figures.calls[self.method].observe(took.as_micros() as u64);
        }
        self.tell(took);
    }
}

/// Whether bytes may go on as the id of a call: short, plain, no card number.
pub fn is_request_id(bytes: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:/+=-".contains(byte);
    (1..=64).contains(&bytes.len()) && bytes.iter().all(is_plain) && !is_card_number(bytes)
}

/// The time of the header `grpc-timeout`: at most eight digits and a unit.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |all, digit| all * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> Desk {
        let told = r#"{"host":"","port":0,"threads":1,"calls_max":1,"rows_max":1,"message_bytes_max":1,
                       "log_scores":"none","slow_ms":1,"tls":null}"#;
        Desk::new(&GrpcSettings::parse(told).unwrap(), Arc::default())
    }

    #[test]
    fn timeouts_are_read_as_the_specification_spells_them() {
        let read = |text: &str| timeout(&HeaderValue::from_str(text).unwrap());
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "m", "100", "123456789m", "-1m", "1.5S", "1 S"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_goes_on_only_where_it_is_sane() {
        let desk = desk();
        let id = |sent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(sent).unwrap());
            desk.id(&headers).to_str().unwrap().to_owned()
        };
        assert_eq!(id("order-17/b"), "order-17/b");
        for wrong in ["", "two words", "4111111111111111", &"x".repeat(65)] {
            assert!(id(wrong).starts_with(&desk.prefix), "{wrong}");
        }
        assert_ne!(desk.id(&HeaderMap::new()), desk.id(&HeaderMap::new()));
    }

    #[test]
    fn lines_are_bounded_and_counted() {
        let desk = desk();
        assert_eq!((0..150).filter(|_| desk.has_room()).count() as u64, LINES_A_SECOND);
        assert_eq!(desk.left_out.load(Relaxed), 50);
    }

    #[test]
    fn every_code_has_its_name() {
        assert_eq!(code_name(Code::Unauthenticated), "UNAUTHENTICATED");
        assert_eq!(code_name(Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
    }
}
