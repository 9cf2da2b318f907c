//! Text from files and standard input, read up to a limit.

use crate::error::CliError;
use io_core::StopFlag;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use vecstore::error::Error;

/// The most bytes of a line, a schema or a filter. A payload has at most half as many, and a vector far
/// fewer.
pub(crate) const TEXT_BYTES_MAX: usize = 32 << 20;
/// About the number of bytes of lines written at once.
pub(crate) const BATCH_BYTES: usize = 16 << 20;

/// Reads a whole file, which may be a pipe. The error says what is wrong.
pub(crate) fn read(path: &Path, stop: &StopFlag) -> Result<String, String> {
    let mut text = String::new();
    Input::open(path, stop)
        .and_then(|input| input.take(TEXT_BYTES_MAX as u64 + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.starts_with('\u{FEFF}') {
        return Err(BYTE_ORDER_MARK.to_owned());
    }
    if text.len() > TEXT_BYTES_MAX { Err(too_long("it")) } else { Ok(text) }
}

/// No JSON begins with one, and it is not to be seen.
const BYTE_ORDER_MARK: &str = "it begins with a byte order mark: remove it";

fn too_long(what: &str) -> String {
    format!("{what} has more than {TEXT_BYTES_MAX} bytes, and no more are read")
}

/// A file that is read until the command must stop. A stop also ends the wait for more data.
struct Input {
    file: File,
    stop: StopFlag,
}

impl Input {
    fn open(path: &Path, stop: &StopFlag) -> io::Result<Self> {
        Ok(Self { file: open(path)?, stop: stop.clone() })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait(&self.file, &self.stop)?;
        self.file.read(buffer)
    }
}

/// Opens a file, or a pipe that may not have a writer yet. [`wait`] waits for the writer, because no flag can
/// end a blocking open.
#[cfg(target_os = "linux")]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::os::unix::fs::OpenOptionsExt;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    // Another reader may take the available bytes. The read must then wait instead of failing.
    let usual = fcntl_getfl(&file)? - OFlags::NONBLOCK;
    fcntl_setfl(&file, usual)?;
    Ok(file)
}

/// Only Linux is known to distinguish a pipe without a writer so far from a pipe whose writers have gone.
#[cfg(not(target_os = "linux"))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Waits until a file, a pipe or a terminal has bytes or ends. A signal alone does not end a read.
#[cfg(unix)]
fn wait(file: &File, stop: &StopFlag) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    while !stop.is_stopped() {
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&TICK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    // Not `Interrupted`, because readers retry after that.
    Err(io::Error::other(Error::Stopped))
}

#[cfg(not(unix))]
fn wait(_file: &File, _stop: &StopFlag) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn standard_input(stop: &StopFlag) -> io::Result<Box<dyn BufRead>> {
    use std::os::fd::AsFd;
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(Box::new(BufReader::new(Input { file, stop: stop.clone() })))
}

#[cfg(not(unix))]
fn standard_input(_stop: &StopFlag) -> io::Result<Box<dyn BufRead>> {
    Ok(Box::new(io::stdin().lock()))
}

/// Lines of a file or of standard input.
pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead>,
    stop: StopFlag,
    /// The number of the last line read, from 1.
    pub(crate) number: u64,
}

impl Lines {
    /// Opens a file, or standard input if no file is named.
    pub(crate) fn open(path: Option<&Path>, stop: &StopFlag) -> Result<Self, CliError> {
        let input: io::Result<Box<dyn BufRead>> = match path {
            None => standard_input(stop),
            Some(path) => {
                Input::open(path, stop).map(|input| Box::new(BufReader::new(input)) as Box<dyn BufRead>)
            }
        };
        let path = path.unwrap_or(Path::new("standard input")).to_owned();
        match input {
            Ok(input) => Ok(Self { path, input, stop: stop.clone(), number: 0 }),
            Err(error) => Err(CliError::File { path, problem: error.to_string() }),
        }
    }

    /// An error about the file.
    pub(crate) fn failed(&self, problem: impl std::fmt::Display) -> CliError {
        CliError::File { path: self.path.clone(), problem: problem.to_string() }
    }

    /// An error about the last line read.
    pub(crate) fn wrong(&self, problem: impl std::fmt::Display) -> CliError {
        self.failed(format!("line {}: {problem}", self.number))
    }

    /// An error of the JSON of the last line read. Within the line, only the column tells anything.
    pub(crate) fn wrong_json(&self, error: &serde_json::Error) -> CliError {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        match text.strip_suffix(&place) {
            Some(text) => self.wrong(format!("{text} at column {}", error.column())),
            None => self.wrong(text),
        }
    }

    /// Parses the last line read, which is a JSON object. serde would also take an array of its values.
    pub(crate) fn object<T: serde::de::DeserializeOwned>(&self, line: &str) -> Result<T, CliError> {
        if line.trim_start().starts_with('[') {
            return Err(self.wrong("an array is there, and a JSON object has to be: {\"id\": ...}"));
        }
        serde_json::from_str(line).map_err(|error| self.wrong_json(&error))
    }

    /// The next line without its end. `None` after the last one. An error if the command must stop.
    pub(crate) fn next(&mut self) -> Result<Option<String>, CliError> {
        self.number += 1;
        let mut line = Vec::new();
        let mut limited = self.input.by_ref().take(TEXT_BYTES_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut line);
        if self.stop.is_stopped() {
            return Err(Error::Stopped.into());
        }
        if read.map_err(|error| self.wrong(error))? == 0 {
            return Ok(None);
        }
        if self.number == 1 && line.starts_with("\u{FEFF}".as_bytes()) {
            return Err(self.wrong(BYTE_ORDER_MARK));
        }
        if line.ends_with(b"\n") {
            line.truncate(line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 });
        } else if line.len() > TEXT_BYTES_MAX {
            return Err(self.wrong(too_long("it")));
        }
        String::from_utf8(line).map(Some).map_err(|error| self.wrong(error))
    }
}
