//! What opening found.

use std::fmt;
use std::path::PathBuf;

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Writes that were read back from the log.
    pub writes_replayed: u64,
    /// Ends of logs that were no whole record, and are left out.
    pub cut_off: Vec<CutOff>,
    /// What earlier runs left behind and opening for writing could not remove, each with the reason. Each
    /// says what it hinders.
    pub not_removed: Vec<String>,
}

/// The end of a log that was no whole record. Opening for writing cuts it off; opening for reading changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// The log.
    pub log: PathBuf,
    /// Where in it the end begins.
    pub offset: u64,
    /// Its bytes, less zeros at the end.
    pub bytes: u64,
    /// `None` if whole sectors are missing: the write was under way and never acknowledged as durable.
    /// Otherwise the cause is unknown, and opening for writing copies the whole log here.
    pub copy: Option<PathBuf>,
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, offset, bytes, copy } = self;
        write!(f, "{}: {bytes} bytes at its end, from offset {offset} on, are left out: ", log.display())?;
        match copy {
            None => write!(f, "a write was interrupted there, before it was synced"),
            Some(copy) => write!(
                f,
                "a write was interrupted there, or they are damaged; opening for writing keeps a copy of the log in {}",
                copy.display()
            ),
        }
    }
}
