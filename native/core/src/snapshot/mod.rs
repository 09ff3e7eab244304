//! The state of the fold as bytes, and back.
//!
//! Layout, all little-endian: magic, layout version, catalogue hash, settings, watermark, counters; then
//! for every table and slab its length, CRC-32 and content. What can be derived from the events (running
//! sums, distinct counts, extremes, the index) is derived again on loading, so a snapshot holds each fact
//! once. A restored engine continues bit for bit like the one that was saved.

mod codec;

pub use codec::{Reader, Writer};

use crate::engine::{Counters, Engine, EngineConfig};
use crate::entity::Profile;
use crate::feature::catalogue;
use crate::limits::{LATENESS_MAX, SLAB_COUNT};
use crate::units::{DurationMicros, EventTimeMicros};
use crate::window::Table;
use thiserror::Error;

const MAGIC: &[u8; 8] = b"FRAUDSNP";
/// Version of the layout.
pub const LAYOUT_VERSION: u32 = 2;

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

impl Engine {
    /// The whole state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes.extend_from_slice(MAGIC);
        out.u32(LAYOUT_VERSION);
        out.bytes.extend_from_slice(catalogue::hash().as_bytes());
        out.i64(self.config.lateness.0);
        out.u64(self.config.entities_max as u64);
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
        write_table(&mut out, &self.customers);
        write_table(&mut out, &self.cards);
        write_table(&mut out, &self.devices);
        write_table(&mut out, &self.merchants);
        write_table(&mut out, &self.ips);
        out.bytes
    }

    /// The engine that wrote these bytes.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = Reader::new(bytes);
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
        let minor_digits = input.u32()?;
        if minor_digits > 4 {
            return Err(SnapshotError::OutOfRange { what: "minor digits", value: minor_digits.into() });
        }
        let mut engine =
            Self::new(EngineConfig { lateness: DurationMicros(lateness), entities_max, minor_digits });
        engine.watermark = EventTimeMicros(input.i64()?);
        engine.counters = Counters {
            transactions: input.u64()?,
            labels: input.u64()?,
            duplicates: input.u64()?,
            late: input.u64()?,
            approximate: input.u64()?,
        };
        read_table(&mut input, &mut engine.customers, 0)?;
        read_table(&mut input, &mut engine.cards, 1)?;
        read_table(&mut input, &mut engine.devices, 2)?;
        read_table(&mut input, &mut engine.merchants, 3)?;
        read_table(&mut input, &mut engine.ips, 4)?;
        input.finish()?;
        Ok(engine)
    }
}

fn write_table<P: Profile>(out: &mut Writer, table: &Table<P>) {
    for slab in 0..SLAB_COUNT {
        let mut content = Writer::default();
        table.write_slab(slab, &mut content);
        out.u32(content.bytes.len() as u32);
        out.u32(crc32fast::hash(&content.bytes));
        out.bytes.extend_from_slice(&content.bytes);
    }
}

fn read_table<P: Profile>(
    input: &mut Reader<'_>,
    table: &mut Table<P>,
    number: usize,
) -> Result<(), SnapshotError> {
    for slab in 0..SLAB_COUNT {
        let length = input.u32()? as usize;
        let checksum = input.u32()?;
        let content = input.take(length)?;
        if crc32fast::hash(content) != checksum {
            return Err(SnapshotError::Checksum { table: number, slab });
        }
        let mut content = Reader::new(content);
        table.read_slab(slab, &mut content)?;
        content.finish()?;
    }
    Ok(())
}
