//! Names, small files and locks of a simulated disk.

use super::SimulatedDisk;
use super::state::{Change, Node, NodeId, Operation, State};
use crate::{
    Directory, DirectoryEntry, DirectoryError, DirectoryLock, LockError, LockHolder, LockKind, StopFlag,
};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

impl SimulatedDisk {
    fn act<T>(
        &self,
        operation: &'static str,
        path: &Path,
        kind: Operation,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> Result<T, DirectoryError> {
        let mut state = self.lock();
        let done = state.operation(kind).and_then(|fate| fate.answer(act(&mut state)?));
        done.map_err(|error| DirectoryError::new(operation, path, error))
    }
}

impl Directory for SimulatedDisk {
    fn create_dir(&self, path: &Path) -> Result<(), DirectoryError> {
        self.act("create", path, Operation::NewName, |state| state.create(path, true).map(|_| ()))
    }

    fn entry(&self, path: &Path) -> Result<DirectoryEntry, DirectoryError> {
        self.act("look at", path, Operation::Other, |state| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            Ok(entry(name, &state.nodes[state.node(path)?]))
        })
    }

    fn is_within(&self, path: &Path, dir: &Path) -> Result<bool, DirectoryError> {
        self.act("look at", path, Operation::Other, |state| {
            let dir = state.dir(dir)?;
            Ok(path.ancestors().any(|ancestor| state.node(ancestor).is_ok_and(|node| node == dir)))
        })
    }

    fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>, DirectoryError> {
        self.act("list", path, Operation::Other, |state| {
            let entries = state.entries(state.dir(path)?).iter();
            Ok(entries.map(|(name, &node)| entry(name, &state.nodes[node])).collect())
        })
    }

    fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> Result<Vec<u8>, DirectoryError> {
        self.act("read", path, Operation::Other, |state| {
            let file = state.file(state.node(path)?)?;
            let start = usize::try_from(offset).map_or(file.len(), |offset| offset.min(file.len()));
            Ok(file[start..file.len().min(start.saturating_add(bytes_max))].to_vec())
        })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DirectoryError> {
        let is_free = self.lock().node(path).is_err();
        if !is_free {
            self.remove_file(path)?;
            self.sync_dir(path.parent().unwrap_or(path))?;
        }
        let node = self.act("write", path, Operation::NewName, |state| state.create(path, false))?;
        self.act("write", path, Operation::Transfer { needs_space: true }, |state| {
            state.apply(Change::Write { node, offset: 0, bytes: bytes.into() });
            Ok(())
        })?;
        self.sync_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DirectoryError> {
        self.act("rename", from, Operation::Other, |state| {
            let (moved, from, to_place) = (state.node(from)?, state.place(from)?, state.place(to)?);
            if let Ok(replaced) = state.node(to) {
                match (&state.nodes[moved], &state.nodes[replaced]) {
                    (Node::File(_), Node::File(_)) => {}
                    (Node::Dir(_), Node::Dir(entries)) if entries.is_empty() => {}
                    (Node::Dir(_), Node::Dir(_)) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
                    (Node::File(_), Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
                    (Node::Dir(_), Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                }
            }
            state.apply(Change::Rename { from, to: to_place });
            Ok(())
        })
    }

    fn hard_link(&self, file: &Path, link: &Path) -> Result<(), DirectoryError> {
        self.act("link", file, Operation::NewName, |state| {
            let node = state.node(file)?;
            state.file(node)?;
            let (dir, name) = state.place(link)?;
            if state.entries(dir).contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.apply(Change::Name { dir, name, node, is_dir: false });
            Ok(())
        })
    }

    fn copy(&self, file: &Path, copy: &Path, stop: &StopFlag) -> Result<(), DirectoryError> {
        let bytes = self.read_at(file, 0, usize::MAX)?;
        if self.lock().node(copy).is_ok() {
            return Err(DirectoryError::new("copy to", copy, io::ErrorKind::AlreadyExists.into()));
        }
        if stop.is_stopped() {
            return Err(DirectoryError::new("copy to", copy, io::ErrorKind::Interrupted.into()));
        }
        self.write(copy, &bytes)
    }

    fn remove_file(&self, path: &Path) -> Result<(), DirectoryError> {
        self.act("remove", path, Operation::Other, |state| {
            state.file(state.node(path)?)?;
            let (dir, name) = state.place(path)?;
            state.apply(Change::Unname { dir, name });
            Ok(())
        })
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), DirectoryError> {
        for entry in self.list(path)? {
            let path = path.join(entry.name);
            if entry.is_dir { self.remove_dir_all(&path)? } else { self.remove_file(&path)? }
        }
        self.act("remove", path, Operation::Other, |state| {
            let (dir, name) = state.place(path)?;
            state.apply(Change::Unname { dir, name });
            Ok(())
        })
    }

    fn sync_file(&self, path: &Path) -> Result<(), DirectoryError> {
        let mut state = self.lock();
        let node = state.node(path);
        let synced = node.and_then(|node| state.sync_node(node));
        synced.map_err(|error| DirectoryError::new("sync", path, error))
    }

    fn rewrite(&self, path: &Path, len: u64) -> Result<(), DirectoryError> {
        let len = len as usize;
        let node = self.act("write again", path, Operation::Transfer { needs_space: false }, |state| {
            let node = state.node(path)?;
            let bytes = state.file(node)?.get(..len).ok_or(io::ErrorKind::UnexpectedEof)?;
            let change = Change::Write { node, offset: 0, bytes: bytes.into() };
            state.apply(change);
            Ok(node)
        })?;
        self.act("write again", path, Operation::Other, |state| {
            state.apply(Change::SetLen { node, len });
            Ok(())
        })?;
        self.sync_file(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DirectoryError> {
        self.act("sync", path, Operation::Other, |state| {
            let (dir, covers) = (state.dir(path)?, state.covers());
            state.apply(Change::SyncDir { dir, covers });
            Ok(())
        })
    }

    fn lock(&self, path: &Path, kind: LockKind) -> Result<Box<dyn DirectoryLock>, LockError> {
        let mut state = self.lock();
        let created = state.operation(Operation::Other).and_then(|fate| {
            let node = state.node(path).or_else(|_| state.create(path, false))?;
            state.file(node)?;
            fate.answer(node)
        });
        let node = created.map_err(|error| DirectoryError::new("lock", path, error))?;
        let held = state.locks.entry(node).or_default();
        match kind {
            LockKind::Exclusive if *held == 0 => *held = -1,
            LockKind::Shared if *held >= 0 => *held += 1,
            _ => {
                let owner = || LockHolder::Exclusive(format!("process {}", std::process::id()));
                let holder = if *held < 0 { owner() } else { LockHolder::Shared };
                return Err(LockError::Held { path: path.to_owned(), holder });
            }
        }
        Ok(Box::new(SimulatedLock { disk: self.clone(), path: path.to_owned(), node }))
    }
}

fn entry(name: &OsStr, node: &Node) -> DirectoryEntry {
    let (is_dir, len) = match node {
        Node::File(bytes) => (false, bytes.len() as u64),
        Node::Dir(_) => (true, 0),
    };
    DirectoryEntry { name: name.to_owned(), is_dir, len }
}

impl State {
    /// Syncs a file, or loses what was to be synced.
    pub(super) fn sync_node(&mut self, node: usize) -> io::Result<()> {
        let fate = self.operation(Operation::Other);
        let covers = self.covers();
        let change = if fate.is_ok() { Change::SyncFile { node, covers } } else { Change::LostSync { node } };
        self.apply(change);
        fate?.answer(())
    }
}

#[derive(Debug)]
struct SimulatedLock {
    disk: SimulatedDisk,
    path: PathBuf,
    node: NodeId,
}

impl DirectoryLock for SimulatedLock {
    fn is_in_place(&self) -> Result<bool, DirectoryError> {
        let here = |state: &mut State| Ok(state.node(&self.path).is_ok_and(|node| node == self.node));
        self.disk.act("look at", &self.path, Operation::Other, here)
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        if let Some(held) = self.disk.lock().locks.get_mut(&self.node) {
            *held = (*held - 1).max(0);
        }
    }
}
