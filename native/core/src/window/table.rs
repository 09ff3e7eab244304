//! Key to entity, in slabs.
//!
//! A table is cut into [`SLAB_COUNT`] slabs by the low bits of the key. A slab has one writer at a time,
//! and everything it decides (growth, eviction, expiry) depends only on the events of that slab in their
//! order: so the outcome does not depend on the number of threads. Each slab has its share of the table's bounds.

use super::slab::{Entity, Slab, SlabBounds};
use crate::limits::SLAB_COUNT;
use crate::units::EntityKey;

/// All entities of one kind.
#[derive(Clone, Debug)]
pub struct Table<E> {
    pub(super) slabs: Vec<Slab<E>>,
}

/// The share of one slab in the bounds of a table.
const fn share(entities_max: usize, bytes_max: usize) -> SlabBounds {
    let entities = entities_max.div_ceil(SLAB_COUNT);
    SlabBounds { entities: if entities == 0 { 1 } else { entities }, bytes: bytes_max / SLAB_COUNT }
}

impl<E: Entity> Table<E> {
    /// An empty table for at most about `entities_max` entities in `bytes_max` bytes (the bounds hold for each
    /// slab).
    pub fn new(entities_max: usize, bytes_max: usize) -> Self {
        let bounds = share(entities_max, bytes_max);
        Self { slabs: (0..SLAB_COUNT).map(|_| Slab::new(bounds)).collect() }
    }

    /// Changes the bounds; what is above them is evicted.
    pub fn rebound(&mut self, entities_max: usize, bytes_max: usize) {
        for slab in &mut self.slabs {
            slab.bounds = share(entities_max, bytes_max);
            slab.shrink(None);
        }
    }

    /// The slab a key belongs to.
    pub const fn slab_of(key: EntityKey) -> usize {
        key.get() as usize & (SLAB_COUNT - 1)
    }

    /// The entity of a key, if it is live.
    pub fn get(&self, key: EntityKey) -> Option<&E> {
        self.slabs[Self::slab_of(key)].get(key)
    }

    /// The entity of a key, if it is live, to be changed in what is not heap memory.
    pub fn get_mut(&mut self, key: EntityKey) -> Option<&mut E> {
        self.slabs[Self::slab_of(key)].get_mut(key)
    }

    /// Takes in the entity of a key that is not live yet, whatever the bounds.
    pub fn admit(&mut self, key: EntityKey, entity: E) {
        self.slabs[Self::slab_of(key)].push(key, entity);
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
