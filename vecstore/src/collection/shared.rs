//! The state that all threads of a collection share.

use super::open::{Lock, OpenReport};
use super::options::CollectionOptions;
use super::state::SharedState;
use crate::schema::Schema;
use async_channel::{Receiver, Sender};
use io_core::DynBackend;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The state that all threads of a collection share.
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
    pub(crate) _lock: Lock,
}

impl Shared {
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
