//! What a load test sends.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use super::LoadPlan;
use crate::metrics::now_micros;
use crate::payload::encode::embed;

/// Requests without end: only id and time are put before the bytes of a transaction (fields of a message have no order).
pub(super) struct Stock<'p> {
    plan: &'p LoadPlan,
    next: AtomicU64,
}

impl<'p> Stock<'p> {
    /// Of a plan, from its first request on.
    pub(super) fn new(plan: &'p LoadPlan) -> Self {
        Self { plan, next: AtomicU64::new(0) }
    }

    /// The next one.
    pub(super) fn request(&self) -> Bytes {
        let rows = self.plan.batch.max(1);
        let first = self.next.fetch_add(rows as u64, Relaxed);
        let now = now_micros();
        let mut request = Vec::with_capacity(rows * 256);
        let mut transaction = Vec::with_capacity(256);
        for number in first..first + rows as u64 {
            transaction.clear();
            embed(1, format!("{}-{number}", self.plan.prefix).as_bytes(), &mut transaction);
            transaction.push(0x10);
            prost::encoding::encode_varint(now as u64, &mut transaction);
            transaction.extend_from_slice(&self.plan.pool[number as usize % self.plan.pool.len()]);
            // `transaction` and `transactions` are both field 1.
            embed(1, &transaction, &mut request);
        }
        Bytes::from(request)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost::Message;

    use super::*;

    #[test]
    fn requests_are_whole_transactions_with_new_ids_and_the_time_of_now() {
        let plan = LoadPlan {
            address: String::new(),
            tls: None,
            authorization: None,
            timeout: Duration::from_secs(1),
            calls: 1,
            concurrency: 1,
            rate: None,
            batch: 3,
            threads: 1,
            warmup_calls: 0,
            pool: vec![vec![0x1A, 1, b'a'], vec![0x1A, 1, b'b']],
            prefix: "r".to_owned(),
        };
        let stock = Stock::new(&plan);
        let before = now_micros();
        for first in [0, 3] {
            let request = stock.request();
            let rows = crate::scoring_request::transactions_of(&request, 4).unwrap();
            let read = |bytes: &&[u8]| crate::wire::Transaction::decode(*bytes).unwrap();
            for (at, row) in rows.iter().map(read).enumerate() {
                let number = first + at;
                assert_eq!(row.transaction_id, format!("r-{number}"));
                assert_eq!(row.customer_id, ["a", "b"][number % 2]);
                assert!((before..=now_micros()).contains(&row.event_time_micros));
            }
        }
    }
}
