//! How the files of a segment are opened, by their placement.

use crate::error::Error;
use crate::schema::Placement;
use io_core::{AccessPattern, DirectoryError, DynBackend, FileSystem, OpenOptions};
use std::path::Path;

/// The options for opening a file on a core, by its placement. A cached file is read into the page cache
/// once, when the segment is loaded. If each core did that, searches would wait.
pub(super) fn placed(options: &OpenOptions, placement: Placement) -> OpenOptions {
    match placement {
        Placement::Cold => options.clone(),
        Placement::Cached | Placement::Pinned => options.clone().with_direct(false),
    }
}

/// The options for loading a file. Direct IO is used if requested, unless the file belongs in the page cache.
pub(super) fn loading(options: &OpenOptions, placement: Placement) -> OpenOptions {
    let access = AccessPattern::Sequential;
    options.clone().with_direct(options.direct && placement != Placement::Cached).with_access(access)
}

/// Reads a file into the page cache if its placement says so. Call it only once the length of the file is
/// checked.
pub(super) async fn bring_in(
    backend: &DynBackend,
    path: &Path,
    options: &OpenOptions,
    placement: Placement,
) -> Result<(), Error> {
    if placement != Placement::Cached {
        return Ok(());
    }
    let reader = backend.open(path, &loading(options, placement).with_populate(true)).await?;
    let closed = reader.close_dyn().await;
    closed.map_err(|error| DirectoryError::new("close", path, error).into())
}
