//! The disk as the running system sees it, the history of its changes, and faults.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

const EIO: i32 = 5;
const EACCES: i32 = 13;
const ENOSPC: i32 = 28;

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The operation fails with EIO. A failed sync loses the bytes that it should have written.
    Io,
    /// From this operation on, every operation that needs space fails with ENOSPC.
    NoSpace,
    /// The operation fails with ENOSPC if it needs space. Later operations find enough.
    TooLarge,
    /// A read or write transfers only a part. Other operations are not affected.
    Short,
    /// The operation fails with EACCES, as if permissions were missing.
    Denied,
    /// The operation is carried out, but fails with EIO, as if only its answer were lost.
    Landed,
}

/// A fault at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// The number of the operation, counted as
    /// [`SimulatedDisk::operations`](super::SimulatedDisk::operations) does.
    pub at: u64,
    /// The kind of the fault.
    pub kind: FaultKind,
    pub(super) hit: bool,
}

impl DiskFault {
    /// A fault at the operation of this number.
    #[must_use]
    pub fn new(at: u64, kind: FaultKind) -> Self {
        Self { at, kind, hit: false }
    }
}

/// The kind of an operation. Some faults hit only some kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Transfer { needs_space: bool },
    NewName,
    Other,
}

/// The course of an operation that does not fail at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    /// A transfer moves a part only.
    Short,
    /// The operation is carried out, and then reports a failure.
    Landed,
}

impl Fate {
    /// The result of an operation that was carried out.
    pub(super) fn answer<T>(self, done: T) -> io::Result<T> {
        if self == Self::Landed { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(done) }
    }
}

pub(in crate::testing) type NodeId = usize;
pub(super) const ROOT: NodeId = 0;

/// A file or a directory.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Vec<u8>),
    Dir(BTreeMap<OsString, NodeId>),
}

/// One change. A crash may lose it.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Name {
        dir: NodeId,
        name: OsString,
        node: NodeId,
        is_dir: bool,
    },
    Unname {
        dir: NodeId,
        name: OsString,
    },
    Rename {
        from: (NodeId, OsString),
        to: (NodeId, OsString),
    },
    Write {
        node: NodeId,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    SetLen {
        node: NodeId,
        len: usize,
    },
    SyncFile {
        node: NodeId,
        covers: Covers,
    },
    /// A failed sync. The bytes that it should have written are gone from the cache.
    LostSync {
        node: NodeId,
    },
    SyncDir {
        dir: NodeId,
        covers: Covers,
    },
}

/// The changes that a sync makes durable: those that were over when it began.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Covers {
    /// Changes with smaller numbers than this...
    before: usize,
    /// ...unless they were still under way.
    under_way: BTreeSet<usize>,
}

impl Covers {
    pub(super) fn include(&self, change: usize) -> bool {
        change < self.before && !self.under_way.contains(&change)
    }
}

impl Change {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name { name, is_dir: false, .. } => format!("name file {}", name.display()),
            Self::Name { name, is_dir: true, .. } => format!("name directory {}", name.display()),
            Self::Unname { name, .. } => format!("remove {}", name.display()),
            Self::Rename { from, to } => format!("rename {} to {}", from.1.display(), to.1.display()),
            Self::Write { node, offset, bytes } => {
                format!("write {} bytes at {offset} of node {node}", bytes.len())
            }
            Self::SetLen { node, len } => format!("set the length of node {node} to {len}"),
            Self::SyncFile { node, .. } => format!("sync file node {node}"),
            Self::LostSync { node } => format!("failed sync of node {node}"),
            Self::SyncDir { dir, .. } => format!("sync directory node {dir}"),
        }
    }

    pub(super) fn is_sync(&self) -> bool {
        matches!(self, Self::SyncFile { .. } | Self::LostSync { .. } | Self::SyncDir { .. })
    }
}

/// What is called when an operation begins.
pub(super) struct Hook {
    pub(super) at: u64,
    pub(super) act: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Everything about a disk.
#[derive(Debug)]
pub(super) struct State {
    /// The nodes when the history began. All of them are durable.
    pub(super) base: Vec<Node>,
    /// The nodes now.
    pub(super) nodes: Vec<Node>,
    pub(super) history: Vec<Change>,
    /// The numbers of changes that have begun and are not over. A sync does not cover them.
    pub(super) under_way: BTreeSet<usize>,
    pub(super) operations: u64,
    pub(super) fault: Option<DiskFault>,
    pub(super) hook: Option<Hook>,
    /// The holders of each lock file: -1 for an exclusive one, else the number of readers.
    pub(super) locks: HashMap<NodeId, i32>,
}

impl Default for State {
    fn default() -> Self {
        Self::with_nodes(vec![Node::Dir(BTreeMap::new())])
    }
}

impl State {
    pub(super) fn with_nodes(nodes: Vec<Node>) -> Self {
        let (history, under_way, locks) = (Vec::new(), BTreeSet::new(), HashMap::new());
        Self { base: nodes.clone(), nodes, history, under_way, operations: 0, fault: None, hook: None, locks }
    }

