//! Opening and creating a file, on any system.

use super::direct::{self, Align};
use super::{FileInfo, OpenOptions, advice};
use crate::buffer::{BLOCK_BYTES, new_block};
use crate::positional::read_at;
use crate::regular::{self, Links};
use crate::{IoGeometry, OpenError};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens an existing regular file for reading. Checks the options, finds the length and the alignment, and
/// gives the advice. Refuses a symbolic link, as [`Links::Refuse`] does.
///
/// # Errors
/// [`OpenError`]. A read of the first block checks direct IO, since some file systems accept the flag and
/// refuse the read.
pub fn open_std(path: &Path, options: &OpenOptions) -> Result<(File, FileInfo, IoGeometry), OpenError> {
    options.check()?;
    let flags = flags(path, options)?;
    let opened = regular::open(path, Links::Refuse, File::options().read(true), flags);
    let file = opened.map_err(|error| explain(path, options, error.into_open_error(path)))?;
    let info = FileInfo::of(&file, path).map_err(|error| OpenError::io(path, error))?;
    let geometry = geometry(path, &file, options)?;
    if options.direct && info.len > 0 {
        probe_direct_read(path, &file)?;
    }
    advice::give(&file, options).map_err(|error| OpenError::io(path, error))?;
    Ok((file, info, geometry))
}

/// Opens an existing regular file for writing, and leaves its bytes as they are. Refuses a symbolic link.
///
/// # Errors
/// [`OpenError`].
pub fn open_std_for_writing(
    path: &Path,
    options: &OpenOptions,
) -> Result<(File, FileInfo, IoGeometry), OpenError> {
    options.check()?;
    let flags = flags(path, options)?;
    let opened = regular::open(path, Links::Refuse, File::options().read(true).write(true), flags);
    let file = opened.map_err(|error| explain(path, options, error.into_open_error(path)))?;
    let info = FileInfo::of(&file, path).map_err(|error| OpenError::io(path, error))?;
    let geometry = geometry(path, &file, options)?;
    Ok((file, info, geometry))
}

/// Creates a file for writing. An existing entry of its name is an error, also a symbolic link.
///
/// # Errors
/// [`OpenError`].
pub fn create_std(path: &Path, options: &OpenOptions) -> Result<(File, FileInfo, IoGeometry), OpenError> {
    options.check()?;
    let mut how = fs::OpenOptions::new();
    how.read(true).write(true).create_new(true);
    regular::set_flags(&mut how, flags(path, options)?);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut how, 0o644);
    let file = how.open(path).map_err(|error| explain(path, options, OpenError::io(path, error)))?;
    let info = FileInfo::of(&file, path).map_err(|error| OpenError::io(path, error))?;
    let geometry = geometry(path, &file, options)?;
    Ok((file, info, geometry))
}

fn refused(path: &Path, reason: &str) -> OpenError {
    OpenError::DirectRefused { path: path.to_owned(), reason: reason.to_owned() }
}

fn flags(path: &Path, options: &OpenOptions) -> Result<regular::Flags, OpenError> {
    if options.direct { direct::FLAGS.ok_or_else(|| refused(path, "this system has none")) } else { Ok(0) }
}

fn geometry(path: &Path, file: &File, options: &OpenOptions) -> Result<IoGeometry, OpenError> {
    let Align { offset, memory } = if options.direct {
        direct::begin(file).map_err(|reason| refused(path, &reason))?
    } else {
        Align { offset: 1, memory: 1 }
    };
    Ok(IoGeometry {
        offset_align: offset,
        memory_align: memory,
        read_size_max: options.read_size_max,
        gap_max: options.gap_max,
    })
}

/// Whether the system refuses the arguments of a call: `EINVAL`, and its like on Windows.
fn is_invalid(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_some()
}

/// Recognizes the error of opening a file on a file system without direct IO.
fn explain(path: &Path, options: &OpenOptions, error: OpenError) -> OpenError {
    match &error {
        OpenError::Io { source, .. } if options.direct && is_invalid(source) => {
            refused(path, "open says EINVAL")
        }
        _ => error,
    }
}

/// Some file systems accept the flag and refuse the read.
fn probe_direct_read(path: &Path, file: &File) -> Result<(), OpenError> {
    let mut block = new_block(BLOCK_BYTES);
    match read_at(file, &mut block, 0) {
        Ok(_) => Ok(()),
        Err(error) if is_invalid(&error) => Err(refused(path, "a read says EINVAL")),
        Err(error) => Err(OpenError::io(path, error)),
    }
}
