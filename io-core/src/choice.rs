//! What a backend says that chooses between others.

use std::fmt;
use std::sync::Arc;

/// Which backend another one has taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// The name of the backend that was taken.
    pub taken: &'static str,
    /// Why it was taken. If another one was refused, the error and what to do.
    pub reason: Arc<str>,
}

impl Choice {
    /// `taken` was chosen because of `reason`.
    #[must_use]
    pub fn new(taken: &'static str, reason: &str) -> Self {
        Self { taken, reason: reason.into() }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "takes {}: {}", self.taken, self.reason)
    }
}
