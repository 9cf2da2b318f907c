//! Tools for testing backends and what is built on readers (feature `testing`).
//!
//! * [`Battery`]: the conformance battery for any backend, with cases for each promise.
//! * [`FaultyBackend`]: wraps a backend and injects short transfers, errors and delays from a seed.
//! * [`MemoryBackend`]: files in memory, with completions delayed and reordered from a seed. It needs no
//!   disk.
//! * [`SimulatedDisk`]: a whole file system in memory. A crash loses, tears and reorders unsynced changes.
//! * `Captured`: the spans and events of feature `tracing`, as lines of text.
//! * [`TracedBackend`]: wraps a backend of real files and records its changes as the history of a simulated
//!   disk.
//! * `refuse_io_uring` (Linux): puts a thread into a sandbox without io_uring.

mod battery;
#[cfg(feature = "tracing")]
mod captured;
mod cases;
mod disk;
mod executor;
mod executor_cases;
mod fault;
mod fault_cases;
mod memory;
#[cfg(target_os = "linux")]
mod sandbox;
mod send_cases;
mod session_cases;
mod terms_cases;
mod trace;
mod write_cases;

pub use battery::{Battery, Subject};
#[cfg(feature = "tracing")]
pub use captured::Captured;
pub use disk::{DiskFault, FaultKind, SimulatedDisk, SimulatedSink, SimulatedSource};
pub use fault::{FaultLog, Faults, FaultyBackend, FaultyPage, FaultySink, FaultySource, FaultyWrites};
pub use memory::{MemoryBackend, MemorySink, MemorySource};
#[cfg(target_os = "linux")]
pub use sandbox::{refuse_calls, refuse_io_uring};
pub use trace::{TracedBackend, TracedSink};
