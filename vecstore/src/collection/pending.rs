//! Operations in progress, from the view of their caller.

use crate::error::Error;
use crate::threads::belongs_to_a_collection;
use async_channel::{Receiver, Sender};
use io_core::StopFlag;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The channel for the answer to a job.
pub(super) type Reply<T> = Sender<Result<T, Error>>;

/// Submits a job to a thread of the collection and waits for the answer. It is an error if the thread ends
/// first.
pub(super) async fn ask<J, T>(
    queue: Sender<J>,
    job: J,
    answer: Receiver<Result<T, Error>>,
    closing: StopFlag,
) -> Result<T, Error> {
    let ended = || if closing.is_stopped() { Error::Closed } else { Error::WorkerLost };
    queue.send(job).await.map_err(|_| ended())?;
    answer.recv().await.map_err(|_| ended())?
}

/// An operation in progress: a future to await anywhere.
///
/// Dropping it stops a read, an optimization or a snapshot. It does not take a write back.
#[must_use = "a future does nothing unless it is awaited or waited for"]
pub struct Pending<T> {
    future: Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>,
    stop: StopFlag,
    /// Whether the optimizer executes it.
    of_the_optimizer: bool,
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Pending<T> {
    pub(super) fn new(
        stop: StopFlag,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Self {
        Self { future: Box::pin(future), stop, of_the_optimizer: false }
    }

    pub(super) fn of_the_optimizer(mut self) -> Self {
        self.of_the_optimizer = true;
        self
    }

    pub(super) fn failed(error: Error) -> Self {
        Self::new(StopFlag::new(), std::future::ready(Err(error)))
    }
}

impl<T> Pending<T> {
    /// Blocks until the operation is done.
    ///
    /// # Errors
    /// Those of the operation. [`Error::WaitsForItself`] for an operation of the optimizer, on a thread of a
    /// collection. The optimizer's progress callback runs there.
    pub fn wait(self) -> Result<T, Error> {
        if self.of_the_optimizer && belongs_to_a_collection() {
            return Err(Error::WaitsForItself);
        }
        pollster::block_on(self)
    }

    /// The flag that ends the operation early, with [`Error::Stopped`]. It has no effect on a write.
    #[must_use]
    pub fn stop_flag(&self) -> StopFlag {
        self.stop.clone()
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
