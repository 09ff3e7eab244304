//! Event logs, fraud logs and slabs as snapshot bytes.
//!
//! Running aggregates are not stored: they follow from the events and the newest time, and deriving them
//! again means that a snapshot cannot contradict itself.

use super::block::EventBlock;
use super::extremes::Extremes;
use super::fraud_log::{FraudLog, KnownFraud};
use super::index::Index;
use super::log::{EXTREME_WINDOWS, EventLog, distinct_slots, is_last};
use super::panes::{Pane, PaneRings};
use super::plan::{Money, Plan};
use super::slab::{Slab, SlabStats};
use super::table::Table;
use crate::entity::Profile;
use crate::limits::{
    AMOUNT_MINOR_MAX, EVENT_TIME_MAX, EVENT_TIME_MIN, EXACT_EVENTS_MAX, KNOWN_FRAUDS_MAX, LATENESS_MAX,
    PANES_PER_WINDOW, WINDOW_COUNT, WINDOW_MAX, WINDOWS,
};
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::units::EntityKey;

impl<P: Plan> EventLog<P> {
    /// Appends the log to a snapshot.
    pub fn write(&self, out: &mut Writer) {
        out.i64(self.newest);
        out.u16(self.block.capacity() as u16);
        out.u16(self.block.start());
        out.u16(self.block.len() as u16);
        let events = self.block.events();
        for at in 0..events.len() {
            out.u64(events.age(at, self.newest) as u64);
        }
        events.amounts_from(0).for_each(|amount| out.i64(amount));
        for which in 0..P::TAGS {
            for &tag in events.tags(which) {
                out.u32(tag);
            }
        }
        out.u8(u8::from(self.panes.is_some()));
        if let Some(panes) = &self.panes {
            write_panes(panes, out);
        }
    }

    /// Takes a log from a snapshot.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let newest = input.i64()?;
        let block = read_block(input, newest)?;
        let mut log = Self { block, newest, ..Self::default() };
        if input.u8()? != 0 {
            log.panes = Some(read_panes(input, newest)?);
        }
        log.derive();
        Ok(log)
    }

    /// Computes every running aggregate from the events and the newest time.
    fn derive(&mut self) {
        let events = self.block.events();
        for &window in P::WINDOWS {
            let start = self.newest.saturating_sub(WINDOWS[window].0);
            self.tails[window] = events.count_until(start, self.newest) as u16;
        }
        for (&window, sum) in P::SUMS.iter().zip(self.money.sums_mut()) {
            *sum = events.amounts_from(self.tails[window] as usize).sum();
        }
        let widest = self.tails[WINDOW_COUNT - 1] as usize;
        for squares in self.money.squares_mut() {
            squares.set(events.amounts_from(widest).map(|amount| i128::from(amount).pow(2)).sum());
        }
        for which in 0..P::TAGS {
            for (slot, window) in distinct_slots::<P>(which) {
                let tags = &events.tags(which)[self.tails[window] as usize..];
                self.distinct[which][slot] = tags.iter().filter(|&&tag| is_last(tag)).count() as u16;
            }
        }
        for (slot, window) in EXTREME_WINDOWS.into_iter().enumerate().take(self.money.extremes().len()) {
            let extremes = self.scan_extremes(window);
            self.money.extremes_mut()[slot] = extremes;
        }
    }
}

fn read_block<P: Plan>(input: &mut Reader<'_>, newest: i64) -> Result<EventBlock<P>, SnapshotError> {
    let (capacity, start) = (input.u16()?, input.u16()?);
    let len = input.u16()? as usize;
    if len > EXACT_EVENTS_MAX || usize::from(start) + len > usize::from(capacity) {
        return Err(SnapshotError::OutOfRange { what: "events of an entity", value: len as i64 });
    }
    if len > 0 && !(EVENT_TIME_MIN.0..EVENT_TIME_MAX.0).contains(&newest) {
        return Err(SnapshotError::OutOfRange { what: "newest event time", value: newest });
    }
    let ages = (0..len).map(|_| input.i64()).collect::<Result<Vec<_>, _>>()?;
    let amounts = if P::Money::AMOUNTS { len } else { 0 };
    let amounts = (0..amounts).map(|_| input.i64()).collect::<Result<Vec<_>, _>>()?;
    let mut column = || (0..len).map(|_| input.u32()).collect::<Result<Vec<_>, _>>();
    let tags = (0..P::TAGS).map(|_| column()).collect::<Result<Vec<_>, _>>()?;
    let block = EventBlock::placed(capacity, start);
    let mut block =
        block.ok_or(SnapshotError::OutOfRange { what: "events' room", value: capacity.into() })?;
    let mut before = WINDOW_MAX.0 + LATENESS_MAX.0;
    for (at, &age) in ages.iter().enumerate() {
        let amount = amounts.get(at).copied().unwrap_or(0);
        if !(0..=before).contains(&age) {
            return Err(SnapshotError::OutOfRange { what: "age of an event", value: age });
        }
        if !(0..=AMOUNT_MINOR_MAX).contains(&amount) {
            return Err(SnapshotError::OutOfRange { what: "amount", value: amount });
        }
        let tag = |which: usize| tags.get(which).map_or(0, |column| column[at]);
        block.push(newest - age, amount, [tag(0), tag(1)]);
        before = age;
    }
    Ok(block)
}

