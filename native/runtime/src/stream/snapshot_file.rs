//! Snapshot files: a state, and where in the logs it stands.
//!
//! Layout: a header of [`HEADER_BYTES`] (magic, version, positions, CRC-32), the head of the engine, then each
//! part behind the position at which it was copied. A file is written under another name, synced, renamed, and its
//! folder synced, so a file with the right name is complete. Names carry the position; a later file of the same
//! position (only labels have come since) replaces the earlier one. Everything read is checked: a file is input like
//! any other.
//!
//! The header stands first but is written last, because it says where the log was when the copy ended.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Sender, bounded};
use fraudengine_core::snapshot::{PARTS, Reader, SnapshotError, Writer};
use fraudengine_core::{Engine, EngineConfig, Stands};

use super::StreamError;
use super::delivery::TOPICS;
use crate::limits::{PARTITIONS_MAX, SNAPSHOT_PART_BYTES_MAX};

const MAGIC: &[u8; 8] = b"FRAUDSTA";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16_384;
const PREFIX: &str = "state-";
const SUFFIX: &str = ".snapshot";

/// Where a snapshot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Rows decided before the copy began.
    pub position: u64,
    /// Offset of the first decision after them, and of what belongs to it in the other topics, at least.
    pub offsets: [i64; TOPICS],
    /// Offsets of the markers of the process that wrote it.
    pub generations: [i64; TOPICS],
    /// Rows decided before the copy ended.
    pub end_position: u64,
    /// Offset of the first decision after those.
    pub end_offset: i64,
    /// Offset of the next label.
    pub label_offset: i64,
    /// Offset of the next transaction of each partition.
    pub sources: Vec<i64>,
}

const _: () = assert!(8 + 4 + 8 * (8 + 2 * TOPICS + PARTITIONS_MAX) + 4 <= HEADER_BYTES, "a header has room");

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes.extend_from_slice(MAGIC);
        out.u32(VERSION);
        out.u64(self.position);
        self.offsets.iter().for_each(|&offset| out.i64(offset));
        self.generations.iter().for_each(|&offset| out.i64(offset));
        out.u64(self.end_position);
        out.i64(self.end_offset);
        out.i64(self.label_offset);
        out.u32(self.sources.len() as u32);
        self.sources.iter().for_each(|&offset| out.i64(offset));
        let checksum = crc32fast::hash(&out.bytes);
        out.u32(checksum);
        out.bytes.resize(HEADER_BYTES, 0);
        out.bytes
    }

    fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = Reader::new(bytes);
        if input.take(MAGIC.len())? != MAGIC {
            return Err(SnapshotError::WrongMagic);
        }
        let found = input.u32()?;
        if found != VERSION {
            return Err(SnapshotError::WrongVersion { found, expected: VERSION });
        }
        let position = input.u64()?;
        let (mut offsets, mut generations) = ([0; TOPICS], [0; TOPICS]);
        for offset in offsets.iter_mut().chain(&mut generations) {
            *offset = input.i64()?;
        }
        let end_position = input.u64()?;
        let end_offset = input.i64()?;
        let label_offset = input.i64()?;
        let partitions = input.length("partitions", PARTITIONS_MAX)?;
        let sources = (0..partitions).map(|_| input.i64()).collect::<Result<_, _>>()?;
        let checksum = crc32fast::hash(&bytes[..bytes.len() - input.rest().len()]);
        if input.u32()? != checksum {
            return Err(SnapshotError::HeadChecksum);
        }
        Ok(Self { position, offsets, generations, end_position, end_offset, label_offset, sources })
    }
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> StreamError {
    let path = path.to_owned();
    move |error| StreamError::File { path, error }
}

/// A snapshot being written.
#[derive(Debug)]
pub struct SnapshotWriter {
    folder: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl SnapshotWriter {
    /// Begins a file in a folder, which is made if it does not exist.
    pub fn begin(folder: &Path, head: &[u8]) -> Result<Self, StreamError> {
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        let part = folder.join(".snapshot.part");
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&part).map_err(file_error(&part))?;
        let mut writer =
            Self { folder: folder.to_owned(), part, file: BufWriter::with_capacity(1 << 20, file), bytes: 0 };
        writer.write(&[0; HEADER_BYTES])?;
        writer.write(&(head.len() as u32).to_le_bytes())?;
        writer.write(head)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(file_error(&self.part))
    }

