//! Key to entity, in slabs.
//!
//! A table is cut into [`SLAB_COUNT`] slabs by the low bits of the key. A slab has one writer at a time,
//! and everything it decides (growth, eviction, expiry) depends only on the events of that slab in their
//! order: so the outcome does not depend on the number of threads.
//!
//! At its capacity a slab evicts the least recently seen of a few neighbouring slots; entities idle for
//! [`IDLE_MAX`] are dropped a few at a time whenever a new one arrives. Both are counted.

use super::prefetch::prefetch;
use crate::limits::{EVICTION_SAMPLE, EXPIRY_SAMPLE, IDLE_MAX, SLAB_COUNT};
use crate::units::EntityKey;

/// Slots allocated at a time; they never move. Few, because on average half of a slab's last chunk is unused.
const CHUNK: usize = 8;

/// What a table needs to know of the state it holds.
pub trait Entity: Default {
    /// Newest event time seen, in microseconds; decides who is evicted.
    fn last_seen(&self) -> i64;
    /// Heap bytes held beside the structure itself.
    fn heap_bytes(&self) -> usize;
    /// Starts loading the heap memory that an update will touch.
    fn prefetch(&self);
}

#[derive(Clone, Debug, Default)]
pub(super) struct Slot<E> {
    pub(super) key: Option<EntityKey>,
    pub(super) entity: E,
}

/// Where an entity probably is; see [`Slab::prefetch_slot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotHint(u32);

impl SlotHint {
    /// Nowhere.
    pub const NONE: Self = Self(u32::MAX);
}

/// Counters of one slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlabStats {
    /// Entities that made room for new ones at the capacity.
    pub evicted: u64,
    /// Entities dropped after [`IDLE_MAX`] without an event.
    pub expired: u64,
}

impl SlabStats {
    /// Of two slabs together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { evicted: self.evicted + other.evicted, expired: self.expired + other.expired }
    }
}

/// One part of a table, with a single writer.
#[derive(Clone, Debug)]
pub struct Slab<E> {
    /// Open addressing, linear probing: key's high half above, slot + 1 below; zero is free.
    pub(super) index: Vec<u64>,
    /// Slots in pieces that never move; those from `slots` on are not used yet.
    pub(super) chunks: Vec<Box<[Slot<E>; CHUNK]>>,
    /// Slots ever used, live or free.
    pub(super) slots: usize,
    pub(super) free: Vec<u32>,
    /// Where the next eviction or expiry looks first.
    pub(super) hand: u32,
    pub(super) capacity: usize,
    pub(super) stats: SlabStats,
}

