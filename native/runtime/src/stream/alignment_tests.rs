//! Partitions merged by time: rows, refused records and their places, against the plain rule.

use super::*;
use crate::stream::chunk::{Origin, Refused};
use crate::wire::DeadLetterReason;
use fraudengine_core::event::{CurrencyCode, CurrencyTable, RawTransaction, check};
use proptest::collection::vec;
use proptest::prelude::*;

const HOUR: i64 = 3_600_000_000;

/// A lane with rows at these times (in hours, offsets as in the list); a negative one is a refused record.
fn lane(partition: i32, hours: &[i64]) -> Held {
    let mut held = Held::default();
    let currencies = CurrencyTable::new(CurrencyCode::parse("EUR").unwrap(), Vec::new());
    let chunk = held.refill();
    for (offset, &hour) in hours.iter().enumerate() {
        let offset = offset as i64;
        if hour < 0 {
            chunk.refused.push(refused(partition, offset));
            continue;
        }
        let id = format!("{partition}-{offset}");
        let raw = RawTransaction {
            transaction_id: Some(&id),
            customer_id: Some("c"),
            event_time_micros: Some(1_000_000_000_000_000 + hour * HOUR),
            amount_minor: Some(1),
            ..RawTransaction::default()
        };
        let start = chunk.bytes.len();
        chunk.bytes.extend_from_slice(id.as_bytes());
        chunk.bytes.push(b'c');
        chunk.rows.push(Row {
            origin: Origin { partition, offset, time_micros: 0 },
            customer_length: 1,
            length: id.len() as u32,
            start,
        });
        chunk.transactions.push(check(&raw, &currencies).unwrap());
    }
    held
}

fn refused(partition: i32, offset: i64) -> Refused {
    Refused {
        is_label: false,
        origin: Origin { partition, offset, time_micros: 0 },
        reason: DeadLetterReason::Malformed,
        detail: String::new(),
        length: 0,
        keyed_hash: 0,
        raw: None,
    }
}

/// Merges everything, chunk by chunk.
fn merged(lanes: &mut [Held], max: usize) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    loop {
        let mut chunk = Chunk::default();
        loop {
            // Refused records with no row behind them leave when the lane is looked at, as in the source.
            lanes
                .iter_mut()
                .filter(|held| held.is_empty())
                .for_each(|held| held.hand_on(held.row, &mut chunk));
            if merge(lanes, &mut chunk, max) != Merged::Dry {
                break;
            }
        }
        if chunk.is_empty() {
            return chunks;
        }
        chunks.push(chunk);
    }
}

proptest! {
    #[test]
    fn rows_come_by_time_and_each_partition_in_its_order(
        first in vec(-1_i64..50, 0..40),
        second in vec(-1_i64..50, 0..40),
        third in vec(-1_i64..50, 0..40),
        max in 1_usize..30,
    ) {
        let hours = [first, second, third];
        let mut lanes: Vec<_> = (0..).zip(&hours).map(|(partition, hours)| lane(partition, hours)).collect();
        let chunks = merged(&mut lanes, max);
        let mut next = [0_i64; 3];
        let mut heads: [usize; 3] = [0; 3];
        for chunk in &chunks {
            prop_assert!(chunk.rows.len() <= max);
            for (row, transaction) in chunk.rows.iter().zip(&chunk.transactions) {
                let partition = row.origin.partition as usize;
                let id = format!("{partition}-{}", row.origin.offset);
                prop_assert_eq!(chunk.message(row), id.as_bytes());
                prop_assert_eq!(chunk.customer(row), b"c");
                // No other lane has an earlier row at its head.
                for (other, hours) in hours.iter().enumerate() {
                    let rows: Vec<_> = hours.iter().filter(|hour| **hour >= 0).collect();
                    if let Some(&&hour) = rows.get(heads[other]) {
                        let head = 1_000_000_000_000_000 + hour * HOUR;
                        prop_assert!((transaction.time.0, partition) <= (head, other));
                    }
                }
                heads[partition] += 1;
            }
            // A partition is done up to its furthest record of the chunk: nothing before it may still be held.
            let rows = chunk.rows.iter().map(|row| (row.origin.partition, row.origin.offset));
            let refused = chunk.refused.iter().map(|each| (each.origin.partition, each.origin.offset));
            let mut seen: Vec<_> = rows.chain(refused).collect();
            seen.sort_unstable();
            for (partition, offset) in seen {
                prop_assert_eq!(offset, next[partition as usize]);
                next[partition as usize] += 1;
            }
        }
        for (next, hours) in next.iter().zip(&hours) {
            prop_assert_eq!(*next as usize, hours.len());
        }
    }
}

#[test]
fn only_a_backlog_is_patient() {
    let mut old = lane(0, &[1]);
    old.records.rows[0].origin.time_micros = 5 * LIVE_MICROS;
    let lanes = [lane(1, &[]), old];
    assert_eq!(patience(&lanes, 6 * LIVE_MICROS), PATIENCE_LIVE);
    assert_eq!(patience(&lanes, 6 * LIVE_MICROS + 1), PATIENCE);
    assert_eq!(patience(&lanes[..1], 0), PATIENCE_LIVE, "nobody waits");
}

#[test]
fn a_lane_read_to_its_end_is_not_waited_for_and_a_silent_one_not_for_ever() {
    let begin = Instant::now();
    let mut lane = Expectation::new(10, 12);
    assert!(lane.expects_more(None, begin, PATIENCE));
    lane.took(12);
    assert!(!lane.expects_more(Some(12), begin, PATIENCE));
    assert!(lane.expects_more(Some(14), begin, PATIENCE), "the partition has grown");
    assert!(lane.expects_more(Some(14), begin + PATIENCE / 2, PATIENCE));
    assert!(!lane.expects_more(Some(14), begin + PATIENCE, PATIENCE));
    assert!(!lane.expects_more(Some(14), begin + 2 * PATIENCE, PATIENCE), "given up until it grows again");
    assert!(lane.expects_more(Some(15), begin + 2 * PATIENCE, PATIENCE));
}
