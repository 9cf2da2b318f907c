//! Files of vectors or codes, with their records as bytes.

use super::outcome::ended;
use crate::error::Error;
use io_core::{
    BackendInfo, DynBackend, DynVectorReader, FileSession, FileSystem, OpenOptions, ReadControl, ReadStats,
    VectorReader,
};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use vecstore_format::ElementType;
use vecstore_format::vector_file::{RecordChecksums, RecordRun, RunsInOrder, VectorFile};

/// A file of vectors or codes, open on one core.
pub(crate) struct Records(VectorFile<Box<dyn DynVectorReader>>);

impl Records {
    /// Opens a file whose components must have this type. It takes the checksums that another reader has
    /// read. Without them, they must be loaded before any record is read.
    pub(crate) async fn open(
        backend: &DynBackend,
        path: &Path,
        options: &OpenOptions,
        element: ElementType,
        checksums: Option<&RecordChecksums>,
    ) -> Result<Self, Error> {
        let reader = backend.open(path, options).await?;
        let file = match checksums {
            None => VectorFile::open_unchecked(reader).await?,
            Some(shared) => VectorFile::open_shared(reader, shared).await?,
        };
        file.check_element(element)?;
        Ok(Self(file))
    }

    pub(crate) async fn load_checksums(&mut self) -> Result<(), Error> {
        Ok(self.0.load_checksums().await?)
    }

    pub(crate) fn file(&self) -> &VectorFile<Box<dyn DynVectorReader>> {
        &self.0
    }

    /// Checks the number of records and of their components.
    pub(crate) fn check(&self, points: u64, dim: u32) -> Result<(), Error> {
        let header = self.0.header();
        if (header.count, header.dim) == (points, dim) {
            return Ok(());
        }
        let reason = format!(
            "{} records of {} components where {points} of {dim} should be",
            header.count, header.dim
        );
        Err(Error::damaged(&self.0.reader().file().path, None, reason))
    }

    pub(crate) fn info(&self) -> &BackendInfo {
        self.0.reader().info()
    }

    /// Reads records in one batch. It passes each, as it arrives, to `sink(index, bytes)`.
    pub(crate) async fn read(
        &self,
        points: &[u32],
        control: &ReadControl,
        mut sink: impl FnMut(usize, &[u8]),
    ) -> Result<ReadStats, Error> {
        let sink = |index: usize, record: &[u8]| {
            sink(index, record);
            ControlFlow::Continue(())
        };
        ended(self.0.read(points, control, sink).await?)
    }

    /// Reads runs of records, to which others are added at any time. They come in the order in which they
    /// were asked for.
    pub(crate) fn in_order(&self, control: &ReadControl) -> InOrder<'_, impl FileSession> {
        InOrder(self.0.in_order(control.clone()))
    }

    pub(crate) async fn close(&self) -> Result<(), Error> {
        Ok(self.0.close().await?)
    }
}

/// Reads of runs in order.
pub(crate) struct InOrder<'a, S>(RunsInOrder<'a, Box<dyn DynVectorReader>, S>);

impl<'a, S: FileSession> InOrder<'a, S> {
    pub(crate) fn push(&mut self, points: Range<u32>) -> Result<(), Error> {
        Ok(self.0.push(points)?)
    }

    /// The next run. `None` if none is pending.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordRun<'a>>, Error> {
        match self.0.next().await? {
            None if !self.0.is_empty() => Err(Error::Stopped),
            next => Ok(next),
        }
    }

    /// Waits for something else, while the reads go on.
    pub(crate) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        self.0.beside(other).await
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn stats(&self) -> ReadStats {
        self.0.stats()
    }
}