    /// Appends the next part, copied at a position.
    pub fn part(&mut self, position: u64, bytes: &[u8]) -> Result<(), StreamError> {
        let position = position.to_le_bytes();
        self.write(&position)?;
        self.write(&crc32fast::hash(&position).to_le_bytes())?;
        self.write(bytes)
    }

    /// Forces what has been written so far to the disk, so that the publication has less to wait for.
    pub fn sync(&mut self) -> Result<(), StreamError> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_data()).map_err(file_error(&self.part))
    }

    /// Publishes the file; returns its size in bytes.
    pub fn publish(mut self, header: &Header) -> Result<u64, StreamError> {
        let error = || file_error(&self.part);
        self.file.flush().map_err(error())?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0)).map_err(error())?;
        file.write_all(&header.bytes()).map_err(error())?;
        file.sync_all().map_err(error())?;
        let name = format!("{PREFIX}{:020}-{:020}{SUFFIX}", header.position, header.generations[0]);
        let place = self.folder.join(name);
        fs::rename(&self.part, &place).map_err(file_error(&place))?;
        // Without this the name itself could be lost with the power.
        let folder = File::open(&self.folder).map_err(file_error(&self.folder))?;
        folder.sync_all().map_err(file_error(&self.folder))?;
        Ok(self.bytes)
    }
}

/// The snapshots of a folder, the newest first; none if there is no folder.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, StreamError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_error(folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(file_error(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            found.push(path);
        }
    }
    // Names sort by position, then by generation: the order of time.
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Removes all but the newest snapshots.
pub fn prune(folder: &Path, kept: usize) -> Result<(), StreamError> {
    for path in list(folder)?.into_iter().skip(kept.max(1)) {
        fs::remove_file(&path).map_err(file_error(&path))?;
    }
    Ok(())
}

/// A snapshot that was read.
#[derive(Debug)]
pub struct Loaded {
    /// Where it stands.
    pub header: Header,
    /// The state.
    pub engine: Engine,
    /// Where each of its parts stands.
    pub stands: Stands,
    /// Whether it was written within the bounds that hold now.
    pub same_bounds: bool,
}

/// Most threads that take parts of a file apart.
const LOADERS_MAX: usize = 8;

/// Reads a file, checking everything. The state keeps the bounds of `config` from the first part on; its other
/// settings must be the file's.
pub fn load(path: &Path, config: &EngineConfig) -> Result<Loaded, StreamError> {
    let refused = |error| StreamError::Snapshot { path: path.to_owned(), error };
    let file = File::open(path).map_err(file_error(path))?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut buffer = vec![0; HEADER_BYTES];
    fill(&mut input, &mut buffer, path)?;
    let header = Header::read(&buffer).map_err(refused)?;
    let length = u64::from(read_u32(&mut input, path)?);
    read_bounded(&mut input, &[], length, &mut buffer, path)?;
    let mut head = Reader::new(&buffer);
    let mut engine = Engine::read_head(&mut head).map_err(refused)?;
    head.finish().map_err(refused)?;
    let written = *engine.config();
    engine.rebound(config.entities_max, config.memory_max);
    if engine.config() != config {
        let what = "settings of the engine differ from the file's; position";
        return Err(refused(SnapshotError::OutOfRange { what, value: header.position as i64 }));
    }
    let stands = load_parts(&mut input, &header, &mut engine, path)?;
    if input.read(&mut [0]).map_err(file_error(path))? > 0 {
        return Err(refused(SnapshotError::TrailingBytes(1)));
    }
    Ok(Loaded { header, engine, stands, same_bounds: written == *config })
}

