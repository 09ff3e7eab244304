//! What is stored of one cell: a checked head, then each key with its entity, as in a snapshot.
//!
//! Layout, little-endian: magic, layout version, what is stored, number of cells, the first 16 characters of the
//! catalogue hash, number of entities, for each its key and content, CRC-32 of everything before. A state of another
//! layout, catalogue, kind, cut or cell is refused: it would give other features without a word.

use std::marker::PhantomData;

use super::cell_of;
use crate::feature::catalogue;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::units::EntityKey;

const MAGIC: &[u8; 4] = b"FCEL";
/// Version of this layout; the content of an entity has the snapshot's.
const VERSION: u32 = 1 << 16 | crate::snapshot::LAYOUT_VERSION;
const HASH_BYTES: usize = 16;
/// Beyond what one cell can sensibly hold.
const ENTITIES_MAX: usize = 1 << 24;

/// Something that is kept by key.
pub trait Stored: Sized {
    /// Tells kinds apart.
    const WHAT: u8;
    /// Appends it.
    fn write(&self, out: &mut Writer);
    /// Takes it.
    fn read(input: &mut Reader<'_>) -> Result<Self, SnapshotError>;
}

/// One of them as bytes.
pub fn encoded<S: Stored>(one: &S) -> Vec<u8> {
    let mut out = Writer::default();
    one.write(&mut out);
    out.bytes
}

/// Reads and writes cells of one kind.
pub struct Cells<S> {
    cut: u32,
    catalogue: String,
    of: PhantomData<S>,
}

impl<S: Stored> Cells<S> {
    /// For a cut into this many cells.
    pub fn new(cells: u32) -> Self {
        Self { cut: cells, catalogue: catalogue::hash(), of: PhantomData }
    }

    /// The bytes of a cell.
    pub fn write(&self, entities: impl Iterator<Item = (EntityKey, Vec<u8>)>) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes.extend_from_slice(MAGIC);
        out.u32(VERSION);
        out.u8(S::WHAT);
        out.u32(self.cut);
        out.bytes.extend_from_slice(&self.catalogue.as_bytes()[..HASH_BYTES]);
        let at = out.bytes.len();
        out.u32(0);
        let mut count = 0_u32;
        for (key, bytes) in entities {
            out.u64(key.get());
            out.bytes.extend_from_slice(&bytes);
            count += 1;
        }
        out.bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
        out.u32(crc32fast::hash(&out.bytes));
        out.bytes
    }

    /// The entities of a cell.
    pub fn read(&self, cell: u32, bytes: Option<&[u8]>) -> Result<Vec<(EntityKey, S)>, SnapshotError> {
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        let mut input = Reader::new(bytes);
        if input.take(MAGIC.len())? != MAGIC {
            return Err(SnapshotError::WrongMagic);
        }
        let found = input.u32()?;
        if found != VERSION {
            return Err(SnapshotError::WrongVersion { found, expected: VERSION });
        }
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(SnapshotError::Truncated)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(SnapshotError::HeadChecksum);
        }
        let what = input.u8()?;
        if what != S::WHAT {
            return Err(SnapshotError::OutOfRange { what: "kind of a cell", value: what.into() });
        }
        let cells = input.u32()?;
        if cells != self.cut {
            return Err(SnapshotError::OutOfRange { what: "number of cells", value: cells.into() });
        }
        let (found, expected) = (input.take(HASH_BYTES)?, &self.catalogue[..HASH_BYTES]);
        if found != expected.as_bytes() {
            let found = String::from_utf8_lossy(found).into_owned();
            return Err(SnapshotError::WrongCatalogue { found, expected: expected.to_owned() });
        }
        let entities = input.length("entities of a cell", ENTITIES_MAX)?;
        let mut all = Vec::new();
        for _ in 0..entities {
            let key = EntityKey::from_hash(input.u64()?);
            if cell_of(key, self.cut) != cell {
                return Err(SnapshotError::OutOfRange { what: "cell of a key", value: cell.into() });
            }
            all.push((key, S::read(&mut input)?));
        }
        input.take(checksum.len())?;
        input.finish()?;
        Ok(all)
    }
}
