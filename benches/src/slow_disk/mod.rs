//! A network drive on one machine: a block device that answers after a fixed time, and serves a fixed number
//! of requests at once.
//!
//! ```text
//! ext4 ── loop device, direct IO ── the only file of a FUSE file system ── sleeping servers ── unlinked file
//! ```
//!
//! The kernel treats it like any other block device. A ring's reads wait in it, not in a thread, and a map's
//! faults wait for it.
//!
//! All parts of a disk lie below a directory of its own in [`HOME`], which its process holds locked. A killed
//! process leaves its mounts, loop device and cgroup behind. Their names lead to that directory. Its lock is
//! free, so the next run removes them.

mod cgroup;
mod fuse;
mod loop_device;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::thread::CapabilitySet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Disks are mounted here, each below a directory of its own.
pub const HOME: &str = "/run/slow-disk";

/// The variable that tells a command the directory of the file system.
pub const DIR_VARIABLE: &str = "BENCH_DIR";

/// Why there is no slow disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks a requirement.
    #[error("{what} is missing: {why}")]
    Missing {
        /// The name of the requirement.
        what: &'static str,
        /// The error of the system, or what to do.
        why: String,
    },
    /// A step failed that should have worked.
    #[error("cannot {doing}")]
    Failed {
        /// The step.
        doing: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// Adds the failed step to an error.
trait Doing<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Failed { doing: doing(), source: source.into() })
    }
}

/// The properties of a disk.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time that each request takes once it is served.
    pub latency: Duration,
    /// Requests served at once. Others wait.
    pub parallelism: usize,
    /// The size of the device in bytes.
    pub size: u64,
    /// The kernel's read-ahead, in KiB.
    pub read_ahead_kb: u32,
    /// The memory cap in bytes, for a command and the page cache of its files.
    pub memory_max: Option<u64>,
    /// Makes no disk, only the memory cap.
    pub cap_only: bool,
    /// The directory of the disk's data, in a file without a name.
    pub backing_dir: PathBuf,
}

/// A mounted disk. Dropping it removes it.
#[derive(Debug)]
pub struct SlowDisk {
    place: Place,
    servers: Option<fuse::Servers>,
    cgroup: Option<cgroup::MemoryCap>,
}

impl SlowDisk {
    /// Makes, formats and mounts a disk. It first removes the remains of killed runs.
    ///
    /// # Errors
    /// [`Error::Missing`] with the missing requirement, or [`Error::Failed`].
    pub fn create(options: &Options) -> Result<Self, Error> {
        check_rights()?;
        if !options.cap_only {
            check_machine()?;
        }
        remove_leftovers()?;
        // From here on, dropping it removes all parts that exist.
        let mut disk = Self { place: Place::create()?, servers: None, cgroup: None };
        if let Some(bytes) = options.memory_max {
            disk.cgroup = Some(cgroup::MemoryCap::create(&disk.place.name(), bytes)?);
        }
        if options.cap_only {
            return Ok(disk);
        }
        let backing = tempfile::tempfile_in(&options.backing_dir)
            .and_then(|file| file.set_len(options.size).map(|()| file))
            .doing(|| {
                format!("make a file of {} bytes in {}", options.size, options.backing_dir.display())
            })?;
        let (drive, disk_dir) = (disk.place.drive(), disk.place.disk());
        disk.servers = Some(fuse::mount(&drive, backing, options)?);
        let device = loop_device::attach(&drive.join(fuse::FILE_NAME))?;
        // Initialises the tables now. Otherwise the kernel would do it later, during the measurement.
        run(Command::new("mkfs.ext4")
            .args(["-q", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&device))?;
        mount(&device, &disk_dir, c"ext4", MountFlags::NOATIME, None)
            .doing(|| format!("mount {} at {}", device.display(), disk_dir.display()))?;
        loop_device::configure(&device, options.read_ahead_kb)?;
        Ok(disk)
    }

    /// The directory of the mount.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.place.disk()
    }

    /// A command with the directory in [`DIR_VARIABLE`], if there is a disk. It runs within the memory cap,
    /// if there is one.
    #[must_use]
    pub fn command(&self, program: &OsStr) -> Command {
        let mut command = match &self.cgroup {
            Some(cap) => cap.command(program),
            None => Command::new(program),
        };
        if self.servers.is_some() {
            command.env(DIR_VARIABLE, self.dir());
        }
        command
    }

    /// The requests served so far.
    #[must_use]
    pub fn served(&self) -> Served {
        self.servers.as_ref().map(fuse::Servers::served).unwrap_or_default()
    }

    /// Removes the disk.
    ///
    /// # Errors
    /// The part that could not be removed.
    pub fn remove(mut self) -> Result<(), Error> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<(), Error> {
        self.place.remove()?;
        self.servers.take().map_or(Ok(()), fuse::Servers::join)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // After `remove` nothing is left to do. `down` reports what fails here.
        drop(self.take_down());
    }
}

