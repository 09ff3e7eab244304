//! The state of the fold as bytes, and back.
//!
//! Layout, all little-endian: a head (magic, layout version, catalogue hash, settings, watermark, counters,
//! pending labels, CRC-32), then the parts: every slab of every table with its length, CRC-32 and content. Head and
//! parts can be written one at a time while the engine runs on (see [`Stands`](crate::Stands)). What can be derived from the events (running
//! sums, distinct counts, extremes, the index) is derived again on loading, so a snapshot holds each fact
//! once. A restored engine continues bit for bit like the one that was saved.

mod codec;

pub use codec::{Reader, Writer};

use crate::engine::{Counters, Engine, EngineConfig};
use crate::event::{ENTITY_KINDS, EntityKind};
use crate::feature::catalogue;
use crate::limits::{LATENESS_MAX, SLAB_COUNT};
use crate::pending::PendingLabels;
use crate::units::{DurationMicros, EventTimeMicros};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"FRAUDSNP";
/// Version of the layout.
pub const LAYOUT_VERSION: u32 = 3;

/// Why a snapshot was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// The bytes end early.
    #[error("snapshot is truncated")]
    Truncated,
    /// There are bytes after the end.
    #[error("snapshot has {0} bytes after its end")]
    TrailingBytes(usize),
    /// The bytes do not start like a snapshot.
    #[error("not a snapshot: wrong magic bytes")]
    WrongMagic,
    /// Another layout version.
    #[error("snapshot layout version is {found}, this build reads {expected}")]
    WrongVersion {
        /// The snapshot's version.
        found: u32,
        /// This build's version.
        expected: u32,
    },
    /// Other features.
    #[error("snapshot was written with feature catalogue {found}, this build has {expected}")]
    WrongCatalogue {
        /// The snapshot's catalogue hash.
        found: String,
        /// This build's catalogue hash.
        expected: String,
    },
    /// The head's checksum does not match.
    #[error("snapshot is corrupt: checksum of its head does not match")]
    HeadChecksum,
    /// A slab's checksum does not match.
    #[error("snapshot is corrupt: checksum of slab {slab} of table {table} does not match")]
    Checksum {
        /// Position of the table.
        table: usize,
        /// Position of the slab.
        slab: usize,
    },
    /// A value that no engine writes.
    #[error("snapshot is corrupt: {what} is {value}")]
    OutOfRange {
        /// What it should have been.
        what: &'static str,
        /// The value.
        value: i64,
    },
}

/// Parts of a snapshot: the slabs of all tables, table by table in the order of `EntityKind::ALL`.
pub const PARTS: usize = ENTITY_KINDS * SLAB_COUNT;

