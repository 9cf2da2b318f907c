//! A block device from a file.

use super::{Doing, Error, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a block device from a file, with direct IO, and returns its path.
pub(super) fn attach(file: &Path) -> Result<PathBuf, Error> {
    run(Command::new("losetup").args(["--direct-io=on", "--find", "--show"]).arg(file))
        .map(PathBuf::from)
        .map_err(|error| match error {
            Error::Failed { source, .. } => {
                Error::Missing { what: "a loop device with direct IO", why: source.to_string() }
            }
            missing => missing,
        })
}

/// Configures a mounted device like a network drive. The device may have other settings from an earlier file.
pub(super) fn configure(device: &Path, read_ahead_kb: u32) -> Result<(), Error> {
    let queue = Path::new("/sys/block").join(device.file_name().unwrap_or_default()).join("queue");
    // The drive completes a write when it is done, so nothing needs a flush. A loop device would block all
    // other requests during a flush. Read-ahead is set last, because every other change resets it.
    for (setting, value) in [("write_cache", "write through"), ("read_ahead_kb", &read_ahead_kb.to_string())]
    {
        let setting = queue.join(setting);
        fs::write(&setting, value).doing(|| format!("write {}", setting.display()))?;
    }
    Ok(())
}

/// Detaches the devices whose files are below a directory.
pub(super) fn detach_below(dir: &Path) -> Result<(), Error> {
    let doing = || "list /sys/block".to_owned();
    for entry in fs::read_dir("/sys/block").doing(doing)? {
        let device = entry.doing(doing)?;
        // Reads sysfs instead of calling losetup, which would access the file system, and that may be dead.
        // Only attached devices have this file.
        let Ok(file) = fs::read_to_string(device.path().join("loop/backing_file")) else { continue };
        if Path::new(&file).starts_with(dir) {
            run(Command::new("losetup").arg("--detach").arg(Path::new("/dev").join(device.file_name())))?;
        }
    }
    Ok(())
}
