//! Records that end the process: found by taking suspects one at a time, then kept out.
//!
//! A run ends badly when one of its threads panics or a fatal signal ends the process; a SIGKILL or a power cut leaves
//! no trace and accuses nobody. The next run is careful: it takes the records that the bad one can have had in its
//! hands one at a time ([`Care`](super::care::Care)) and notes each before it touches it, so that another bad end names
//! one record. A record that has ended two runs is quarantined: a dead letter with the reason `POISON`, never decided
//! again. [`Suspicion::after_bad_end`] is the whole decision; the rest of this file reads and writes it.
//!
//! Two small files of the state folder hold what is known. The dead letters hold it too, for a process with another folder.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StreamError;

const SUSPICION: &str = "suspicion.json";
const TAKING: &str = "taking";
/// Bad ends after which a record is quarantined.
const ENDS_MAX: u32 = 2;

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// A record under which a careful run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accused {
    /// Which.
    pub place: Place,
    /// How many runs it ended.
    pub ends: u32,
}

/// What bad ends have taught so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspicion {
    /// Whether the next run takes its first records one at a time.
    pub careful: bool,
    /// Whether a run ended without naming a record: it counts for the one that is named next.
    pub unnamed: bool,
    /// The record that was named last.
    pub accused: Option<Accused>,
    /// Records that are never decided again.
    pub quarantined: Vec<Place>,
}

impl Suspicion {
    /// What is known after a bad end, by the record that a careful run had in its hands.
    #[must_use]
    pub fn after_bad_end(mut self, named: Option<Place>) -> Self {
        self.careful = true;
        let Some(place) = named else {
            self.unnamed = true;
            return self;
        };
        let before = self.accused.take().filter(|accused| accused.place == place);
        let ends =
            before.map_or(0, |accused| accused.ends) + 1 + u32::from(std::mem::take(&mut self.unnamed));
        if ends < ENDS_MAX {
            self.accused = Some(Accused { place, ends });
        } else if !self.quarantined.contains(&place) {
            self.quarantined.push(place);
        }
        self
    }

    /// What is known when all suspects were taken and nothing happened.
    #[must_use]
    pub fn after_care(self) -> Self {
        Self { quarantined: self.quarantined, ..Self::default() }
    }
}

/// The files.
#[derive(Clone, Debug)]
pub struct Quarantine {
    folder: PathBuf,
}

impl Quarantine {
    /// In the state folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where [`Suspicion`] is.
    pub fn path(&self) -> PathBuf {
        self.folder.join(SUSPICION)
    }

    /// What is known; nothing where there is no file.
    pub fn load(&self) -> Result<Suspicion, StreamError> {
        let path = self.path();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| StreamError::File { path, error: std::io::Error::other(error) }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Suspicion::default()),
            Err(error) => Err(StreamError::File { path, error }),
        }
    }

    /// Replaces what is known, and forces it to the disk.
    pub fn store(&self, suspicion: &Suspicion) -> Result<(), StreamError> {
        let part = self.folder.join(".suspicion.part");
        let failed = |error| StreamError::File { path: part.clone(), error };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut file = File::create(&part).map_err(failed)?;
        let bytes =
            serde_json::to_vec_pretty(suspicion).map_err(|error| failed(std::io::Error::other(error)))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&part, self.path()).map_err(failed)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Takes note of a bad end.
    pub fn bad_end(&self) -> Result<(), StreamError> {
        let named = self.named()?;
        let known = self.load()?.after_bad_end(named.clone());
        if let Some(place) = named {
            let quarantined = known.quarantined.contains(&place);
            let Place { topic, partition, offset } = place;
            tracing::error!(topic, partition, offset, quarantined, "a run ended badly over this record");
        } else {
            tracing::error!("a run ended badly: the next one takes its first records one at a time");
        }
        self.store(&known)?;
        self.note()?.write(None)
    }

    /// The record that was being taken.
    fn named(&self) -> Result<Option<Place>, StreamError> {
        let path = self.folder.join(TAKING);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StreamError::File { path, error }),
        }
    }

    /// The note of the record that is being taken.
    pub fn note(&self) -> Result<Note, StreamError> {
        let path = self.folder.join(TAKING);
        let opened = File::options().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| StreamError::File { path: path.clone(), error })?;
        Ok(Note { file, path, line: String::new() })
    }
}

fn parse(text: &str) -> Option<Place> {
    let mut words = text.split_ascii_whitespace();
    let (partition, offset, topic) = (words.next()?, words.next()?, words.next()?);
    Some(Place { topic: topic.to_owned(), partition: partition.parse().ok()?, offset: offset.parse().ok()? })
}

/// Bytes of a note: the longest name of a topic and two numbers.
const NOTE_BYTES: usize = 300;

/// The record that is being taken, as a file that outlives the process. It is written, not synced: what a process
/// has written is there when the process has died, and a machine that dies accuses nobody.
#[derive(Debug)]
pub struct Note {
    file: File,
    path: PathBuf,
    line: String,
}

impl Note {
    /// Replaces the note.
    pub fn write(&mut self, place: Option<(&str, i32, i64)>) -> Result<(), StreamError> {
        self.line.clear();
        if let Some((topic, partition, offset)) = place {
            // A string accepts every write.
            let _ = write!(self.line, "{partition} {offset} {topic}");
        }
        // Always as long as before: no rest of an older note stays behind.
        let line = &mut self.line;
        line.extend(std::iter::repeat_n(' ', NOTE_BYTES.saturating_sub(line.len())));
        let written =
            self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(self.line.as_bytes()));
        written.map_err(|error| StreamError::File { path: self.path.clone(), error })
    }
}

#[cfg(test)]
#[path = "quarantine_tests.rs"]
mod tests;
