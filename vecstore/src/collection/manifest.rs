//! The manifest lists the files of a collection. It is replaced as a whole. Files that it does not list do
//! not count.

use super::files::{MANIFEST, MANIFEST_NEW, NUMBER_END, parse};
use crate::error::{Error, FormatError};
use crate::schema::{IndexParts, Schema};
use io_core::Directory;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use vecstore_format::FileIdentity;
use vecstore_format::checked_json;
use vecstore_format::log::LogHeader;
use vecstore_format::{Expected, RandomId};

const FORMAT: &str = "vecstore collection";
const VERSION: u32 = 5;
/// Collections with linked graphs keep this version, so that older builds open them.
const VERSION_LINKED: u32 = 4;
/// The same for those with compact graphs.
const VERSION_COMPACT: u32 = 3;
/// Earlier versions have no ids of collections and segments, and no list of logs.
const VERSION_OF_IDS: u32 = 3;
/// The most segments of a collection. Each keeps up to seven files open on every core, and Linux gives a
/// process at most 2^20 descriptors. More segments could not be searched, so no collection wrote a manifest
/// that lists more.
pub(crate) const SEGMENTS_MAX: usize = 4096;

/// The content of a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    version: u32,
    /// Tells the collection and its copies apart from all others. `None` in versions without ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<RandomId>,
    pub(crate) schema: Schema,
    /// Earlier logs are finished: segments hold their points.
    pub(crate) log_first: u64,
    /// The sequence number of the first record in that log.
    pub(crate) seq_first: u64,
    /// The logs that were begun and are not finished, ascending. Each must exist, and no other log holds
    /// writes.
    #[serde(default)]
    pub(crate) logs: Vec<ManifestLog>,
    /// Version 2 has this instead of `logs`: the last log that was begun, or 0.
    #[serde(default, skip_serializing)]
    log_last: u64,
    /// Segments and files of deleted points have only used numbers below this.
    pub(crate) number_next: u64,
    pub(crate) segments: Vec<ManifestSegment>,
}

/// A log that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestLog {
    /// The number in its name.
    pub(crate) number: u64,
    /// The random number in its header. No other log of this collection or its copies has it.
    pub(crate) salt: u64,
}

/// A segment of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestSegment {
    /// The number in its name.
    pub(crate) number: u64,
    /// Tells the segment apart from all others. `None` in versions without ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<RandomId>,
    /// The number of the file of its deleted points, if it has deleted points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<u64>,
    /// The random number in that file's header. No other such file of this segment or its copies has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_salt: Option<u64>,
}

impl ManifestSegment {
    /// The expected identity of the file of deleted points.
    pub(crate) fn expected_deleted(&self) -> Expected {
        Expected { identity: self.deleted_salt.map(|salt| deleted_identity(self.id, salt)), header_crc: None }
    }
}

/// The identity of a file of deleted points. A segment of an old version has no id, and only the salt tells
/// its files apart.
pub(crate) fn deleted_identity(segment: Option<RandomId>, salt: u64) -> FileIdentity {
    segment.unwrap_or(RandomId::NONE).file(salt)
}

/// The least version that has what the schema says.
fn version_of(schema: &Schema) -> u32 {
    match schema.index_parts() {
        IndexParts::CompactGraph => VERSION_COMPACT,
        IndexParts::LinkedGraph => VERSION_LINKED,
        IndexParts::Cells => VERSION,
    }
}

impl Manifest {
    /// The manifest of an empty collection.
    pub(crate) fn new(schema: Schema) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: version_of(&schema),
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

    /// The error for a missing manifest.
    pub(crate) fn missing(directory: &dyn Directory, dir: &Path) -> Result<Error, Error> {
        // If the whole directory is missing, that error is more useful.
        let entries = directory.list(dir)?;
        if !entries.iter().any(|entry| entry.name.to_str().and_then(parse).is_some()) {
            return Ok(Error::NotACollection { path: dir.to_owned() });
        }
        let reason = "it is missing, and beside it are files of a collection; `repair` makes do without it";
        Ok(Error::damaged(&dir.join(MANIFEST), None, reason))
    }

    /// The logs that must exist.
    pub(crate) fn begun(&self) -> impl Iterator<Item = u64> {
        let last = Some(self.log_last).filter(|&last| self.id.is_none() && last >= self.log_first);
        self.logs.iter().map(|log| log.number).chain(last)
    }

    /// Whether the log at this path belongs to the collection. An error if it belongs to another one. A log
    /// that was created but not begun returns false. It holds no writes.
    pub(crate) fn admit(
        &self,
        path: &Path,
        number: u64,
        header: &LogHeader,
        has_records: bool,
    ) -> Result<bool, Error> {
        let listed = self.logs.iter().find(|log| log.number == number);
        let is_own = match (self.id, listed) {
            // A manifest without an id has begun no log with an id.
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

    /// Completes a manifest of an old version with an id and the list of its logs. The next change writes
    /// both down.
    pub(crate) fn adopt(&mut self, logs: Vec<ManifestLog>) {
        if self.id.is_none() {
            (self.id, self.logs) = (Some(RandomId::random()), logs);
        }
    }

    /// Checks that it states nothing impossible. Opening counts on from its numbers, and removes files that
    /// it does not list.
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
                // In a segment of an old version, the file may be older than salts, or newer.
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
        // Decodes the version first, because a later version may have other fields.
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
        let parts = manifest.schema.index_parts();
        if parts > IndexParts::CompactGraph && head.version < version_of(&manifest.schema) {
            let reason = format!("version {} does not have {parts}", head.version);
            return Err(Error::damaged(path, None, reason));
        }
        manifest.check(path)?;
        manifest.schema.check()?;
        // The next write uses the version of this build.
        Ok(Self { version: version_of(&manifest.schema), ..manifest })
    }

    /// Writes the next manifest durably, beside the current one.
    pub(crate) fn prepare(&self, directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
        let path = dir.join(MANIFEST_NEW);
        if self.segments.len() > SEGMENTS_MAX {
            let (collection, segments) = (dir.to_owned(), self.segments.len());
            return Err(Error::TooManySegments { collection, segments, segments_max: SEGMENTS_MAX });
        }
        // A manifest that could not be opened again must not be written.
        self.check(&path)?;
        Ok(directory.write(&path, &checked_json::encode(self))?)
    }

    /// Replaces the manifest by the prepared one, durably. After an error, either of them may be in place.
    pub(crate) fn replace(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
        directory.rename(&dir.join(MANIFEST_NEW), &dir.join(MANIFEST))?;
        Ok(directory.sync_dir(dir)?)
    }
}
