//! A cap on the memory of a command, including the page cache of the files that it reads and writes.

use super::{Doing, Error, pause};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The possible places of the memory controller, and its limit file: version 2, then version 1.
const HIERARCHIES: [(&str, &str); 2] =
    [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// A cgroup with a limit.
#[derive(Debug)]
pub(super) struct MemoryCap {
    dir: PathBuf,
}

impl MemoryCap {
    pub(super) fn create(name: &str, bytes: u64) -> Result<Self, Error> {
        // If a version 2 root lacks the controller or does not delegate it, its children have no limit.
        for (root, limit) in HIERARCHIES {
            if !Path::new(root).join("cgroup.procs").exists() {
                continue;
            }
            let dir = Path::new(root).join(name);
            fs::create_dir(&dir).doing(|| format!("make the cgroup {}", dir.display()))?;
            let limit = dir.join(limit);
            if limit.exists() {
                fs::write(&limit, bytes.to_string()).doing(|| format!("write {}", limit.display()))?;
                return Ok(Self { dir });
            }
            remove(name)?;
        }
        let why = "neither cgroup version has a memory controller that children get".into();
        Err(Error::Missing { what: "the memory cgroup", why })
    }

    /// A command that enters the cgroup before it begins.
    pub(super) fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(self.dir.join("cgroup.procs"))
            .arg(program);
        command
    }
}

/// Removes a cgroup, if it is there.
pub(super) fn remove(name: &str) -> Result<(), Error> {
    for (root, _) in HIERARCHIES {
        let dir = Path::new(root).join(name);
        // A process that has just ended may still be counted.
        let mut tries = 20;
        while let Err(error) = fs::remove_dir(&dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            if tries == 0 {
                return Err(error).doing(|| format!("remove the cgroup {}", dir.display()));
            }
            tries -= 1;
            pause(Duration::from_millis(100));
        }
    }
    Ok(())
}
