//! The writer: one thread that all changes of a collection go through, one after the other.
//!
//! ```text
//! upsert, delete, ... ──> group ──> log: one write, one sync ──> state, under its lock ──> acknowledgements
//!                                                                  │ if large: frozen, for the optimizer
//! optimizer ──────────> install: deletions written, manifest replaced, state changed, old files removed
//! ```
//!
//! Many writers share one sync: the writes that arrive during a sync form the next group.
//!
//! | module | concern |
//! |---|---|
//! | `jobs` | what the writer is asked to do |
//! | `thread` | its life: job after job |
//! | `group`, `apply` | which writes share a sync; making them durable, then visible |
//! | `log` | beginning, syncing and ending the log |
//! | `room` | sealing what is in memory, and waiting for it |
//! | `install` | new segments instead of old ones |

mod apply;
mod group;
mod install;
mod jobs;
mod log;
mod room;
mod thread;

pub(super) use install::{Installation, Replaced};
pub(super) use jobs::{Change, ControlJob, WriteJob};
pub(super) use thread::Writer;
