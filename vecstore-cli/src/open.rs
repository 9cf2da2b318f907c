//! Opens the collection of a command.

use crate::args::CollectionArgs;
use crate::error::CliError;
use crate::paths;
use std::io::Write;
use vecstore::collection::{Collection, CollectionOptions};

/// For commands that change nothing. They may run at the same time.
pub(crate) fn read_only(at: &CollectionArgs, options: CollectionOptions) -> Result<Collection, CliError> {
    writable(at, &CollectionOptions { read_only: true, ..options })
}

/// For commands that write.
pub(crate) fn writable(at: &CollectionArgs, options: &CollectionOptions) -> Result<Collection, CliError> {
    paths::check_collection(&at.collection)?;
    let collection = Collection::open(&at.backend.backend(), &at.collection, options)?;
    // These messages are not part of the output, and failing to print them is not an error.
    for cut_off in &collection.open_report().cut_off {
        let _ = writeln!(std::io::stderr(), "vecstore: {cut_off}");
    }
    for told in &collection.open_report().not_removed {
        let _ = writeln!(std::io::stderr(), "vecstore: {told}");
    }
    let files = collection.open_files();
    if let Some(limit) = files.limit.filter(|limit| *limit < files.max) {
        let _ = writeln!(
            std::io::stderr(),
            "vecstore: warning: the collection may need {max} open files at once, and this process may have {limit}: raise the limit (`ulimit -n {max}`), \
             or lower --cores, --reads-per-core or --segments-max, where the command has them",
            max = files.max
        );
    }
    Ok(collection)
}
