//! Traces changes of names and small files.

use crate::testing::disk::Recorder;
use crate::{Directory, DirectoryEntry, DirectoryError, DirectoryLock, LockError, LockKind, StopFlag};
use std::io;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct TracedDirectory {
    pub(super) inner: Arc<dyn Directory>,
    pub(super) recorder: Recorder,
}

impl TracedDirectory {
    /// Fails before anything is done, if the change could not be recorded.
    fn check(&self, operation: &'static str, path: &Path) -> Result<(), DirectoryError> {
        recorded(operation, path, self.recorder.place(path).map(drop))
    }

    /// Records that `write` puts these bytes, and nothing else, into a file and syncs it.
    fn contents(
        &self,
        operation: &'static str,
        path: &Path,
        bytes: &[u8],
        write: impl FnOnce() -> Result<(), DirectoryError>,
    ) -> Result<(), DirectoryError> {
        let begun = self.recorder.begin_contents(path, bytes);
        let (node, begun) = recorded(operation, path, begun)?;
        write()?;
        self.recorder.over(begun);
        self.recorder.synced(node, self.recorder.covers(), &Ok::<_, DirectoryError>(()));
        Ok(())
    }
}

fn recorded<T>(operation: &'static str, path: &Path, result: io::Result<T>) -> Result<T, DirectoryError> {
    result.map_err(|error| DirectoryError::new(operation, path, error))
}

impl Directory for TracedDirectory {
    fn create_dir(&self, path: &Path) -> Result<(), DirectoryError> {
        self.check("create", path)?;
        self.inner.create_dir(path)?;
        recorded("create", path, self.recorder.created(path, true).map(drop))
    }

    fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>, DirectoryError> {
        self.inner.list(path)
    }

    fn entry(&self, path: &Path) -> Result<DirectoryEntry, DirectoryError> {
        self.inner.entry(path)
    }

    fn check_own(&self, path: &Path) -> Result<(), DirectoryError> {
        self.inner.check_own(path)
    }

    fn is_within(&self, path: &Path, dir: &Path) -> Result<bool, DirectoryError> {
        self.inner.is_within(path, dir)
    }

    fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> Result<Vec<u8>, DirectoryError> {
        self.inner.read_at(path, offset, bytes_max)
    }

    /// Removes an existing file first, as the system does. A power cut may hit between the steps.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DirectoryError> {
        if self.recorder.node(path).is_ok() {
            self.remove_file(path)?;
            self.sync_dir(path.parent().unwrap_or(path))?;
        }
        self.contents("write", path, bytes, || self.inner.write(path, bytes))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DirectoryError> {
        self.check("rename", from)?;
        self.check("rename", to)?;
        self.inner.rename(from, to)?;
        recorded("rename", from, self.recorder.renamed(from, to))
    }

    fn hard_link(&self, file: &Path, link: &Path) -> Result<(), DirectoryError> {
        self.check("link", file)?;
        self.check("link", link)?;
        self.inner.hard_link(file, link)?;
        recorded("link", file, self.recorder.linked(file, link))
    }

    fn copy(&self, file: &Path, copy: &Path, stop: &StopFlag) -> Result<(), DirectoryError> {
        // If the name is taken, nothing is written.
        if self.recorder.node(copy).is_ok() {
            return self.inner.copy(file, copy, stop);
        }
        let bytes = self.inner.read_at(file, 0, usize::MAX)?;
        self.contents("copy to", copy, &bytes, || self.inner.copy(file, copy, stop))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DirectoryError> {
        self.check("remove", path)?;
        self.inner.remove_file(path)?;
        recorded("remove", path, self.recorder.removed(path))
    }

    /// Removes one name after the other, as the system does. A power cut may hit between two of them.
    fn remove_dir_all(&self, path: &Path) -> Result<(), DirectoryError> {
        self.check("remove", path)?;
        for entry in self.list(path)? {
            let path = path.join(entry.name);
            if entry.is_dir { self.remove_dir_all(&path)? } else { self.remove_file(&path)? }
        }
        self.inner.remove_dir_all(path)?;
        recorded("remove", path, self.recorder.removed(path))
    }

    fn sync_file(&self, path: &Path) -> Result<(), DirectoryError> {
        let node = recorded("sync", path, self.recorder.node(path))?;
        let covers = self.recorder.covers();
        let synced = self.inner.sync_file(path);
        self.recorder.synced(node, covers, &synced);
        synced
    }

    fn rewrite(&self, path: &Path, len: u64) -> Result<(), DirectoryError> {
        let bytes = self.inner.read_at(path, 0, len as usize)?;
        let node = recorded("write again", path, self.recorder.node(path))?;
        let (write, cut) =
            (self.recorder.begin_write(node, 0, &bytes), self.recorder.begin_set_len(node, len));
        self.inner.rewrite(path, len)?;
        self.recorder.over(write);
        self.recorder.over(cut);
        self.recorder.synced(node, self.recorder.covers(), &Ok::<_, DirectoryError>(()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DirectoryError> {
        let covers = self.recorder.covers();
        self.inner.sync_dir(path)?;
        recorded("sync", path, self.recorder.synced_dir(path, covers))
    }

    /// Records the file's name. Its content serves messages only, and is never synced.
    fn lock(&self, path: &Path, kind: LockKind) -> Result<Box<dyn DirectoryLock>, LockError> {
        self.check("lock", path)?;
        let lock = self.inner.lock(path, kind)?;
        if self.recorder.node(path).is_err() {
            recorded("lock", path, self.recorder.created(path, false))?;
        }
        Ok(lock)
    }
}
