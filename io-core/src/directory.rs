//! What a store does to a disk besides reading and writing open files: names, small files, durability of names, locks.
//!
//! Everything goes through [`Directory`], so that a simulated disk sees, and can interrupt, each step. The calls block:
//! they are for opening, sealing and merging, never for a query.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An operation on names or small files that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}{}", path.display(), crate::error::advice(source))]
pub struct DirectoryError {
    /// What was to be done, as it fits behind "cannot".
    pub operation: &'static str,
    /// To what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl DirectoryError {
    /// For implementations of [`Directory`].
    #[must_use]
    pub fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source }
    }

    /// Whether the file or directory is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// The last component of its path.
    pub name: OsString,
    /// A directory, not a file.
    pub is_dir: bool,
    /// Length of a file in bytes; 0 for a directory.
    pub len: u64,
}

/// How many may hold a lock together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// One holder.
    Exclusive,
    /// Any number of holders, none of them exclusive.
    Shared,
}

/// A lock that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{} is locked by {}", path.display(), holder_or_unknown(holder))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// What the last exclusive holder wrote about itself; empty if it is held by readers.
        holder: String,
    },
    /// It cannot be tried.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

fn holder_or_unknown(holder: &str) -> &str {
    if holder.is_empty() { "others that have it open for reading" } else { holder }
}

/// Held until it is dropped.
pub trait DirectoryLock: Send + Sync + fmt::Debug {}

/// Names and small files of one file system. Paths are as the backend's `open` and `create` take them.
///
/// A new name, a rename and a removal are durable after [`Directory::sync_dir`] of the directory they are in; the bytes
/// of a file after it was synced itself.
pub trait Directory: Send + Sync + fmt::Debug {
    /// Creates one directory; an existing one is an error.
    ///
    /// # Errors
    /// [`DirectoryError`], as for all calls here.
    fn create_dir(&self, path: &Path) -> Result<(), DirectoryError>;

    /// What is in a directory, by name.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>, DirectoryError>;

    /// The whole of a small file.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn read(&self, path: &Path) -> Result<Vec<u8>, DirectoryError>;

    /// Creates a small file, or empties it if it is there, writes and syncs it.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DirectoryError>;

    /// Gives a file or directory another name on the same file system, replacing a file of that name at once.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DirectoryError>;

    /// Gives a file a second name on the same file system.
    ///
    /// # Errors
    /// [`DirectoryError`]; some file systems have no hard links.
    fn hard_link(&self, file: &Path, link: &Path) -> Result<(), DirectoryError>;

