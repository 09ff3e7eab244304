//! What a load test saw, call by call.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use crate::grpc::code_name;

/// What was seen.
#[derive(Debug, Default)]
pub struct Sent {
    /// Nanoseconds from the intended time, of each call that was answered, or not within its deadline.
    pub latencies: Vec<i64>,
    /// Nanoseconds from when it was sent, of each call that was ended in another way.
    pub rejections: Vec<i64>,
    /// Nanoseconds by which each call was sent later than intended.
    pub delays: Vec<i64>,
    /// Calls by the name of their status.
    pub statuses: BTreeMap<&'static str, u64>,
    /// Transactions by what came of them.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// Largest share of a processor that a sending thread took.
    pub busy: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Decision {
    #[prost(int32, tag = "4")]
    action: i32,
    #[prost(bool, tag = "6")]
    degraded: bool,
    #[prost(bool, tag = "8")]
    repeated_id: bool,
}

/// A `ScoreResult`; a `ScoreResponse` has the same bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Outcome {
    #[prost(message, optional, tag = "1")]
    decision: Option<Decision>,
    #[prost(bytes = "vec", optional, tag = "2")]
    refusal: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Outcomes {
    #[prost(message, repeated, tag = "1")]
    results: Vec<Outcome>,
}

impl Sent {
    pub(super) fn with(mut self, other: Self) -> Self {
        self.latencies.extend(other.latencies);
        self.rejections.extend(other.rejections);
        self.delays.extend(other.delays);
        for (name, count) in other.statuses {
            *self.statuses.entry(name).or_default() += count;
        }
        for (name, count) in other.outcomes {
            *self.outcomes.entry(name).or_default() += count;
        }
        self.elapsed = self.elapsed.max(other.elapsed);
        self.busy = self.busy.max(other.busy);
        self
    }

    pub(super) fn take(
        &mut self,
        intended: Instant,
        sent: Instant,
        answer: Result<Bytes, Status>,
        batch: bool,
    ) {
        let latency = intended.elapsed().as_nanos() as i64;
        self.delays.push(sent.saturating_duration_since(intended).as_nanos() as i64);
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        *self.statuses.entry(code_name(code)).or_default() += 1;
        // Who waits in vain until the deadline counts; who was turned away at once does not.
        if matches!(code, Code::Ok | Code::DeadlineExceeded) {
            self.latencies.push(latency);
        } else {
            self.rejections.push(sent.elapsed().as_nanos() as i64);
        }
        match answer {
            Ok(bytes) if batch => {
                let read = Outcomes::decode(bytes).unwrap_or_default();
                read.results.iter().for_each(|outcome| self.count(outcome));
            }
            Ok(bytes) => self.count(&Outcome::decode(bytes).unwrap_or_default()),
            Err(_) if code == Code::InvalidArgument => self.add("refused"),
            Err(_) => {}
        }
    }

    fn count(&mut self, outcome: &Outcome) {
        let Some(decision) = &outcome.decision else { return self.add("refused") };
        self.add(match decision.action {
            1 => "approve",
            2 => "review",
            3 => "block",
            _ => "unknown",
        });
        if decision.degraded {
            self.add("degraded");
        }
        if decision.repeated_id {
            self.add("repeated");
        }
    }

    fn add(&mut self, name: &'static str) {
        *self.outcomes.entry(name).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_by_what_they_say() {
        let decision = |action, degraded, repeated_id| Outcome {
            decision: Some(Decision { action, degraded, repeated_id }),
            refusal: None,
        };
        let refused = Outcome { decision: None, refusal: Some(Vec::new()) };
        let all = Outcomes { results: vec![decision(1, false, false), decision(3, true, true), refused] };
        let mut sent = Sent::default();
        let now = Instant::now();
        sent.take(now, now, Ok(Bytes::from(all.encode_to_vec())), true);
        sent.take(now, now, Err(Status::invalid_argument("no")), false);
        sent.take(now, now, Err(Status::resource_exhausted("full")), false);
        let counts: Vec<_> = sent.outcomes.into_iter().collect();
        assert_eq!(counts, [("approve", 1), ("block", 1), ("degraded", 1), ("refused", 2), ("repeated", 1)]);
        assert_eq!((sent.latencies.len(), sent.rejections.len(), sent.delays.len()), (1, 2, 3));
        assert_eq!(sent.statuses["RESOURCE_EXHAUSTED"], 1);
    }
}
