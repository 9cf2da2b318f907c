//! Checks a log.

use super::verifier::Verifier;
use crate::collection::manifest::Manifest;
use crate::collection::open::check_op;
use crate::error::Error;
use std::path::Path;
use vecstore_format::log::{LogBytes, LogEnd, LogReader};

impl Verifier<'_> {
    /// Checks a log. Returns the sequence number that the next log must begin with. `None` if this log does
    /// not tell it. The log may have been created without being begun.
    pub(super) fn log(
        &mut self,
        bytes: LogBytes<'_>,
        number: u64,
        due: Option<u64>,
        manifest: &Manifest,
    ) -> Result<Option<u64>, Error> {
        let path = &bytes.path().to_owned();
        let vector_bytes = manifest.schema.dim as usize * manifest.schema.element.bytes() as usize;
        let Some(mut log) = LogReader::begin(bytes, vector_bytes)? else {
            let begun = manifest.begun().any(|begun| begun == number);
            if begun {
                return Err(Error::log_lost(path));
            }
            self.note_not_begun(path);
            return Ok(due);
        };
        let header = log.header();
        if !manifest.admit(path, number, &header, log.has_records()?)? {
            self.note_not_begun(path);
            return Ok(due);
        }
        let due = due.unwrap_or(header.first_seq);
        if header.first_seq != due {
            let reason = format!("it begins with write {}, where write {due} is due", header.first_seq);
            self.report.problems.push(Error::damaged(path, 0, reason));
        }
        while let Some((_, ops)) = log.next_batch()? {
            self.check_stop()?;
            for op in ops {
                check_op(path, &op, &manifest.schema)?;
                self.report.points_of_logs += 1;
            }
        }
        match log.end() {
            LogEnd::Closed => {}
            LogEnd::Open { .. } => {
                self.report
                    .notes
                    .push(format!("{}: it was not closed, and ends with a whole record", path.display()));
            }
            LogEnd::Torn { offset, bytes, .. } => {
                let reason = format!(
                    "its last {bytes} bytes are no whole record: a write that was under way, or damage; opening leaves them out"
                );
                self.report.problems.push(Error::damaged(path, offset, reason));
            }
        }
        Ok(Some(log.next_seq()))
    }

    fn note_not_begun(&mut self, path: &Path) {
        let what = "it was created and never begun; opening for writing removes it";
        self.report.notes.push(format!("{}: {what}", path.display()));
    }
}
