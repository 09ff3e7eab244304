//! One part of a table, with a single writer at a time.
//!
//! Bounded twice: by the number of its entities and by the bytes that it holds. A new entity at a bound
//! takes the slot of the least recently seen of a few neighbours; an entity that grows beyond the bytes
//! makes others go, never itself. Entities idle for [`IDLE_MAX`] are dropped a few at a time whenever a new
//! one arrives. All are counted. What is held follows from the slab's own events alone, and every size is
//! either derived from its content or written into its snapshot: so a restored slab evicts like the one that was saved.

use super::index::Index;
use crate::limits::{EVICTION_SAMPLE, EXPIRY_SAMPLE, IDLE_MAX};
use crate::prefetch::{prefetch, prefetch_bytes};
use crate::units::EntityKey;

/// Slots allocated at a time. Few, because on average half of a slab's last chunk is unused.
const CHUNK: usize = 8;

/// What a slab needs to know of the state it holds.
pub trait Entity: Default {
    /// Time of the newest thing heard of it, in microseconds; decides who is evicted.
    fn last_seen(&self) -> i64;
    /// Heap bytes held beside the structure itself.
    fn heap_bytes(&self) -> usize;
    /// Starts loading the heap memory that an update will touch.
    fn prefetch(&self);
}

#[derive(Clone, Debug, Default)]
pub(super) struct Slot<E> {
    /// None only behind the last entity.
    pub(super) key: Option<EntityKey>,
    pub(super) entity: E,
}

/// Where an entity probably is; see [`Slab::prefetch_place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotHint(u32);

impl SlotHint {
    /// Nowhere.
    pub const NONE: Self = Self(u32::MAX);
}

/// Counters of one slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlabStats {
    /// Entities that made room for others at a bound.
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

/// What a slab may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabBounds {
    /// Entities, at least one.
    pub entities: usize,
    /// Bytes of memory. One entity is held even if it alone is larger.
    pub bytes: usize,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Slab<E> {
    pub(super) index: Index,
    /// Slots in pieces that never move; the live ones come first.
    pub(super) chunks: Vec<Box<[Slot<E>; CHUNK]>>,
    /// Live entities.
    pub(super) slots: usize,
    /// Where the next eviction or expiry looks first.
    pub(super) hand: u32,
    /// Heap bytes of all entities.
    heap: usize,
    pub(super) bounds: SlabBounds,
    pub(super) stats: SlabStats,
}

impl<E: Entity> Slab<E> {
    pub(super) fn new(bounds: SlabBounds) -> Self {
        Self {
            index: Index::new(),
            chunks: Vec::new(),
            slots: 0,
            hand: 0,
            heap: 0,
            bounds,
            stats: SlabStats::default(),
        }
    }

