//! An error with its causes, on one line.

use std::error::Error;
use std::fmt;

/// An error with its causes: see [`with_causes`].
#[derive(Clone, Copy, Debug)]
pub struct WithCauses<'a>(&'a (dyn Error + 'static));

/// Shows an error for people: its own part, then each cause, with colons between them.
///
/// Errors of this family print their own part only, and keep the cause as [`Error::source`].
///
/// ```
/// use io_core::{OpenError, with_causes};
/// use std::{io, path::Path};
///
/// let error = OpenError::io(Path::new("/data/v"), io::Error::other("the disk is gone"));
/// assert_eq!(error.to_string(), "cannot open /data/v");
/// assert_eq!(with_causes(&error).to_string(), "cannot open /data/v: the disk is gone");
/// ```
#[must_use]
pub fn with_causes<'a>(error: &'a (dyn Error + 'static)) -> WithCauses<'a> {
    WithCauses(error)
}

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
