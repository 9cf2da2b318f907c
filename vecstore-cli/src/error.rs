//! What ends the command with a message and an exit code.

use crate::{EXIT_DAMAGED, EXIT_DISAGREE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNREAD, EXIT_USAGE};
use std::path::PathBuf;
use vecstore::error::Error;
use vecstore::input::InputError;
use vecstore::point::PointId;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("{0}")]
    Usage(String),
    #[error("{cause}\n{}", written(*lines))]
    Upsert { cause: Box<CliError>, lines: u64 },
    #[error("{cause}\n{}", how_to_go_on(*imported, *total))]
    Import { cause: Box<CliError>, imported: Option<u64>, total: u64 },
    #[error(
        "{cause}\nall points are in the collection, and only its optimization is left: run `vecstore optimize`"
    )]
    NotOptimized { cause: Box<CliError> },
    #[error("backends disagree: {0}")]
    Disagree(String),
    #[error("none of the backends could be run")]
    NoBackend,
    #[error("not there: {}", join(.0))]
    Missing(Vec<PointId>),
    #[error("{}: its schema names no field to defragment by; create it with --tenant", collection.display())]
    NoTenant { collection: PathBuf },
    #[error("{}: {problems} problems; `vecstore repair` saves what is intact", collection.display())]
    Damaged { collection: PathBuf, problems: usize },
    #[error(
        "{}: no damage found, but not all of it could be read, see above: verify it again when nothing is in the way",
        collection.display()
    )]
    Unread { collection: PathBuf },
    #[error("{} may lack something: what was damaged is said above", collection.display())]
    Incomplete { collection: PathBuf },
    #[error("{0}, with --schema FILE")]
    NoSchema(Error),
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
}

/// What a build without the feature says.
#[cfg(not(feature = "parquet"))]
pub(crate) const NO_PARQUET: &str = "this build knows no Parquet; build it with `--features parquet`";

fn join(ids: &[PointId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What became of an upsert.
fn written(lines: u64) -> String {
    if lines == 0 { "nothing is written".to_owned() } else { format!("the first {lines} lines are written") }
}

/// What became of an import; how much is in is unknown where it was not made durable.
fn how_to_go_on(imported: Option<u64>, total: u64) -> String {
    let there = match imported {
        Some(0) => return "nothing was imported".to_owned(),
        Some(imported) if imported == total => return format!("all {total} points are in the collection"),
        Some(imported) => format!("{imported} of {total} points are in the collection"),
        None => format!("some of {total} points are in the collection, `vecstore count` tells how many"),
    };
    format!(
        "{there}; run the same command again, once nothing is in its way, to put in the others: ids stay the same, so none will be there twice"
    )
}

impl CliError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Upsert { cause, .. } | Self::Import { cause, .. } | Self::NotOptimized { cause } => {
                cause.exit_code()
            }
            Self::Usage(_) => EXIT_USAGE,
            Self::Store(Error::Stopped) => EXIT_INTERRUPTED,
            Self::Unread { .. } => EXIT_UNREAD,
            Self::Disagree(_) => EXIT_DISAGREE,
            Self::Damaged { .. } | Self::Incomplete { .. } => EXIT_DAMAGED,
            _ => EXIT_FAILED,
        }
    }
}
