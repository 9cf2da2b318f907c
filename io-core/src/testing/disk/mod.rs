//! A simulated disk is a file system in memory that keeps a history of all its changes. From any point of
//! that history, it makes the disk as a power cut there could have left it.
//!
//! ```text
//! history:  create a | write a | sync a | write a | rename a b | sync dir | ...
//!                                                ^ crash here: "write a" was not synced, so each of its
//!                                                  512-byte sectors may be missing; so may the name `a`
//! ```
//!
//! * A sync of a *file* makes its bytes durable. A sync of a *directory* makes its names durable. Neither
//!   implies the other.
//! * A failed sync loses its bytes for good, even if later syncs succeed, as on Linux.
//! * One run gives a crash point after each of its changes. The run need not be repeated.

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

/// A disk in memory and the backend for it. Clones share the disk. Paths are absolute, and `/` exists.
///
/// ```
/// use io_core::{Directory, Executor, FileSystem};
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

    /// An empty disk. Operations in flight complete in an order that depends on `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, state: Arc::new(Mutex::new(State::default())) }
    }

    /// The number of changes so far. Each is a point to crash after.
    #[must_use]
    pub fn history_len(&self) -> usize {
        self.lock().history.len()
    }

    /// Describes the change of this number, for a message.
    #[must_use]
    pub fn describe(&self, change: usize) -> String {
        self.lock().history.get(change).map_or_else(|| "the end".to_owned(), |change| change.describe())
    }

    /// Whether the change of this number is a sync of a file or of a directory.
    #[must_use]
    pub fn is_sync(&self, change: usize) -> bool {
        self.lock().history.get(change).is_some_and(state::Change::is_sync)
    }

    /// The disk as a power cut after the first `changes` of its history may leave it. `seed` decides which
    /// unsynced changes survive, and in which sectors.
    #[must_use]
    pub fn crash(&self, changes: usize, seed: u64) -> Self {
        let nodes = crash::surviving(&self.lock(), changes, seed);
        Self { seed: self.seed, state: Arc::new(Mutex::new(State::with_nodes(nodes))) }
    }

    /// The number of operations so far, also of those that change nothing. Each is a point to inject a fault
    /// at.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Sets the fault to inject from now on, or none.
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
