//! The manifest: what belongs to a collection. It is replaced as a whole; what it does not name does not belong.

use super::files::{MANIFEST, MANIFEST_NEW, parse};
use crate::checked_json;
use crate::error::Error;
use crate::schema::Schema;
use io_core::Directory;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FORMAT: &str = "vecstore collection";
const VERSION: u32 = 2;

/// What belongs to a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    version: u32,
    pub(crate) schema: Schema,
    /// Logs before this one are done with: what they held is in segments.
    pub(crate) log_first: u64,
    /// The sequence number of the first record in that log.
    pub(crate) seq_first: u64,
    /// The last log that was begun; it has to be there, unless it is done with. 0 if none was begun, or if nobody knows:
    /// version 1 did not say.
    #[serde(default)]
    pub(crate) log_last: u64,
    /// No segment and no file of deleted points has had this number or one above it.
    pub(crate) number_next: u64,
    pub(crate) segments: Vec<ManifestSegment>,
}

/// A segment of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestSegment {
    /// The number in its name.
    pub(crate) number: u64,
    /// The number of the file that says which of its points are deleted, if any are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<u64>,
}

impl Manifest {
    /// Of an empty collection.
    pub(crate) fn new(schema: Schema) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            schema,
            log_first: 1,
            seq_first: 1,
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

    /// Whether the last log is missing, of those that are there.
    pub(crate) fn lacks_log(&self, mut logs: impl Iterator<Item = u64>) -> bool {
        self.log_last >= self.log_first && !logs.any(|number| number == self.log_last)
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
            return Err(Error::Version { path: path.to_owned(), found: head.version, known: VERSION });
        }
        let manifest: Self = checked_json::decode(path, bytes)?;
        manifest.schema.check()?;
        // It is written as what this build writes.
        Ok(Self { version: VERSION, ..manifest })
    }

    /// Writes what is to become the manifest, durably.
    pub(crate) fn prepare(&self, directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
        Ok(directory.write(&dir.join(MANIFEST_NEW), &checked_json::encode(self))?)
    }

    /// Puts what was prepared into the place of the manifest, durably. After an error nobody knows which one is there.
    pub(crate) fn replace(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
        directory.rename(&dir.join(MANIFEST_NEW), &dir.join(MANIFEST))?;
        Ok(directory.sync_dir(dir)?)
    }
}
