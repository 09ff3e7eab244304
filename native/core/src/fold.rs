//! One kind of entity takes in one batch: the update phase of the fold.
//!
//! Slabs are dealt out to the workers; each worker walks the whole batch in its order and handles the
//! transactions and labels whose key lies in one of its slabs. So every slab sees its events in batch
//! order whatever the number of workers, and writes its columns right after the update, while the
//! entity is in cache.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::engine::{Batch, flag};
use crate::entity::{CardState, Context, DeviceState, Earlier, IpState, MerchantState, Profile};
use crate::event::{Label, Transaction};
use crate::feature::{SharedRows, catalogue};
use crate::limits::SLAB_COUNT;
use crate::units::EntityKey;
use crate::window::{Slab, SlotHint, Table};
use crate::workers::{self, Workers};

/// How many transactions ahead the index of a key is asked for, the place of its slot, the slot, and its events: each
/// says where the next one is, so that it must have arrived by then.
const AHEAD: [usize; 4] = [28, 20, 10, 4];

/// What all kinds of entity share while they take in a batch.
pub(crate) struct Update<'a> {
    pub batch: Batch<'a>,
    pub context: &'a Context,
    pub rows: &'a SharedRows<'a>,
    /// Set by several workers, one bit each; read after they have joined.
    pub flags: &'a [AtomicU8],
    /// Repeated ids, in no particular order until sorted by row.
    pub repeated: &'a Mutex<Vec<(u32, Earlier)>>,
    /// Only when a log is replayed: for each slab of each kind, how many of the rows it already holds. Then the
    /// flags come from the log, and what is behind the lateness bound is left out.
    pub replayed: Option<&'a [u32]>,
}

/// The slabs of one table that one worker owns.
struct Share<'t, P>([Option<&'t mut Slab<P>>; SLAB_COUNT]);

impl<'t, P: Profile> Share<'t, P> {
    /// Deals out the slabs of a table.
    fn deal(table: &'t mut Table<P>, workers: &dyn Workers) -> Vec<Self> {
        let count = workers.count();
        let mut shares: Vec<Self> = (0..count).map(|_| Self(std::array::from_fn(|_| None))).collect();
        for (at, slab) in table.slabs_mut().enumerate() {
            shares[at % count].0[at] = Some(slab);
        }
        shares
    }
}

/// The tables of the entities that know no repeated ids.
pub(crate) struct Others<'t> {
    pub cards: &'t mut Table<CardState>,
    pub devices: &'t mut Table<DeviceState>,
    pub merchants: &'t mut Table<MerchantState>,
    pub ips: &'t mut Table<IpState>,
}

/// Rows that are remembered while their memory is on its way.
const COMING: usize = (AHEAD[0] + 1).next_power_of_two();

/// The keys of the next rows that are this worker's, and where their entities probably are.
struct Coming {
    keys: [Option<EntityKey>; COMING],
    hints: [SlotHint; COMING],
}

impl Default for Coming {
    fn default() -> Self {
        Self { keys: [None; COMING], hints: [SlotHint::NONE; COMING] }
    }
}

impl Coming {
    fn at(&self, row: usize) -> Option<(EntityKey, SlotHint)> {
        self.keys[row % COMING].map(|key| (key, self.hints[row % COMING]))
    }
}

