//! The operations of a store on a disk besides reading and writing open files: names, small files, durability
//! of names, locks.
//!
//! Everything goes through [`Directory`], so that a simulated disk can interrupt each step. The calls block.
//! They are for opening, sealing and merging, never for a query.

mod real;
#[cfg(test)]
mod tests;

use crate::StopFlag;
use crate::error::what_to_do;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An operation on names or small files that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}{}", path.display(), what_to_do(source))]
pub struct DirectoryError {
    /// The attempted operation, worded to follow "cannot".
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

impl DirectoryError {
    /// Describes a failed operation, for implementations of [`Directory`].
    #[must_use]
    pub fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source }
    }

    /// Whether the file or directory does not exist.
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
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length of a file in bytes. A directory has 0.
    pub len: u64,
}

/// How many holders a lock may have at once.
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
    /// Another holder has it.
    #[error("{} is locked by {holder}", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder, as far as it is known.
        holder: LockHolder,
    },
    /// The attempt to lock failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// The holder of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockHolder {
    /// One or more shared holders.
    Shared,
    /// One exclusive holder, with the name that it left in the file. The name may be empty.
    Exclusive(String),
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("others that have it open for reading"),
            // A lock belongs to an open file. A forked process has that open file too.
            Self::Exclusive(name) if name.is_empty() => {
                f.write_str("an unknown process, perhaps one that the last owner forked")
            }
            Self::Exclusive(name) => write!(f, "{name}, or by a process that it forked"),
        }
    }
}

/// The longest file that [`Directory::read`] reads: 64 MiB.
pub(crate) const SMALL_FILE_BYTES_MAX: usize = 64 << 20;

/// A lock, held until it is dropped.
pub trait DirectoryLock: Send + Sync + fmt::Debug {
    /// Whether the path of the lock file still leads to the file that is locked. It does not once the file,
    /// or a directory on the way to it, was moved, removed or exchanged. The lock then protects nothing that
    /// is there now. A lock without a file is always in place.
    ///
    /// # Errors
    /// [`DirectoryError`] if it cannot be found out.
    fn is_in_place(&self) -> Result<bool, DirectoryError>;
}

/// The names and small files of one file system. Paths are as the backend's `open` and `create` take them.
///
/// A file is a regular file. A symbolic link, a pipe or a device in its place is an error, and no call waits
/// for it. Directories on the way to it may be links.
///
/// A new name, a rename and a removal become durable by [`Directory::sync_dir`] of the directory with the
/// name. The bytes of a file become durable when the file itself is synced.
pub trait Directory: Send + Sync + fmt::Debug {
    /// Creates one directory. An existing one is an error.
    ///
    /// # Errors
    /// [`DirectoryError`], as for all calls here.
    fn create_dir(&self, path: &Path) -> Result<(), DirectoryError>;

    /// The entry that has this name. A symbolic link is not followed.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn entry(&self, path: &Path) -> Result<DirectoryEntry, DirectoryError>;

    /// Refuses anything but a directory of the caller's own. It refuses a link to a directory, and a
    /// directory that another user owns or every user may write to. On a system without such owners, any
    /// directory passes.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn check_own(&self, path: &Path) -> Result<(), DirectoryError> {
        if self.entry(path)?.is_dir {
            return Ok(());
        }
        let reason = io::Error::new(io::ErrorKind::NotADirectory, "it is no directory; remove it");
        Err(DirectoryError::new("take over", path, reason))
    }

    /// Whether `path` is the directory `dir` or lies below it, whatever names lead to them. `path` need not
    /// exist.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn is_within(&self, path: &Path, dir: &Path) -> Result<bool, DirectoryError>;

    /// The entries of a directory, sorted by name.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>, DirectoryError>;

    /// The bytes of a file from `offset` on: `bytes_max` of them, or as many as there are.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> Result<Vec<u8>, DirectoryError>;

    /// All bytes of a small file.
    ///
    /// # Errors
    /// [`DirectoryError`], of the kind [`io::ErrorKind::FileTooLarge`] if the file has more than 64 MiB.
    fn read(&self, path: &Path) -> Result<Vec<u8>, DirectoryError> {
        let bytes = self.read_at(path, 0, SMALL_FILE_BYTES_MAX + 1)?;
        if bytes.len() <= SMALL_FILE_BYTES_MAX {
            return Ok(bytes);
        }
        let reason =
            format!("it has more than {SMALL_FILE_BYTES_MAX} bytes, the limit for a file of its kind");
        Err(DirectoryError::new("read", path, io::Error::new(io::ErrorKind::FileTooLarge, reason)))
    }

    /// Creates a small file, writes and syncs it. An existing file of that name is removed and never written
    /// to, since it may have a second name elsewhere.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DirectoryError>;

    /// Renames a file or directory on the same file system. Replaces a file of the new name atomically.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DirectoryError>;

    /// Gives a file a second name on the same file system.
    ///
    /// # Errors
    /// [`DirectoryError`]. Some file systems have no hard links.
    fn hard_link(&self, file: &Path, link: &Path) -> Result<(), DirectoryError>;

    /// Copies a file to a new name, durably. A name that exists already is an error.
    ///
    /// # Errors
    /// [`DirectoryError`], of the kind [`io::ErrorKind::Interrupted`] once `stop` is raised. A part of the
    /// copy may exist then.
    fn copy(&self, file: &Path, copy: &Path, stop: &StopFlag) -> Result<(), DirectoryError>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn remove_file(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Removes a directory with its content, one name after the other.
    ///
    /// # Errors
    /// [`DirectoryError`]. A part of the directory may be gone then.
    fn remove_dir_all(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Makes a file's bytes durable, also those written through other handles.
    ///
    /// # Errors
    /// [`DirectoryError`]. Nothing may be assumed durable then.
    fn sync_file(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Writes the first `len` bytes of a file again in place, cuts off the rest, and syncs the file. It takes
    /// no space.
    ///
    /// After this call the bytes are on the disk, even if an earlier sync of them failed. After a failed sync
    /// the kernel counts the bytes as written. Another sync would then succeed without writing them.
    ///
    /// # Errors
    /// [`DirectoryError`]. The bytes of the file stay the same.
    fn rewrite(&self, path: &Path, len: u64) -> Result<(), DirectoryError>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// [`DirectoryError`]. Nothing may be assumed durable then.
    fn sync_dir(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Locks a lock file without waiting, against other processes and other opens in this process. Creates a
    /// missing file. The file stays when the lock is dropped. An exclusive holder writes the number of its
    /// process into the file, for others to read.
    ///
    /// A reader that may not create the file, as on read-only media, goes without a lock. No process has ever
    /// locked such a file for writing.
    ///
    /// Dropping an exclusive lock ends it for all processes. Dropping it in a forked process changes nothing.
    ///
    /// # Errors
    /// [`LockError`]. An exclusive holder does not overwrite a file that is no lock file. A lock file that
    /// was moved or removed before it was locked is an error too.
    fn lock(&self, path: &Path, kind: LockKind) -> Result<Box<dyn DirectoryLock>, LockError>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdDirectory;
