//! The names of a collection's files.

use io_core::DirectoryError;
use std::path::{Path, PathBuf};

/// The numbers of segments and of files of deleted points are below this one too.
pub(crate) use vecstore_format::log::NUMBER_END;

/// The file that lists the content of the collection.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// The next manifest, before the rename.
pub(crate) const MANIFEST_NEW: &str = "MANIFEST.new";
/// The lock file of the collection's owner.
pub(crate) const LOCK: &str = "LOCK";

/// The copy of a log whose end is in doubt, before the rename.
pub(crate) const TORN_NEW: &str = "TORN.new";

/// A snapshot in the making.
pub(crate) const SNAPSHOT_NEW: &str = "SNAPSHOT.new";

/// The whole path of a collection. A process may change its current directory while it has the collection
/// open.
pub(crate) fn whole_path(path: &Path) -> Result<PathBuf, DirectoryError> {
    std::path::absolute(path).map_err(|error| DirectoryError::new("find the whole path of", path, error))
}

/// The parent directory of a path.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An entry in the directory of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    Log(u64),
    /// A copy of a log whose doubtful end was cut off.
    Torn(u64),
    Segment(u64),
}

pub(crate) fn log_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log-{number:06}.wal"))
}

pub(crate) fn torn_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log-{number:06}.torn"))
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("segment-{number:06}"))
}

/// The file of a segment's deleted points.
pub(crate) fn deleted_path(segment: &Path, number: u64) -> PathBuf {
    segment.join(format!("deleted-{number:06}.pages"))
}

/// Parses a name in the directory of a collection. `None` if no such file has it.
pub(crate) fn parse(name: &str) -> Option<FileName> {
    if let Some(rest) = name.strip_prefix("log-") {
        if let Some(digits) = rest.strip_suffix(".torn") {
            return number(digits).map(FileName::Torn);
        }
        return number(rest.strip_suffix(".wal")?).map(FileName::Log);
    }
    number(name.strip_prefix("segment-")?).map(FileName::Segment)
}

/// The number of a file of deleted points. `None` for other names.
pub(crate) fn parse_deleted(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("deleted-")?.strip_suffix(".pages")?;
    number(digits)
}

/// Parses a number in its only spelling.
fn number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|number| format!("{number:06}") == digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        for number in [0, 7, 1_234_567] {
            assert_eq!(parse(&name(log_path(Path::new("d"), number))), Some(FileName::Log(number)));
            assert_eq!(parse(&name(torn_path(Path::new("d"), number))), Some(FileName::Torn(number)));
            assert_eq!(parse(&name(segment_path(Path::new("d"), number))), Some(FileName::Segment(number)));
            assert_eq!(parse_deleted(&name(deleted_path(Path::new("d"), number))), Some(number));
        }
        // Another spelling would allow two files with one number.
        for other in ["log-0000001.wal", "log-+00001.wal", "segment-+00001", "segment-0000001"] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(parse_deleted("deleted-0000001.pages"), None);
        for other in ["log-1.wal", "log-000001", "segment-", "MANIFEST", "notes.txt", "segment-00000x"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