fn write_panes(panes: &PaneRings, out: &mut Writer) {
    out.i64(panes.newest_spilled);
    for (window, ring) in panes.rings.iter().enumerate() {
        let live = || panes.live(window);
        out.u8(live().count() as u8);
        for (number, pane, squares) in live() {
            out.u8((number - ring.oldest) as u8);
            out.u64(pane.count);
            out.i64(pane.sum);
            out.i64(pane.extremes.min);
            out.i64(pane.extremes.max);
            out.i128(squares);
        }
    }
}

fn read_panes(input: &mut Reader<'_>, newest: i64) -> Result<Box<PaneRings>, SnapshotError> {
    if !(EVENT_TIME_MIN.0..EVENT_TIME_MAX.0).contains(&newest) {
        return Err(SnapshotError::OutOfRange { what: "newest event time", value: newest });
    }
    let mut panes = PaneRings::new(newest);
    panes.newest_spilled = input.i64()?;
    for window in 0..WINDOW_COUNT {
        for _ in 0..input.u8()? {
            let offset = i64::from(input.u8()?);
            if offset > PANES_PER_WINDOW {
                return Err(SnapshotError::OutOfRange { what: "pane", value: offset });
            }
            let (count, sum) = (input.u64()?, input.i64()?);
            let extremes = Extremes { min: input.i64()?, max: input.i64()? };
            panes.restore_pane(window, offset, Pane { count, sum, extremes }, input.i128()?);
        }
    }
    Ok(panes)
}

impl FraudLog {
    /// Appends the log to a snapshot.
    pub fn write(&self, out: &mut Writer) {
        out.u16(self.known.len() as u16);
        for fraud in &self.known {
            out.u64(fraud.id.get());
            out.i64(fraud.event_time);
            out.i64(fraud.known_time);
            out.i64(fraud.amount);
        }
    }

    /// Takes a log from a snapshot.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let len = input.u16()? as usize;
        if len > KNOWN_FRAUDS_MAX {
            return Err(SnapshotError::OutOfRange { what: "known frauds of an entity", value: len as i64 });
        }
        let mut log = Self::default();
        log.fit(len);
        for _ in 0..len {
            log.known.push(KnownFraud {
                id: EntityKey::from_hash(input.u64()?),
                event_time: input.i64()?,
                known_time: input.i64()?,
                amount: input.i64()?,
            });
        }
        Ok(log)
    }
}

impl<P: Profile> Table<P> {
    /// Appends one slab to a snapshot.
    pub fn write_slab(&self, slab: usize, out: &mut Writer) {
        let slab = &self.slabs[slab];
        out.u32(slab.hand);
        out.u64(slab.stats.evicted);
        out.u64(slab.stats.expired);
        out.u8(slab.index.log2());
        out.u32(slab.len() as u32);
        for slot in slab.iter_slots() {
            out.u64(slot.key.map_or(0, EntityKey::get));
            slot.entity.write(out);
        }
    }

    /// Replaces one slab by one from a snapshot; what is above this table's bounds is evicted.
    pub fn read_slab(&mut self, slab: usize, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let mut read: Slab<P> = Slab::new(self.slabs[slab].bounds);
        read.hand = input.u32()?;
        read.stats = SlabStats { evicted: input.u64()?, expired: input.u64()? };
        let log2 = input.u8()?;
        let entities = input.length("entities", u32::MAX as usize)?;
        for _ in 0..entities {
            let key = EntityKey::from_hash(input.u64()?);
            if Self::slab_of(key) != slab {
                return Err(SnapshotError::OutOfRange { what: "slab of a key", value: slab as i64 });
            }
            read.push(key, P::read(input)?);
        }
        // Only now: so many entities were really there.
        let index = Index::with_words(log2, entities);
        let index =
            index.ok_or(SnapshotError::OutOfRange { what: "size of an index", value: log2.into() })?;
        // Filled in order an index has its smallest size; one that had held more may be larger.
        if read.index.log2() != log2 {
            read.adopt(index);
        }
        read.shrink(None);
        self.slabs[slab] = read;
        Ok(())
    }
}
