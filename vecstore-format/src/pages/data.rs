//! The part of a file of pages that is in memory.

use super::header::Header;
use crate::{Expected, FileIdentity, FormatError};
use std::path::Path;
use std::sync::Arc;

/// The state that all readers of a file share: its sections, and their bytes if they are pinned.
#[derive(Clone, Debug)]
pub struct PagesData {
    pub(super) path: Arc<Path>,
    pub(super) header: Header,
    pub(super) pinned: Option<Arc<Vec<Vec<u8>>>>,
}

impl PagesData {
    /// Length of a section in bytes. 0 if there is no such section.
    #[must_use]
    pub fn bytes(&self, section: usize) -> u64 {
        self.header.sections.get(section).map_or(0, |section| section.bytes)
    }

    /// The number of sections.
    #[must_use]
    pub fn sections(&self) -> usize {
        self.header.sections.len()
    }

    /// The identity that the file states.
    #[must_use]
    pub fn identity(&self) -> Option<FileIdentity> {
        self.header.identity
    }

    /// Checks that it is the file that belongs here.
    ///
    /// # Errors
    /// [`FormatError::Misplaced`]; [`FormatError::Damaged`].
    pub fn check(&self, expected: &Expected) -> Result<(), FormatError> {
        expected.check(&self.path, self.header.identity, self.header.crc)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The memory that pinned sections take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.pinned.as_ref().map_or(0, |sections| sections.iter().map(Vec::len).sum())
    }
}
