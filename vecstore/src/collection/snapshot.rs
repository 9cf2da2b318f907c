//! Copying a collection whose files do not change meanwhile: snapshots and restoring them.
//!
//! The copy is put together in a directory beside its files and renamed when it is complete and durable, so that whatever
//! has the target's name is whole.

use super::files::{FileName, MANIFEST, SNAPSHOT_NEW, parse, parse_deleted, segment_path};
use super::manifest::Manifest;
use crate::error::Error;
use io_core::{Directory, DirectoryError};
use std::io::ErrorKind;
use std::path::Path;

/// Copies what the manifest names, and the logs it does not call done with, to a directory that does not exist.
pub(super) fn copy_collection(
    directory: &dyn Directory,
    from: &Path,
    manifest: &Manifest,
    target: &Path,
) -> Result<(), Error> {
    if directory.list(target).is_ok() || directory.read(target).is_ok() {
        return Err(Error::Exists { path: target.to_owned() });
    }
    let new = from.join(SNAPSHOT_NEW);
    let copied = copy_files(directory, from, manifest, &new).and_then(|()| move_to(directory, &new, target));
    if copied.is_err() {
        // The error that led here is the one to report; opening removes it too.
        let _ = directory.remove_dir_all(&new);
    }
    copied
}

fn copy_files(directory: &dyn Directory, from: &Path, manifest: &Manifest, to: &Path) -> Result<(), Error> {
    match directory.remove_dir_all(to) {
        Err(error) if !error.is_not_found() => return Err(error.into()),
        _ => directory.create_dir(to)?,
    }
    for entry in directory.list(from)? {
        let name = entry.name.to_str().unwrap_or_default();
        let is_log = matches!(parse(name), Some(FileName::Log(number)) if number >= manifest.log_first);
        if is_log || name == MANIFEST {
            link_or_copy(directory, &from.join(name), &to.join(name))?;
        }
    }
    for segment in &manifest.segments {
        let (from, to) = (segment_path(from, segment.number), segment_path(to, segment.number));
        directory.create_dir(&to)?;
        for entry in directory.list(&from)? {
            let deleted = entry.name.to_str().and_then(parse_deleted);
            if deleted.is_none() || deleted == segment.deleted {
                link_or_copy(directory, &from.join(&entry.name), &to.join(&entry.name))?;
            }
        }
        directory.sync_dir(&to)?;
    }
    directory.sync_dir(to)?;
    // Its name too, so that the rename has something to move.
    Ok(directory.sync_dir(from)?)
}

/// Gives the copy its name, durably. On another file system it has to be copied once more.
fn move_to(directory: &dyn Directory, new: &Path, target: &Path) -> Result<(), Error> {
    match directory.rename(new, target) {
        Ok(()) => {}
        Err(error) if error.source.kind() == ErrorKind::CrossesDevices => {
            let copied = copy_tree(directory, new, target);
            if let Err(error) = copied {
                let _ = directory.remove_dir_all(target);
                return Err(error.into());
            }
            directory.remove_dir_all(new)?;
        }
        Err(error) => return Err(DirectoryError { path: target.to_owned(), ..error }.into()),
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(directory.sync_dir(parent.unwrap_or(Path::new(".")))?)
}

/// Copies a directory; what a file system of its own has to do without is atomicity, so the manifest comes last.
fn copy_tree(directory: &dyn Directory, from: &Path, to: &Path) -> Result<(), DirectoryError> {
    directory.create_dir(to)?;
    let mut entries = directory.list(from)?;
    entries.sort_by_key(|entry| entry.name == MANIFEST);
    for entry in entries {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir { copy_tree(directory, &from, &to)? } else { directory.copy(&from, &to)? }
    }
    directory.sync_dir(to)
}

fn link_or_copy(directory: &dyn Directory, from: &Path, to: &Path) -> Result<(), Error> {
    match directory.hard_link(from, to) {
        Ok(()) => Ok(()),
        // Not there, or no room: copying would not go better.
        Err(error) if matches!(error.source.kind(), ErrorKind::NotFound | ErrorKind::StorageFull) => {
            Err(error.into())
        }
        Err(_) => Ok(directory.copy(from, to)?),
    }
}