/// Requests that a disk has served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Reads, and their bytes.
    pub reads: (u64, u64),
    /// Writes, and their bytes.
    pub writes: (u64, u64),
    /// The most requests served at the same time.
    pub at_once_max: u64,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads: (reads, read), writes: (writes, written), at_once_max } = self;
        let (read, written) = (read >> 20, written >> 20);
        write!(
            f,
            "{reads} reads of {read} MiB, {writes} writes of {written} MiB, \
             at most {at_once_max} at once"
        )
    }
}

/// Removes the disks of killed processes, and returns their number. Disks of running processes are left
/// alone.
///
/// # Errors
/// The part that could not be removed.
pub fn remove_leftovers() -> Result<usize, Error> {
    let _home = lock_home()?;
    let mut removed = 0;
    for entry in fs::read_dir(HOME).doing(|| format!("list {HOME}"))? {
        let dir = entry.doing(|| format!("list {HOME}"))?.path();
        if let Some(place) = Place::take_over(dir)? {
            place.remove()?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Keeps other processes from taking a directory over before it is locked.
fn lock_home() -> Result<File, Error> {
    let lock = || {
        fs::create_dir_all(HOME)?;
        let home = File::open(HOME)?;
        home.lock().map(|()| home)
    };
    lock().doing(|| format!("lock {HOME}"))
}

/// A disk's directory, locked.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    _lock: File,
}

impl Place {
    fn create() -> Result<Self, Error> {
        let _home = lock_home()?;
        let create = || {
            let dir = tempfile::Builder::new().prefix("").tempdir_in(HOME)?.keep();
            let lock = File::open(&dir)?;
            lock.lock()?;
            let place = Self { dir, _lock: lock };
            fs::create_dir(place.drive())?;
            fs::create_dir(place.disk())?;
            Ok::<_, io::Error>(place)
        };
        create().doing(|| format!("make a directory in {HOME}"))
    }

    /// The directory of a dead process. `None` if the process still runs.
    fn take_over(dir: PathBuf) -> Result<Option<Self>, Error> {
        let lock = File::open(&dir).doing(|| format!("open {}", dir.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { dir, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).doing(|| format!("lock {}", dir.display())),
        }
    }

    /// The mount point of the FUSE file system.
    fn drive(&self) -> PathBuf {
        self.dir.join("drive")
    }

    /// The mount point of ext4.
    fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    fn name(&self) -> String {
        format!("slow-disk-{}", self.dir.file_name().unwrap_or_default().display())
    }

    /// Removes the parts of a disk, from top to bottom.
    fn remove(&self) -> Result<(), Error> {
        unmount_fully(&self.disk())?;
        loop_device::detach_below(&self.dir)?;
        unmount_fully(&self.drive())?;
        cgroup::remove(&self.name())?;
        for dir in [self.disk(), self.drive(), self.dir.clone()] {
            // Never removes recursively: other content does not belong to the disk.
            match fs::remove_dir(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).doing(|| format!("remove {}", dir.display()));
                }
                _ => (),
            }
        }
        Ok(())
    }
}

fn check_rights() -> Result<(), Error> {
    let capabilities =
        rustix::thread::capabilities(None).doing(|| "read this thread's capabilities".into())?;
    if !capabilities.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Err(Error::Missing { what: "CAP_SYS_ADMIN", why: "run it as root".into() });
    }
    Ok(())
}

fn check_machine() -> Result<(), Error> {
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if let Err(error) = File::options().read(true).write(true).open(device) {
            return Err(Error::Missing { what: device, why: error.to_string() });
        }
    }
    for program in ["losetup", "mkfs.ext4"] {
        if let Err(error) = Command::new(program).arg("-V").output() {
            return Err(Error::Missing { what: program, why: error.to_string() });
        }
    }
    Ok(())
}

/// Unmounts a directory, if something is mounted there. If it is still in use, it goes once the last user has
/// finished.
fn unmount_fully(dir: &Path) -> Result<(), Error> {
    // Other programs, such as udev, look at a new or old device only briefly.
    for _ in 0..20 {
        match unmount(dir, UnmountFlags::empty()) {
            Err(Errno::BUSY) => pause(Duration::from_millis(100)),
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            outcome => return outcome.doing(|| format!("unmount {}", dir.display())),
        }
    }
    unmount(dir, UnmountFlags::DETACH).doing(|| format!("detach {}", dir.display()))
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a mount or a disk's time is up")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Runs a program to its end, and returns its output.
fn run(command: &mut Command) -> Result<String, Error> {
    let doing = |command: &Command| format!("run {}", command.get_program().display());
    let output = command.output().doing(|| doing(command))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(said)).doing(|| doing(command))
}
