//! A simulated disk: a file system in memory that keeps a history of everything done to it, and makes from
//! any point of that history the disk as a power cut there could have left it.
//!
//! ```text
//! history:  create a | write a | sync a | write a | rename a b | sync dir | ...
//!                                                ^ crash here: "write a" was not synced, so each of its
//!                                                  512-byte sectors may be missing; so may the name `a`
//! ```
//!
//! * The bytes of a file are safe once *it* was synced, a name once its *directory* was synced; neither
//!   implies the other.
//! * What a failed sync did not write is lost for good, though later syncs succeed: as Linux does it.
//! * One run gives a crash point for each of its operations; nothing has to be run again.

mod backend;
mod crash;
mod directory;
mod state;
mod trace;

pub use backend::{SimulatedSink, SimulatedSource};
pub use state::{DiskFault, FaultKind};
pub(super) use trace::Recorder;

use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk in memory and the backend for it. Clones share the disk; paths are absolute, and `/` exists.
///
/// ```
/// use io_core::{BackendFactory, Directory};
/// use io_core::testing::SimulatedDisk;
/// use std::path::Path;
///
/// let disk = SimulatedDisk::new(1);
/// let files = disk.directory();
/// files.write(Path::new("/kept"), b"synced")?;
/// files.sync_dir(Path::new("/"))?;
/// files.write(Path::new("/lost"), b"its name was not synced")?;
///
/// let after = disk.crash(disk.history_len(), SimulatedDisk::LOSE_ALL);
/// let names: Vec<_> = after.directory().list(Path::new("/"))?.into_iter().map(|entry| entry.name).collect();
/// assert_eq!(names, ["kept"]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    seed: u64,
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// The seed for [`SimulatedDisk::crash`] that keeps nothing that was not synced.
    pub const LOSE_ALL: u64 = 0;
    /// The seed for [`SimulatedDisk::crash`] that keeps everything, as when only the process is killed.
    pub const KEEP_ALL: u64 = 1;

    /// An empty disk; operations under way complete in an order that depends on `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, state: Arc::new(Mutex::new(State::default())) }
    }

    /// Changes made so far: each is a point to crash after.
    #[must_use]
    pub fn history_len(&self) -> usize {
        self.lock().history.len()
    }

    /// What the change of this number was, for a message.
    #[must_use]
    pub fn describe(&self, change: usize) -> String {
        self.lock().history.get(change).map_or_else(|| "the end".to_owned(), |change| change.describe())
    }

    /// Whether the change of this number is a sync of a file or of a directory.
    #[must_use]
    pub fn is_sync(&self, change: usize) -> bool {
        self.lock().history.get(change).is_some_and(state::Change::is_sync)
    }

    /// The disk as a power cut after the first `changes` of its history may leave it. Which of the unsynced
    /// changes survive, and in which sectors, depends on `seed`.
    #[must_use]
    pub fn crash(&self, changes: usize, seed: u64) -> Self {
        let nodes = crash::surviving(&self.lock(), changes, seed);
        Self { seed: self.seed, state: Arc::new(Mutex::new(State::with_nodes(nodes))) }
    }

    /// Operations of every kind done so far, those that change nothing included: each is a point to inject a
    /// fault at.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Injects a fault from now on, or none.
    pub fn set_fault(&self, fault: Option<DiskFault>) {
        self.lock().fault = fault;
    }

    /// Calls `act` when the operation of this number begins. `act` must not use the disk, which is locked.
    pub fn at_operation(&self, number: u64, act: impl FnOnce() + Send + 'static) {
        self.lock().hook = Some(state::Hook { at: number, act: Box::new(act) });
    }

    /// Whether a fault was injected since the last [`SimulatedDisk::set_fault`].
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.lock().fault.is_some_and(|fault| fault.hit)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
