//! The manifest: what belongs to a collection. It is replaced as a whole; what it does not name does not belong.

use super::files::{MANIFEST, MANIFEST_NEW, NUMBER_END, parse};
use crate::error::{Error, FormatError};
use crate::schema::Schema;
use io_core::Directory;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use vecstore_format::FileIdentity;
use vecstore_format::checked_json;
use vecstore_format::log::LogHeader;
use vecstore_format::{Expected, RandomId};

const FORMAT: &str = "vecstore collection";
const VERSION: u32 = 3;
/// Collections and segments had no ids before, and logs were not listed.
const VERSION_OF_IDS: u32 = 3;
/// Segments of a collection. Each keeps up to seven files open on every core, and Linux gives a process 2^20 descriptors at
/// most: more segments than this could not be searched, and a manifest that lists more was not written by a collection.
pub(crate) const SEGMENTS_MAX: usize = 4096;

/// What belongs to a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    version: u32,
    /// What the collection and its copies are told apart by from all others; none in versions that knew no ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<RandomId>,
    pub(crate) schema: Schema,
    /// Logs before this one are done with: what they held is in segments.
    pub(crate) log_first: u64,
    /// The sequence number of the first record in that log.
    pub(crate) seq_first: u64,
    /// The logs that were begun and are not done with, ascending. Each has to be there, and no other one holds anything.
    #[serde(default)]
    pub(crate) logs: Vec<ManifestLog>,
    /// In version 2 instead of `logs`: the last one that was begun, 0 if none was.
    #[serde(default, skip_serializing)]
    log_last: u64,
    /// No segment and no file of deleted points has had this number or one above it.
    pub(crate) number_next: u64,
    pub(crate) segments: Vec<ManifestSegment>,
}

/// A log that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestLog {
    /// The number in its name.
    pub(crate) number: u64,
    /// The random number in its header, which no other log has, of this collection or of a copy of it.
    pub(crate) salt: u64,
}

/// A segment of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestSegment {
    /// The number in its name.
    pub(crate) number: u64,
    /// What it is told apart by from all others; none if it is of a version that knew no ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<RandomId>,
    /// The number of the file that says which of its points are deleted, if any are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<u64>,
    /// The random number in that file's header, which no other one has, of this segment or of a copy of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_salt: Option<u64>,
}

impl ManifestSegment {
    /// What the file that says which points are deleted has to be.
    pub(crate) fn expected_deleted(&self) -> Expected {
        Expected { identity: self.deleted_salt.map(|salt| deleted_identity(self.id, salt)), header_crc: None }
    }
}

/// Which file one of deleted points is. A segment of an old version has no id, and the salt alone tells.
pub(crate) fn deleted_identity(segment: Option<RandomId>, salt: u64) -> FileIdentity {
    segment.unwrap_or(RandomId::NONE).file(salt)
}

