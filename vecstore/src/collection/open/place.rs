//! The directory of a collection: taking it, and checking whether the path still leads to it.

use crate::collection::files::{LOCK, MANIFEST, MANIFEST_NEW, parent};
use crate::collection::manifest::Manifest;
use crate::error::Error;
use crate::schema::Schema;
use io_core::{Directory, DirectoryLock, LockError, LockKind};
use std::path::Path;
use std::sync::Arc;

/// Who has a collection open.
pub(in crate::collection) type Lock = Arc<dyn DirectoryLock>;

/// Creates the directory of a collection, or takes an empty one, and locks it.
pub(in crate::collection) fn claim(directory: &dyn Directory, dir: &Path) -> Result<Lock, Error> {
    if let Err(error) = directory.create_dir(dir) {
        // Takes over the directory of an attempt that crashed.
        let ours = [LOCK, MANIFEST_NEW];
        match directory.list(dir) {
            Ok(entries) if entries.iter().all(|entry| ours.iter().any(|name| entry.name == *name)) => {}
            Ok(_) => return Err(Error::Exists { path: dir.to_owned() }),
            Err(_) => return Err(error.into()),
        }
    }
    let lock = lock(directory, dir, false)?;
    // Another process may have created it meanwhile.
    match directory.read(&dir.join(MANIFEST)) {
        Ok(_) => Err(Error::Exists { path: dir.to_owned() }),
        Err(error) if error.is_not_found() => Ok(lock),
        Err(error) => Err(error.into()),
    }
}

/// Makes a collection of an empty directory that is locked.
pub(in crate::collection) fn begin(
    directory: &dyn Directory,
    dir: &Path,
    schema: &Schema,
) -> Result<(), Error> {
    schema.check()?;
    Manifest::new(schema.clone()).prepare(directory, dir)?;
    Manifest::replace(directory, dir)?;
    Ok(directory.sync_dir(parent(dir))?)
}

/// Locks a collection against others.
pub(in crate::collection) fn lock(
    directory: &dyn Directory,
    dir: &Path,
    read_only: bool,
) -> Result<Lock, Error> {
    let kind = if read_only { LockKind::Shared } else { LockKind::Exclusive };
    match directory.lock(&dir.join(LOCK), kind) {
        Ok(lock) => Ok(Arc::from(lock)),
        Err(LockError::Directory(error)) => Err(error.into()),
        Err(held @ LockError::Held { .. }) => Err(Error::InUse(held)),
    }
}

/// Fails if the path no longer leads to the locked collection. Files are found by that path.
pub(in crate::collection) fn check_place(lock: &dyn DirectoryLock, dir: &Path) -> Result<(), Error> {
    if lock.is_in_place()? { Ok(()) } else { Err(Error::Displaced { collection: dir.to_owned() }) }
}

/// Refuses a link in place of a segment's directory. Removing leftovers through it would remove files
/// elsewhere.
pub(in crate::collection) fn check_segment_dir(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
    match directory.entry(dir) {
        Ok(entry) if !entry.is_dir => Err(Error::damaged(dir, None, "it is no directory")),
        // A missing file is reported when it is opened.
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}
