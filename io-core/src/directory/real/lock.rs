//! Lock files.

use super::{open, open_to_read};
use crate::directory::{DirectoryError, DirectoryLock, LockError, LockHolder, LockKind};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An owner's name in its lock file begins with this. The number of its process and a newline follow.
const OWNER: &[u8] = b"process ";
/// The longest name of an owner, in bytes.
const OWNER_BYTES_MAX: u64 = 64;

/// Locks a file. Creates it if it is not there, as far as the caller may.
pub(super) fn lock(path: &Path, kind: LockKind) -> Result<Box<dyn DirectoryLock>, LockError> {
    let failed = |error| DirectoryError::new("lock", path, error);
    let opened = match kind {
        LockKind::Exclusive => open_lock_file(path).map(Some),
        LockKind::Shared => open_for_reader(path),
    };
    match opened.map_err(failed)? {
        Some(file) => lock_opened(file, path, kind),
        None => Ok(Box::new(NoLock)),
    }
}

/// Locks the file that had this name when it was opened.
fn lock_opened(mut file: File, path: &Path, kind: LockKind) -> Result<Box<dyn DirectoryLock>, LockError> {
    let failed = |error| DirectoryError::new("lock", path, error);
    let locked = match kind {
        LockKind::Exclusive => file.try_lock(),
        LockKind::Shared => file.try_lock_shared(),
    };
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(LockError::Held { path: path.to_owned(), holder: holder(&mut file, kind) });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error).into()),
    }
    if !is_at(&file, path).map_err(failed)? {
        let reason = "it was moved or removed meanwhile; try again";
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, reason)).into());
    }
    if kind == LockKind::Shared {
        return Ok(Box::new(FileLock { file, path: path.to_owned() }));
    }
    check_content(&mut file).map_err(failed)?;
    let owner = OwnerLock { file, path: path.to_owned(), process: std::process::id() };
    owner.leave_name();
    Ok(Box::new(owner))
}

/// A shared lock. The operating system ends it when the file is closed.
#[derive(Debug)]
struct FileLock {
    file: File,
    path: PathBuf,
}

impl DirectoryLock for FileLock {
    fn is_in_place(&self) -> Result<bool, DirectoryError> {
        is_in_place(&self.file, &self.path)
    }
}

/// The lock of a reader that cannot create a lock file.
#[derive(Debug)]
struct NoLock;

impl DirectoryLock for NoLock {
    fn is_in_place(&self) -> Result<bool, DirectoryError> {
        Ok(true)
    }
}

/// Opens the lock file for a reader, which need not have the right to write. `None` if there is no lock file
/// and none can be created.
fn open_for_reader(path: &Path) -> io::Result<Option<File>> {
    match open_to_read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match open_lock_file(path) {
            Err(error) if may_not_write(&error) => Ok(None),
            opened => opened.map(Some),
        },
        opened => opened.map(Some),
    }
}

