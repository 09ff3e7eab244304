//! The columns of a block under growth, sliding, late insertion and the widest values.

use super::super::plan::{Everything, NoAmounts, Plan};
use super::*;

const NEWEST: i64 = 1_700_000_000_000_000;

/// One tag, no amounts.
#[derive(Clone, Copy, Debug, Default)]
struct Bare;

impl Plan for Bare {
    const WINDOWS: &'static [usize] = &[0, 1, 2];
    const SUMS: &'static [usize] = &[];
    const TAGS: usize = 1;
    const DISTINCT: [&'static [usize]; 2] = [&[1], &[]];
    const SEEN: [bool; 2] = [false; 2];
    type Money = NoAmounts;
}

fn amounts<P: Plan>(block: &EventBlock<P>) -> Vec<i64> {
    block.events().amounts_from(0).collect()
}

#[test]
fn events_stay_sorted_through_growth_sliding_and_late_insertion() {
    let mut block = EventBlock::<Everything>::default();
    for time in 0..500_i64 {
        block.insert(block.len(), 10 * time, time + 1, [time as u32 + 1, 7]);
        if time % 3 == 0 && time > 20 {
            block.drop_front(1);
        }
        if time % 7 == 0 && time > 20 {
            let late = 10 * time - 35;
            block.insert(block.events().count_until(late, 5_000), late, 0, [0, 0]);
        }
    }
    let times: Vec<i64> = (0..block.len()).map(|at| block.events().time(at, 5_000)).collect();
    assert!(times.is_sorted());
    for at in 0..block.len() {
        let (amount, tags) =
            (block.events().amount(at), [block.events().tags(0)[at], block.events().tags(1)[at]]);
        assert_eq!(tags, if amount == 0 { [0, 0] } else { [amount as u32, 7] });
    }
    assert!(block.heap_bytes() >= 18 * block.len());
}

#[test]
fn the_widest_ages_and_amounts_survive() {
    let oldest = NEWEST - WINDOW_MAX.0 - LATENESS_MAX.0;
    let mut block = EventBlock::<Everything>::default();
    let all = [(oldest, AMOUNT_MINOR_MAX), (NEWEST - (1 << 40), 0), (NEWEST - 1, 1 << 32), (NEWEST, 7)];
    for (at, (time, amount)) in all.into_iter().enumerate() {
        block.insert(at, time, amount, [u32::MAX, 1]);
    }
    for (at, expected) in all.into_iter().enumerate() {
        assert_eq!((block.events().time(at, NEWEST), block.events().amount(at)), expected);
        assert_eq!(block.events().count_until(expected.0, NEWEST), at + 1);
        assert_eq!(block.events().count_until(expected.0 - 1, NEWEST), at);
    }
    assert_eq!(amounts(&block), all.map(|(_, amount)| amount));
}

#[test]
fn a_plan_without_amounts_keeps_times_and_its_tags() {
    let mut block = EventBlock::<Bare>::default();
    for n in 0..100_i64 {
        block.insert(block.len(), NEWEST + n, AMOUNT_MINOR_MAX, [n as u32, 9]);
    }
    block.drop_front(90);
    assert_eq!(block.events().tags(0), (90..100).collect::<Vec<u32>>());
    assert!(block.events().tags(1).is_empty() && amounts(&block).is_empty());
    assert_eq!((block.events().time(3, NEWEST + 99), block.events().amount(3)), (NEWEST + 93, 0));
    assert!(block.heap_bytes() < 20 * 100);
}

#[test]
fn a_block_shrinks_when_its_entity_calms_down() {
    let mut block = EventBlock::<Everything>::default();
    for time in 0..300_i64 {
        block.insert(block.len(), time, time, [1, 1]);
    }
    let busy = block.heap_bytes();
    block.drop_front(290);
    for time in 300..700_i64 {
        block.insert(block.len(), time, time, [1, 1]);
        block.drop_front(1);
    }
    assert!(block.heap_bytes() * 8 < busy);
    assert_eq!(amounts(&block), (690..700).collect::<Vec<i64>>());
}

#[test]
fn an_equal_time_goes_after_those_that_arrived_before() {
    let mut block = EventBlock::<Everything>::default();
    for amount in 1..=3 {
        let at = block.events().count_until(5, 5);
        block.insert(at, 5, amount, [0, 0]);
    }
    assert_eq!(amounts(&block), [1, 2, 3]);
}
