//! The bounds of a slab under random growth: what it says it holds is what it holds.

use super::*;

/// An entity of any size.
#[derive(Clone, Debug, Default)]
struct Sized {
    last_seen: i64,
    heap: usize,
}

impl Entity for Sized {
    fn last_seen(&self) -> i64 {
        self.last_seen
    }

    fn heap_bytes(&self) -> usize {
        self.heap
    }

    fn prefetch(&self) {}
}

fn key(number: u64) -> EntityKey {
    EntityKey::of(&number.to_le_bytes())
}

/// Bytes counted from what is there.
fn recount(slab: &Slab<Sized>) -> usize {
    let heap: usize = slab.iter_slots().map(|slot| slot.entity.heap).sum();
    slab.chunks.len() * size_of::<[Slot<Sized>; CHUNK]>() + slab.index.bytes() + heap
}

fn grow(slab: &mut Slab<Sized>, number: u64, now: i64, heap: usize) {
    slab.update(SlotHint::NONE, key(number), now, |entity| (entity.last_seen, entity.heap) = (now, heap));
}

#[test]
fn bytes_are_what_is_held_and_stay_below_the_bound() {
    let bounds = SlabBounds { entities: 300, bytes: 40_000 };
    let mut slab = Slab::<Sized>::new(bounds);
    let mut state = 1_u64;
    let mut most = 0;
    for step in 0..40_000_i64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (number, heap) = (state >> 33 & 511, (state >> 45) as usize % 900);
        grow(&mut slab, number, step, heap);
        assert_eq!(slab.get(key(number)).map(|entity| entity.heap), Some(heap), "never the one that grows");
        assert_eq!(slab.bytes(), recount(&slab));
        assert!(slab.bytes() <= bounds.bytes && slab.len() <= bounds.entities);
        assert_eq!(slab.iter_slots().filter(|slot| slot.key.is_some()).count(), slab.len());
        most = most.max(slab.bytes());
    }
    assert!(slab.stats().evicted > 10_000 && most > bounds.bytes * 9 / 10, "{:?}, {most}", slab.stats());
    for slot in slab.iter_slots() {
        let key = slot.key.unwrap();
        assert_eq!(slab.get(key).map(|entity| entity.last_seen), Some(slot.entity.last_seen));
    }
}

#[test]
fn memory_of_those_that_went_serves_those_that_grow() {
    let mut slab = Slab::<Sized>::new(SlabBounds { entities: 10_000, bytes: 100_000 });
    (0..5_000).for_each(|number| grow(&mut slab, number, number as i64, 0));
    let many = slab.len();
    (0..5_000).for_each(|number| grow(&mut slab, 4_999 - number, 5_000 + number as i64, 10_000));
    assert!(many > 1_000, "{many} small ones");
    assert_eq!(slab.len(), 9, "nine of ten kilobytes, with their slots and index");
}

#[test]
fn one_entity_is_held_even_if_it_is_larger_than_the_bound() {
    let mut slab = Slab::<Sized>::new(SlabBounds { entities: 10, bytes: 1_000 });
    for number in 0..5 {
        grow(&mut slab, number, number as i64, 5_000);
        assert_eq!(slab.len(), 1);
        assert!(slab.get(key(number)).is_some());
    }
    assert_eq!(slab.stats(), SlabStats { evicted: 4, expired: 0 });
}

#[test]
fn idle_entities_go_and_leave_room() {
    let mut slab = Slab::<Sized>::new(SlabBounds { entities: 1_000, bytes: usize::MAX });
    (0..500).for_each(|number| grow(&mut slab, number, 0, 10));
    let later = IDLE_MAX.0 + 1;
    (500..1_000).for_each(|number| grow(&mut slab, number, later, 10));
    assert_eq!(slab.stats().evicted, 0);
    assert_eq!(slab.len() as u64 + slab.stats().expired, 1_000);
    assert!(slab.stats().expired > 400, "{:?}", slab.stats());
    assert_eq!(slab.bytes(), recount(&slab));
}
