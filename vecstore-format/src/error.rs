//! Why a file is not valid, or was not read or written.

use crate::vector_file::VectorFileError;
use io_core::{DirectoryError, OpenError, ReadError, WriteError};
use std::io;
use std::path::{Path, PathBuf};

/// A file that was not read or written, or whose bytes are not those written.
///
/// `Display` prints the error's own part, and `source` returns the cause; [`io_core::with_causes`] prints
/// both.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Bytes on disk differ from those written.
    #[error("{} is damaged{}: {reason}", path.display(), at_offset(*offset))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage is, if it is in one place.
        offset: Option<u64>,
        /// What is wrong there.
        reason: String,
    },
    /// A sound file in the place of another one.
    #[error(
        "{} is {found}, where {expected} belongs: it comes from another place or another time; put the right one back, or `repair`", path.display()
    )]
    Misplaced {
        /// The place.
        path: PathBuf,
        /// The identity that the file states.
        found: String,
        /// The identity that belongs there.
        expected: String,
    },
    /// Another version wrote the file.
    #[error("{} is of version {found} of its format; this build reads version {known}", path.display())]
    Version {
        /// The version of the file.
        path: PathBuf,
        /// The file's version.
        found: u32,
        /// The newest version that this build knows.
        known: u32,
    },
    /// A vector file is damaged, or a caller asked for what it does not have.
    #[error(transparent)]
    VectorFile(#[from] VectorFileError),
    /// A file was not opened or created.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A name was not made, changed or removed, or a small file was not read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

fn at_offset(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" at offset {offset}"))
}

impl FormatError {
    /// [`FormatError::Damaged`], at one place of a file. Without an offset, the whole file is meant.
    pub fn damaged(path: &Path, offset: impl Into<Option<u64>>, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), offset: offset.into(), reason: reason.into() }
    }

    /// [`FormatError::Misplaced`], with the identity found and the one expected.
    pub fn misplaced(path: &Path, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Misplaced { path: path.to_owned(), found: found.into(), expected: expected.into() }
    }

    /// Whether a file on disk is damaged or gone. If false, the system only refused access, and the state of
    /// the file is unknown.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Misplaced { .. } | Self::Version { .. } | Self::VectorFile(_) => {
                true
            }
            Self::Open(OpenError::NotAFile { .. }) => true,
            Self::Open(OpenError::Io { source, .. }) => is_damage(source),
            // The file is longer than any file of its kind. Writes fail with the same kind at a limit of the
            // process.
            Self::Directory(error) if error.source.kind() == io::ErrorKind::FileTooLarge => {
                error.operation == "read"
            }
            Self::Directory(error) => is_damage(&error.source),
            Self::Read(ReadError::Io { source, .. }) => is_damage(source),
            // The file is shorter than another file says.
            Self::Read(ReadError::Plan { .. } | ReadError::Truncated { .. }) => true,
            Self::Open(_) | Self::Read(_) | Self::Write(_) => false,
        }
    }
}

/// As [`FormatError::is_damage`], for an error of the system.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, UnexpectedEof};
    // A bad sector gives EIO. File systems with their own checksums give EBADMSG, EFSBADCRC or EUCLEAN.
    const MEDIUM: [i32; 3] = [5, 74, 117];
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory | InvalidData | UnexpectedEof)
        || cfg!(unix) && error.raw_os_error().is_some_and(|number| MEDIUM.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::with_causes;
    use std::error::Error;

    #[test]
    fn an_error_prints_its_own_part_and_keeps_its_cause() {
        let path = Path::new("/data/ids.pages");
        let damaged = FormatError::damaged(path, 8192, "the page's checksum does not match");
        let text = "/data/ids.pages is damaged at offset 8192: the page's checksum does not match";
        assert_eq!((damaged.to_string().as_str(), damaged.source().is_none()), (text, true));
        let refused = FormatError::from(OpenError::io(path, io::Error::other("no")));
        assert_eq!(refused.to_string(), "cannot open /data/ids.pages");
        assert_eq!(with_causes(&refused).to_string(), "cannot open /data/ids.pages: no");
    }

    #[test]
    fn what_is_gone_is_damage_and_what_is_refused_is_not() {
        let path = Path::new("a");
        let of = |kind: io::ErrorKind| FormatError::from(OpenError::io(path, kind.into())).is_damage();
        assert!(of(io::ErrorKind::NotFound) && !of(io::ErrorKind::PermissionDenied));
        let too_large = |operation| {
            let source = io::ErrorKind::FileTooLarge.into();
            FormatError::from(DirectoryError::new(operation, path, source)).is_damage()
        };
        assert!(too_large("read") && !too_large("write"));
        let version = FormatError::Version { path: path.to_owned(), found: 9, known: 1 };
        assert!(version.is_damage() && FormatError::misplaced(path, "one", "another").is_damage());
        if cfg!(unix) {
            let os = |number| FormatError::from(OpenError::io(path, io::Error::from_raw_os_error(number)));
            assert!(os(5).is_damage() && !os(13).is_damage());
        }
    }
}
