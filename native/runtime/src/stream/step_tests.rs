//! Who may carry a chunk through a step, and that chunks keep their order however they go.

use crossbeam_channel::{Receiver, bounded};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::stream::chunk::Row;

const ROW: Row = Row { partition: 0, customer_length: 0, length: 0, start: 0, offset: 0, time_micros: 0 };

/// A chunk of so many rows, told by a number.
fn chunk(number: i64, rows: usize) -> Chunk {
    Chunk { rows: vec![ROW; rows], label_offset: number, ..Chunk::default() }
}

/// The work of these steps: to note the numbers of its chunks.
type Noted = Vec<i64>;

/// A step, the way to it, and the other end of its queue.
fn step() -> (Arc<Step<Noted>>, Way<Noted>, Receiver<Chunk>) {
    let step = Step::new("decider", Noted::new());
    let (queue, queued) = bounded(4);
    (Arc::clone(&step), Way::new(step, queue), queued)
}

#[test]
fn a_small_chunk_is_carried_while_nothing_is_before_it() {
    let (step, way, queued) = step();
    let (small, large) = (chunk(0, CARRIED_MAX), chunk(0, CARRIED_MAX + 1));
    assert!(way.carry(&small).unwrap().is_some());
    assert!(way.carry(&large).unwrap().is_none());
    let busy = step.lock().unwrap();
    assert!(way.carry(&small).unwrap().is_none(), "somebody is at it");
    drop(busy);
    assert!(matches!(way.enqueue(large, &Stop::default()), Given::On));
    assert!(way.carry(&small).unwrap().is_none(), "one waits");
    queued.recv().unwrap();
    assert!(way.carry(&small).unwrap().is_none(), "one is taken and not through");
    step.passed();
    assert!(way.carry(&small).unwrap().is_some());
}

#[test]
fn a_full_queue_is_left_when_told_to_stop_and_a_closed_one_at_once() {
    let (_step, way, queued) = step();
    let stop = Stop::default();
    for number in 0..4 {
        assert!(matches!(way.enqueue(chunk(number, 1), &stop), Given::On));
    }
    stop.set();
    assert!(matches!(way.enqueue(chunk(4, 1), &stop), Given::Nowhere));
    drop(queued);
    assert!(matches!(way.enqueue(chunk(5, 1), &Stop::default()), Given::Nowhere));
}

#[test]
fn what_a_panic_left_is_not_used() {
    let (step, way, _queued) = step();
    let panicking = Arc::clone(&step);
    let work = std::thread::spawn(move || {
        let _work = panicking.lock().unwrap();
        panic!("in the middle of it");
    });
    assert!(work.join().is_err());
    assert!(matches!(step.lock(), Err(StreamError::Panicked("decider"))));
    assert!(matches!(way.carry(&chunk(0, 1)), Err(StreamError::Panicked("decider"))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunks_keep_their_order_however_they_go(sizes in vec(prop_oneof![Just(1_usize), Just(CARRIED_MAX + 1)], 1..400)) {
        let (step, way, queued) = step();
        let worker = Arc::clone(&step);
        let thread = std::thread::spawn(move || {
            for chunk in queued {
                worker.lock().unwrap().push(chunk.label_offset);
                worker.passed();
            }
        });
        for (number, &rows) in sizes.iter().enumerate() {
            let chunk = chunk(number as i64, rows);
            match way.carry(&chunk).unwrap() {
                Some(mut work) => work.push(chunk.label_offset),
                None => prop_assert!(matches!(way.enqueue(chunk, &Stop::default()), Given::On)),
            }
        }
        drop(way);
        thread.join().unwrap();
        let seen = step.lock().unwrap();
        prop_assert!(seen.iter().copied().eq(0..sizes.len() as i64), "{:?}", *seen);
    }
}