/// Reads the parts in this thread and lets others take them apart, each into an engine of its own.
fn load_parts(
    input: &mut impl Read,
    header: &Header,
    engine: &mut Engine,
    path: &Path,
) -> Result<Stands, StreamError> {
    let count = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(LOADERS_MAX);
    // As many buffers as loaders: one read ahead for each.
    let (to_loader, parts) = bounded::<(usize, Vec<u8>)>(count);
    let blank: &Engine = engine;
    let take_apart = || {
        let (mut own, mut held, mut outcome) = (blank.clone(), Vec::new(), Ok(()));
        // After an error the rest is still taken, or the reader would wait for ever.
        for (part, bytes) in parts.clone() {
            if outcome.is_ok() {
                let mut content = Reader::new(&bytes);
                outcome = own.read_part(part, &mut content).and_then(|()| content.finish());
                held.push(part);
            }
        }
        outcome.map(|()| (own, held))
    };
    let (stands, loaded) = std::thread::scope(|scope| {
        let loaders: Vec<_> = (0..count).map(|_| scope.spawn(take_apart)).collect();
        let stands = read_parts(input, header, &to_loader, path);
        drop(to_loader);
        let ended = loaders.into_iter().map(|each| each.join().map_err(|_| StreamError::Thread("loader")));
        (stands, ended.collect::<Result<Vec<_>, _>>())
    });
    for result in loaded? {
        let (mut own, held) =
            result.map_err(|error| StreamError::Snapshot { path: path.to_owned(), error })?;
        for part in held {
            engine.take_part(part, &mut own);
        }
    }
    stands
}

/// Reads the parts and hands them on; says where each stands.
fn read_parts(
    input: &mut impl Read,
    header: &Header,
    to_loader: &Sender<(usize, Vec<u8>)>,
    path: &Path,
) -> Result<Stands, StreamError> {
    let refused = |error| StreamError::Snapshot { path: path.to_owned(), error };
    let mut stands = Stands::all_at(header.position);
    for part in 0..PARTS {
        let mut position = [0; 8];
        fill(input, &mut position, path)?;
        if read_u32(input, path)? != crc32fast::hash(&position) {
            return Err(refused(SnapshotError::HeadChecksum));
        }
        let position = u64::from_le_bytes(position);
        if !(header.position..=header.end_position).contains(&position) {
            let error = SnapshotError::OutOfRange { what: "position of a part", value: position as i64 };
            return Err(refused(error));
        }
        stands.set(part, position);
        let mut frame = [0; 8];
        fill(input, &mut frame, path)?;
        let length = u64::from(u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]));
        let mut bytes = Vec::new();
        read_bounded(input, &frame, length, &mut bytes, path)?;
        if to_loader.send((part, bytes)).is_err() {
            return Err(StreamError::Thread("loader"));
        }
    }
    Ok(stands)
}

fn fill(input: &mut impl Read, buffer: &mut [u8], path: &Path) -> Result<(), StreamError> {
    input.read_exact(buffer).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            StreamError::Snapshot { path: path.to_owned(), error: SnapshotError::Truncated }
        }
        _ => file_error(path)(error),
    })
}

fn read_u32(input: &mut impl Read, path: &Path) -> Result<u32, StreamError> {
    let mut bytes = [0; 4];
    fill(input, &mut bytes, path).map(|()| u32::from_le_bytes(bytes))
}

/// Reads as many bytes as the file states, behind a prefix, without believing it before they are there.
fn read_bounded(
    input: &mut impl Read,
    prefix: &[u8],
    length: u64,
    buffer: &mut Vec<u8>,
    path: &Path,
) -> Result<(), StreamError> {
    let refused = |error| StreamError::Snapshot { path: path.to_owned(), error };
    if length > SNAPSHOT_PART_BYTES_MAX {
        return Err(refused(SnapshotError::OutOfRange { what: "bytes of a part", value: length as i64 }));
    }
    buffer.clear();
    buffer.extend_from_slice(prefix);
    input.take(length).read_to_end(buffer).map_err(file_error(path))?;
    if ((buffer.len() - prefix.len()) as u64) < length {
        return Err(refused(SnapshotError::Truncated));
    }
    Ok(())
}

#[cfg(test)]
#[path = "snapshot_file_tests.rs"]
mod tests;
