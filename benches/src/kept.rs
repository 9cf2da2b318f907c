//! Collections that are slow to make. They are made once and kept for the next run.

use crate::data::variable;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The directory of this name below `BENCH_KEEP`, or else below `parent`. Made if it does not exist.
///
/// # Errors
/// The error of making it. No directory is left then.
pub fn kept(parent: &str, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let parent = variable("BENCH_KEEP").map_or_else(|| PathBuf::from(parent), Into::into);
    let kept = parent.join(name);
    if !kept.is_dir() {
        let making = tempfile::tempdir_in(parent)?;
        let dir = making.path().join(name);
        make(&dir)?;
        fs::rename(dir, &kept)?;
    }
    Ok(kept)
}

/// Whether the run only makes the kept data: `-- prepare`.
#[must_use]
pub fn only_prepare() -> bool {
    std::env::args().any(|arg| arg == "prepare")
}

/// The largest file in or below a directory.
///
/// # Errors
/// The error of the system.
pub fn largest_file(dir: &Path) -> Result<PathBuf> {
    let mut largest = (0, PathBuf::new());
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let found = if entry.file_type()?.is_dir() { largest_file(&entry.path())? } else { entry.path() };
        let len = fs::metadata(&found)?.len();
        if len > largest.0 {
            largest = (len, found);
        }
    }
    Ok(largest.1)
}
