//! What is known of a file before it is opened. Checksums show that bytes are whole. This shows that they
//! belong here.

use crate::{FileIdentity, FormatError, RandomId};
use std::path::Path;

/// What is known of a file before it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// The file's identity. `None` if a version without identities wrote the file.
    pub identity: Option<FileIdentity>,
    /// The checksum of its header, which covers the whole file, if a manifest lists it.
    pub header_crc: Option<u32>,
}

impl Expected {
    /// Checks the identity and the checksum that a file's header states.
    ///
    /// # Errors
    /// [`FormatError::Misplaced`]; [`FormatError::Damaged`].
    pub fn check(
        &self,
        path: &Path,
        found: Option<FileIdentity>,
        header_crc: u32,
    ) -> Result<(), FormatError> {
        if found != self.identity {
            return Err(FormatError::misplaced(path, whose(found), whose(self.identity)));
        }
        match self.header_crc {
            Some(listed) if listed != header_crc => {
                let reason = format!(
                    "its header has the checksum {header_crc:08x}, and segment.json lists {listed:08x}: it is not the file that was written"
                );
                Err(FormatError::damaged(path, 0, reason))
            }
            _ => Ok(()),
        }
    }
}

fn whose(identity: Option<FileIdentity>) -> String {
    match identity {
        None => "a file without an identity, of an old version".to_owned(),
        Some(FileIdentity { owner, file }) => format!("file {file} of segment {}", RandomId(owner)),
    }
}
