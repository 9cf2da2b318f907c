//! Writes a file from front to back. Earlier batches are written while the next one is collected.

use crate::{LocalBoxFuture, PageWrite, PageWriter, SendBoxFuture, SendPageWriter, WriteError};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// Maximum of batches in flight. With so many, the processor and the disk hardly wait for each other.
const BATCHES_MAX: usize = 4;

/// A long file gets its length up to this many bytes ahead. An `O_DIRECT` write that extends its file makes
/// all other writes of the file wait, in ext4 and elsewhere. A write within the file's length does not.
const LEN_AHEAD_MAX: u64 = 64 << 20;

/// The result of a batch: the memory of its bytes, for reuse.
type Written = Result<Vec<u8>, WriteError>;

/// How a [`WriteBehind`] keeps its batches: [`LocalWrites`] or [`SendWrites`].
pub trait WriteForm<W> {
    /// A batch in flight.
    type Writing: Future<Output = Written> + Unpin + 'static;

    /// Begins to write `bytes` at `offset`.
    fn start(writer: Arc<W>, offset: u64, bytes: Vec<u8>) -> Self::Writing;
}

/// Batches stay on their thread. For every writer.
#[derive(Debug)]
pub struct LocalWrites(());

/// Batches may move to another thread. For writers that may.
#[derive(Debug)]
pub struct SendWrites(());

impl<W: PageWriter + 'static> WriteForm<W> for LocalWrites {
    type Writing = LocalBoxFuture<'static, Written>;

    fn start(writer: Arc<W>, offset: u64, mut bytes: Vec<u8>) -> Self::Writing {
        Box::pin(async move {
            writer.write_pages(&[PageWrite { offset, bytes: &bytes }]).await?;
            bytes.clear();
            Ok(bytes)
        })
    }
}

impl<W: SendPageWriter + 'static> WriteForm<W> for SendWrites {
    type Writing = SendBoxFuture<'static, Written>;

    fn start(writer: Arc<W>, offset: u64, mut bytes: Vec<u8>) -> Self::Writing {
        Box::pin(async move {
            writer.write_pages_send(&[PageWrite { offset, bytes: &bytes }]).await?;
            bytes.clear();
            Ok(bytes)
        })
    }
}

/// A batch, in flight or ended.
enum Batch<F> {
    Writing(F),
    Ended(Written),
}

impl<F: Future<Output = Written> + Unpin> Batch<F> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Self::Writing(writing) = self
            && let Poll::Ready(ended) = Pin::new(writing).poll(cx)
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
///
/// With [`SendWrites`] it is `Send` and `Sync`, and so are its futures.
pub struct WriteBehind<W, K: WriteForm<W> = LocalWrites> {
    writer: Arc<W>,
    /// It is never locked. So a batch need not be `Sync`.
    batches: Mutex<VecDeque<Batch<K::Writing>>>,
    /// One past the last byte that was taken, or the length of a file that was there, if that is more.
    end: u64,
    /// The length that the file was given ahead of its bytes.
    len_ahead: u64,
    /// Memory of batches that ended.
    spare: Vec<Vec<u8>>,
    form: PhantomData<fn() -> K>,
}

impl<W: fmt::Debug, K: WriteForm<W>> fmt::Debug for WriteBehind<W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl<W: PageWriter + 'static> WriteBehind<W> {
    /// A writer with nothing in flight, which stays on its thread.
    pub fn new(writer: W) -> Self {
        Self::over(writer)
    }
}

impl<W: PageWriter + SendPageWriter + 'static> WriteBehind<W, SendWrites> {
    /// A writer with nothing in flight, which may move to another thread.
    pub fn new_send(writer: W) -> Self {
        Self::over(writer)
    }
}

impl<W: PageWriter + 'static, K: WriteForm<W>> WriteBehind<W, K> {
    /// A writer with nothing in flight.
    pub fn over(writer: W) -> Self {
        let len = writer.file().len;
        Self {
            writer: Arc::new(writer),
            batches: Mutex::default(),
            end: len,
            len_ahead: len,
            spare: Vec::new(),
            form: PhantomData,
        }
    }

    fn batches(&mut self) -> &mut VecDeque<Batch<K::Writing>> {
        self.batches.get_mut().unwrap_or_else(PoisonError::into_inner)
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
        while self.batches().len() >= BATCHES_MAX {
            self.oldest_ended().await?;
        }
        self.grow(offset + len as u64).await?;
        let mut rest = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(bytes.capacity()));
        rest.extend_from_slice(&bytes[len..]);
        let mut batch = std::mem::replace(bytes, rest);
        batch.truncate(len);
        let writing = K::start(Arc::clone(&self.writer), offset, batch);
        self.batches().push_back(Batch::Writing(writing));
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
        let end = self.end.max(end);
        if end > self.len_ahead && !self.batches().is_empty() {
            self.len_ahead = end + end.min(LEN_AHEAD_MAX);
            self.writer.set_len(self.len_ahead).await?;
        }
        // Only now the bytes are sure to be taken. A future that is dropped before has taken none.
        self.end = end;
        Ok(())
    }

    /// Polls all batches, because they share the writer's budget. A batch that is not polled would keep its
    /// place in the queue, and hold back the batches behind it.
    fn poll_all(&mut self, cx: &mut Context<'_>) {
        self.batches().iter_mut().for_each(|batch| batch.poll(cx));
    }

    async fn oldest_ended(&mut self) -> Result<(), WriteError> {
        let ended = poll_fn(|cx| {
            self.poll_all(cx);
            match self.batches().pop_front() {
                Some(Batch::Ended(ended)) => Poll::Ready(ended.map(Some)),
                Some(writing) => {
                    self.batches().push_front(writing);
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
        while !self.batches().is_empty() {
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
    use crate::{Executor, FileSystem, OpenOptions};
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

    #[test]
    fn a_file_that_was_there_keeps_the_bytes_that_are_not_written() {
        let memory = MemoryBackend::new(1);
        memory.put(Path::new("a"), vec![1; 100_000]);
        let options = OpenOptions::default();
        let written = memory.run(async || {
            let mut behind =
                WriteBehind::new(memory.open_for_writing(Path::new("a"), &options).await.unwrap());
            for batch in 0..3 {
                behind.write(batch * 4096, &mut vec![2; 4096], 4096).await.unwrap();
            }
            behind.settled().await.unwrap();
        });
        written.unwrap();
        let expected = [vec![2; 3 * 4096], vec![1; 100_000 - 3 * 4096]].concat();
        assert!(memory.get(Path::new("a")).unwrap() == expected);
    }
}