fn may_not_write(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Whether an open file still has this name. A lock on a file that lost its name does not protect the file
/// that has the name now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::fs::{self, Metadata};
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(identity(&there) == identity(&file.metadata()?)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// On other systems an open file keeps its name.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

fn is_in_place(file: &File, path: &Path) -> Result<bool, DirectoryError> {
    is_at(file, path).map_err(|error| DirectoryError::new("look at", path, error))
}

/// Opens the file without changing it. Until the lock is taken, it may belong to another process.
fn open_lock_file(path: &Path) -> io::Result<File> {
    open(path, File::options().read(true).write(true).create(true).truncate(false))
}

/// Finds out who holds a lock, only for the error's message.
fn holder(file: &mut File, kind: LockKind) -> LockHolder {
    // If a shared lock succeeds, all other holders are shared ones.
    if kind == LockKind::Exclusive && file.try_lock_shared().is_ok() {
        return LockHolder::Shared;
    }
    let mut name = Vec::new();
    let _ = file.take(OWNER_BYTES_MAX).read_to_end(&mut name);
    LockHolder::Exclusive(String::from_utf8_lossy(&name).trim_matches(['\0', '\n']).to_owned())
}

/// Refuses a file that is no lock file, since `LOCK` may be a second name of a user's file. A lock file is
/// empty, or holds the name of an owner that did not end cleanly. A crash may have left only a part of that
/// name, or zeros.
fn check_content(file: &mut File) -> io::Result<()> {
    let mut content = Vec::new();
    file.take(OWNER_BYTES_MAX + 1).read_to_end(&mut content)?;
    let is_filler = |&byte: &u8| byte == 0 || byte == b'\n';
    let (name, rest) = content.split_at(content.iter().position(is_filler).unwrap_or(content.len()));
    let is_name = match name.strip_prefix(OWNER) {
        Some(number) => number.iter().all(u8::is_ascii_digit),
        None => OWNER.starts_with(name),
    };
    let is_rest_empty = rest.iter().all(is_filler);
    if content.len() as u64 <= OWNER_BYTES_MAX && is_name && is_rest_empty {
        return Ok(());
    }
    let reason =
        "it is not a lock file, and a lock would overwrite its content: move it to another directory";
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// An exclusive lock. Dropping it removes the owner's name from the file.
#[derive(Debug)]
struct OwnerLock {
    file: File,
    path: PathBuf,
    process: u32,
}

impl OwnerLock {
    /// Writes the owner's name. A failure, as on a full disk, is ignored: only a message becomes less exact.
    fn leave_name(&self) {
        let mut file = &self.file;
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            // One write keeps the moment short in which a kill leaves a part of the name.
            .and_then(|_| file.write_all(format!("process {}\n", self.process).as_bytes()));
    }
}

impl DirectoryLock for OwnerLock {
    fn is_in_place(&self) -> Result<bool, DirectoryError> {
        is_in_place(&self.file, &self.path)
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // A forked process has the same open file. It must not release its parent's lock.
        if self.process == std::process::id() {
            let _ = self.file.set_len(0);
            // Closing the file is not enough: a forked process may still have it open.
            let _ = self.file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Directory, StdDirectory};
    #[cfg(unix)]
    use std::fs;

    /// Another process renames or removes the file between its opening and its locking.
    #[cfg(unix)]
    #[test]
    fn a_lock_file_that_lost_its_name_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let (path, other) = (temp.path().join("LOCK"), temp.path().join("other"));
        let file = open_lock_file(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs::rename(&path, &other).unwrap();
        assert!(!is_at(&file, &path).unwrap() && is_at(&file, &other).unwrap());
        let new = open_lock_file(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap() && is_at(&new, &path).unwrap());
    }

    /// Whatever on the way to the file is exchanged.
    #[cfg(unix)]
    #[test]
    fn a_lock_tells_whether_its_path_still_leads_to_it() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, other) = (temp.path().join("c"), temp.path().join("other"));
        let path = dir.join("LOCK");
        for kind in [LockKind::Exclusive, LockKind::Shared] {
            fs::create_dir(&dir).unwrap();
            let lock = StdDirectory.lock(&path, kind).unwrap();
            let is_in_place = || lock.is_in_place().unwrap();
            assert!(is_in_place());
            fs::rename(&dir, &other).unwrap();
            assert!(!is_in_place(), "nothing is there");
            fs::write(&dir, "a file").unwrap();
            assert!(!is_in_place(), "a file is in the place of the directory");
            fs::remove_file(&dir).unwrap();
            fs::create_dir(&dir).unwrap();
            fs::write(&path, []).unwrap();
            assert!(!is_in_place(), "another file is there");
            fs::remove_dir_all(&dir).unwrap();
            std::os::unix::fs::symlink(&other, &dir).unwrap();
            assert!(is_in_place(), "through a link to the directory");
            fs::remove_file(other.join("LOCK")).unwrap();
            assert!(!is_in_place(), "the file is gone");
            fs::remove_file(&dir).unwrap();
            fs::remove_dir_all(&other).unwrap();
        }
    }

    /// Such a lock would keep nobody out: it is none, and the file is left as it is.
    #[cfg(unix)]
    #[test]
    fn a_lock_file_that_lost_its_name_is_not_locked() {
        let temp = tempfile::tempdir().unwrap();
        let (path, other) = (temp.path().join("LOCK"), temp.path().join("other"));
        for kind in [LockKind::Exclusive, LockKind::Shared] {
            for is_replaced in [false, true] {
                let file = open_lock_file(&path).unwrap();
                fs::rename(&path, &other).unwrap();
                if is_replaced {
                    fs::write(&path, []).unwrap();
                }
                let LockError::Directory(error) = lock_opened(file, &path, kind).unwrap_err() else {
                    panic!("{kind:?}: nobody else holds it")
                };
                assert!(error.is_not_found() && error.path == path, "{kind:?}: {error}");
                assert!(fs::read(&other).unwrap().is_empty(), "{kind:?}");
                assert_eq!(path.exists(), is_replaced, "{kind:?}");
                drop(StdDirectory.lock(&path, kind).unwrap());
            }
        }
    }

    /// A second handle to the same open file stands in for a forked process.
    #[test]
    fn a_lock_ends_with_its_owner_and_not_with_a_process_that_it_forked() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("LOCK");
        let file = open_lock_file(&path).unwrap();
        file.lock().unwrap();
        let owner = OwnerLock { file, path: path.clone(), process: std::process::id() };
        owner.leave_name();
        let forked = || OwnerLock {
            file: owner.file.try_clone().unwrap(),
            path: path.clone(),
            process: owner.process + 1,
        };
        let (ended, living) = (forked(), forked());
        drop(ended);
        assert!(matches!(
            StdDirectory.lock(&path, LockKind::Exclusive),
            Err(LockError::Held { holder: LockHolder::Exclusive(name), .. }) if name.starts_with("process ")
        ));
        drop(owner);
        drop(StdDirectory.lock(&path, LockKind::Exclusive).unwrap());
        drop(living);
    }
}
