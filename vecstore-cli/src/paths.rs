//! Checks of paths before a command begins. Their messages say what to do.

use crate::error::CliError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf, absolute};

fn whole(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether there is a directory. `None` if nothing is there. Other errors count as a directory, because the
/// command itself reports them.
fn is_directory(path: &Path) -> Option<bool> {
    match std::fs::metadata(path) {
        Ok(found) => Some(found.is_dir()),
        Err(error) => (error.kind() != ErrorKind::NotFound).then_some(true),
    }
}

/// Fails if there is nothing, or a file, in the place of a collection.
pub(crate) fn check_collection(dir: &Path) -> Result<(), CliError> {
    match is_directory(dir) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::FileForCollection { path: dir.to_owned() }),
        None => Err(CliError::NoCollection { path: whole(dir) }),
    }
}

/// Fails unless there is a directory.
pub(crate) fn check_directory(dir: &Path) -> Result<(), CliError> {
    match is_directory(dir) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::File { path: dir.to_owned(), problem: "is no directory".to_owned() }),
        None => Err(CliError::NoDirectory { path: whole(dir) }),
    }
}

/// Fails unless something can be made at the path: the directory around it must be there.
pub(crate) fn check_parent(path: &Path) -> Result<(), CliError> {
    whole(path).parent().map_or(Ok(()), check_directory)
}

/// Whether both paths name one file. Links may still lead two of them to one.
pub(crate) fn is_same(a: &Path, b: &Path) -> bool {
    whole(a) == whole(b)
}
