//! Creates, opens and closes collections.

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
use io_core::{DynBackend, FileSystem, StopFlag};
use std::path::Path;
use std::sync::Arc;

/// A collection of points with vectors and payloads, in a directory.
///
/// Any thread may call its methods, under any runtime or none. A method that returns [`Pending`] may be
/// awaited anywhere, or waited for with [`Pending::wait`].
///
/// [`Pending`]: crate::collection::Pending
/// [`Pending::wait`]: crate::collection::Pending::wait
#[derive(Debug)]
pub struct Collection {
    pub(crate) shared: Arc<Shared>,
    pub(super) cores: Cores,
    /// `None` in a read-only collection.
    pub(super) writers: Option<Writers>,
    /// Raised on closing.
    pub(super) closing: StopFlag,
    threads: Vec<Thread<Result<(), Error>>>,
}

impl Collection {
    /// Creates a collection in a directory that is empty or does not exist, and opens it. Blocks.
    ///
    /// # Errors
    /// [`Error::Schema`]; [`Error::Exists`]; the error that prevents writing files.
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

    /// Makes a collection in an empty, locked directory, and opens it. The lock may be shared: the directory
    /// stays locked until all owners have dropped it.
    pub(crate) fn begin(
        backend: &DynBackend,
        dir: &Path,
        schema: &Schema,
        options: &CollectionOptions,
        lock: Lock,
    ) -> Result<Self, Error> {
        open::begin(&*backend.directory(), dir, schema)?;
        // A read-only collection takes a shared lock of its own.
        Self::open_locked(backend, dir, options, (!options.read_only).then_some(lock))
    }

    /// Opens a collection. Blocks while it loads the segments and reads the log.
    ///
    /// # Errors
    /// - [`Error::Input`] for options out of their ranges
    /// - [`Error::NotACollection`]
    /// - [`Error::InUse`] if another owner has it open
    /// - [`Error::Format`] for a file that is damaged, misplaced, of another version, or unreadable
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
        // If this fails, dropping the collection ends the threads started before.
        collection.cores = Cores::start(&collection.shared, &collection.closing, &mut collection.threads)?;
        Ok(collection)
    }

    /// The schema of the collection.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.shared.schema
    }

    /// What opening found.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.shared.report
    }

    /// A reader for a thread of the caller. Use it inside the backend's `run`. The collection stays locked
    /// while it lives.
    #[must_use]
    pub fn reader(&self) -> CollectionReader {
        CollectionReader::new(Arc::clone(&self.shared))
    }

    /// Finishes the reads and writes in progress, ends the log and closes all files. Dropping the collection
    /// does the same, without reporting errors.
    ///
    /// On a thread of a collection, where progress callbacks and wakers run, neither of them waits. The
    /// threads then finish on their own, and the directory stays locked until they have.
    ///
    /// # Errors
    /// The error that prevented ending the log. Every acknowledged write is durable all the same.
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
        // Waits for all threads, even if one failed.
        let ended: Vec<_> = threads.into_iter().map(Thread::join).collect();
        ended.into_iter().try_for_each(Result::flatten)
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        // A drop cannot report errors.
        let _ = self.shut_down();
    }
}
