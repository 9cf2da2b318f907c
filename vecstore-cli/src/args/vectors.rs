//! The format of a file of vectors, if its name does not tell it.

use super::schema::ElementName;
use clap::{Args, ValueEnum};

/// The format of a file of vectors, if its name does not tell it.
#[derive(Args)]
pub(crate) struct FormatArgs {
    /// Format of the input [default: by its extension]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatName>,
    /// Components of a vector; for raw files
    #[arg(long = "raw-dim", value_name = "DIM", requires = "format", required_if_eq("format", "raw"))]
    pub(crate) raw_dim: Option<usize>,
    /// Type of the components; for raw files
    #[arg(long = "raw-element", value_enum, requires = "format", required_if_eq("format", "raw"))]
    pub(crate) raw_element: Option<ElementName>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FormatName {
    Npy,
    Fvecs,
    Bvecs,
    Raw,
}
