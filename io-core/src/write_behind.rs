//! Writes a file from front to back. Earlier batches are written while the next one is collected.

use crate::{LocalBoxFuture, PageWrite, PageWriter, WriteError};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Maximum of batches in flight. With so many, the processor and the disk hardly wait for each other.
const BATCHES_MAX: usize = 4;

/// A long file gets its length up to this many bytes ahead. An `O_DIRECT` write that extends its file makes
/// all other writes of the file wait, in ext4 and elsewhere. A write within the file's length does not.
const LEN_AHEAD_MAX: u64 = 64 << 20;

/// A batch, in flight or ended. Its result is the memory of its bytes, for reuse.
enum Batch {
    Writing(LocalBoxFuture<'static, Result<Vec<u8>, WriteError>>),
    Ended(Result<Vec<u8>, WriteError>),
}

impl Batch {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Self::Writing(writing) = self
            && let Poll::Ready(ended) = writing.as_mut().poll(cx)
        {
            *self = Self::Ended(ended);
        }
    }
}

/// A writer that is a few batches behind its caller. After an error the file must not be used.
///
/// An error is returned by a later call than the one it belongs to. [`WriteBehind::settled`] returns those
/// that are left. The operations of some backends run only while they are polled, as writes of `io-mmap` do.
/// There each call writes its own batch.
pub struct WriteBehind<W> {
    writer: Rc<W>,
    batches: VecDeque<Batch>,
    /// One past the last byte that was taken.
    end: u64,
    /// The length that the file was given ahead of its bytes.
    len_ahead: u64,
    /// Memory of batches that ended.
    spare: Vec<Vec<u8>>,
}

impl<W: fmt::Debug> fmt::Debug for WriteBehind<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writer, batches, .. } = self;
        f.debug_struct("WriteBehind")
            .field("writer", writer)
            .field("batches", &batches.len())
            .finish_non_exhaustive()
    }
}

impl<W: PageWriter + 'static> WriteBehind<W> {
    /// A writer with nothing in flight.
    pub fn new(writer: W) -> Self {
        Self { writer: Rc::new(writer), batches: VecDeque::new(), end: 0, len_ahead: 0, spare: Vec::new() }
    }

    /// Starts to write the first `len` bytes of `bytes` at `offset`. The rest stays in `bytes`. Waits only
    /// while too many batches are in flight.
    ///
    /// # Errors
    /// [`WriteError`] of this or an earlier batch.
    ///
    /// # Cancel safety
    /// A future that is dropped early has either taken the bytes or not.
    pub async fn write(&mut self, offset: u64, bytes: &mut Vec<u8>, len: usize) -> Result<(), WriteError> {
        while self.batches.len() >= BATCHES_MAX {
            self.oldest_ended().await?;
        }
        self.grow(offset + len as u64).await?;
        let mut rest = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(bytes.capacity()));
        rest.extend_from_slice(&bytes[len..]);
        let mut batch = std::mem::replace(bytes, rest);
        batch.truncate(len);
        let writer = Rc::clone(&self.writer);
        self.batches.push_back(Batch::Writing(Box::pin(async move {
            writer.write_pages(&[PageWrite { offset, bytes: &batch }]).await?;
            batch.clear();
            Ok(batch)
        })));
        // The first poll hands the batch's operations to the backend.
        poll_fn(|cx| {
            self.poll_all(cx);
            Poll::Ready(())
        })
        .await;
        Ok(())
    }

    /// Sets the file's length ahead of its bytes, once the file turns out to be long.
    async fn grow(&mut self, end: u64) -> Result<(), WriteError> {
        self.end = self.end.max(end);
        if self.end > self.len_ahead && !self.batches.is_empty() {
            self.len_ahead = self.end + self.end.min(LEN_AHEAD_MAX);
            self.writer.set_len(self.len_ahead).await?;
        }
        Ok(())
    }

    /// Polls all batches, because they share the writer's budget. A batch that is not polled would keep its
    /// place in the queue, and hold back the batches behind it.
    fn poll_all(&mut self, cx: &mut Context<'_>) {
        self.batches.iter_mut().for_each(|batch| batch.poll(cx));
    }

    async fn oldest_ended(&mut self) -> Result<(), WriteError> {
        let ended = poll_fn(|cx| {
            self.poll_all(cx);
            match self.batches.pop_front() {
                Some(Batch::Ended(ended)) => Poll::Ready(ended.map(Some)),
                Some(writing) => {
                    self.batches.push_front(writing);
                    Poll::Pending
                }
                None => Poll::Ready(Ok(None)),
            }
        })
        .await;
        self.spare.extend(ended?);
        Ok(())
    }

    /// Waits for all batches in flight.
    ///
    /// # Errors
    /// [`WriteError`] of any batch that no call has returned yet.
    pub async fn settled(&mut self) -> Result<(), WriteError> {
        while !self.batches.is_empty() {
            self.oldest_ended().await?;
        }
        if self.len_ahead > self.end {
            self.writer.set_len(self.end).await?;
            self.len_ahead = 0;
        }
        Ok(())
    }

    /// The writer, for calls of other kinds. Call [`WriteBehind::settled`] first if they must come after the
    /// batches in flight.
    pub fn writer(&self) -> &W {
        &self.writer
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::MemoryBackend;
    use crate::{BackendFactory, OpenOptions};
    use std::path::Path;

    /// Batches larger than the byte budget queue for it, again and again.
    #[test]
    fn batches_that_share_a_small_budget_all_arrive() {
        for seed in 0..20 {
            let memory = MemoryBackend::new(seed);
            let options =
                OpenOptions { bytes_in_flight_max: 8192, read_size_max: 4096, ..OpenOptions::default() };
            let written = memory.run(async || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut behind = WriteBehind::new(memory.create(Path::new("a"), &options).await.unwrap());
                let (mut expected, mut pending, mut offset) = (Vec::new(), Vec::new(), 0);
                for _ in 0..40 {
                    let bytes: Vec<u8> = (0..random.usize(1..30_000)).map(|_| random.u8(..)).collect();
                    pending.extend_from_slice(&bytes);
                    expected.extend_from_slice(&bytes);
                    let len = random.usize(0..=pending.len());
                    behind.write(offset, &mut pending, len).await.unwrap();
                    offset += len as u64;
                }
                let len = pending.len();
                behind.write(offset, &mut pending, len).await.unwrap();
                behind.settled().await.unwrap();
                expected
            });
            assert!(memory.get(Path::new("a")).unwrap() == written.unwrap(), "seed {seed}");
        }
    }
}
