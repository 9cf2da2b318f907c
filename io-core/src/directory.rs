//! What a store does to a disk besides reading and writing open files: names, small files, durability of
//! names, locks.
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
    #[error("{} is locked by {holder}", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who, as far as that is known.
        holder: LockHolder,
    },
    /// It cannot be tried.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockHolder {
    /// Others, together.
    Shared,
    /// One, alone. What it wrote into the file, or nothing.
    Exclusive(String),
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("others that have it open for reading"),
            // A lock goes with an open file, which a process that is forked has too.
            Self::Exclusive(name) if name.is_empty() => {
                f.write_str("a process that left no name; it may be one that the last owner forked")
            }
            Self::Exclusive(name) => write!(f, "{name}, or by a process that it forked"),
        }
    }
}

/// [`Directory::read`] reads files up to this length, 64 MiB.
pub(crate) const SMALL_FILE_BYTES_MAX: usize = 64 << 20;

/// Held until it is dropped.
pub trait DirectoryLock: Send + Sync + fmt::Debug {}

/// Names and small files of one file system. Paths are as the backend's `open` and `create` take them.
///
/// A file is a regular file: a symbolic link, a pipe or a device in the place of one is an error, and never
/// waited for. Directories on the way to it may be links.
///
/// A new name, a rename and a removal are durable after [`Directory::sync_dir`] of the directory they are in;
/// the bytes of a file after it was synced itself.
pub trait Directory: Send + Sync + fmt::Debug {
    /// Creates one directory; an existing one is an error.
    ///
    /// # Errors
    /// [`DirectoryError`], as for all calls here.
    fn create_dir(&self, path: &Path) -> Result<(), DirectoryError>;

    /// What has a name. What a symbolic link leads to is not looked at.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn entry(&self, path: &Path) -> Result<DirectoryEntry, DirectoryError>;

    /// Refuses what is no directory of one's own: a link to one, or one that another user owns or every user
    /// may write to. Where the system has no such owners it is enough that it is a directory.
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

    /// Whether `path`, which need not be there, is the directory `dir` or anything below it, whatever names
    /// lead to them.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn is_within(&self, path: &Path, dir: &Path) -> Result<bool, DirectoryError>;

    /// What is in a directory, by name.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>, DirectoryError>;

    /// The bytes of a file from an offset on: `bytes_max` of them, or as many as there are.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> Result<Vec<u8>, DirectoryError>;

    /// The whole of a small file.
    ///
    /// # Errors
    /// [`DirectoryError`]; of the kind [`io::ErrorKind::FileTooLarge`] if it has more than 64 MiB.
    fn read(&self, path: &Path) -> Result<Vec<u8>, DirectoryError> {
        let bytes = self.read_at(path, 0, SMALL_FILE_BYTES_MAX + 1)?;
        if bytes.len() <= SMALL_FILE_BYTES_MAX {
            return Ok(bytes);
        }
        let reason =
            format!("it is longer than {SMALL_FILE_BYTES_MAX} bytes, more than a file of its kind may have");
        Err(DirectoryError::new("read", path, io::Error::new(io::ErrorKind::FileTooLarge, reason)))
    }

    /// Creates a small file, writes and syncs it. What has its name already is removed, not written to: it
    /// may be another file's second name.
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

    /// Copies a file to a new name, durably. What has that name already is an error.
    ///
    /// # Errors
    /// [`DirectoryError`], of the kind [`io::ErrorKind::Interrupted`] once `stop` is raised; a part of the
    /// copy may be there then.
    fn copy(&self, file: &Path, copy: &Path, stop: &StopFlag) -> Result<(), DirectoryError>;

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

    /// Writes the first `len` bytes of a file again where they are, cuts off what follows, and syncs it.
    /// Takes no space. After that they are on the disk also where an earlier sync of them failed: the kernel
    /// then forgets that they are not, and another sync alone would succeed without writing them.
    ///
    /// # Errors
    /// [`DirectoryError`]; the bytes are the same all the same.
    fn rewrite(&self, path: &Path, len: u64) -> Result<(), DirectoryError>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// [`DirectoryError`]; nothing may be assumed durable then.
    fn sync_dir(&self, path: &Path) -> Result<(), DirectoryError>;

    /// Locks a lock file against other processes and other opens of this one, without waiting. It is created
    /// if it is not there and stays when the lock is dropped. An exclusive holder leaves the number of its
    /// process in it for others to read. A reader that may not create it, as on read-only media, goes
    /// without: nobody has ever locked it to write.
    ///
    /// Dropping an exclusive lock ends it for all processes; in one that was forked, dropping it changes
    /// nothing.
    ///
    /// # Errors
    /// [`LockError`]; also where an exclusive holder would overwrite a file that is no lock file, and where
    /// the lock file was moved or removed before it was locked.
    fn lock(&self, path: &Path, kind: LockKind) -> Result<Box<dyn DirectoryLock>, LockError>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdDirectory;
