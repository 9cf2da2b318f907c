//! Records in the order in which they were asked for, with others on their way.

use super::{VectorFile, VectorFileError, VectorFileHeader};
use crate::FormatError;
use bytes::Bytes;
use io_core::{FileSession, ReadControl, ReadRequest, ReadStats, VectorReader};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll};

/// Reads of runs of records, to which others are added at any time. They come in the order in which they were
/// asked for.
///
/// A search chooses what to read next by what has come. In this order, its choice is the same on every disk,
/// and several reads are in flight all the same.
///
/// # Cancel safety
/// As [`FileSession`].
///
/// ```
/// use io_core::{FileSession, ReadControl, VectorReader};
/// use vecstore_format::FormatError;
/// use vecstore_format::vector_file::VectorFile;
///
/// // Record 0, and those that others name in their first two bytes, two reads at a time.
/// async fn named<R: VectorReader>(file: &VectorFile<R>) -> Result<Vec<u32>, FormatError> {
///     let mut reads = file.in_order(ReadControl::default());
///     reads.push(0..1)?;
///     let mut found = Vec::new();
///     while let Some(run) = reads.next().await? {
///         for (point, record) in run.iter() {
///             found.push(point);
///             for named in record[..2].iter().map(|&named| u32::from(named)) {
///                 if named > point && reads.len() < 2 {
///                     reads.push(named..named + 1)?;
///                 }
///             }
///         }
///     }
///     Ok(found)
/// }
/// ```
#[derive(Debug)]
pub struct RunsInOrder<'a, R, S> {
    file: &'a VectorFile<R>,
    session: S,
    /// The runs that were asked for and not taken.
    pending: VecDeque<Pending>,
    /// How many were taken. The first pending read has this tag.
    taken: u64,
}

#[derive(Debug)]
struct Pending {
    points: Range<u32>,
    /// What has come before its turn.
    bytes: Option<Result<Bytes, FormatError>>,
}

/// Records that were read together.
#[derive(Debug)]
pub struct RecordRun<'a> {
    header: &'a VectorFileHeader,
    points: Range<u32>,
    bytes: Bytes,
}

impl RecordRun<'_> {
    /// Each point, with the bytes of its record. They may start at any address.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let first = self.header.offset(u64::from(self.points.start));
        self.points.clone().map(move |point| {
            let start = (self.header.offset(u64::from(point)) - first) as usize;
            (point, &self.bytes[start..][..self.header.stride() as usize])
        })
    }
}

impl<R: VectorReader> VectorFile<R> {
    /// Starts reads of runs of records.
    pub fn in_order(&self, control: ReadControl) -> RunsInOrder<'_, R, impl FileSession> {
        let session = self.reader().session(control);
        RunsInOrder { file: self, session, pending: VecDeque::new(), taken: 0 }
    }
}

impl<'a, R: VectorReader, S: FileSession> RunsInOrder<'a, R, S> {
    /// Asks for the records of these points, as one read. It starts when [`RunsInOrder::next`] is polled.
    ///
    /// # Errors
    /// [`VectorFileError::NoSuchPoint`], before any IO.
    ///
    /// # Panics
    /// If there are no points, or if their records have 4 GiB or more.
    pub fn push(&mut self, points: Range<u32>) -> Result<(), VectorFileError> {
        assert!(!points.is_empty(), "a run has a record");
        let header = self.file.header();
        let (start, last) = (header.offset(u64::from(points.start)), points.end - 1);
        if u64::from(last) >= header.count {
            let (file, count) = (self.file.reader().file().path.clone(), header.count);
            let index = points.len() - 1;
            return Err(VectorFileError::NoSuchPoint { file, index, point: last, count });
        }
        let len = header.offset(u64::from(last)) - start + u64::from(header.stride());
        let len = u32::try_from(len).expect("a run has less than 4 GiB");
        self.session.submit(self.taken + self.pending.len() as u64, ReadRequest::new(start, len));
        self.pending.push_back(Pending { points, bytes: None });
        Ok(())
    }

    /// Takes the next run. `None` means that none is pending, or that the stop flag is up.
    ///
    /// # Errors
    /// [`VectorFileError::RecordDamaged`]; [`FormatError::Read`]. The run counts as taken.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped. The next call goes on.
    pub async fn next(&mut self) -> Result<Option<RecordRun<'a>>, FormatError> {
        poll_fn(|cx| {
            loop {
                if self.pending.front().is_some_and(|first| first.bytes.is_some()) {
                    return Poll::Ready(self.take_first());
                }
                match self.poll_session(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(Ok(None)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Waits for something else, while the reads go on.
    ///
    /// Whoever reads something else between two calls of [`RunsInOrder::next`] must wait for it here. Reads
    /// that have ended keep their part of the device's budget until somebody polls them.
    ///
    /// # Cancel safety
    /// Of the reads, nothing is lost when the future is dropped.
    pub async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Poll::Ready(done) = other.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            while let Poll::Ready(true) = self.poll_session(cx) {}
            Poll::Pending
        })
        .await
    }

    /// Keeps the next completion until its turn comes. `false` means that none will come.
    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.session.poll_next(cx).map(|completion| {
            let Some(completion) = completion else { return false };
            let Pending { points, bytes } = &mut self.pending[(completion.tag - self.taken) as usize];
            *bytes = Some(completion.bytes.map_err(FormatError::from).and_then(|bytes| {
                let run = RecordRun { header: self.file.header(), points: points.clone(), bytes };
                for (point, record) in run.iter() {
                    self.file.check_record(u64::from(point), record)?;
                }
                Ok(run.bytes)
            }));
            true
        })
    }

    /// The first pending run, which has come.
    fn take_first(&mut self) -> Result<Option<RecordRun<'a>>, FormatError> {
        let Some(Pending { points, bytes: Some(bytes) }) = self.pending.pop_front() else { return Ok(None) };
        self.taken += 1;
        Ok(Some(RecordRun { header: self.file.header(), points, bytes: bytes? }))
    }

    /// The runs that were asked for and not taken.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether every run that was asked for was taken.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The cost so far.
    pub fn stats(&self) -> ReadStats {
        self.session.stats()
    }
}
