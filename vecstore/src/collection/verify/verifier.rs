//! Collects the faults.

use super::report::VerifyReport;
use crate::error::Error;
use io_core::{Directory, DynBackend, ReadControl};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most faults that are reported for a file.
const PROBLEMS_MAX: usize = 100;

pub(super) struct Verifier<'a> {
    pub(super) backend: &'a DynBackend,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) control: ReadControl,
    pub(super) report: VerifyReport,
    /// Number of faults found in each file.
    pub(super) told: BTreeMap<PathBuf, usize>,
}

impl Verifier<'_> {
    /// Notes a fault of a file, unless the file already has too many.
    pub(super) fn problem(&mut self, path: &Path, error: Error) -> ControlFlow<()> {
        let told = self.told.entry(path.to_owned()).or_default();
        *told += 1;
        if *told <= PROBLEMS_MAX {
            self.report.problems.push(error);
            return ControlFlow::Continue(());
        }
        if *told == PROBLEMS_MAX + 1 {
            let reason = format!("there is more wrong with it than these {PROBLEMS_MAX} problems");
            self.report.problems.push(Error::damaged(path, None, reason));
        }
        ControlFlow::Break(())
    }

    /// Notes that a file of a segment does not fit the others.
    pub(super) fn unfit(&mut self, dir: &Path, name: &str, reason: String) {
        let path = dir.join(name);
        let _ = self.problem(&path, Error::damaged(&path, None, reason));
    }

    /// Notes an error. Only a stop ends the verification.
    pub(super) fn note<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Stopped) => Err(Error::Stopped),
            Err(error) => {
                let report = &mut self.report;
                let list = if error.is_damage() { &mut report.problems } else { &mut report.unread };
                list.push(error);
                Ok(None)
            }
        }
    }

    pub(super) fn check_stop(&self) -> Result<(), Error> {
        if self.control.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Number of faults and read errors so far.
    pub(super) fn faults(&self) -> usize {
        self.report.problems.len() + self.report.unread.len()
    }
}
