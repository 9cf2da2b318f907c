//! Opening a path that must lead to a regular file.
//!
//! Any other type of file is an error that is found before the file is opened. Opening a pipe would wait for
//! its other end. Opening a device may have effects. A symbolic link may lead to another program's file.
//!
//! Another process may replace the file between this check and the opening. On Unix, `O_NOFOLLOW` refuses a
//! link, `O_NONBLOCK` prevents waiting, and the type of the open file is checked again. Other systems have
//! the first check only.

use crate::OpenError;
use std::fs::{self, File, FileType};
use std::io;
use std::path::Path;

/// How opening treats a symbolic link in the place of a file. Links among the directories on the way are
/// followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Opens the file it leads to. For files that a user names.
    Follow,
    /// Refuses it. For files that a program expects under a name of its own.
    Refuse,
}

/// Why a file was not opened.
#[derive(Debug)]
pub(crate) enum RegularFileError {
    /// It is of this other type.
    NotAFile(&'static str),
    /// The system's error.
    Io(io::Error),
}

impl RegularFileError {
    pub(crate) fn into_open_error(self, path: &Path) -> OpenError {
        match self {
            Self::NotAFile(found) => OpenError::NotAFile { path: path.to_owned(), found },
            Self::Io(source) => OpenError::io(path, source),
        }
    }
}

impl From<RegularFileError> for io::Error {
    fn from(error: RegularFileError) -> Self {
        match error {
            RegularFileError::NotAFile(found) => {
                Self::new(io::ErrorKind::InvalidData, format!("it is {found}, not a regular file"))
            }
            RegularFileError::Io(source) => source,
        }
    }
}

/// Opens a regular file for reading. Never waits.
///
/// # Errors
/// [`OpenError::NotAFile`], [`OpenError::Io`].
pub fn open_regular(path: &Path, links: Links) -> Result<File, OpenError> {
    open(path, links, fs::OpenOptions::new().read(true), 0).map_err(|error| error.into_open_error(path))
}

/// Further flags of opening, as the system counts them.
#[cfg(not(windows))]
pub(crate) type Flags = i32;
#[cfg(windows)]
pub(crate) type Flags = u32;

/// Opens a regular file with the options in `how`, and with further flags.
pub(crate) fn open(
    path: &Path,
    links: Links,
    how: &mut fs::OpenOptions,
    flags: Flags,
) -> Result<File, RegularFileError> {
    check(path, links)?;
    let file = opened(path, links, how, flags).map_err(RegularFileError::Io)?;
    check_type(file.metadata().map_err(RegularFileError::Io)?.file_type())?;
    Ok(file)
}

/// Refuses anything but a regular file. A missing file passes.
pub(crate) fn check(path: &Path, links: Links) -> Result<(), RegularFileError> {
    let metadata = match links {
        Links::Follow => fs::metadata(path),
        Links::Refuse => fs::symlink_metadata(path),
    };
    match metadata {
        Ok(metadata) => check_type(metadata.file_type()),
        // Opening the file reports the error.
        Err(_) => Ok(()),
    }
}

fn check_type(file_type: FileType) -> Result<(), RegularFileError> {
    if file_type.is_file() { Ok(()) } else { Err(RegularFileError::NotAFile(name(file_type))) }
}

fn name(file_type: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if file_type.is_fifo() {
            return "a pipe";
        } else if file_type.is_socket() {
            return "a socket";
        } else if file_type.is_block_device() || file_type.is_char_device() {
            return "a device";
        }
    }
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_symlink() {
        "a symbolic link"
    } else {
        "something else"
    }
}

/// Sets further flags of opening.
pub(crate) fn set_flags(how: &mut fs::OpenOptions, flags: Flags) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(how, flags);
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::custom_flags(how, flags);
}

#[cfg(unix)]
fn opened(path: &Path, links: Links, how: &mut fs::OpenOptions, flags: Flags) -> io::Result<File> {
    use rustix::fs::OFlags;
    let mut safe = OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refuse {
        safe |= OFlags::NOFOLLOW;
    }
    set_flags(how, flags | safe.bits().cast_signed());
    let file = how.open(path)?;
    // The open file must not keep `O_NONBLOCK`. With it, io_uring does not retry a read that would block, on
    // file systems that cannot read without blocking.
    let kept = rustix::fs::fcntl_getfl(&file)? - OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&file, kept)?;
    Ok(file)
}

#[cfg(not(unix))]
fn opened(path: &Path, _links: Links, how: &mut fs::OpenOptions, flags: Flags) -> io::Result<File> {
    set_flags(how, flags);
    how.open(path)
}
