//! The collection and the backend.

use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;
use vecstore::backends::BackendKind;

/// Which collection, through which backend.
#[derive(Args)]
pub(crate) struct CollectionArgs {
    /// Directory of the collection
    pub(crate) collection: PathBuf,
    /// Backend to read and write through
    #[arg(long, value_name = "NAME", default_value = default_backend())]
    pub(crate) backend: BackendKind,
}

fn default_backend() -> &'static str {
    BackendKind::all().first().map_or("", |kind| kind.name())
}

/// `--backend` of commands that compare backends. All are the plain ones: the others are made of them.
#[derive(Clone, Debug)]
pub(crate) enum BackendChoice {
    All,
    One(BackendKind),
}

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "all" {
            return Ok(Self::All);
        }
        name.parse()
            .map(Self::One)
            .map_err(|error: vecstore::backends::UnknownBackendError| error.to_string())
    }
}

impl BackendChoice {
    pub(crate) fn kinds(&self) -> Vec<BackendKind> {
        match self {
            Self::All => BackendKind::plain().to_vec(),
            Self::One(kind) => vec![*kind],
        }
    }
}
