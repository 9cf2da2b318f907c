//! The state that all threads of a collection share.

use super::counters::Counts;
use super::events;
use super::open::{Lock, OpenReport, check_place};
use super::options::CollectionOptions;
use super::state::SharedState;
use crate::error::Error;
use crate::schema::Schema;
use async_channel::{Receiver, Sender};
use io_core::{DynBackend, with_causes};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The part of a collection that all of its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) schema: Schema,
    pub(crate) backend: DynBackend,
    pub(crate) options: CollectionOptions,
    pub(crate) state: SharedState,
    /// One sender for each reading thread. They signal that segments were replaced.
    pub(crate) replaced: Mutex<Vec<Sender<()>>>,
    pub(crate) report: OpenReport,
    pub(crate) lock: Lock,
    pub(super) counts: Counts,
    /// Times the physical reads of searches and other reads.
    #[cfg(feature = "histograms")]
    pub(super) meter: io_core::Meter,
}

impl Shared {
    /// Fails if the collection's path does not lead to the locked file. All writing ends then.
    ///
    /// Files are created, replaced and removed by their paths, so this comes before each such step. It also
    /// comes before an acknowledgement. A later owner takes the lock later, and so reads what was written.
    pub(crate) fn check_place(&self) -> Result<(), Error> {
        check_place(&*self.lock, &self.dir).map_err(|error| self.stop_writing(error))
    }

    /// Refuses all later writes, because it is unknown what is on the disk.
    pub(crate) fn stop_writing(&self, error: Error) -> Error {
        let what = "open the collection again to go on from what is on the disk";
        let reason = match &error {
            // Its text says what to do.
            Error::Displaced { .. } => error.to_string(),
            _ => format!("{}; {what}", with_causes(&error)),
        };
        self.make_read_only(&reason);
        error
    }

    /// Refuses all later writes. The first reason counts.
    pub(crate) fn make_read_only(&self, reason: &str) {
        let mut state = self.state.write();
        if state.read_only.is_none() {
            state.read_only = Some(reason.to_owned());
            // Subscribers run code of their own.
            drop(state);
            events::writing_ended(self, reason);
        }
    }

    /// Returns a receiver that is signalled each time segments are replaced.
    pub(crate) fn watch_replaced(&self) -> Receiver<()> {
        // One message is enough: a thread sees the newest version when it looks.
        let (sender, receiver) = async_channel::bounded(1);
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    pub(crate) fn tell_replaced(&self) {
        for watching in &*self.replaced.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = watching.try_send(());
        }
    }
}
