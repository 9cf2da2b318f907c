//! Writing from front to back without waiting: batches are written while the next one is collected.

use crate::{LocalBoxFuture, PageWrite, PageWriter, WriteError};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// Batches on their way at most. What comes from a processor and what goes to a disk then hardly wait for each other.
const BATCHES_MAX: usize = 4;

/// A batch on its way. It gives its bytes' memory back.
type Batch = LocalBoxFuture<'static, Result<Vec<u8>, WriteError>>;

/// A writer that is a few batches behind its caller. After an error the file is not to be used.
///
/// Errors come from a later call than the one they belong to; [`WriteBehind::settled`] tells those that are left.
/// Where the backend's operations run only while they are polled, as writes through a map's file do, it just writes.
pub struct WriteBehind<W> {
    writer: Rc<W>,
    batches: VecDeque<Batch>,
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
    /// With nothing on its way.
    pub fn new(writer: W) -> Self {
        Self { writer: Rc::new(writer), batches: VecDeque::new(), spare: Vec::new() }
    }

    /// Begins to write the first `len` bytes of `bytes` at `offset`; the rest stays in `bytes`. Waits only while too much
    /// is on its way.
    ///
    /// # Errors
    /// [`WriteError`] of this or an earlier batch.
    ///
    /// # Cancel safety
    /// Dropped before its end, it has either taken the bytes or not.
    pub async fn write(&mut self, offset: u64, bytes: &mut Vec<u8>, len: usize) -> Result<(), WriteError> {
        while self.batches.len() >= BATCHES_MAX {
            self.oldest_ended().await?;
        }
        let mut rest = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(bytes.capacity()));
        rest.extend_from_slice(&bytes[len..]);
        let mut batch = std::mem::replace(bytes, rest);
        batch.truncate(len);
        let writer = Rc::clone(&self.writer);
        let mut writing: Batch = Box::pin(async move {
            writer.write_pages(&[PageWrite { offset, bytes: &batch }]).await?;
            batch.clear();
            Ok(batch)
        });
        // Polled once, its operations are with the backend.
        let polled = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await;
        match polled {
            Poll::Pending => self.batches.push_back(writing),
            Poll::Ready(ended) => self.spare.push(ended?),
        }
        Ok(())
    }

    async fn oldest_ended(&mut self) -> Result<(), WriteError> {
        if let Some(oldest) = self.batches.front_mut() {
            let ended = oldest.await;
            self.batches.pop_front();
            self.spare.push(ended?);
        }
        Ok(())
    }

    /// Waits for everything on its way.
    ///
    /// # Errors
    /// [`WriteError`] of any batch that has not been told.
    pub async fn settled(&mut self) -> Result<(), WriteError> {
        while !self.batches.is_empty() {
            self.oldest_ended().await?;
        }
        Ok(())
    }

    /// The writer, for what is not written this way. What is on its way is ahead of that only after
    /// [`WriteBehind::settled`].
    pub fn writer(&self) -> &W {
        &self.writer
    }
}
