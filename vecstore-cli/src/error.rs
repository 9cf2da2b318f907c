//! What ends the command with a message and an exit code.

use crate::{EXIT_DISAGREE, EXIT_FAILED, EXIT_INTERRUPTED};
use std::path::PathBuf;
use vecstore::input::InputError;
use vecstore::segment::SegmentError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("backends disagree: {0}")]
    Disagree(String),
    #[error("none of the backends could be run")]
    NoBackend,
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
}

impl CliError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Segment(SegmentError::Stopped) => EXIT_INTERRUPTED,
            Self::Disagree(_) => EXIT_DISAGREE,
            _ => EXIT_FAILED,
        }
    }
}
