//! Builds a collection under another name, and renames it once it is complete and durable. A directory with
//! the target's name is therefore whole.

use super::files::{LOCK, parent};
use super::open::{self, Lock};
use crate::error::Error;
use io_core::{Directory, DirectoryError};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Fails if the target exists, its parent does not, or it lies inside the source, which would remove it as a
/// leftover.
pub(super) fn check_target(directory: &dyn Directory, collection: &Path, target: &Path) -> Result<(), Error> {
    match directory.entry(target) {
        Ok(_) => return Err(Error::Exists { path: target.to_owned() }),
        Err(error) if error.is_not_found() => drop(directory.entry(parent(target))?),
        Err(error) => return Err(error.into()),
    }
    if directory.is_within(target, collection)? {
        return Err(Error::Inside { path: target.to_owned(), collection: collection.to_owned() });
    }
    Ok(())
}

/// A directory in which a collection is built.
pub(super) struct Staging<'a> {
    directory: &'a dyn Directory,
    pub(super) dir: PathBuf,
    target: &'a Path,
    /// Held until the directory has the target's name, so that no other attempt takes it over.
    pub(super) lock: Lock,
}

impl<'a> Staging<'a> {
    /// Makes an empty, locked directory beside the target. `suffix` says what for.
    ///
    /// It takes over the directory of an attempt that crashed. It fails if another attempt is under way, or
    /// another user owns the directory.
    pub(super) fn begin(directory: &'a dyn Directory, target: &'a Path, suffix: &str) -> Result<Self, Error> {
        let name = target.file_name().ok_or_else(|| Error::Exists { path: target.to_owned() })?;
        let dir = target.with_file_name(staging_name(name, suffix));
        match directory.create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.source.kind() == ErrorKind::AlreadyExists => {
                // A link would let `clear` remove files elsewhere. The target would belong to the owner of
                // this directory.
                directory.check_own(&dir)?;
            }
            Err(error) => return Err(error.into()),
        }
        let lock = open::lock(directory, &dir, false)?;
        clear(directory, &dir)?;
        Ok(Self { directory, dir, target, lock })
    }

    /// Renames the directory to the target. After an error nothing stays, except if only the sync of the name
    /// failed: then everything stays.
    pub(super) fn end<T>(self, made: Result<T, Error>) -> Result<T, Error> {
        let moved = made.and_then(|made| {
            open::check_place(&*self.lock, &self.dir)?;
            move_to(self.directory, &self.dir, self.target).map(|()| made)
        });
        // If the path leads elsewhere, it may be another owner's directory.
        if moved.is_err() && self.lock.is_in_place().unwrap_or(false) {
            // The lock file goes last, so that an attempt that takes the directory over finds nothing else.
            let _ = clear(self.directory, &self.dir);
            let _ = self.directory.remove_dir_all(&self.dir);
        }
        // The error that led here is the one to report.
        moved
    }
}

/// A name of the store's own. If it would be too long, a hash replaces the target's name. Two targets with
/// one hash exclude each other by the lock.
fn staging_name(target: &OsStr, suffix: &str) -> OsString {
    /// The longest file name on most file systems.
    const BYTES_MAX: usize = 255;
    let name: OsString = [".".as_ref(), target, ".vecstore-".as_ref(), suffix.as_ref()].into_iter().collect();
    if name.len() <= BYTES_MAX {
        return name;
    }
    // FNV-1a is the same in every build, so a later build takes over what this one leaves.
    let hash = target.as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!(".{hash:016x}.vecstore-{suffix}").into()
}

/// Removes everything but the lock file.
fn clear(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
    for entry in directory.list(dir)?.into_iter().filter(|entry| entry.name != LOCK) {
        let path = dir.join(entry.name);
        if entry.is_dir { directory.remove_dir_all(&path)? } else { directory.remove_file(&path)? }
    }
    Ok(())
}

/// Gives a directory its name, durably.
pub(super) fn move_to(directory: &dyn Directory, new: &Path, target: &Path) -> Result<(), Error> {
    directory.rename(new, target).map_err(|error| match error.source.kind() {
        // Another process was faster.
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => Error::Exists { path: target.to_owned() },
        _ => DirectoryError { path: target.to_owned(), ..error }.into(),
    })?;
    Ok(directory.sync_dir(parent(target))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_staging_name_fits_and_tells_targets_apart() {
        let name = |target: &str, suffix| staging_name(target.as_ref(), suffix).into_string().unwrap();
        assert_eq!(name("notes", "repair"), ".notes.vecstore-repair");
        let mut seen = BTreeSet::new();
        for len in 1..=255 {
            for end in ["a", "b"] {
                for suffix in ["restore", "repair", "snapshot"] {
                    let name = name(&format!("{}{end}", "x".repeat(len - 1)), suffix);
                    assert!(name.len() <= 255 && name.starts_with('.') && name.ends_with(suffix), "{name}");
                    assert!(seen.insert(name));
                }
            }
        }
        assert_eq!(name(&"x".repeat(255), "repair").len(), ".0123456789abcdef.vecstore-repair".len());
    }
}