impl Update<'_> {
    /// Lets a table take in the batch.
    pub(crate) fn run<P: Profile>(&self, table: &mut Table<P>, workers: &dyn Workers) {
        workers::each(workers, Share::deal(table, workers), |share| self.walk(share));
    }

    /// Lets four tables take in the batch. At once, because to wait for the slowest worker costs more than a table.
    pub(crate) fn run_others(&self, others: Others<'_>, workers: &dyn Workers) {
        let Others { cards, devices, merchants, ips } = others;
        let cards = Share::deal(cards, workers).into_iter().zip(Share::deal(devices, workers));
        let rest = Share::deal(merchants, workers).into_iter().zip(Share::deal(ips, workers));
        workers::each(workers, cards.zip(rest).collect(), |((cards, devices), (merchants, ips))| {
            self.walk(cards);
            self.walk(devices);
            self.walk(merchants);
            self.walk(ips);
        });
    }

    fn walk<P: Profile>(&self, share: &mut Share<'_, P>) {
        let mut labels = self.batch.labels.iter().peekable();
        let mut coming = Coming::default();
        (0..AHEAD[0]).for_each(|step| self.prefetch(share, &mut coming, step));
        for (row, transaction) in self.batch.transactions.iter().enumerate() {
            while let Some((before, label)) = labels.next_if(|(before, _)| *before as usize <= row) {
                self.learn(share, *before, label);
            }
            self.prefetch(share, &mut coming, row + AHEAD[0]);
            let Some((key, hint)) = coming.at(row) else { continue };
            if self.holds::<P>(key, row) {
                continue;
            }
            if let Some(slab) = &mut share.0[Table::<P>::slab_of(key)] {
                self.observe(slab, key, hint, row, transaction);
            }
        }
        labels.for_each(|(row, label)| self.learn(share, *row, label));
    }

    /// Whether a slab's snapshot already holds what came at or with this row.
    fn holds<P: Profile>(&self, key: EntityKey, row: usize) -> bool {
        let part = P::KIND as usize * SLAB_COUNT + Table::<P>::slab_of(key);
        self.replayed.is_some_and(|held| row < held[part] as usize)
    }

    /// Looks at the row `step`, the furthest one, and asks for more of the memory of those before it.
    fn prefetch<P: Profile>(&self, share: &Share<'_, P>, coming: &mut Coming, step: usize) {
        let slab_of = |key: EntityKey| share.0[Table::<P>::slab_of(key)].as_deref();
        let key = self.batch.transactions.get(step).and_then(|transaction| transaction.entity(P::KIND));
        coming.keys[step % COMING] = key.filter(|&key| slab_of(key).is_some());
        let place = |coming: &Coming, row| {
            let (key, hint) = coming.at(row)?;
            Some((slab_of(key)?, key, hint))
        };
        // Before the first row there is nothing: the places that these numbers wrap to are empty.
        let [index, find, slot, block] = AHEAD.map(|ahead| step.wrapping_sub(AHEAD[0] - ahead));
        if let Some((slab, key, _)) = place(coming, index) {
            slab.prefetch_index(key);
        }
        if let Some((slab, key, _)) = place(coming, find) {
            coming.hints[find % COMING] = slab.prefetch_place(key);
        }
        if let Some((slab, _, hint)) = place(coming, slot) {
            slab.prefetch_slot(hint);
        }
        if let Some((slab, _, hint)) = place(coming, block) {
            slab.prefetch_block(hint);
        }
    }

    fn learn<P: Profile>(&self, share: &mut Share<'_, P>, row: u32, label: &Label) {
        let Some(key) = label.entities[P::KIND as usize] else { return };
        if self.holds::<P>(key, row as usize) {
            return;
        }
        if let Some(slab) = &mut share.0[Table::<P>::slab_of(key)] {
            if label.is_fraud {
                slab.update(SlotHint::NONE, key, label.known_time.0, |entity| entity.learn(label));
            } else {
                // A genuine verdict on an unknown entity has nothing to correct.
                slab.update_known(key, |entity| entity.learn(label));
            }
        }
    }

    fn observe<P: Profile>(
        &self,
        slab: &mut Slab<P>,
        key: EntityKey,
        hint: SlotHint,
        row: usize,
        transaction: &Transaction,
    ) {
        // Relaxed: a flag of this row that matters here was set in an earlier phase, and joining the
        // workers between the phases orders it before this load.
        let flags = self.flags[row].load(Ordering::Relaxed);
        if flags & flag::DUPLICATE != 0 || (self.replayed.is_some() && flags & flag::LATE != 0) {
            return;
        }
        if flags & flag::LATE == 0 {
            slab.update(hint, key, transaction.time.0, |entity| self.take_in(entity, row, transaction));
        } else {
            let mut outsider = slab.get(key).cloned().unwrap_or_default();
            self.take_in(&mut outsider, row, transaction);
        }
    }

    /// Updates one entity by one transaction and writes its columns.
    fn take_in<P: Profile>(&self, entity: &mut P, row: usize, transaction: &Transaction) {
        if let Some(ids) = entity.recent_ids() {
            if let Some(earlier) = ids.find(transaction.id) {
                let mut repeated = self.repeated.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                repeated.push((row as u32, earlier));
                if self.replayed.is_none() {
                    self.flags[row].fetch_or(flag::DUPLICATE, Ordering::Relaxed);
                    return;
                }
                // The log is right: with other bounds than now, this customer had been evicted.
            } else {
                ids.remember(transaction.id, row as u32);
            }
        }
        let first = const { catalogue::first_column(P::KIND) };
        // SAFETY: this worker owns the slab of this row's key of kind P, so no other worker touches the
        // row's columns of kind P (see `SharedRows`).
        #[allow(unsafe_code, reason = "the promise of SharedRows is kept here, and only here")]
        let columns = unsafe { self.rows.cells(row, first, P::COLUMNS) };
        if entity.observe(transaction, self.context, columns) {
            self.flags[row].fetch_or(flag::APPROXIMATE, Ordering::Relaxed);
        }
    }
}
