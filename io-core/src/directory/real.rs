//! The operating system's file system.

mod lock;

use super::{Directory, DirectoryEntry, DirectoryError, DirectoryLock, LockError, LockKind, StdDirectory};
use crate::StopFlag;
use crate::regular::{self, Links, RegularFileError};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

fn entry(name: &OsStr, metadata: &Metadata) -> DirectoryEntry {
    let is_dir = metadata.is_dir();
    DirectoryEntry { name: name.to_owned(), is_dir, len: if is_dir { 0 } else { metadata.len() } }
}

fn open(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    Ok(regular::open(path, Links::Refuse, how, 0)?)
}

fn open_to_read(path: &Path) -> io::Result<File> {
    open(path, File::options().read(true))
}

impl Directory for StdDirectory {
    fn create_dir(&self, path: &Path) -> Result<(), DirectoryError> {
        fs::create_dir(path).map_err(|error| DirectoryError::new("create", path, error))
    }

    fn entry(&self, path: &Path) -> Result<DirectoryEntry, DirectoryError> {
        let name = path.file_name().unwrap_or(path.as_os_str());
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(entry(name, &metadata)),
            Err(error) => Err(DirectoryError::new("look at", path, error)),
        }
    }

    #[cfg(unix)]
    fn check_own(&self, path: &Path) -> Result<(), DirectoryError> {
        use std::os::unix::fs::MetadataExt;
        const OTHERS_MAY_WRITE: u32 = 0o002;
        let metadata =
            fs::symlink_metadata(path).map_err(|error| DirectoryError::new("look at", path, error))?;
        let reason = if !metadata.is_dir() {
            "it is no directory"
        } else if metadata.uid() != rustix::process::geteuid().as_raw() {
            "it belongs to another user"
        } else if metadata.mode() & OTHERS_MAY_WRITE != 0 {
            "every user may write to it"
        } else {
            return Ok(());
        };
        let refused = io::Error::new(io::ErrorKind::PermissionDenied, format!("{reason}; remove it"));
        Err(DirectoryError::new("take over", path, refused))
    }

    fn is_within(&self, path: &Path, dir: &Path) -> Result<bool, DirectoryError> {
        let failed = |path: &Path, error| DirectoryError::new("look at", path, error);
        let sought = Identity::of(dir).map_err(|error| failed(dir, error))?;
        // A path that does not exist yet will lie in its first ancestor that exists.
        let there = path.ancestors().find_map(|path| fs::canonicalize(or_here(path)).ok());
        for ancestor in there.iter().flat_map(|there| there.ancestors()) {
            if Identity::of(ancestor).map_err(|error| failed(ancestor, error))? == sought {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>, DirectoryError> {
        // The metadata of the entry itself: a link to a directory does not count as a directory.
        let listed = |listed: io::Result<fs::DirEntry>| {
            let listed = listed?;
            match listed.metadata() {
                Ok(metadata) => Ok(Some(entry(&listed.file_name(), &metadata))),
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let all = fs::read_dir(path).and_then(|entries| {
            entries.filter_map(|entry| listed(entry).transpose()).collect::<io::Result<Vec<DirectoryEntry>>>()
        });
        let mut entries = all.map_err(|error| DirectoryError::new("list", path, error))?;
        entries.sort_unstable();
        Ok(entries)
    }

    fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> Result<Vec<u8>, DirectoryError> {
        let read = open_to_read(path).and_then(|mut file| {
            let there = file.metadata()?.len().saturating_sub(offset).min(bytes_max as u64);
            let mut bytes = Vec::with_capacity(there as usize);
            file.seek(SeekFrom::Start(offset))?;
            file.take(bytes_max as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        read.map_err(|error| DirectoryError::new("read", path, error))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DirectoryError> {
        let failed = |error| DirectoryError::new("write", path, error);
        let file = match File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path).map_err(failed)?;
                // Without this sync, a crash could bring the old file back under a name that the new file
                // gets later.
                self.sync_dir(or_here(path.parent().unwrap_or(path)))?;
                File::create_new(path)
            }
            created => created,
        };
        let written = file.and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(failed)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DirectoryError> {
        fs::rename(from, to).map_err(|error| DirectoryError::new("rename", from, error))
    }

    fn hard_link(&self, file: &Path, link: &Path) -> Result<(), DirectoryError> {
        let linked = regular::check(file, Links::Refuse).map_err(RegularFileError::into);
        let linked = linked.and_then(|()| fs::hard_link(file, link));
        linked.map_err(|error| DirectoryError::new("link", file, error))
    }

    fn copy(&self, file: &Path, copy: &Path, stop: &StopFlag) -> Result<(), DirectoryError> {
        /// The copy looks at `stop` after each piece of so many bytes.
        const PIECE: u64 = 16 << 20;
        // Once the source is open, a failure is nearly always the target's. So the error then names the
        // target.
        let source = open_to_read(file).map_err(|error| DirectoryError::new("copy", file, error))?;
        let copied = File::create_new(copy).and_then(|mut target| {
            let mut copied = PIECE;
            while copied == PIECE {
                if stop.is_stopped() {
                    return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped"));
                }
                copied = io::copy(&mut (&source).take(PIECE), &mut target)?;
            }
            target.set_permissions(source.metadata()?.permissions())?;
            target.sync_all()
        });
        copied.map_err(|error| DirectoryError::new("copy to", copy, error))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DirectoryError> {
        fs::remove_file(path).map_err(|error| DirectoryError::new("remove", path, error))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), DirectoryError> {
        fs::remove_dir_all(path).map_err(|error| DirectoryError::new("remove", path, error))
    }

    fn sync_file(&self, path: &Path) -> Result<(), DirectoryError> {
        let synced = open_to_read(path).and_then(|file| file.sync_all());
        synced.map_err(|error| DirectoryError::new("sync", path, error))
    }

    fn rewrite(&self, path: &Path, len: u64) -> Result<(), DirectoryError> {
        const CHUNK: u64 = 1 << 20;
        let rewritten = open(path, File::options().read(true).write(true)).and_then(|mut file| {
            let mut bytes = Vec::new();
            for start in (0..len).step_by(CHUNK as usize) {
                bytes.resize((len - start).min(CHUNK) as usize, 0);
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut bytes)?;
                file.seek(SeekFrom::Start(start))?;
                file.write_all(&bytes)?;
            }
            file.set_len(len)?;
            file.sync_all()
        });
        rewritten.map_err(|error| DirectoryError::new("write again", path, error))
    }

    #[cfg(unix)]
    fn sync_dir(&self, path: &Path) -> Result<(), DirectoryError> {
        use rustix::fs::{Mode, OFlags};
        // `DIRECTORY` makes the open fail for anything but a directory.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
        let synced = opened.map_err(io::Error::from).and_then(|dir| File::from(dir).sync_all());
        synced.map_err(|error| DirectoryError::new("sync", path, error))
    }

    /// Other systems cannot sync directories. Names are as durable as the system makes them.
    #[cfg(not(unix))]
    fn sync_dir(&self, _path: &Path) -> Result<(), DirectoryError> {
        Ok(())
    }

    fn lock(&self, path: &Path, kind: LockKind) -> Result<Box<dyn DirectoryLock>, LockError> {
        lock::lock(path, kind)
    }
}

/// The path. The empty path stands for the current directory.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// The identity of a directory, independent of its names.
#[derive(PartialEq, Eq)]
struct Identity {
    #[cfg(unix)]
    device_and_inode: (u64, u64),
    #[cfg(not(unix))]
    path: std::path::PathBuf,
}

impl Identity {
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path)?;
        Ok(Self { device_and_inode: (metadata.dev(), metadata.ino()) })
    }

    #[cfg(not(unix))]
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: fs::canonicalize(path)? })
    }
}
