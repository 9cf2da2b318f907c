//! Reads that are submitted while others are in flight.

use crate::{Lane, ReadError, ReadRequest, ReadStats};
use bytes::Bytes;
use std::task::{Context, Poll};
use std::time::Instant;

/// How one read of a [`FileSession`] is treated.
///
/// ```
/// use io_core::{Lane, ReadTerms};
/// use std::time::{Duration, Instant};
///
/// let soon = Instant::now() + Duration::from_millis(20);
/// let terms = ReadTerms::background().with_deadline(soon);
/// assert_eq!((terms.lane, terms.deadline), (Lane::Background, Some(soon)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadTerms {
    /// Background reads start when no foreground read of their session waits. Where others wait for their
    /// device, at most 1,024 foreground operations overtake one. A backend with lanes also limits how many of
    /// them are in flight.
    ///
    /// A foreground read that a waiting background read covers takes it along.
    pub lane: Lane,
    /// The read completes with [`ReadError::Deadline`] if its bytes have not come by then. The earlier one of
    /// this and of [`ReadControl::deadline`](crate::ReadControl::deadline) holds.
    pub deadline: Option<Instant>,
}

impl ReadTerms {
    /// In the foreground, without a deadline.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// In the background, without a deadline.
    #[must_use]
    pub fn background() -> Self {
        Self { lane: Lane::Background, deadline: None }
    }

    /// With a deadline.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }
}

/// One read of a [`FileSession`] that is over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Completion {
    /// The caller's name for the read.
    pub tag: u64,
    /// Exactly the bytes that were asked for.
    pub bytes: Result<Bytes, ReadError>,
}

impl Completion {
    /// A read that is over, for readers that make sessions of their own.
    #[must_use]
    pub fn new(tag: u64, bytes: Result<Bytes, ReadError>) -> Self {
        Self { tag, bytes }
    }
}

/// A set of reads of one file, to which reads are added at any time.
///
/// [`VectorReader::session`](crate::VectorReader::session) starts one. A search that learns what to read next
/// from what has just arrived keeps the disk busy this way. A batch would wait for its slowest read first.
///
/// Reads are started by [`FileSession::poll_next`] only, within the depth and the byte budget of the reader.
/// Reads that wait are sorted, merged and read once if they repeat. A later request is served by a read in
/// flight that covers it, unless a write of this process to the file began or ended in between.
///
/// Bytes share the page that they were read into, without a copy. They may start at any address. Beyond the
/// reader's byte budget, bytes that callers keep are copies of their own.
///
/// # Cancel safety
/// A session may be dropped at any point. Its reads in flight are drained, as those of a dropped batch. Bytes
/// that it has handed out stay valid.
pub trait FileSession {
    /// Adds a read. Its completion has the same `tag`. Tags need not be unique.
    ///
    /// A request that reaches past the end of the file completes with [`ReadError::Plan`]. An empty request
    /// completes with no bytes.
    fn submit(&mut self, tag: u64, request: ReadRequest) {
        self.submit_with(tag, request, ReadTerms::default());
    }

    /// As [`FileSession::submit`], with a lane and a deadline.
    fn submit_with(&mut self, tag: u64, request: ReadRequest, terms: ReadTerms);

    /// Takes the next completion, in any order. `None` means that no read is pending.
    ///
    /// An error belongs to one read, and the others go on. Once the stop flag of the session is up, nothing
    /// more is started or completed. `None` then comes when the reads in flight have ended.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Completion>>;

    /// Forgets all reads with this tag. None of them completes from now on.
    ///
    /// Those in flight keep their part of the budget until they have ended, and the session is polled or
    /// dropped.
    fn cancel(&mut self, tag: u64);

    /// Forgets all reads.
    fn cancel_all(&mut self);

    /// Reads whose completion has not been taken, and that were not cancelled.
    fn pending(&self) -> usize;

    /// The cost of the session so far.
    fn stats(&self) -> ReadStats;

    /// As [`FileSession::poll_next`], to wait for.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped. The next call goes on.
    fn next(&mut self) -> Next<'_, Self>
    where
        Self: Sized,
    {
        Next(self)
    }
}

/// The future of [`FileSession::next`].
#[derive(Debug)]
pub struct Next<'a, S>(&'a mut S);

impl<S: FileSession> Future for Next<'_, S> {
    type Output = Option<Completion>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_next(cx)
    }
}

impl<S: FileSession + ?Sized> FileSession for Box<S> {
    fn submit_with(&mut self, tag: u64, request: ReadRequest, terms: ReadTerms) {
        (**self).submit_with(tag, request, terms);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Completion>> {
        (**self).poll_next(cx)
    }

    fn cancel(&mut self, tag: u64) {
        (**self).cancel(tag);
    }

    fn cancel_all(&mut self) {
        (**self).cancel_all();
    }

    fn pending(&self) -> usize {
        (**self).pending()
    }

    fn stats(&self) -> ReadStats {
        (**self).stats()
    }
}