impl Engine {
    /// The whole state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.write_head(&mut out);
        (0..PARTS).for_each(|part| self.write_part(part, &mut out));
        out.bytes
    }

    /// Appends everything but the tables.
    pub fn write_head(&self, out: &mut Writer) {
        let start = out.bytes.len();
        out.bytes.extend_from_slice(MAGIC);
        out.u32(LAYOUT_VERSION);
        out.bytes.extend_from_slice(catalogue::hash().as_bytes());
        out.i64(self.config.lateness.0);
        out.u64(self.config.entities_max as u64);
        out.u64(self.config.memory_max as u64);
        out.u32(self.config.minor_digits);
        out.i64(self.watermark.0);
        for counter in [
            self.counters.transactions,
            self.counters.labels,
            self.counters.duplicates,
            self.counters.late,
            self.counters.approximate,
        ] {
            out.u64(counter);
        }
        self.pending.write(out);
        out.u32(crc32fast::hash(&out.bytes[start..]));
    }

    /// Appends one part, `0..PARTS`.
    pub fn write_part(&self, part: usize, out: &mut Writer) {
        let slab = part % SLAB_COUNT;
        let start = out.bytes.len();
        out.u32(0);
        out.u32(0);
        match EntityKind::ALL[part / SLAB_COUNT] {
            EntityKind::Customer => self.customers.write_slab(slab, out),
            EntityKind::Card => self.cards.write_slab(slab, out),
            EntityKind::Device => self.devices.write_slab(slab, out),
            EntityKind::Merchant => self.merchants.write_slab(slab, out),
            EntityKind::Ip => self.ips.write_slab(slab, out),
        }
        let length = (out.bytes.len() - start - 8) as u32;
        let checksum = crc32fast::hash(&out.bytes[start + 8..]);
        out.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out.bytes[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The engine that wrote these bytes.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Self::restore_within(bytes, None)
    }

    /// The engine that wrote these bytes, with another bound on the bytes of its tables if one is given: it is
    /// kept from the first part on.
    pub fn restore_within(bytes: &[u8], memory_max: Option<usize>) -> Result<Self, SnapshotError> {
        let mut input = Reader::new(bytes);
        let mut engine = Self::read_head(&mut input)?;
        if let Some(memory_max) = memory_max {
            engine.rebound(engine.config.entities_max, memory_max);
        }
        (0..PARTS).try_for_each(|part| engine.read_part(part, &mut input))?;
        input.finish()?;
        Ok(engine)
    }

    /// An engine with empty tables from a head. Before it reads parts it may be given other bounds
    /// ([`Engine::rebound`]).
    pub fn read_head(input: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let head = input.rest();
        if input.take(MAGIC.len())? != MAGIC {
            return Err(SnapshotError::WrongMagic);
        }
        let found = input.u32()?;
        if found != LAYOUT_VERSION {
            return Err(SnapshotError::WrongVersion { found, expected: LAYOUT_VERSION });
        }
        let (found, expected) = (input.take(32)?, catalogue::hash());
        if found != expected.as_bytes() {
            let found = String::from_utf8_lossy(found).into_owned();
            return Err(SnapshotError::WrongCatalogue { found, expected });
        }
        let lateness = input.i64()?;
        if !(0..=LATENESS_MAX.0).contains(&lateness) {
            return Err(SnapshotError::OutOfRange { what: "lateness", value: lateness });
        }
        let entities_max = input.u64()? as usize;
        let memory_max = input.u64()? as usize;
        let minor_digits = input.u32()?;
        if minor_digits > 4 {
            return Err(SnapshotError::OutOfRange { what: "minor digits", value: minor_digits.into() });
        }
        let lateness = DurationMicros(lateness);
        let mut engine = Self::new(EngineConfig { lateness, entities_max, memory_max, minor_digits });
        engine.watermark = EventTimeMicros(input.i64()?);
        engine.counters = Counters {
            transactions: input.u64()?,
            labels: input.u64()?,
            duplicates: input.u64()?,
            late: input.u64()?,
            approximate: input.u64()?,
        };
        engine.pending = PendingLabels::read(input)?;
        let checksum = crc32fast::hash(&head[..head.len() - input.rest().len()]);
        if input.u32()? == checksum { Ok(engine) } else { Err(SnapshotError::HeadChecksum) }
    }

    /// Fills one part, `0..PARTS`.
    pub fn read_part(&mut self, part: usize, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let (table, slab) = (part / SLAB_COUNT, part % SLAB_COUNT);
        let length = input.u32()? as usize;
        let checksum = input.u32()?;
        let content = input.take(length)?;
        if crc32fast::hash(content) != checksum {
            return Err(SnapshotError::Checksum { table, slab });
        }
        let mut content = Reader::new(content);
        match EntityKind::ALL[table] {
            EntityKind::Customer => self.customers.read_slab(slab, &mut content)?,
            EntityKind::Card => self.cards.read_slab(slab, &mut content)?,
            EntityKind::Device => self.devices.read_slab(slab, &mut content)?,
            EntityKind::Merchant => self.merchants.read_slab(slab, &mut content)?,
            EntityKind::Ip => self.ips.read_slab(slab, &mut content)?,
        }
        content.finish()
    }

    /// Takes over a part that another engine has read, so that several threads can read one snapshot.
    pub fn take_part(&mut self, part: usize, from: &mut Self) {
        let slab = part % SLAB_COUNT;
        match EntityKind::ALL[part / SLAB_COUNT] {
            EntityKind::Customer => self.customers.swap_slab(slab, &mut from.customers),
            EntityKind::Card => self.cards.swap_slab(slab, &mut from.cards),
            EntityKind::Device => self.devices.swap_slab(slab, &mut from.devices),
            EntityKind::Merchant => self.merchants.swap_slab(slab, &mut from.merchants),
            EntityKind::Ip => self.ips.swap_slab(slab, &mut from.ips),
        }
    }
}
