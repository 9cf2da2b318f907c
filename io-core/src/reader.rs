//! The reader that engines call, its object-safe form, and the reader over any page source.

use crate::batch::{BatchScratch, read_batch};
use crate::gate::Gate;
use crate::kept::KeptBytes;
use crate::paged_session::{Tables, session};
use crate::plan::ReadPlan;
use crate::read_span::trace_batch;
use crate::session::FileSession;
use crate::source::PageSource;
use crate::{BackendInfo, FileInfo, LocalBoxFuture, ReadControl, ReadError, ReadOutcome, ReadRequest};
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Reads many byte ranges of one file, in one batch. See the [crate's documentation](crate) for its promises.
///
/// Readers and their futures stay on the thread that opened them, so each core opens its own. Readers of some
/// backends may move, as those of `io-ring` do. The backend's documentation says so, and its own types are
/// `Send`.
pub trait VectorReader {
    /// Reads every request and hands each, as it arrives, to `sink(index, bytes)`.
    ///
    /// `bytes` has exactly the length asked for and is valid during the call. In the readers of this family,
    /// the address is a multiple of 4 where the file offset is. Callers that need an alignment check it.
    ///
    /// # Errors
    /// [`ReadError`], which says how many requests were delivered. They stay delivered.
    ///
    /// # Cancel safety
    /// The future may be dropped at any point. Nothing is delivered from then on, and buffers return to their
    /// pool when the runtime has seen them complete. The caller does not learn what was delivered, and reads
    /// again from the start.
    fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        sink: S,
    ) -> impl Future<Output = Result<ReadOutcome, ReadError>>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>;

    /// Starts a session: reads of this file, to which others are added while they are in flight. `control`
    /// holds for all of them.
    ///
    /// Sessions and batches of one reader share its depth and its byte budget. A session must be polled or
    /// dropped, as a batch. A session over a memory map is always ready: its reads wait inside the poll.
    fn session(&self, control: ReadControl) -> impl FileSession;

    /// The file, with its length at the time of opening.
    fn file(&self) -> &FileInfo;

    /// The settings that are really in use.
    fn info(&self) -> &BackendInfo;

    /// Waits for all reads in flight, dropped batches included, and closes the file. Later reads fail with
    /// [`ReadError::Closed`]. A second close does nothing.
    ///
    /// # Errors
    /// The system's error on closing.
    fn close(&self) -> impl Future<Output = io::Result<()>>;
}

/// The sink of a [`DynVectorReader`].
pub type DynSink<'a> = dyn for<'b> FnMut(usize, &'b [u8]) -> ControlFlow<()> + 'a;

/// The object-safe form of [`VectorReader`], for a choice at run time. Every reader implements it. A batch
/// costs one more box.
pub trait DynVectorReader {
    /// As [`VectorReader::read_vectors`].
    fn read_vectors_dyn<'a>(
        &'a self,
        requests: &'a [ReadRequest],
        control: &'a ReadControl,
        sink: &'a mut DynSink<'_>,
    ) -> LocalBoxFuture<'a, Result<ReadOutcome, ReadError>>;

    /// As [`VectorReader::session`].
    fn session_dyn<'a>(&'a self, control: ReadControl) -> Box<dyn FileSession + 'a>;

    /// As [`VectorReader::file`].
    fn file_dyn(&self) -> &FileInfo;

    /// As [`VectorReader::info`].
    fn info_dyn(&self) -> &BackendInfo;

    /// As [`VectorReader::close`].
    fn close_dyn(&self) -> LocalBoxFuture<'_, io::Result<()>>;
}

impl<R: VectorReader> DynVectorReader for R {
    fn read_vectors_dyn<'a>(
        &'a self,
        requests: &'a [ReadRequest],
        control: &'a ReadControl,
        sink: &'a mut DynSink<'_>,
    ) -> LocalBoxFuture<'a, Result<ReadOutcome, ReadError>> {
        Box::pin(self.read_vectors(requests, control, sink))
    }

    fn session_dyn<'a>(&'a self, control: ReadControl) -> Box<dyn FileSession + 'a> {
        Box::new(self.session(control))
    }

    fn file_dyn(&self) -> &FileInfo {
        self.file()
    }

    fn info_dyn(&self) -> &BackendInfo {
        self.info()
    }

    fn close_dyn(&self) -> LocalBoxFuture<'_, io::Result<()>> {
        Box::pin(self.close())
    }
}

