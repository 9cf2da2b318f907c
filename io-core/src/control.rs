//! Stopping and counting a batch while it runs.

use crate::Meter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that ends batches early. Once up, it never comes down. Clones share it, also across threads.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is down.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the flag is up.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl From<Arc<AtomicBool>> for StopFlag {
    /// A flag that is up while `raised` is true, such as one that a signal handler sets.
    fn from(raised: Arc<AtomicBool>) -> Self {
        Self(raised)
    }
}

/// How a batch is controlled and counted. The default neither stops nor counts.
#[derive(Clone, Debug, Default)]
pub struct ReadControl {
    /// The batch looks at it before each submission and each delivery.
    pub stop: Option<StopFlag>,
    /// Counts what the batch does. [`Metered`](crate::Metered) sets it. A backend only has to pass it on.
    pub meter: Option<Meter>,
}

impl ReadControl {
    /// A control that ends its batches when `stop` is raised.
    #[must_use]
    pub fn with_stop(stop: StopFlag) -> Self {
        Self { stop: Some(stop), meter: None }
    }

    /// Whether the caller wants the batch to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(StopFlag::is_stopped)
    }
}
