//! Records the changes of real files as the history of a simulated disk.
//!
//! A change begins when it is handed to the system, and is over when the system says so. From its beginning
//! on, a power cut may keep any part of it. A sync covers a change that was over when the sync began. A
//! failed change is never over. Any part of it may be on the disk, and no sync covers it.

use super::SimulatedDisk;
use super::state::{Change, Covers, Node, NodeId, ROOT, State};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Changes that have begun together.
#[derive(Debug)]
pub(in crate::testing) struct Begun(Vec<usize>);

/// Tells a simulated disk the changes of files below a real directory. That directory is the `/` of the
/// simulated disk.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Recorder {
    root: Arc<Path>,
    pub(in crate::testing) disk: SimulatedDisk,
}

impl Recorder {
    /// Existing files count as durable.
    pub(in crate::testing) fn new(root: &Path) -> io::Result<Self> {
        let mut nodes = vec![Node::Dir(BTreeMap::new())];
        copy_dir(root, ROOT, &mut nodes)?;
        let disk = SimulatedDisk { seed: 0, state: Arc::new(Mutex::new(State::with_nodes(nodes))) };
        Ok(Self { root: root.into(), disk })
    }

    /// The path on the simulated disk for a real path.
    pub(in crate::testing) fn place(&self, path: &Path) -> io::Result<PathBuf> {
        let outside = |_| {
            let what = format!("{} is outside of what is traced, {}", path.display(), self.root.display());
            io::Error::new(io::ErrorKind::InvalidInput, what)
        };
        Ok(Path::new("/").join(path.strip_prefix(&self.root).map_err(outside)?))
    }

    /// A file or directory was created.
    pub(in crate::testing) fn created(&self, path: &Path, is_dir: bool) -> io::Result<NodeId> {
        self.disk.lock().create(&self.place(path)?, is_dir)
    }

    pub(in crate::testing) fn node(&self, path: &Path) -> io::Result<NodeId> {
        self.disk.lock().node(&self.place(path)?)
    }

    pub(in crate::testing) fn renamed(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let mut state = self.disk.lock();
        // If both names belong to one file, the system removes neither.
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

    /// A write begins that gives a small file these bytes. The file may be missing.
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

    /// These changes are over.
    pub(in crate::testing) fn over(&self, Begun(changes): Begun) {
        let mut state = self.disk.lock();
        for change in changes {
            state.under_way.remove(&change);
        }
    }

    /// A write is over. The system took `taken` of its bytes.
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

    /// Call this before a sync, and [`Recorder::synced`] after it.
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

/// Copies the content of a real directory to a node. Only files and directories have a place on a simulated
/// disk.
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