impl VectorReader for Box<dyn DynVectorReader> {
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        mut sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        (**self).read_vectors_dyn(requests, control, &mut sink).await
    }

    fn session(&self, control: ReadControl) -> impl FileSession {
        (**self).session_dyn(control)
    }

    fn file(&self) -> &FileInfo {
        (**self).file_dyn()
    }

    fn info(&self) -> &BackendInfo {
        (**self).info_dyn()
    }

    async fn close(&self) -> io::Result<()> {
        (**self).close_dyn().await
    }
}

impl<R: VectorReader> VectorReader for Rc<R> {
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        (**self).read_vectors(requests, control, sink).await
    }

    fn session(&self, control: ReadControl) -> impl FileSession {
        (**self).session(control)
    }

    fn file(&self) -> &FileInfo {
        (**self).file()
    }

    fn info(&self) -> &BackendInfo {
        (**self).info()
    }

    async fn close(&self) -> io::Result<()> {
        (**self).close().await
    }
}

/// The reader over any [`PageSource`]: plans each batch and drives it.
///
/// Several batches may run at once on one reader. They share its depth and its byte budget, first come, first
/// served. A batch must be polled or dropped. A batch that is kept and not polled holds its share, and the
/// batches behind it wait.
#[derive(Debug)]
pub struct PagedReader<S> {
    source: S,
    gate: Gate,
    kept: KeptBytes,
    /// Memory of batches that ended, for later ones. It has one entry for each batch that ran at once.
    scratch: Mutex<Vec<(ReadPlan, BatchScratch)>>,
    tables: Tables,
    closed: AtomicBool,
}

impl<S: PageSource> PagedReader<S> {
    /// A reader over `source`, within the depth and the byte budget of its [`BackendInfo`].
    ///
    /// # Panics
    /// If the planner cannot work with the source's geometry, or the largest read exceeds the byte budget.
    pub fn new(source: S) -> Self {
        let info = source.info();
        assert_eq!(info.geometry.check(), Ok(()), "{}: bad geometry", info.backend);
        assert!(
            u64::from(info.geometry.read_size_max) <= info.bytes_in_flight_max && info.queue_depth > 0,
            "{}: the largest read must fit into the byte budget, and the depth must not be 0",
            info.backend
        );
        Self {
            kept: KeptBytes::new(info.bytes_in_flight_max),
            gate: Gate::new(info.budget(), info.lane),
            source,
            scratch: Mutex::default(),
            tables: Tables::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// The source, to wrap it in another one.
    ///
    /// # Panics
    /// If reads are in flight.
    #[must_use]
    pub fn into_source(self) -> S {
        assert_eq!(self.gate.operations_in_flight(), 0, "reads are in flight");
        self.source
    }

    /// The gate, which counts the operations and bytes in flight.
    #[doc(hidden)]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    fn take_scratch(&self) -> (ReadPlan, BatchScratch) {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}

impl<S: PageSource> VectorReader for PagedReader<S> {
    async fn read_vectors<K>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        sink: K,
    ) -> Result<ReadOutcome, ReadError>
    where
        K: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        let file = self.source.file();
        if self.closed.load(Ordering::SeqCst) {
            return Err(ReadError::Closed { file: file.path.clone() });
        }
        let (mut plan, mut scratch) = self.take_scratch();
        plan.build(requests, &self.source.info().geometry, file.len)
            .map_err(|source| ReadError::Plan { file: file.path.clone(), source })?;
        if let Some(meter) = &control.meter {
            meter.batch_started(plan.bytes_wanted(), plan.merged(), plan.duplicates());
        }
        let batch = read_batch(&plan, &self.source, &self.gate, control, &mut scratch, sink);
        let result = trace_batch(file, self.info(), requests.len(), plan.bytes_wanted(), batch).await;
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push((plan, scratch));
        result
    }

    fn session(&self, control: ReadControl) -> impl FileSession {
        session(&self.source, &self.gate, &self.kept, (&self.closed, &self.tables), control)
    }

    fn file(&self) -> &FileInfo {
        self.source.file()
    }

    fn info(&self) -> &BackendInfo {
        self.source.info()
    }

    async fn close(&self) -> io::Result<()> {
        let was_closed = self.closed.swap(true, Ordering::SeqCst);
        let drained = self.gate.drained_unless(|| self.source.lost()).await;
        if was_closed {
            return Ok(());
        }
        drained?;
        self.source.close().await
    }
}
