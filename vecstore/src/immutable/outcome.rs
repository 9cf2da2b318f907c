//! How a batch of reads ended.

use crate::error::Error;
use io_core::{ReadOutcome, ReadStats};

/// The statistics of a batch that ran to its end. [`Error::Stopped`] if it was stopped.
pub(crate) fn ended(outcome: ReadOutcome) -> Result<ReadStats, Error> {
    if outcome.is_complete() { Ok(outcome.stats) } else { Err(Error::Stopped) }
}
