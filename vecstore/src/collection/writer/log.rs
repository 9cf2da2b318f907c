//! The writer's log: beginning, syncing and ending it, and what ends all writing.

use super::thread::Writer;
use crate::collection::files::{NUMBER_END, log_path};
use crate::collection::manifest::ManifestLog;
use crate::collection::open::UnclosedLog;
use crate::error::{Error, FormatError};
use io_core::{FileSystem, OpenError};
use std::io::ErrorKind;
use vecstore_format::log::LogWriter;

impl Writer {
    pub(super) async fn open_log(&mut self) -> Result<(), Error> {
        if self.log.is_some() {
            return Ok(());
        }
        self.rewrite_earlier_logs()?;
        let seq = self.shared.state.read().seq + 1;
        let id = self.manifest.id.expect("a manifest has an id when it was opened");
        let (number, created) = loop {
            let number = self.log_next;
            self.check_number(number, "logs")?;
            self.shared.check_place()?;
            // Taken before it is created: a log that fails keeps its number, and the next one gets another.
            self.log_next += 1;
            let path = log_path(&self.shared.dir, number);
            match LogWriter::create(&self.shared.backend, &path, id, number, seq).await {
                // A leftover that could not be removed has this name.
                Err(FormatError::Open(OpenError::Io { source, .. }))
                    if source.kind() == ErrorKind::AlreadyExists => {}
                created => break (number, created),
            }
        };
        // If creating failed, an existing file belongs to another owner.
        let is_created = !matches!(created, Err(FormatError::Open(_)));
        // The manifest names the log before any write in it is acknowledged, so that a lost log is noticed.
        let named = created.map_err(Error::from).and_then(|log| {
            let mut manifest = self.manifest.clone();
            manifest.logs.push(ManifestLog { number, salt: log.salt() });
            self.publish(manifest).map(|_| log)
        });
        match named {
            Ok(log) => {
                self.log = Some(log);
                Ok(())
            }
            Err(error) => {
                // The log is empty, but stays if the manifest may name it.
                if is_created && self.may_remove() {
                    let _ = self.shared.backend.directory().remove_file(&log_path(&self.shared.dir, number));
                }
                Err(error)
            }
        }
    }

    /// Whether files of a failed step may be removed: the manifest does not name them, and the path still
    /// leads to this collection.
    pub(super) fn may_remove(&self) -> bool {
        let may_be_named = self.shared.state.read().read_only.is_some();
        !may_be_named && self.shared.check_place().is_ok()
    }

    /// Makes the logs of an earlier run durable. That run may not have synced them, and new writes build on
    /// them.
    ///
    /// A sync of those files is not enough. After a failed sync, the kernel calls pages clean that it could
    /// not write. Their bytes may be in its cache only, and another sync succeeds without writing them. The
    /// logs are therefore written again, in place, which also works on a full disk.
    pub(super) fn rewrite_earlier_logs(&mut self) -> Result<(), Error> {
        let (directory, dir) = (self.shared.backend.directory(), &self.shared.dir);
        while let Some(&UnclosedLog { number, len }) = self.unclosed_logs.last() {
            self.shared.check_place()?;
            directory.rewrite(&log_path(dir, number), len)?;
            self.unclosed_logs.pop();
        }
        Ok(())
    }

    /// Makes everything durable that was applied.
    pub(super) async fn sync(&mut self) -> Result<(), Error> {
        self.check_writable()?;
        self.rewrite_earlier_logs()?;
        let Some(log) = &mut self.log else { return Ok(()) };
        self.shared.check_place()?;
        // The kernel may have dropped pages that it failed to write. Another sync would only seem to succeed.
        log.sync().await.map_err(|error| self.shared.stop_writing(error.into()))?;
        self.shared.check_place()
    }

    /// Fails if a number is above the limit.
    pub(super) fn check_number(&self, number: u64, what: &'static str) -> Result<(), Error> {
        if number < NUMBER_END {
            return Ok(());
        }
        Err(Error::NumbersUsedUp { collection: self.shared.dir.clone(), what })
    }

    fn check_writable(&self) -> Result<(), Error> {
        match &self.shared.state.read().read_only {
            Some(reason) => Err(Error::ReadOnly { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Ends the current log, so that the next write begins a new one.
    pub(super) async fn end_log(&mut self) -> Result<(), Error> {
        self.sync().await?;
        if let Some(log) = self.log.take() {
            self.ended_log_bytes += log.len();
            let number = log.number();
            if let Err(len) = log.close().await {
                self.unclosed_logs.push(UnclosedLog { number, len });
            }
        }
        Ok(())
    }
}
