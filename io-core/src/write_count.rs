//! Counts the writes of each open file, so that a read that began before a write has ended serves no request
//! after it.

use crate::fork;
use crate::of_process::OfProcess;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The writes that this process submitted for one file. Its readers and writers share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteCount(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    writes: AtomicU64,
    /// `None` for files that are not the system's.
    listed: Option<Listed>,
}

/// A count's entry in the list of open files.
#[derive(Debug)]
struct Listed {
    files: Arc<Files>,
    file: FileId,
    generation: u64,
}

/// The open files of this process.
#[derive(Debug, Default)]
struct Files(Mutex<HashMap<FileId, Weak<Count>>>);

static FILES: OfProcess<Files> = OfProcess::new();

/// One file, under whichever name it was opened: its device and its number there.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileId(u64, u64);

/// One file. Other systems tell no number, so a file with two names is two files.
#[cfg(not(unix))]
type FileId = std::path::PathBuf;

#[cfg(unix)]
fn id_of(metadata: &Metadata, _path: &Path) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt;
    Ok(FileId(metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn id_of(_metadata: &Metadata, path: &Path) -> io::Result<FileId> {
    path.canonicalize()
}

impl WriteCount {
    /// The count of an open file.
    pub(crate) fn of(metadata: &Metadata, path: &Path) -> io::Result<Self> {
        let file = id_of(metadata, path)?;
        let files = FILES.get_or_start(|| Ok::<_, io::Error>(Arc::default()))?;
        let mut list = files.lock();
        if let Some(count) = list.get(&file).and_then(Weak::upgrade) {
            return Ok(Self(count));
        }
        let listed = Listed { files: Arc::clone(&files), file: file.clone(), generation: fork::generation() };
        let count = Arc::new(Count { writes: AtomicU64::new(0), listed: Some(listed) });
        list.insert(file, Arc::downgrade(&count));
        drop(list);
        Ok(Self(count))
    }

    /// A write begins or has ended. A read meanwhile may bring the bytes from before it, so both count.
    pub(crate) fn add(&self) {
        self.0.writes.fetch_add(1, SeqCst);
    }

    /// The writes that have begun, and those that have ended.
    pub(crate) fn get(&self) -> u64 {
        self.0.writes.load(SeqCst)
    }
}

impl Files {
    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Weak<Count>>> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        // In a forked process, another thread of the parent may hold the lock.
        if let Some(Listed { files, file, generation }) = &self.listed
            && *generation == fork::generation()
        {
            let mut list = files.lock();
            // The file may have been opened again since the last handle went.
            if list.get(file).is_some_and(|count| count.strong_count() == 0) {
                list.remove(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn count(path: &Path) -> WriteCount {
        WriteCount::of(&File::open(path).unwrap().metadata().unwrap(), path).unwrap()
    }

    #[test]
    fn a_file_has_one_count_while_it_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        std::fs::write(&a, "").unwrap();
        std::fs::write(&b, "").unwrap();
        let (one, other) = (count(&a), count(&a));
        one.add();
        assert_eq!((one.get(), other.get(), count(&b).get()), (1, 1, 0));
        drop(one);
        assert_eq!(count(&a).get(), 1);
        drop(other);
        assert_eq!(count(&a).get(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_two_names_has_one_count() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        std::fs::write(&a, "").unwrap();
        std::fs::hard_link(&a, &b).unwrap();
        let one = count(&a);
        one.add();
        assert_eq!(count(&b).get(), 1);
    }
}
