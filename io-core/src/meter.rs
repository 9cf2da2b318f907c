//! Counting what readers do. Metering is a wrapper: a reader without one counts nothing.

use crate::{
    BackendInfo, FileInfo, FileSession, ReadControl, ReadError, ReadOutcome, ReadRequest, VectorReader,
};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counts of a [`Meter`] at one moment.
///
/// `started = completed + failed + abandoned + in_flight` at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Physical reads handed to the runtime. Over a memory map, slices delivered.
    pub started: u64,
    /// Physical reads that returned bytes.
    pub completed: u64,
    /// Physical reads that returned an error, retried ones included.
    pub failed: u64,
    /// Physical reads that had not ended when their batch was dropped.
    pub abandoned: u64,
    /// Physical reads that have not ended.
    pub in_flight: u64,
    /// Batches started.
    pub batches: u64,
    /// Requests handed to a sink.
    pub delivered: u64,
    /// Bytes asked for, over all batches that could be planned.
    pub bytes_wanted: u64,
    /// Bytes that completed reads returned.
    pub bytes_read: u64,
    /// Requests served by a read that another, different request had started.
    pub merged: u64,
    /// Requests for exactly the range of another request of their batch.
    pub duplicates: u64,
}

/// Counts reads. Clones share the counts, also across threads.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Counters>>);

impl Meter {
    /// A meter at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.lock()
    }

    /// Changes the counts. For readers that count themselves, such as a memory map's.
    pub fn update(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        // Counting does not panic, but a caller's `change` may. The counts then stay as `change` left them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One physical read in flight. It is counted when it ends. Dropped before, it counts as abandoned.
pub(crate) struct Started(Option<Meter>);

impl Started {
    pub(crate) fn new(meter: Option<&Meter>) -> Self {
        if let Some(meter) = meter {
            meter.update(|counters| {
                counters.started += 1;
                counters.in_flight += 1;
            });
        }
        Self(meter.cloned())
    }

    pub(crate) fn completed(mut self, bytes: u64) {
        self.end(|counters| {
            counters.completed += 1;
            counters.bytes_read += bytes;
        });
    }

    pub(crate) fn failed(mut self) {
        self.end(|counters| counters.failed += 1);
    }

    fn end(&mut self, change: impl FnOnce(&mut Counters)) {
        if let Some(meter) = self.0.take() {
            meter.update(|counters| {
                counters.in_flight -= 1;
                change(counters);
            });
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.end(|counters| counters.abandoned += 1);
    }
}

/// A reader that counts what it does.
///
/// ```
/// # use io_core::{Meter, Metered, VectorReader};
/// fn count<R: VectorReader>(reader: R) -> Metered<R> {
///     let metered = Metered::new(reader);
///     assert_eq!(metered.meter().counters().started, 0);
///     metered
/// }
/// ```
#[derive(Debug)]
pub struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R> Metered<R> {
    /// Wraps a reader and counts from zero.
    pub fn new(inner: R) -> Self {
        Self::with_meter(inner, Meter::new())
    }

    /// Wraps a reader and adds to a meter, which several readers may share.
    pub fn with_meter(inner: R, meter: Meter) -> Self {
        Self { inner, meter }
    }

    /// The counts.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl<R: VectorReader> VectorReader for Metered<R> {
    /// Counts into this wrapper's meter. The batch ignores a meter that is already in `control`.
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        let control = control.clone().with_meter(self.meter.clone());
        self.inner.read_vectors(requests, &control, sink).await
    }

    /// Counts into this wrapper's meter. The session ignores a meter that is already in `control`.
    fn session(&self, control: ReadControl) -> impl FileSession {
        self.inner.session(control.with_meter(self.meter.clone()))
    }

    fn file(&self) -> &FileInfo {
        self.inner.file()
    }

    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    async fn close(&self) -> io::Result<()> {
        self.inner.close().await
    }
}
