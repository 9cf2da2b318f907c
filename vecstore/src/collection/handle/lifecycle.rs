//! Creating, opening and closing.

use super::start::{Writers, load, start};
use crate::collection::cores::Cores;
use crate::collection::files::whole_path;
use crate::collection::open::{self, Lock, OpenReport};
use crate::collection::options::CollectionOptions;
use crate::collection::reader::CollectionReader;
use crate::collection::shared::Shared;
use crate::error::Error;
use crate::schema::Schema;
use crate::threads::{Thread, belongs_to_a_collection};
use io_core::{BackendFactory, DynBackend, StopFlag};
use std::path::Path;
use std::sync::Arc;

/// Points with vectors and payloads in a directory.
///
/// Its methods may be called from any thread, under any runtime or none. Those that return [`Pending`] may be awaited
/// anywhere, or waited for with [`Pending::wait`].
///
/// [`Pending`]: crate::collection::Pending
/// [`Pending::wait`]: crate::collection::Pending::wait
#[derive(Debug)]
pub struct Collection {
    pub(crate) shared: Arc<Shared>,
    pub(super) cores: Cores,
    /// `None` in a read-only collection.
    pub(super) writers: Option<Writers>,
    /// Raised when it is closed.
    pub(super) closing: StopFlag,
    threads: Vec<Thread<Result<(), Error>>>,
}

impl Collection {
    /// Creates a collection in a directory that does not exist or is empty, and opens it. Blocks.
    ///
    /// # Errors
    /// [`Error::Schema`]; [`Error::Exists`]; whatever keeps files from being written.
    pub fn create(
        backend: &DynBackend,
        dir: &Path,
        schema: &Schema,
        options: &CollectionOptions,
    ) -> Result<Self, Error> {
        schema.check()?;
        let dir = &whole_path(dir)?;
        let lock = open::claim(&*backend.directory(), dir)?;
        Self::begin(backend, dir, schema, options, lock)
    }

    /// Makes a collection of an empty directory that is locked, and opens it. The lock may be shared: the directory is not free
    /// until all have dropped it.
    pub(crate) fn begin(
        backend: &DynBackend,
        dir: &Path,
        schema: &Schema,
        options: &CollectionOptions,
        lock: Lock,
    ) -> Result<Self, Error> {
        open::begin(&*backend.directory(), dir, schema)?;
        // A reader shares the collection with others.
        Self::open_locked(backend, dir, options, (!options.read_only).then_some(lock))
    }

    /// Opens a collection. Blocks while its segments are loaded and its log is read.
    ///
    /// # Errors
    /// [`Error::Input`] for options out of their ranges; [`Error::NotACollection`]; [`Error::InUse`] when another owner has
    /// it open; [`Error::Format`] for a file that is damaged, misplaced, of another version, or cannot be read.
    pub fn open(backend: &DynBackend, dir: &Path, options: &CollectionOptions) -> Result<Self, Error> {
        Self::open_locked(backend, &whole_path(dir)?, options, None)
    }

    fn open_locked(
        backend: &DynBackend,
        dir: &Path,
        options: &CollectionOptions,
        lock: Option<Lock>,
    ) -> Result<Self, Error> {
        options.open.check()?;
        options.check()?;
        let (closing, mut threads) = (StopFlag::new(), Vec::new());
        let (shared, writers) = if options.read_only {
            (load(backend, dir, options)?, None)
        } else {
            let (shared, writers) = start(backend, dir, options, lock, &closing, &mut threads)?;
            (shared, Some(writers))
        };
        let mut collection = Self { shared, cores: Cores::none(), writers, closing, threads };
        // Where it fails, dropping the collection ends the threads that were started.
        collection.cores = Cores::start(&collection.shared, &collection.closing, &mut collection.threads)?;
        Ok(collection)
    }

    /// What the collection is.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.shared.schema
    }

    /// What opening it found.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.shared.report
    }

    /// A reader for a thread of yours. Use it inside the backend's `run`. The collection stays locked while it lives.
    #[must_use]
    pub fn reader(&self) -> CollectionReader {
        CollectionReader::new(Arc::clone(&self.shared))
    }

    /// Finishes reads and writes that were begun, ends the log and closes everything. Dropping the collection does the
    /// same, without telling what failed.
    ///
    /// On a thread of a collection, where progress callbacks and wakers run, neither waits. The threads do the same on
    /// their own, and the directory stays locked until they have.
    ///
    /// # Errors
    /// What kept the log from being ended; every acknowledged write is durable all the same.
    pub fn close(mut self) -> Result<(), Error> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<(), Error> {
        self.closing.stop();
        self.cores.close();
        if let Some(writers) = &self.writers {
            writers.close();
        }
        let threads = std::mem::take(&mut self.threads);
        if belongs_to_a_collection() {
            return Ok(());
        }
        // All of them, whatever becomes of the first.
        let ended: Vec<_> = threads.into_iter().map(Thread::join).collect();
        ended.into_iter().try_for_each(Result::flatten)
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.shut_down();
    }
}
