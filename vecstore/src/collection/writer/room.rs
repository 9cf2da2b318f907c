//! When the mutable segment is sealed. If sealing falls behind, writes wait or are refused.

use super::thread::Writer;
use crate::collection::state::{FrozenEntry, State};
use crate::collection::{events, optimizer, plan};
use crate::error::Error;
use crate::mutable::MutableSegment;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vecstore_format::log::LogWriter;

/// Time between attempts of an optimizer that fails. The second attempt is made at once, for a fault that
/// passes.
const RETRY: Duration = Duration::from_secs(10);
/// Writes wait at this multiple of the seal thresholds.
const FULL: usize = 4;
/// The most logs that protect the mutable segment. Many short runs leave more, until sealing removes them.
const LOGS_MAX: u64 = 16;

impl Writer {
    /// Whether writes have to wait for the optimizer, so that memory stays bounded. Counts the time that they
    /// wait.
    pub(super) fn must_wait(&mut self) -> bool {
        let (waits, points) = {
            let state = self.shared.state.read();
            let waits = !self.closing.is_stopped()
                && self.is_full(&state)
                && self.optimizer_failure(&state).is_none();
            (waits, state.mutable.len())
        };
        let (shared, log_bytes) = (&self.shared, self.log_bytes());
        match self.stalled_since {
            None if waits => {
                self.stalled_since = Some(Instant::now());
                shared.counts.stalls.add(1);
                events::stall_begun(shared, points, log_bytes);
            }
            Some(since) if !waits => {
                self.stalled_since = None;
                let stalled_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                shared.counts.stalled_us.add(stalled_us);
                events::stall_ended(shared, stalled_us);
            }
            _ => {}
        }
        waits
    }

    /// Whether the mutable segment, or its log, is far above the thresholds, because the segment before is
    /// not sealed yet.
    fn is_full(&self, state: &State) -> bool {
        let options = &self.shared.options;
        options.background
            && !state.version.frozen.is_empty()
            && (state.mutable.slots() >= options.seal_points.saturating_mul(FULL)
                || state.mutable.bytes() >= options.seal_bytes.saturating_mul(FULL)
                || self.log_bytes() >= options.seal_log_bytes.saturating_mul(FULL as u64))
    }

    /// Bytes of the logs that protect the mutable segment.
    fn log_bytes(&self) -> u64 {
        self.ended_log_bytes + self.log.as_ref().map_or(0, LogWriter::len)
    }

    /// The error of an optimizer that failed: waiting for it is then useless.
    fn optimizer_failure(&self, state: &State) -> Option<Arc<Error>> {
        let is_lost = || self.optimizer.is_closed() && !self.closing.is_stopped();
        let ended = || is_lost().then(|| Arc::new(Error::WorkerLost));
        state.background_error.clone().or_else(ended)
    }

    /// The points in memory and the error, if memory is full and the optimizer makes no room.
    pub(super) fn refusal(&self) -> Option<(u64, Arc<Error>)> {
        let state = self.shared.state.read();
        let failure = self.optimizer_failure(&state).filter(|_| self.is_full(&state))?;
        Some((state.mutable.len() as u64, failure))
    }

    /// Asks the optimizer to do what the thresholds ask for. After a failure it asks at most every [`RETRY`].
    pub(super) async fn ask_optimizer(&mut self) {
        if !self.shared.options.background {
            return;
        }
        let frozen = self.freeze_if_large().await;
        let (due, failed) = {
            let state = self.shared.state.read();
            let due = plan::is_due(&state.version, &self.shared.options);
            (due, state.background_error.is_some())
        };
        // An optimizer at work looks for more work when it ends.
        if !(frozen || due) || !self.optimizer.is_empty() {
            return;
        }
        if failed {
            let now = Instant::now();
            if self.retry_at.is_some_and(|at| now < at) {
                return;
            }
            self.retry_at = Some(now + RETRY);
        }
        // If the optimizer has ended, the next opening seals.
        let _ = self.optimizer.try_send(optimizer::Job::Background);
    }

    /// Freezes the mutable segment when it or its log is large, unless one is frozen already. Says whether it
    /// did.
    pub(super) async fn freeze_if_large(&mut self) -> bool {
        let (options, floor) = (&self.shared.options, self.log_floor());
        let large = {
            let state = self.shared.state.read();
            state.read_only.is_none()
                && state.version.frozen.is_empty()
                && (state.is_large(options)
                    || self.log_bytes() >= options.seal_log_bytes
                    || self.log_next - floor > LOGS_MAX)
        };
        large && matches!(self.freeze().await, Ok(true))
    }

    /// Ends the mutable segment and begins a new one, with a new log. Says whether there was anything in it.
    pub(super) async fn freeze(&mut self) -> Result<bool, Error> {
        if self.log_next == self.log_floor() {
            return Ok(false);
        }
        self.end_log().await?;
        let mut state = self.shared.state.write();
        let segment = std::mem::replace(&mut state.mutable, MutableSegment::new(&self.shared.schema));
        let (log_next, seq_next) = (self.log_next, state.seq + 1);
        let entry = FrozenEntry { segment: Arc::new(segment), deleted: Arc::default(), log_next, seq_next };
        state.version.frozen.push(entry);
        drop(state);
        self.ended_log_bytes = 0;
        Ok(true)
    }

    /// The first log that protects what is mutable now.
    fn log_floor(&self) -> u64 {
        let state = self.shared.state.read();
        state.version.frozen.last().map_or(self.manifest.log_first, |frozen| frozen.log_next)
    }
}