impl Manifest {
    /// Of an empty collection.
    pub(crate) fn new(schema: Schema) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            id: Some(RandomId::random()),
            schema,
            log_first: 1,
            seq_first: 1,
            logs: Vec::new(),
            log_last: 0,
            number_next: 1,
            segments: Vec::new(),
        }
    }

    /// Reads the manifest of a collection.
    pub(crate) fn read(directory: &dyn Directory, dir: &Path) -> Result<Self, Error> {
        let path = dir.join(MANIFEST);
        let bytes = match directory.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Err(Self::missing(directory, dir)?),
            Err(error) => return Err(error.into()),
        };
        Self::decode(&path, &bytes)
    }

    /// What it means that there is no manifest.
    pub(crate) fn missing(directory: &dyn Directory, dir: &Path) -> Result<Error, Error> {
        // A directory that is not there at all is the more useful thing to say.
        let entries = directory.list(dir)?;
        if !entries.iter().any(|entry| entry.name.to_str().and_then(parse).is_some()) {
            return Ok(Error::NotACollection { path: dir.to_owned() });
        }
        let reason = "it is missing, and beside it are files of a collection; `repair` makes do without it";
        Ok(Error::damaged(&dir.join(MANIFEST), None, reason))
    }

    /// The logs that have to be there.
    pub(crate) fn begun(&self) -> impl Iterator<Item = u64> {
        let last = Some(self.log_last).filter(|&last| self.id.is_none() && last >= self.log_first);
        self.logs.iter().map(|log| log.number).chain(last)
    }

    /// Whether the log at this place is one of the collection's: an error if it is another one. One that was created and not
    /// begun is none, and holds nothing.
    pub(crate) fn admit(
        &self,
        path: &Path,
        number: u64,
        header: &LogHeader,
        has_records: bool,
    ) -> Result<bool, Error> {
        let listed = self.logs.iter().find(|log| log.number == number);
        let is_own = match (self.id, listed) {
            // Of logs with an id such a manifest has begun none.
            (None, _) => header.collection.is_none(),
            (Some(_), None) => false,
            (Some(id), Some(log)) => {
                log.salt == header.salt && header.collection.is_none_or(|other| other == id)
            }
        };
        if is_own && header.number == number {
            return Ok(true);
        }
        if listed.is_none() && !has_records {
            return Ok(false);
        }
        let expected = match (self.id, listed) {
            (Some(id), Some(log)) => {
                format!("log {number} of collection {id} with the salt {:016x}", log.salt)
            }
            (None, _) => format!("log {number} of a collection of an old version"),
            (Some(_), None) => "no log with writes in it".to_owned(),
        };
        Err(FormatError::misplaced(path, header.to_string(), expected).into())
    }

    /// Gives a manifest of an old version what it lacks: an id, and the list of its logs. Both are written down with whatever
    /// changes next.
    pub(crate) fn adopt(&mut self, logs: Vec<ManifestLog>) {
        if self.id.is_none() {
            (self.id, self.logs) = (Some(RandomId::random()), logs);
        }
    }

    /// Checks that it says nothing impossible: what opens it counts on from its numbers, and removes what it does not name.
    fn check(&self, path: &Path) -> Result<(), Error> {
        let wrong = |reason: String| Err(Error::damaged(path, None, reason));
        let firsts =
            [("log_first", self.log_first), ("seq_first", self.seq_first), ("number_next", self.number_next)];
        for (name, number) in firsts {
            if !(1..=NUMBER_END).contains(&number) {
                return wrong(format!("{name} is {number}, and has to be from 1 to {NUMBER_END}"));
            }
        }
        let mut before = None;
        for log in &self.logs {
            if log.number >= NUMBER_END {
                let last = NUMBER_END - 1;
                return wrong(format!("it lists log {}; no log has a number above {last}", log.number));
            }
            if log.number < self.log_first {
                return wrong(format!(
                    "it lists log {}, and calls it done with: log_first is {}",
                    log.number, self.log_first
                ));
            }
            if before.is_some_and(|before| before >= log.number) {
                return wrong(format!("it lists log {} out of order, or twice", log.number));
            }
            before = Some(log.number);
        }
        if self.segments.len() > SEGMENTS_MAX {
            return wrong(format!("it lists {} segments; {SEGMENTS_MAX} are the most", self.segments.len()));
        }
        let (mut segments, mut ids, mut deleted) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for segment in &self.segments {
            let number = segment.number;
            if !segments.insert(number) {
                return wrong(format!("it lists segment {number} twice"));
            }
            if let Some(id) = segment.id.filter(|&id| !ids.insert(id)) {
                return wrong(format!("it lists segment {number} under the id {id} of another one"));
            }
            if let Some(file) = segment.deleted.filter(|&file| !deleted.insert(file)) {
                return wrong(format!("it lists file {file} of deleted points for two segments"));
            }
            let is_salt_wrong = match (segment.deleted, segment.id) {
                (None, _) => segment.deleted_salt.is_some(),
                (Some(_), Some(_)) => segment.deleted_salt.is_none(),
                // Of an old version: written before there were salts, or since.
                (Some(_), None) => false,
            };
            if is_salt_wrong {
                return wrong(format!(
                    "it lists deleted points of segment {number} without a salt, or only a salt"
                ));
            }
        }
        let last = segments.last().max(deleted.last()).copied();
        if let Some(last) = last.filter(|&last| last >= self.number_next) {
            return wrong(format!(
                "it lists a file of number {last}, and number_next is {}",
                self.number_next
            ));
        }
        Ok(())
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        // The version first: a later one may have other fields.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = checked_json::decode(path, bytes)?;
        if head.format != FORMAT {
            let reason = format!("its format is {:?} instead of {FORMAT:?}", head.format);
            return Err(Error::damaged(path, None, reason));
        }
        if !(1..=VERSION).contains(&head.version) {
            let (path, found) = (path.to_owned(), head.version);
            return Err(FormatError::Version { path, found, known: VERSION }.into());
        }
        let manifest: Self = checked_json::decode(path, bytes)?;
        if manifest.id.is_some() != (head.version >= VERSION_OF_IDS) {
            let reason = format!("version {} with an id or without one, as it must not be", head.version);
            return Err(Error::damaged(path, None, reason));
        }
        manifest.check(path)?;
        manifest.schema.check()?;
        // It is written as what this build writes.
        Ok(Self { version: VERSION, ..manifest })
    }

    /// Writes what is to become the manifest, durably.
    pub(crate) fn prepare(&self, directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
        let path = dir.join(MANIFEST_NEW);
        if self.segments.len() > SEGMENTS_MAX {
            let (collection, segments) = (dir.to_owned(), self.segments.len());
            return Err(Error::TooManySegments { collection, segments, segments_max: SEGMENTS_MAX });
        }
        // What could not be opened again is not written.
        self.check(&path)?;
        Ok(directory.write(&path, &checked_json::encode(self))?)
    }

    /// Puts what was prepared into the place of the manifest, durably. After an error nobody knows which one is there.
    pub(crate) fn replace(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
        directory.rename(&dir.join(MANIFEST_NEW), &dir.join(MANIFEST))?;
        Ok(directory.sync_dir(dir)?)
    }
}