impl<E: Entity> Slab<E> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            index: vec![0; 16],
            chunks: Vec::new(),
            slots: 0,
            free: Vec::new(),
            hand: 0,
            capacity,
            stats: SlabStats::default(),
        }
    }

    /// Live entities.
    pub fn len(&self) -> usize {
        self.slots - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counters.
    pub const fn stats(&self) -> SlabStats {
        self.stats
    }

    fn slot(&self, at: usize) -> &Slot<E> {
        &self.chunks[at / CHUNK][at % CHUNK]
    }

    fn slot_mut(&mut self, at: usize) -> &mut Slot<E> {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }

    fn home(&self, key: EntityKey) -> usize {
        (key.get() >> SLAB_COUNT.trailing_zeros()) as usize & (self.index.len() - 1)
    }

    fn find(&self, key: EntityKey) -> Option<usize> {
        let mask = self.index.len() - 1;
        let mut at = self.home(key);
        loop {
            let word = self.index[at];
            if word == 0 {
                return None;
            }
            let slot = (word as u32 - 1) as usize;
            if word >> 32 == key.get() >> 32 && self.slot(slot).key == Some(key) {
                return Some(slot);
            }
            at = (at + 1) & mask;
        }
    }

    /// The entity of a key, if it is live.
    pub fn get(&self, key: EntityKey) -> Option<&E> {
        self.find(key).map(|slot| &self.slot(slot).entity)
    }

    /// The entity of a key, to be changed, if it is live.
    pub fn get_mut(&mut self, key: EntityKey) -> Option<&mut E> {
        self.find(key).map(|slot| &mut self.slot_mut(slot).entity)
    }

    /// The entity of a key; a new one takes a free slot, or the slot of the one it evicts.
    pub fn get_or_insert(&mut self, key: EntityKey, now: i64) -> &mut E {
        let slot = match self.find(key) {
            Some(slot) => slot,
            None => self.insert(key, now),
        };
        &mut self.slot_mut(slot).entity
    }

    #[inline(never)]
    fn insert(&mut self, key: EntityKey, now: i64) -> usize {
        self.expire_some(now);
        if self.free.is_empty() && self.slots >= self.capacity {
            self.evict_one();
        }
        let slot = if let Some(slot) = self.free.pop() {
            slot as usize
        } else {
            self.push_slot(Slot::default());
            self.slots - 1
        };
        self.slot_mut(slot).key = Some(key);
        if (self.len() + 1) * 2 > self.index.len() {
            self.rebuild_index(self.index.len() * 2);
        } else {
            self.index_insert(key, slot);
        }
        slot
    }

    pub(super) fn push_slot(&mut self, slot: Slot<E>) {
        if self.slots.is_multiple_of(CHUNK) {
            self.chunks.push(Box::new(std::array::from_fn(|_| Slot::default())));
        }
        self.slots += 1;
        *self.slot_mut(self.slots - 1) = slot;
    }

    /// The slots ever used, in order.
    pub(super) fn iter_slots(&self) -> impl Iterator<Item = &Slot<E>> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).take(self.slots)
    }

    fn index_insert(&mut self, key: EntityKey, slot: usize) {
        let mask = self.index.len() - 1;
        let mut at = self.home(key);
        while self.index[at] != 0 {
            at = (at + 1) & mask;
        }
        self.index[at] = (key.get() >> 32) << 32 | (slot as u64 + 1);
    }

    pub(super) fn rebuild_index(&mut self, len: usize) {
        self.index = vec![0; len];
        for slot in 0..self.slots {
            if let Some(key) = self.slot(slot).key {
                self.index_insert(key, slot);
            }
        }
    }

    fn index_remove(&mut self, key: EntityKey, slot: usize) {
        let mask = self.index.len() - 1;
        let mut hole = self.home(key);
        while self.index[hole] as u32 != slot as u32 + 1 {
            hole = (hole + 1) & mask;
        }
        // Close the gap: move back every follower that probing could no longer reach past it.
        let mut at = (hole + 1) & mask;
        while self.index[at] != 0 {
            let follower = (self.index[at] as u32 - 1) as usize;
            let key = self.slot(follower).key.expect("an indexed slot has a key");
            let from_home = at.wrapping_sub(self.home(key)) & mask;
            if from_home >= (at.wrapping_sub(hole) & mask) {
                self.index[hole] = self.index[at];
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.index[hole] = 0;
    }

    fn remove(&mut self, slot: usize) {
        if let Some(key) = self.slot(slot).key {
            self.index_remove(key, slot);
            *self.slot_mut(slot) = Slot::default();
            self.free.push(slot as u32);
        }
    }

    fn evict_one(&mut self) {
        let slots = self.slots;
        let start = self.hand as usize;
        let victim = (0..EVICTION_SAMPLE.min(slots))
            .map(|step| (start + step) % slots)
            .min_by_key(|&slot| self.slot(slot).entity.last_seen());
        self.hand = ((start + EVICTION_SAMPLE) % slots) as u32;
        if let Some(slot) = victim {
            self.remove(slot);
            self.stats.evicted += 1;
        }
    }

    fn expire_some(&mut self, now: i64) {
        let slots = self.slots;
        for _ in 0..EXPIRY_SAMPLE.min(slots) {
            let slot = self.hand as usize % slots;
            self.hand = ((slot + 1) % slots) as u32;
            if self.slot(slot).key.is_some() && self.slot(slot).entity.last_seen() < now - IDLE_MAX.0 {
                self.remove(slot);
                self.stats.expired += 1;
            }
        }
    }

    /// Starts loading the index line of a key.
    pub fn prefetch_index(&self, key: EntityKey) {
        prefetch(&raw const self.index[self.home(key)]);
    }

    /// Where the entity of a key probably is, given that its index line has arrived; starts loading it.
    ///
    /// A hint may be wrong (the slot's key is not looked at) or outdated when it is used: it saves a
    /// search where it is right and costs one comparison where it is not.
    pub fn prefetch_slot(&self, key: EntityKey) -> SlotHint {
        let mask = self.index.len() - 1;
        let mut at = self.home(key);
        while self.index[at] != 0 {
            if self.index[at] >> 32 == key.get() >> 32 {
                let slot = self.index[at] as u32 - 1;
                let start: *const Slot<E> = self.slot(slot as usize);
                for line in 0..size_of::<Slot<E>>().div_ceil(64) {
                    prefetch(start.cast::<u8>().wrapping_add(64 * line));
                }
                return SlotHint(slot);
            }
            at = (at + 1) & mask;
        }
        SlotHint::NONE
    }

    /// Starts loading the heap memory of an entity, given that its slot has arrived.
    pub fn prefetch_block(&self, hint: SlotHint) {
        if (hint.0 as usize) < self.slots {
            self.slot(hint.0 as usize).entity.prefetch();
        }
    }

    /// [`get_or_insert`](Self::get_or_insert) with a hint.
    pub fn get_or_insert_at(&mut self, hint: SlotHint, key: EntityKey, now: i64) -> &mut E {
        let hinted = hint.0 as usize;
        if hinted < self.slots && self.slot(hinted).key == Some(key) {
            return &mut self.slot_mut(hinted).entity;
        }
        self.get_or_insert(key, now)
    }

    /// Bytes of memory held: index, slots and heap blocks.
    pub fn bytes(&self) -> usize {
        let slots = self.chunks.len() * size_of::<[Slot<E>; CHUNK]>();
        let heap: usize = self.iter_slots().map(|slot| slot.entity.heap_bytes()).sum();
        slots + heap + self.index.capacity() * 8 + self.free.capacity() * 4
    }
}

/// All entities of one kind.
#[derive(Clone, Debug)]
pub struct Table<E> {
    pub(super) slabs: Vec<Slab<E>>,
}

impl<E: Entity> Table<E> {
    /// An empty table for at most about `entities_max` entities (the bound holds for each slab).
    pub fn new(entities_max: usize) -> Self {
        let capacity = entities_max.div_ceil(SLAB_COUNT).max(1);
        Self { slabs: (0..SLAB_COUNT).map(|_| Slab::new(capacity)).collect() }
    }

    /// The slab a key belongs to.
    pub const fn slab_of(key: EntityKey) -> usize {
        key.get() as usize & (SLAB_COUNT - 1)
    }

    /// The entity of a key, if it is live.
    pub fn get(&self, key: EntityKey) -> Option<&E> {
        self.slabs[Self::slab_of(key)].get(key)
    }

    /// The entity of a key, to be changed, if it is live.
    pub fn get_mut(&mut self, key: EntityKey) -> Option<&mut E> {
        self.slabs[Self::slab_of(key)].get_mut(key)
    }

    /// The slabs, to be shared out among writers.
    pub fn slabs_mut(&mut self) -> impl Iterator<Item = &mut Slab<E>> {
        self.slabs.iter_mut()
    }

    /// Exchanges one slab with another table's.
    pub fn swap_slab(&mut self, slab: usize, other: &mut Self) {
        std::mem::swap(&mut self.slabs[slab], &mut other.slabs[slab]);
    }

    /// One slab.
    pub fn slab(&self, slab: usize) -> &Slab<E> {
        &self.slabs[slab]
    }
}
