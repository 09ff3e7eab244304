//! Who calls, and how often: bearer tokens by client, each with a bucket that fills at its rate and holds a second of it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

const SCHEME: &[u8] = b"Bearer ";

#[derive(Debug)]
struct Caller {
    /// SHA-256 of its token.
    digest: [u8; 32],
    calls_per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Admitted {
    /// It may pass.
    Yes,
    /// Its client has to wait so long.
    TooSoon(Duration),
    /// Nobody has this token.
    Unknown,
}

/// The clients of one file of tokens. Every transport of a service shares them, so that a rate is one rate.
#[derive(Debug, Default)]
pub struct Callers(Vec<Caller>);

impl Callers {
    /// Adds a client by the SHA-256 of its token and the calls that it may make in a second, above 0.
    pub fn add(&mut self, digest: [u8; 32], calls_per_second: f64) {
        let bucket = Mutex::new(Bucket { left: calls_per_second.max(1.0), at: Instant::now() });
        self.0.push(Caller { digest, calls_per_second, bucket });
    }

    /// Takes a call from the bucket of the client whose token the value of `authorization` carries.
    pub fn admit(&self, authorization: &[u8]) -> Admitted {
        let Some(token) = authorization.strip_prefix(SCHEME) else { return Admitted::Unknown };
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for caller in &self.0 {
            // Every byte of every client is compared: how long it takes tells nothing.
            let differs =
                caller.digest.iter().zip(digest).fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
            if differs == 0 {
                found = Some(caller);
            }
        }
        found.map_or(Admitted::Unknown, |caller| caller.take(Instant::now()))
    }
}

impl Caller {
    fn take(&self, now: Instant) -> Admitted {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = now.saturating_duration_since(bucket.at).as_secs_f64() * self.calls_per_second;
        bucket.left = (bucket.left + filled).min(self.calls_per_second.max(1.0));
        bucket.at = now;
        if bucket.left < 1.0 {
            return Admitted::TooSoon(Duration::from_secs_f64((1.0 - bucket.left) / self.calls_per_second));
        }
        bucket.left -= 1.0;
        Admitted::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers(rates: &[(&str, f64)]) -> Callers {
        let mut all = Callers::default();
        for (token, rate) in rates {
            all.add(Sha256::digest(token).into(), *rate);
        }
        all
    }

    #[test]
    fn a_token_is_its_client() {
        let all = callers(&[("shop", 1.0), ("bank", 5.0)]);
        assert_eq!(all.admit(b"Bearer bank"), Admitted::Yes);
        for other in [&b"Bearer nobody's"[..], b"bank", b"Bearer ", b"bearer bank", b""] {
            assert_eq!(all.admit(other), Admitted::Unknown);
        }
    }

    #[test]
    fn a_bucket_holds_one_second_and_fills_at_its_rate() {
        let all = callers(&[("shop", 4.0)]);
        let start = all.0[0].bucket.lock().unwrap().at;
        let at = |millis| all.0[0].take(start + Duration::from_millis(millis));
        assert_eq!([at(0), at(0), at(0), at(0)], [Admitted::Yes; 4]);
        assert_eq!(at(0), Admitted::TooSoon(Duration::from_millis(250)));
        assert_eq!((at(250), at(250)), (Admitted::Yes, Admitted::TooSoon(Duration::from_millis(250))));
        assert_eq!([at(60_000), at(60_000), at(60_000), at(60_000)], [Admitted::Yes; 4]);
        assert!(matches!(at(60_000), Admitted::TooSoon(_)));
    }
}
