//! A collection that is put together under another name, which it loses when it is complete and durable: so
//! whatever has the name that was asked for is whole.

use super::files::{LOCK, parent};
use super::open::{self, Lock};
use crate::error::Error;
use io_core::{Directory, DirectoryError};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Fails where something is already, where no directory is to put it into, or where it would be taken for a
/// leftover of the collection that it comes from.
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

/// Where something is put together.
pub(super) struct Staging<'a> {
    directory: &'a dyn Directory,
    pub(super) dir: PathBuf,
    target: &'a Path,
    /// Held until the directory has the target's name: nobody else takes it over meanwhile.
    pub(super) lock: Lock,
}

impl<'a> Staging<'a> {
    /// An empty directory beside the target but for its lock file, which is held; `suffix` says what for. One
    /// that is there is of an attempt that did not come to its end, and is taken over; or it is of one that
    /// is under way, or of another user, which are errors.
    pub(super) fn begin(directory: &'a dyn Directory, target: &'a Path, suffix: &str) -> Result<Self, Error> {
        let name = target.file_name().ok_or_else(|| Error::Exists { path: target.to_owned() })?;
        let dir = target.with_file_name(staging_name(name, suffix));
        match directory.create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.source.kind() == ErrorKind::AlreadyExists => {
                // Through a link, another directory's files would be removed. What is another user's, the
                // target would be too.
                directory.check_own(&dir)?;
            }
            Err(error) => return Err(error.into()),
        }
        let lock = open::lock(directory, &dir, false)?;
        clear(directory, &dir)?;
        Ok(Self { directory, dir, target, lock })
    }

    /// Gives the target its name. After an error nothing of it stays, or, where only that could not be made
    /// durable, all.
    pub(super) fn end<T>(self, made: Result<T, Error>) -> Result<T, Error> {
        let moved = made.and_then(|made| {
            open::check_place(&*self.lock, &self.dir)?;
            move_to(self.directory, &self.dir, self.target).map(|()| made)
        });
        // Where it is not in place any more, another one may be there.
        if moved.is_err() && self.lock.is_in_place().unwrap_or(false) {
            // The lock file goes last: whoever takes the directory over then finds nothing else in it.
            let _ = clear(self.directory, &self.dir);
            let _ = self.directory.remove_dir_all(&self.dir);
        }
        // The error that led here is the one to report.
        moved
    }
}

/// A name that nobody else gives. It has the target's name in it, or a hash of that where it would get too
/// long. Two targets of one hash only take turns: the lock keeps the second one out while the first one is
/// built.
fn staging_name(target: &OsStr, suffix: &str) -> OsString {
    /// Of a name, on most file systems.
    const BYTES_MAX: usize = 255;
    let name: OsString = [".".as_ref(), target, ".vecstore-".as_ref(), suffix.as_ref()].into_iter().collect();
    if name.len() <= BYTES_MAX {
        return name;
    }
    // FNV-1a, which is the same in every build: a later one takes over what this one leaves.
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
        // Somebody else was faster.
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
