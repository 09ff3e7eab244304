//! Entities as snapshot bytes.

use super::profile::{Common, Habits};
use super::recent_ids::RecentIds;
use crate::event::Place;
use crate::limits::RECENT_IDS_MAX;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::window::{EventLog, FraudLog, Plan};

impl<P: Plan> Common<P> {
    /// Appends the common part to a snapshot.
    pub fn write(&self, out: &mut Writer) {
        out.i64(self.first_seen);
        self.log.write(out);
        out.u8(u8::from(self.frauds.is_some()));
        if let Some(frauds) = &self.frauds {
            frauds.write(out);
        }
    }

    /// Takes the common part from a snapshot.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let first_seen = input.i64()?;
        let log = EventLog::read(input)?;
        let frauds = if input.u8()? != 0 { Some(Box::new(FraudLog::read(input)?)) } else { None };
        Ok(Self { log, frauds, first_seen })
    }
}

impl Habits {
    /// Appends the habits to a snapshot.
    pub fn write(&self, out: &mut Writer) {
        self.hours.bins.iter().for_each(|&bin| out.u8(bin));
        self.categories.codes.iter().for_each(|&code| out.u16(code));
        let places = &self.places;
        for place in [places.last, places.home] {
            out.f32(place.latitude);
            out.f32(place.longitude);
        }
        out.i64(places.last_time);
        out.f32(places.events);
        self.ids.write(out);
    }

    /// Takes the habits from a snapshot.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let mut habits = Self::default();
        for bin in &mut habits.hours.bins {
            *bin = input.u8()?;
        }
        for code in &mut habits.categories.codes {
            *code = input.u16()?;
        }
        for place in [&mut habits.places.last, &mut habits.places.home] {
            *place = Place { latitude: input.f32()?, longitude: input.f32()? };
        }
        habits.places.last_time = input.i64()?;
        habits.places.events = input.f32()?;
        habits.ids = RecentIds::read(input)?;
        Ok(habits)
    }
}

impl RecentIds {
    /// Appends the ids to a snapshot.
    pub fn write(&self, out: &mut Writer) {
        out.u8(self.next);
        for at in 0..RECENT_IDS_MAX {
            out.u64(self.ids[at]);
            out.u32(self.values[at]);
            out.u8(self.states[at]);
        }
    }

    /// Takes the ids from a snapshot.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let mut read = Self { next: input.u8()?, ..Self::default() };
        if usize::from(read.next) >= RECENT_IDS_MAX {
            let value = i64::from(read.next);
            return Err(SnapshotError::OutOfRange { what: "next recent id", value });
        }
        for at in 0..RECENT_IDS_MAX {
            read.ids[at] = input.u64()?;
            read.values[at] = input.u32()?;
            read.states[at] = input.u8()?;
        }
        Ok(read)
    }
}
