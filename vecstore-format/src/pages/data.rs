//! What is in memory of a file of pages.

use super::header::Header;
use crate::{Expected, FileIdentity, FormatError};
use std::path::Path;
use std::sync::Arc;

/// What is the same for all readers of a file: its sections, and their bytes if they are pinned.
#[derive(Clone, Debug)]
pub struct PagesData {
    pub(super) path: Arc<Path>,
    pub(super) header: Header,
    pub(super) pinned: Option<Arc<Vec<Vec<u8>>>>,
}

impl PagesData {
    /// Bytes of a section; 0 if there is no such one.
    #[must_use]
    pub fn bytes(&self, section: usize) -> u64 {
        self.header.sections.get(section).map_or(0, |section| section.bytes)
    }

    /// How many sections there are.
    #[must_use]
    pub fn sections(&self) -> usize {
        self.header.sections.len()
    }

    /// Which file it says it is.
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

    /// Bytes of memory that pinned sections take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.pinned.as_ref().map_or(0, |sections| sections.iter().map(Vec::len).sum())
    }
}
