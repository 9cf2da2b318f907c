//! The content of `segment.json`.

use super::file_number;
use crate::error::{Error, FormatError};
use crate::schema::{IndexParts, Schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use vecstore_format::checked_json;
use vecstore_format::{Expected, RandomId};

const FORMAT: &str = "vecstore segment";
const VERSION: u32 = 7;
/// Segments with linked graphs keep this version, so that older builds open them.
const VERSION_LINKED: u32 = 6;
/// The same for those with compact graphs.
const VERSION_COMPACT: u32 = 5;
/// Files of earlier versions have no identities.
const VERSION_OF_IDS: u32 = 4;
/// In versions 2 and 3, rotated codes have one centre.
const VERSION_OLDEST: u32 = 2;

/// The content of `segment.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentInfo {
    format: String,
    version: u32,
    /// `None` in versions without identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<RandomId>,
    /// Number of points, including those deleted since.
    pub(crate) points: u32,
    /// The segment contains no write with this sequence number or a later one. 0 in versions that did not
    /// state it.
    #[serde(default)]
    pub(crate) seq_next: u64,
    /// The collection's schema, so that a segment can be read on its own.
    pub(crate) schema: Schema,
    /// The checksum of each file's header, which covers the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, u32>,
}

/// The least version that has what the schema says.
fn version_of(schema: &Schema) -> u32 {
    match schema.index_parts() {
        IndexParts::CompactGraph => VERSION_COMPACT,
        IndexParts::LinkedGraph => VERSION_LINKED,
        IndexParts::Cells => VERSION,
    }
}

impl SegmentInfo {
    pub(crate) fn new(
        id: RandomId,
        points: u32,
        seq_next: u64,
        schema: &Schema,
        files: BTreeMap<String, u32>,
    ) -> Self {
        let (format, schema) = (FORMAT.to_owned(), schema.clone());
        let version = version_of(&schema);
        Self { format, version, id: Some(id), points, seq_next, schema, files }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        checked_json::encode(self)
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let info: Self = checked_json::decode(path, bytes)?;
        if info.format != FORMAT {
            let reason = format!("its format is {:?} instead of {FORMAT:?}", info.format);
            return Err(Error::damaged(path, None, reason));
        }
        if !(VERSION_OLDEST..=VERSION).contains(&info.version) {
            let (path, found) = (path.to_owned(), info.version);
            return Err(FormatError::Version { path, found, known: VERSION }.into());
        }
        if info.id.is_some() != (info.version >= VERSION_OF_IDS) {
            let reason = format!("version {} with an id or without one, as it must not be", info.version);
            return Err(Error::damaged(path, None, reason));
        }
        let parts = info.schema.index_parts();
        if parts > IndexParts::CompactGraph && info.version < version_of(&info.schema) {
            let reason = format!("version {} does not have {parts}", info.version);
            return Err(Error::damaged(path, None, reason));
        }
        info.schema.check()?;
        Ok(info)
    }

    /// Checks that it belongs to the segment with this id.
    pub(crate) fn check(&self, path: &Path, id: Option<RandomId>) -> Result<(), Error> {
        if self.id == id {
            return Ok(());
        }
        let whose = |id: Option<RandomId>| match id {
            Some(id) => format!("of segment {id}"),
            None => "of a segment of an old version, without an id".to_owned(),
        };
        Err(FormatError::misplaced(path, whose(self.id), format!("that {}", whose(id))).into())
    }

    /// The files that it lists. Old versions list none.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// What it says about a file of the segment. `path` is its own path.
    pub(crate) fn expected(&self, path: &Path, name: &str) -> Result<Expected, Error> {
        let Some(id) = self.id else { return Ok(Expected::default()) };
        let listed = self.files.get(name);
        let header_crc =
            listed.ok_or_else(|| Error::damaged(path, None, format!("it does not list {name}")))?;
        Ok(Expected { identity: Some(id.file(file_number(name))), header_crc: Some(*header_crc) })
    }
}
