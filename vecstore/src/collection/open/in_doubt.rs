//! Logs whose ends are in doubt.

use super::report::OpenReport;
use crate::collection::files::TORN_NEW;
use crate::error::Error;
use io_core::{Directory, StopFlag};
use std::io::ErrorKind;
use std::path::Path;

/// Copies logs whose ends are in doubt before they are cut off. Only the user removes the copies, which may
/// hold an acknowledged write.
pub(super) fn keep_logs_in_doubt(
    directory: &dyn Directory,
    dir: &Path,
    report: &OpenReport,
) -> Result<(), Error> {
    for cut_off in &report.cut_off {
        let Some(copy) = &cut_off.copy else { continue };
        match directory.read_at(copy, 0, 0) {
            // The log has only become shorter since.
            Ok(_) => continue,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let new = dir.join(TORN_NEW);
        // A leftover of an interrupted opening.
        match directory.remove_file(&new) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        let copied =
            directory.copy(&cut_off.log, &new, &StopFlag::new()).and_then(|()| directory.rename(&new, copy));
        if let Err(error) = copied {
            // If the name exists, another owner made the file.
            if error.source.kind() != ErrorKind::AlreadyExists {
                let _ = directory.remove_file(&new);
            }
            return Err(error.into());
        }
    }
    // Also copies of an interrupted opening.
    if report.cut_off.iter().any(|cut_off| cut_off.copy.is_some()) {
        directory.sync_dir(dir)?;
    }
    Ok(())
}
