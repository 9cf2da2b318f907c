//! Errors that end the command, with a message and an exit code.

use crate::counted::Counted;
use crate::{EXIT_DAMAGED, EXIT_DISAGREE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNREAD, EXIT_USAGE};
use std::path::PathBuf;
use vecstore::error::Error;
use vecstore::input::VectorSourceError;
use vecstore::point::PointId;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error(transparent)]
    Vectors(#[from] VectorSourceError),
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("there is no collection {}; `vecstore create` makes one", path.display())]
    NoCollection { path: PathBuf },
    #[error("{} is a file; give the directory of a collection", path.display())]
    FileForCollection { path: PathBuf },
    #[error("there is no directory {}; make it first", path.display())]
    NoDirectory { path: PathBuf },
    #[error("{0}")]
    Usage(String),
    #[error("the upsert did not come to its end")]
    Upsert { source: Box<CliError>, written: WrittenLines },
    #[error("the import did not come to its end")]
    Import { source: Box<CliError>, imported: Option<u64>, total: u64, optimize: bool },
    #[error("the collection was not optimized")]
    NotOptimized { source: Box<CliError> },
    #[error("backends disagree: {0}")]
    Disagree(String),
    #[error("none of the backends could be run")]
    NoBackend,
    #[error("no point of the collection has these ids: {}", join(.0))]
    Missing(Vec<PointId>),
    #[error("{}: its schema has no tenant field; create the collection with --tenant", collection.display())]
    NoTenant { collection: PathBuf },
    #[error("{}: {}; `vecstore repair` saves what is intact", collection.display(), Counted(*problems, "problem"))]
    Damaged { collection: PathBuf, problems: usize },
    #[error(
        "{}: no damage found, but not all of it could be read, see above: verify it again when nothing is in the way",
        collection.display()
    )]
    Unread { collection: PathBuf },
    #[error("{} may be incomplete: the output says what is lost; keep the damaged collection until you have checked this one", collection.display())]
    Incomplete { collection: PathBuf },
    #[error("repair needs the schema; give it with --schema FILE")]
    NoSchema(#[source] Error),
    #[error("cannot print")]
    Print(#[from] std::io::Error),
}

/// Lines of an upsert, each by its number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WrittenLines {
    /// All lines up to this one are written.
    pub(crate) to: u64,
    /// It is unknown whether later lines, up to this one, are written, because their write failed half-way.
    pub(crate) maybe_to: u64,
}

impl WrittenLines {
    fn describe(self) -> String {
        let Self { to, maybe_to } = self;
        let sure = match to {
            0 => "nothing is written".to_owned(),
            1 => "the first line is written".to_owned(),
            _ => format!("the first {to} lines are written"),
        };
        if maybe_to <= to {
            return sure;
        }
        let from = to + 1;
        let lines = if from == maybe_to {
            format!("line {from} is")
        } else {
            format!("lines {from} to {maybe_to} are")
        };
        let unsure = format!("whether {lines} written is not known");
        if to == 0 { unsure } else { format!("{sure}; {unsure}") }
    }
}

/// The message of a build without the feature.
#[cfg(not(feature = "parquet"))]
pub(crate) const NO_PARQUET: &str = "this build knows no Parquet; build it with `--features parquet`";

fn join(ids: &[PointId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// How to go on if all points are in the collection.
const OPTIMIZE: &str = "only its optimization is left: run `vecstore optimize`";

/// The outcome of an import. `imported` is `None` if a failed sync left it unknown.
fn after_import(error: &CliError, imported: Option<u64>, total: u64, optimize: bool) -> String {
    let is_input = matches!(error, CliError::File { .. } | CliError::Vectors(_));
    let there = match imported {
        Some(0) => return "nothing was imported".to_owned(),
        // The only input after all points is a line too many.
        Some(imported) if imported == total && is_input => {
            return format!("{} are stored", Counted(total, "point"));
        }
        Some(imported) if imported == total && optimize => {
            return format!("all {total} points are in the collection, and {OPTIMIZE}");
        }
        Some(imported) if imported == total => return format!("all {total} points are in the collection"),
        Some(imported) => format!("{imported} of {total} points are in the collection"),
        None => format!("some of {total} points are in the collection, `vecstore count` tells how many"),
    };
    let again = if is_input {
        "correct the file, then run the same command again"
    } else {
        "run the same command again, once nothing is in its way, to put in the others"
    };
    format!("{there}; {again}: ids stay the same, so none will be there twice")
}

impl CliError {
    /// A line that says what was done before the error, and how to go on.
    pub(crate) fn how_to_go_on(&self) -> Option<String> {
        match self {
            Self::Upsert { written, .. } => Some(written.describe()),
            Self::Import { source, imported, total, optimize } => {
                Some(after_import(source, *imported, *total, *optimize))
            }
            Self::Store(Error::Format(error)) if error.is_damage() => Some(
                "`vecstore verify` lists all damage, and `vecstore repair` saves what is intact".to_owned(),
            ),
            Self::NotOptimized { .. } => Some(format!("all points are in the collection, and {OPTIMIZE}")),
            _ => None,
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Upsert { source, .. } | Self::Import { source, .. } | Self::NotOptimized { source } => {
                source.exit_code()
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

#[test]
fn written_lines_are_told_in_words() {
    let told = |to, maybe_to| WrittenLines { to, maybe_to }.describe();
    assert_eq!(told(0, 0), "nothing is written");
    assert_eq!(told(0, 1), "whether line 1 is written is not known");
    assert_eq!(told(2, 4), "the first 2 lines are written; whether lines 3 to 4 are written is not known");
}
