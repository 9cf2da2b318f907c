//! Opening the collection that a command is about.

use crate::args::CollectionArgs;
use crate::error::CliError;
use vecstore::collection::{Collection, CollectionOptions};

/// For commands that change nothing, and so may run beside each other.
pub(crate) fn read_only(at: &CollectionArgs, options: CollectionOptions) -> Result<Collection, CliError> {
    writable(at, &CollectionOptions { read_only: true, ..options })
}

/// For commands that write.
pub(crate) fn writable(at: &CollectionArgs, options: &CollectionOptions) -> Result<Collection, CliError> {
    Ok(Collection::open(&at.backend.backend(), &at.collection, options)?)
}