    /// Counts an operation and decides its course.
    pub(super) fn operation(&mut self, operation: Operation) -> io::Result<Fate> {
        let number = self.operations;
        self.operations += 1;
        if let Some(hook) = self.hook.take_if(|hook| hook.at == number) {
            (hook.act)();
        }
        let Some(fault) = &mut self.fault else { return Ok(Fate::Whole) };
        let needs_space = matches!(operation, Operation::Transfer { needs_space: true } | Operation::NewName);
        match fault.kind {
            FaultKind::Io if number == fault.at => {
                fault.hit = true;
                Err(io::Error::from_raw_os_error(EIO))
            }
            FaultKind::Denied if number == fault.at => {
                fault.hit = true;
                Err(io::Error::from_raw_os_error(EACCES))
            }
            FaultKind::NoSpace if number >= fault.at && needs_space => {
                fault.hit = true;
                Err(io::Error::from_raw_os_error(ENOSPC))
            }
            FaultKind::TooLarge if number == fault.at && needs_space => {
                fault.hit = true;
                Err(io::Error::from_raw_os_error(ENOSPC))
            }
            FaultKind::Short if number == fault.at && matches!(operation, Operation::Transfer { .. }) => {
                fault.hit = true;
                Ok(Fate::Short)
            }
            FaultKind::Landed if number == fault.at => {
                fault.hit = true;
                Ok(Fate::Landed)
            }
            _ => Ok(Fate::Whole),
        }
    }

    pub(super) fn node(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    let Node::Dir(entries) = &self.nodes[node] else {
                        return Err(io::ErrorKind::NotADirectory.into());
                    };
                    node = *entries.get(name).ok_or(io::ErrorKind::NotFound)?;
                }
                Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(node)
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.node(path)?;
        if let Node::Dir(_) = self.nodes[node] { Ok(node) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// The directory a path is in, and its name there.
    pub(super) fn place(&self, path: &Path) -> io::Result<(NodeId, OsString)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok((self.dir(parent)?, name.to_owned()))
    }

    pub(super) fn entries(&self, dir: NodeId) -> &BTreeMap<OsString, NodeId> {
        match &self.nodes[dir] {
            Node::Dir(entries) => entries,
            Node::File(_) => unreachable!("checked to be a directory"),
        }
    }

    pub(super) fn file(&self, node: NodeId) -> io::Result<&Vec<u8>> {
        match &self.nodes[node] {
            Node::File(bytes) => Ok(bytes),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// A new file or directory.
    pub(super) fn create(&mut self, path: &Path, is_dir: bool) -> io::Result<NodeId> {
        let (dir, name) = self.place(path)?;
        if self.entries(dir).contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = self.nodes.len();
        self.nodes.push(if is_dir { Node::Dir(BTreeMap::new()) } else { Node::File(Vec::new()) });
        self.apply(Change::Name { dir, name, node, is_dir });
        Ok(node)
    }

    /// Makes a change and adds it to the history.
    pub(super) fn apply(&mut self, change: Change) {
        apply(&mut self.nodes, &change);
        self.history.push(change);
    }

    /// The changes that a sync covers if it begins now.
    pub(super) fn covers(&self) -> Covers {
        Covers { before: self.history.len(), under_way: self.under_way.clone() }
    }
}

/// Makes a change to nodes. Does nothing if a change that it builds on was lost.
pub(super) fn apply(nodes: &mut [Node], change: &Change) {
    let mut entries = |dir: NodeId, act: &mut dyn FnMut(&mut BTreeMap<OsString, NodeId>)| {
        if let Node::Dir(entries) = &mut nodes[dir] {
            act(entries);
        }
    };
    match change {
        Change::Name { dir, name, node, .. } => entries(*dir, &mut |entries| {
            entries.insert(name.clone(), *node);
        }),
        Change::Unname { dir, name } => entries(*dir, &mut |entries| {
            entries.remove(name);
        }),
        Change::Rename { from, to } => {
            let mut moved = None;
            entries(from.0, &mut |entries| moved = entries.remove(&from.1));
            if let Some(node) = moved {
                entries(to.0, &mut |entries| {
                    entries.insert(to.1.clone(), node);
                });
            }
        }
        Change::Write { node, offset, bytes } => write(&mut nodes[*node], *offset, bytes),
        Change::SetLen { node, len } => {
            if let Node::File(file) = &mut nodes[*node] {
                file.resize(*len, 0);
            }
        }
        Change::SyncFile { .. } | Change::LostSync { .. } | Change::SyncDir { .. } => {}
    }
}

pub(super) fn write(node: &mut Node, offset: usize, bytes: &[u8]) {
    if let Node::File(file) = node {
        let end = offset + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(bytes);
    }
}
