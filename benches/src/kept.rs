//! Collections that take long to make: made once, and kept for the next run.

use crate::data::variable;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The directory of this name, below `BENCH_KEEP` or else `parent`; made if it is not there.
///
/// # Errors
/// What keeps it from being made; then nothing is there.
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

/// Whether the run is only to make what is kept: `-- prepare`.
#[must_use]
pub fn only_prepare() -> bool {
    std::env::args().any(|arg| arg == "prepare")
}

/// The largest file of a directory and those below.
///
/// # Errors
/// What the system says.
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
