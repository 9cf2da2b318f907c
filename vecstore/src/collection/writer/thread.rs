//! The writer's thread: it takes a job, does it, and takes the next one.

use super::jobs::{ControlJob, WriteJob, answer};
use crate::collection::manifest::Manifest;
use crate::collection::open::{Loaded, UnclosedLog};
use crate::collection::reader::CollectionReader;
use crate::collection::shared::Shared;
use crate::collection::{events, optimizer, snapshot};
use crate::error::Error;
use crate::threads::Jobs;
use async_channel::Sender;
use futures_util::future::{Either, select};
use io_core::StopFlag;
use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use vecstore_format::log::LogWriter;

/// What the shared numbers count, for error messages.
pub(super) const SEGMENTS: &str = "segments";

/// The writer's own part of a collection.
pub(in crate::collection) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) manifest: Manifest,
    pub(super) reader: CollectionReader,
    pub(super) log: Option<LogWriter>,
    /// The number of the next log.
    pub(super) log_next: u64,
    /// Logs of an earlier run that did not come to a clean end. They must be durable before a new one is
    /// begun.
    pub(super) unclosed_logs: Vec<UnclosedLog>,
    /// Bytes of the logs that protect the mutable segment, the current one not counted.
    pub(super) ended_log_bytes: u64,
    /// How many points of each segment the manifest says are deleted.
    pub(super) deleted_written: HashMap<u64, u64>,
    pub(super) optimizer: Sender<optimizer::Job>,
    /// Raised when the collection is being closed.
    pub(super) closing: StopFlag,
    /// When the optimizer tries again after a failure.
    pub(super) retry_at: Option<Instant>,
    /// When writes began to wait for the optimizer, if they do.
    pub(super) stalled_since: Option<Instant>,
}

impl Writer {
    pub(in crate::collection) fn new(
        loaded: Loaded,
        optimizer: Sender<optimizer::Job>,
        closing: StopFlag,
    ) -> Self {
        let Loaded { shared, manifest, log_next, log_bytes, unclosed_logs, deleted_written } = loaded;
        let reader = CollectionReader::new(Arc::clone(&shared));
        let mut writer = Self {
            shared,
            manifest,
            reader,
            log: None,
            log_next,
            unclosed_logs,
            ended_log_bytes: log_bytes,
            deleted_written,
            optimizer,
            closing,
            retry_at: None,
            stalled_since: None,
        };
        // Cuts off torn ends now, so that they are not taken for damage later. The first write tries again
        // what fails.
        if let Err(error) = writer.rewrite_earlier_logs() {
            events::logs_not_durable(&writer.shared, &error);
        }
        writer
    }

    /// Runs until the collection is closed. Call it inside the backend's `run`.
    pub(in crate::collection) async fn run(
        mut self,
        writes: &Jobs<WriteJob>,
        control: &Jobs<ControlJob>,
    ) -> Result<(), Error> {
        self.ask_optimizer().await;
        loop {
            let job = if self.must_wait() {
                Either::Left(control.recv().await)
            } else {
                match select(pin!(control.recv()), pin!(writes.recv())).await {
                    Either::Left((job, _)) => Either::Left(job),
                    Either::Right((Ok(job), _)) => Either::Right(job),
                    // It is closing. Jobs other than writes come first.
                    Either::Right((Err(_), _)) => Either::Left(control.recv().await),
                }
            };
            match job {
                Either::Left(Ok(job)) => self.control(job).await,
                Either::Left(Err(_)) => break,
                Either::Right(first) => self.write_group(first, Some(writes)).await,
            }
        }
        // Writes that were sent before are still to be done.
        while let Ok(first) = writes.recv().await {
            self.write_group(first, Some(writes)).await;
        }
        self.close().await
    }

    async fn control(&mut self, job: ControlJob) {
        match job {
            ControlJob::Write(job) => self.write_group(job, None).await,
            ControlJob::Sync(reply) => {
                let synced = self.sync().await;
                answer(&reply, synced);
            }
            ControlJob::Settle(reply) => {
                let synced = self.sync().await;
                self.freeze_if_large().await;
                answer(&reply, synced);
            }
            ControlJob::Freeze(reply) => {
                let frozen = self.freeze().await;
                answer(&reply, frozen);
            }
            ControlJob::Number(reply) => {
                let number = self.manifest.number_next;
                let left = self.check_number(number, SEGMENTS);
                self.manifest.number_next += u64::from(left.is_ok());
                answer(&reply, left.map(|()| number));
            }
            ControlJob::Install(installation, reply) => {
                let installed = self.install(*installation).await;
                answer(&reply, installed);
                self.ask_optimizer().await;
            }
            ControlJob::Snapshot(path, stop, reply) => {
                let taken = self.snapshot(&path, &stop).await;
                answer(&reply, taken);
            }
            ControlJob::Wake => {}
        }
    }

    /// Copies the collection as it is now. The log is ended, so that nothing is written to it meanwhile.
    async fn snapshot(&mut self, target: &Path, stop: &StopFlag) -> Result<(), Error> {
        self.end_log().await?;
        snapshot::take(&self.shared, &self.manifest, target, stop)
    }

    async fn close(&mut self) -> Result<(), Error> {
        let writable = self.shared.state.read().read_only.is_none();
        let ended = if writable { self.end_log().await } else { Ok(()) };
        if let Some(log) = self.log.take() {
            log.abandon().await;
        }
        self.shared.state.write().read_only.get_or_insert_with(|| "it was closed".to_owned());
        self.reader.close().await?;
        ended
    }
}