    /// Live entities.
    pub const fn len(&self) -> usize {
        self.slots
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// Counters.
    pub const fn stats(&self) -> SlabStats {
        self.stats
    }

    /// Bytes of memory held: index, slots and heap blocks.
    pub const fn bytes(&self) -> usize {
        self.chunks.len() * size_of::<[Slot<E>; CHUNK]>() + self.index.bytes() + self.heap
    }

    fn slot(&self, at: usize) -> &Slot<E> {
        &self.chunks[at / CHUNK][at % CHUNK]
    }

    fn slot_mut(&mut self, at: usize) -> &mut Slot<E> {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }

    fn hinted(&self, hint: SlotHint) -> Option<&Slot<E>> {
        ((hint.0 as usize) < self.slots).then(|| self.slot(hint.0 as usize))
    }

    fn find(&self, key: EntityKey) -> Option<usize> {
        self.index.find(key, |slot| self.slot(slot).key == Some(key))
    }

    /// The entity of a key, if it is live.
    pub fn get(&self, key: EntityKey) -> Option<&E> {
        self.find(key).map(|slot| &self.slot(slot).entity)
    }

    /// The entity of a key, if it is live, to be changed in what is not heap memory: see
    /// [`update_known`](Self::update_known) for the rest.
    pub fn get_mut(&mut self, key: EntityKey) -> Option<&mut E> {
        self.find(key).map(|slot| &mut self.slot_mut(slot).entity)
    }

    /// Changes the entity of a key, a new one if there is none; others go if it grew beyond the bytes.
    pub fn update<R>(
        &mut self,
        hint: SlotHint,
        key: EntityKey,
        now: i64,
        change: impl FnOnce(&mut E) -> R,
    ) -> R {
        let slot = if self.hinted(hint).is_some_and(|slot| slot.key == Some(key)) {
            hint.0 as usize
        } else {
            self.find(key).unwrap_or_else(|| self.insert(key, now))
        };
        self.change(slot, key, change)
    }

    /// Changes the entity of a key, if it is live.
    pub fn update_known<R>(&mut self, key: EntityKey, change: impl FnOnce(&mut E) -> R) -> Option<R> {
        let slot = self.find(key)?;
        Some(self.change(slot, key, change))
    }

    fn change<R>(&mut self, slot: usize, key: EntityKey, change: impl FnOnce(&mut E) -> R) -> R {
        let entity = &mut self.slot_mut(slot).entity;
        let before = entity.heap_bytes();
        let result = change(entity);
        let after = entity.heap_bytes();
        if after != before {
            self.heap = self.heap + after - before;
            self.shrink(Some(key));
        }
        result
    }

    #[inline(never)]
    fn insert(&mut self, key: EntityKey, now: i64) -> usize {
        self.expire_some(now);
        let growth = if self.slots.is_multiple_of(CHUNK) { size_of::<[Slot<E>; CHUNK]>() } else { 0 }
            + self.index.growth(self.slots);
        let full = self.slots >= self.bounds.entities || self.bytes() + growth > self.bounds.bytes;
        let Some(slot) = (if full { self.oldest(None) } else { None }) else {
            self.push(key, E::default());
            return self.slots - 1;
        };
        let gone = std::mem::take(self.slot_mut(slot));
        if let Some(before) = gone.key {
            self.index.remove(before, slot);
        }
        self.heap -= gone.entity.heap_bytes();
        self.stats.evicted += 1;
        self.slot_mut(slot).key = Some(key);
        self.index.insert(key, slot);
        slot
    }

    /// Puts an entity behind the last one.
    pub(super) fn push(&mut self, key: EntityKey, entity: E) {
        if self.slots.is_multiple_of(CHUNK) {
            self.chunks.push(Box::new(std::array::from_fn(|_| Slot::default())));
        }
        self.heap += entity.heap_bytes();
        let slot = self.slots;
        *self.slot_mut(slot) = Slot { key: Some(key), entity };
        self.slots += 1;
        self.index.insert(key, slot);
        self.index.fit(self.slots);
    }

    /// Goes on with an index of another size.
    pub(super) fn adopt(&mut self, mut index: Index) {
        for (slot, each) in self.iter_slots().enumerate() {
            if let Some(key) = each.key {
                index.insert(key, slot);
            }
        }
        self.index = index;
    }

    /// The live slots, in order.
    pub(super) fn iter_slots(&self) -> impl Iterator<Item = &Slot<E>> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).take(self.slots)
    }

    /// Drops an entity; the last one takes its slot, so that memory of no use is given back.
    fn remove(&mut self, slot: usize) {
        let gone = std::mem::take(self.slot_mut(slot));
        self.heap -= gone.entity.heap_bytes();
        if let Some(key) = gone.key {
            self.index.remove(key, slot);
        }
        let last = self.slots - 1;
        if slot != last {
            let moved = std::mem::take(self.slot_mut(last));
            if let Some(key) = moved.key {
                self.index.relocate(key, last, slot);
            }
            *self.slot_mut(slot) = moved;
        }
        self.slots = last;
        if last.is_multiple_of(CHUNK) {
            self.chunks.pop();
        }
        self.index.fit(last);
    }

    /// The least recently seen of a few neighbours, one entity excepted; moves the hand on.
    fn oldest(&mut self, except: Option<EntityKey>) -> Option<usize> {
        let slots = self.slots;
        if slots == 0 {
            return None;
        }
        let start = self.hand as usize;
        self.hand = ((start + EVICTION_SAMPLE) % slots) as u32;
        (0..EVICTION_SAMPLE.min(slots))
            .map(|step| (start + step) % slots)
            .filter(|&slot| except.is_none() || self.slot(slot).key != except)
            .min_by_key(|&slot| self.slot(slot).entity.last_seen())
    }

    /// Evicts until the bounds are kept or one entity is left, which may be the excepted one.
    pub(super) fn shrink(&mut self, except: Option<EntityKey>) {
        while self.slots > 1 && (self.slots > self.bounds.entities || self.bytes() > self.bounds.bytes) {
            let Some(slot) = self.oldest(except) else { break };
            self.remove(slot);
            self.stats.evicted += 1;
        }
    }

    fn expire_some(&mut self, now: i64) {
        for _ in 0..EXPIRY_SAMPLE.min(self.slots) {
            let slot = self.hand as usize % self.slots;
            self.hand = ((slot + 1) % self.slots) as u32;
            if self.slot(slot).entity.last_seen() < now - IDLE_MAX.0 {
                self.remove(slot);
                self.stats.expired += 1;
            }
            if self.slots == 0 {
                return;
            }
        }
    }

    /// Starts loading the index line of a key.
    pub fn prefetch_index(&self, key: EntityKey) {
        prefetch(self.index.home(key));
    }

    /// Where the entity of a key probably is, given that its index line has arrived; starts loading where its slot is.
    ///
    /// A hint may be wrong (the slot's key is not looked at) or outdated when it is used: it saves a
    /// search where it is right and costs one comparison where it is not.
    pub fn prefetch_place(&self, key: EntityKey) -> SlotHint {
        let Some(slot) = self.index.find(key, |_| true) else { return SlotHint::NONE };
        prefetch(self.chunks.as_ptr().wrapping_add(slot / CHUNK));
        SlotHint(slot as u32)
    }

    /// Starts loading a slot, given that its place has arrived.
    pub fn prefetch_slot(&self, hint: SlotHint) {
        if let Some(slot) = self.hinted(hint) {
            prefetch_bytes(&raw const *slot, size_of::<Slot<E>>());
        }
    }

    /// Starts loading the heap memory of an entity, given that its slot has arrived.
    pub fn prefetch_block(&self, hint: SlotHint) {
        if let Some(slot) = self.hinted(hint) {
            slot.entity.prefetch();
        }
    }
}

#[cfg(test)]
#[path = "slab_tests.rs"]
mod tests;
