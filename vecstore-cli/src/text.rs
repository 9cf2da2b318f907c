//! Text from files and standard input, of which no more is read than a limit says.

use crate::error::CliError;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of a line, a schema or a filter. A payload has at most half as many, a vector far fewer.
pub(crate) const TEXT_BYTES_MAX: usize = 32 << 20;
/// Bytes of lines that are written at once, about.
pub(crate) const BATCH_BYTES: usize = 16 << 20;

/// The whole of a file, or what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TEXT_BYTES_MAX as u64 + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() > TEXT_BYTES_MAX { Err(too_long("it")) } else { Ok(text) }
}

fn too_long(what: &str) -> String {
    format!("{what} has more than {TEXT_BYTES_MAX} bytes, and no more are read")
}

/// Lines of a file or of standard input.
pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead>,
    /// The number of the line that was read last, from 1.
    pub(crate) number: u64,
}

impl Lines {
    /// Of a file, or of standard input if none is named.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let (path, input): (_, Box<dyn BufRead>) = match path {
            None => (PathBuf::from("standard input"), Box::new(std::io::stdin().lock())),
            Some(path) => {
                let file = File::open(path)
                    .map_err(|error| CliError::File { path: path.to_owned(), problem: error.to_string() })?;
                (path.to_owned(), Box::new(BufReader::new(file)))
            }
        };
        Ok(Self { path, input, number: 0 })
    }

    /// Something that is wrong with the file.
    pub(crate) fn failed(&self, problem: impl std::fmt::Display) -> CliError {
        CliError::File { path: self.path.clone(), problem: problem.to_string() }
    }

    /// Something that is wrong with the line that was read last.
    pub(crate) fn wrong(&self, problem: impl std::fmt::Display) -> CliError {
        self.failed(format!("line {}: {problem}", self.number))
    }

    /// The next line, without its end; `None` after the last one.
    pub(crate) fn next(&mut self) -> Result<Option<String>, CliError> {
        self.number += 1;
        let mut line = Vec::new();
        let mut limited = self.input.by_ref().take(TEXT_BYTES_MAX as u64 + 1);
        if limited.read_until(b'\n', &mut line).map_err(|error| self.wrong(error))? == 0 {
            return Ok(None);
        }
        if line.ends_with(b"\n") {
            line.truncate(line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 });
        } else if line.len() > TEXT_BYTES_MAX {
            return Err(self.wrong(too_long("it")));
        }
        String::from_utf8(line).map(Some).map_err(|error| self.wrong(error))
    }
}
