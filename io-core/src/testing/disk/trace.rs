//! Recording: the history of a simulated disk, as a real one makes it.
//!
//! A change has begun when it is handed to the system, and is over when the system says so. From its
//! beginning on a power cut may keep any part of it; a sync covers it if it was over when the sync began. A
//! change that fails is never over: any part of it may be there, and no sync says that it is.

use super::SimulatedDisk;
use super::state::{Change, Covers, Node, NodeId, ROOT, State};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Changes that have begun together.
#[derive(Debug)]
pub(in crate::testing) struct Begun(Vec<usize>);

/// Tells a simulated disk what is done to the files below a real directory, which is the simulated disk's
/// `/`.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Recorder {
    root: Arc<Path>,
    pub(in crate::testing) disk: SimulatedDisk,
}

impl Recorder {
    /// What is there already counts as durable.
    pub(in crate::testing) fn new(root: &Path) -> io::Result<Self> {
        let mut nodes = vec![Node::Dir(BTreeMap::new())];
        copy_dir(root, ROOT, &mut nodes)?;
        let disk = SimulatedDisk { seed: 0, state: Arc::new(Mutex::new(State::with_nodes(nodes))) };
        Ok(Self { root: root.into(), disk })
    }

    /// Where a real path is on the simulated disk.
    pub(in crate::testing) fn place(&self, path: &Path) -> io::Result<PathBuf> {
        let outside = |_| {
            let what = format!("{} is outside of what is traced, {}", path.display(), self.root.display());
            io::Error::new(io::ErrorKind::InvalidInput, what)
        };
        Ok(Path::new("/").join(path.strip_prefix(&self.root).map_err(outside)?))
    }

    pub(in crate::testing) fn node(&self, path: &Path) -> io::Result<NodeId> {
        self.disk.lock().node(&self.place(path)?)
    }

    /// A file or directory was created.
    pub(in crate::testing) fn created(&self, path: &Path, is_dir: bool) -> io::Result<NodeId> {
        self.disk.lock().create(&self.place(path)?, is_dir)
    }

    pub(in crate::testing) fn renamed(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let mut state = self.disk.lock();
        // Of two names of one file the system removes neither.
        if state.node(&from)? != state.node(&to).unwrap_or(ROOT) {
            let (from, to) = (state.place(&from)?, state.place(&to)?);
            state.apply(Change::Rename { from, to });
        }
        Ok(())
    }

    pub(in crate::testing) fn linked(&self, file: &Path, link: &Path) -> io::Result<()> {
        let mut state = self.disk.lock();
        let node = state.node(&self.place(file)?)?;
        let (dir, name) = state.place(&self.place(link)?)?;
        state.apply(Change::Name { dir, name, node, is_dir: false });
        Ok(())
    }

    pub(in crate::testing) fn removed(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.lock();
        let (dir, name) = state.place(&self.place(path)?)?;
        state.apply(Change::Unname { dir, name });
        Ok(())
    }

    pub(in crate::testing) fn begin_write(&self, node: NodeId, offset: u64, bytes: &[u8]) -> Begun {
        let change = Change::Write { node, offset: offset as usize, bytes: bytes.into() };
        Begun(vec![begin(&mut self.disk.lock(), change)])
    }

    pub(in crate::testing) fn begin_set_len(&self, node: NodeId, len: u64) -> Begun {
        Begun(vec![begin(&mut self.disk.lock(), Change::SetLen { node, len: len as usize })])
    }

    /// A small file is to hold these bytes, whether it is there or not.
    pub(in crate::testing) fn begin_contents(
        &self,
        path: &Path,
        bytes: &[u8],
    ) -> io::Result<(NodeId, Begun)> {
        let path = self.place(path)?;
        let mut state = self.disk.lock();
        let first = state.history.len();
        let node = match state.node(&path) {
            Ok(node) => {
                state.apply(Change::SetLen { node, len: 0 });
                node
            }
            Err(_) => state.create(&path, false)?,
        };
        state.apply(Change::Write { node, offset: 0, bytes: bytes.into() });
        let begun: Vec<usize> = (first..state.history.len()).collect();
        state.under_way.extend(&begun);
        Ok((node, Begun(begun)))
    }

    /// Changes have come to their end.
    pub(in crate::testing) fn over(&self, Begun(changes): Begun) {
        let mut state = self.disk.lock();
        for change in changes {
            state.under_way.remove(&change);
        }
    }

    /// A write has come to its end, and the system took so many of its bytes.
    pub(in crate::testing) fn written(&self, write: Begun, taken: usize) {
        for &change in &write.0 {
            if let Change::Write { bytes, .. } = &mut self.disk.lock().history[change]
                && taken < bytes.len()
            {
                *bytes = bytes[..taken].into();
            }
        }
        self.over(write);
    }

    /// Call it before a sync, for [`Recorder::synced`] after it.
    pub(in crate::testing) fn covers(&self) -> Covers {
        self.disk.lock().covers()
    }

    pub(in crate::testing) fn synced<T, E>(&self, node: NodeId, covers: Covers, result: &Result<T, E>) {
        let change = match result {
            Ok(_) => Change::SyncFile { node, covers },
            Err(_) => Change::LostSync { node },
        };
        self.disk.lock().apply(change);
    }

    pub(in crate::testing) fn synced_dir(&self, path: &Path, covers: Covers) -> io::Result<()> {
        let mut state = self.disk.lock();
        let dir = state.dir(&self.place(path)?)?;
        state.apply(Change::SyncDir { dir, covers });
        Ok(())
    }
}

fn begin(state: &mut State, change: Change) -> usize {
    let number = state.history.len();
    state.apply(change);
    state.under_way.insert(number);
    number
}

/// Copies what is in a real directory to a node. Only files and directories: no other has a place on a
/// simulated disk.
fn copy_dir(path: &Path, node: NodeId, nodes: &mut Vec<Node>) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let (entry, new) = (entry?, nodes.len());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            nodes.push(Node::Dir(BTreeMap::new()));
            copy_dir(&entry.path(), new, nodes)?;
        } else if kind.is_file() {
            nodes.push(Node::File(std::fs::read(entry.path())?));
        } else {
            continue;
        }
        let Node::Dir(names) = &mut nodes[node] else { unreachable!("made as a directory") };
        names.insert(entry.file_name(), new);
    }
    Ok(())
}