    /// Copies a file to a new name, durably.
    ///
    /// # Errors
    /// [`DirectoryError`]; a part of the copy may be there then.
    fn copy(&self, file: &Path, copy: &Path) -> Result<(), DirectoryError>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn remove_file(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Removes a directory with all that is in it, one name after the other.
    ///
    /// # Errors
    /// [`DirectoryError`]; some of it may be gone then.
    fn remove_dir_all(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Makes a file's bytes durable, whoever wrote them.
    ///
    /// # Errors
    /// [`DirectoryError`]; nothing may be assumed durable then.
    fn sync_file(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Writes the first `len` bytes of a file again where they are, cuts off what follows, and syncs it. Takes no space. After
    /// that they are on the disk also where an earlier sync of them failed: the kernel then forgets that they are not, and
    /// another sync alone would succeed without writing them.
    ///
    /// # Errors
    /// [`DirectoryError`]; the bytes are the same all the same.
    fn rewrite(&self, path: &Path, len: u64) -> Result<(), DirectoryError>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// [`DirectoryError`]; nothing may be assumed durable then.
    fn sync_dir(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Locks a lock file against other processes and other opens of this one, without waiting. It is created if it is
    /// not there and stays when the lock is dropped. An exclusive holder leaves `holder` in it for others to read. A reader
    /// that may not create it, as on read-only media, goes without: nobody has ever locked it to write.
    ///
    /// # Errors
    /// [`LockError`].
    fn lock(&self, path: &Path, kind: LockKind, holder: &str) -> Result<Box<dyn DirectoryLock>, LockError>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdDirectory;

mod real {
    use super::{
        Directory, DirectoryEntry, DirectoryError, DirectoryLock, LockError, LockKind, Path, StdDirectory, io,
    };
    use std::fs::{self, File, OpenOptions, TryLockError};
    use std::io::{Read, Seek, SeekFrom, Write};

    /// The operating system's lock on the file goes with the file.
    #[derive(Debug)]
    struct FileLock {
        _file: File,
    }

    impl DirectoryLock for FileLock {}

    impl Directory for StdDirectory {
        fn create_dir(&self, path: &Path) -> Result<(), DirectoryError> {
            fs::create_dir(path).map_err(|error| DirectoryError::new("create", path, error))
        }

        fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>, DirectoryError> {
            let entry = |entry: io::Result<fs::DirEntry>| {
                let entry = entry?;
                // Of the entry itself: a link to a directory is no directory of ours.
                let metadata = entry.metadata()?;
                let (is_dir, len) = (metadata.is_dir(), metadata.len());
                Ok(DirectoryEntry { name: entry.file_name(), is_dir, len: if is_dir { 0 } else { len } })
            };
            let listed = fs::read_dir(path)
                .and_then(|entries| entries.map(entry).collect::<io::Result<Vec<DirectoryEntry>>>());
            let mut entries = listed.map_err(|error| DirectoryError::new("list", path, error))?;
            entries.sort_unstable();
            Ok(entries)
        }

        fn read(&self, path: &Path) -> Result<Vec<u8>, DirectoryError> {
            fs::read(path).map_err(|error| DirectoryError::new("read", path, error))
        }

        fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DirectoryError> {
            let written = File::create(path).and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            });
            written.map_err(|error| DirectoryError::new("write", path, error))
        }

        fn rename(&self, from: &Path, to: &Path) -> Result<(), DirectoryError> {
            fs::rename(from, to).map_err(|error| DirectoryError::new("rename", from, error))
        }

        fn hard_link(&self, file: &Path, link: &Path) -> Result<(), DirectoryError> {
            fs::hard_link(file, link).map_err(|error| DirectoryError::new("link", file, error))
        }

        fn copy(&self, file: &Path, copy: &Path) -> Result<(), DirectoryError> {
            // What can be opened but not copied is no fault of the source, nearly always.
            File::open(file).map_err(|error| DirectoryError::new("copy", file, error))?;
            let copied = fs::copy(file, copy).and_then(|_| File::open(copy)?.sync_all());
            copied.map_err(|error| DirectoryError::new("copy to", copy, error))
        }

        fn remove_file(&self, path: &Path) -> Result<(), DirectoryError> {
            fs::remove_file(path).map_err(|error| DirectoryError::new("remove", path, error))
        }

        fn remove_dir_all(&self, path: &Path) -> Result<(), DirectoryError> {
            fs::remove_dir_all(path).map_err(|error| DirectoryError::new("remove", path, error))
        }

        fn sync_file(&self, path: &Path) -> Result<(), DirectoryError> {
            let synced = File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|error| DirectoryError::new("sync", path, error))
        }

        fn rewrite(&self, path: &Path, len: u64) -> Result<(), DirectoryError> {
            const CHUNK: u64 = 1 << 20;
            let rewritten = OpenOptions::new().read(true).write(true).open(path).and_then(|mut file| {
                let mut bytes = Vec::new();
                for start in (0..len).step_by(CHUNK as usize) {
                    bytes.resize((len - start).min(CHUNK) as usize, 0);
                    file.seek(SeekFrom::Start(start))?;
                    file.read_exact(&mut bytes)?;
                    file.seek(SeekFrom::Start(start))?;
                    file.write_all(&bytes)?;
                }
                file.set_len(len)?;
                file.sync_all()
            });
            rewritten.map_err(|error| DirectoryError::new("write again", path, error))
        }

        #[cfg(unix)]
        fn sync_dir(&self, path: &Path) -> Result<(), DirectoryError> {
            self.sync_file(path)
        }

        /// Elsewhere directories cannot be synced; names are as durable as the system makes them.
        #[cfg(not(unix))]
        fn sync_dir(&self, _path: &Path) -> Result<(), DirectoryError> {
            Ok(())
        }

        fn lock(
            &self,
            path: &Path,
            kind: LockKind,
            holder: &str,
        ) -> Result<Box<dyn DirectoryLock>, LockError> {
            let failed = |error| DirectoryError::new("lock", path, error);
            let opened = match kind {
                LockKind::Exclusive => open_lock_file(path).map(Some),
                LockKind::Shared => open_for_reader(path),
            };
            let Some(mut file) = opened.map_err(failed)? else { return Ok(Box::new(NoLock)) };
            let locked = match kind {
                LockKind::Exclusive => file.try_lock(),
                LockKind::Shared => file.try_lock_shared(),
            };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // It is only for the message.
                    let _ = file.read_to_string(&mut holder);
                    return Err(LockError::Held { path: path.to_owned(), holder: holder.trim().to_owned() });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error).into()),
            }
            if kind == LockKind::Exclusive {
                // Readers hold it without a word, so what the last owner wrote must not outlive it.
                file.set_len(0).and_then(|()| writeln!(file, "{holder}")).map_err(failed)?;
                return Ok(Box::new(OwnerLock { file }));
            }
            Ok(Box::new(FileLock { _file: file }))
        }
    }

    /// Of a reader where nothing can be written.
    #[derive(Debug)]
    struct NoLock;

    impl DirectoryLock for NoLock {}

    /// A reader of a store it may not write to can still lock it; nothing where there is no lock file and can be none.
    fn open_for_reader(path: &Path) -> io::Result<Option<File>> {
        match File::open(path) {
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

    fn open_lock_file(path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    /// An exclusive lock, which takes its holder's name out of the file when it goes.
    #[derive(Debug)]
    struct OwnerLock {
        file: File,
    }

    impl DirectoryLock for OwnerLock {}

    impl Drop for OwnerLock {
        fn drop(&mut self) {
            // A name left behind only makes a later message less exact.
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_small_files() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, sub) = (StdDirectory, temp.path().join("sub"));
        dir.create_dir(&sub).unwrap();
        let error = dir.create_dir(&sub).unwrap_err();
        assert_eq!((error.operation, &error.path, error.is_not_found()), ("create", &sub, false));
        let (a, b, c) = (sub.join("a"), sub.join("b"), sub.join("c"));
        dir.write(&a, b"one").unwrap();
        dir.write(&a, b"2").unwrap();
        dir.hard_link(&a, &b).unwrap();
        dir.rename(&a, &c).unwrap();
        dir.copy(&c, &a).unwrap();
        dir.write(&c, b"3").unwrap();
        dir.rename(&a, &c).unwrap();
        dir.sync_file(&c).unwrap();
        let long: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
        dir.write(&b, &long).unwrap();
        dir.rewrite(&b, 2_500_001).unwrap();
        assert_eq!(dir.read(&b).unwrap(), long[..2_500_001]);
        dir.write(&b, b"3").unwrap();
        assert_eq!(dir.copy(&sub.join("x"), &a).unwrap_err().path, sub.join("x"));
        assert_eq!(dir.copy(&c, &sub.join("no/where")).unwrap_err().path, sub.join("no/where"));
        dir.sync_dir(&sub).unwrap();
        assert_eq!((dir.read(&b).unwrap(), dir.read(&c).unwrap()), (b"3".to_vec(), b"2".to_vec()));
        assert!(dir.read(&a).unwrap_err().is_not_found());
        dir.remove_file(&b).unwrap();
        let names = |path: &Path| dir.list(path).unwrap();
        assert_eq!(names(&sub), [DirectoryEntry { name: "c".into(), is_dir: false, len: 1 }]);
        assert_eq!(names(temp.path()), [DirectoryEntry { name: "sub".into(), is_dir: true, len: 0 }]);
        dir.remove_dir_all(&sub).unwrap();
        assert!(dir.list(&sub).unwrap_err().is_not_found());
    }

    #[test]
    fn a_lock_is_held_against_others_and_says_by_whom() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("LOCK");
        let lock = |kind, who| StdDirectory.lock(&path, kind, who);
        let owner = lock(LockKind::Exclusive, "process 7").unwrap();
        for kind in [LockKind::Exclusive, LockKind::Shared] {
            let error = lock(kind, "me").unwrap_err().to_string();
            assert_eq!(error, format!("{} is locked by process 7", path.display()));
        }
        drop(owner);
        let readers = [lock(LockKind::Shared, "a").unwrap(), lock(LockKind::Shared, "b").unwrap()];
        let error = lock(LockKind::Exclusive, "me").unwrap_err().to_string();
        assert!(error.ends_with("is locked by others that have it open for reading"), "{error}");
        drop(readers);
        drop(lock(LockKind::Exclusive, "me").unwrap());
    }
}
