//! The events of the feature `tracing`. Without it, nothing here does anything.
//!
//! docs/reference/observability.md lists the names and fields, which are stable.

use super::open::OpenReport;
use super::plan::Plan;
use super::shared::Shared;
use crate::error::Error;

#[cfg(feature = "tracing")]
const TARGET: &str = "vecstore";

/// Emits an event of a collection: its level, its name, its fields, its message.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $name:literal, $shared:expr, {$($fields:tt)*}, $message:literal) => {
        tracing::event!(
            name: $name, target: TARGET, tracing::Level::$level,
            collection = %$shared.dir.display(), $($fields)* $message
        )
    };
}

/// What the optimizer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Seal,
    Merge,
    Vacuum,
}

impl Work {
    pub(super) fn of(plan: &Plan) -> Self {
        match (&plan.frozen, plan.segments.len()) {
            (Some(_), 0) => Self::Seal,
            (None, 0 | 1) => Self::Vacuum,
            _ => Self::Merge,
        }
    }

    #[cfg(feature = "tracing")]
    fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Merge => "merge",
            Self::Vacuum => "vacuum",
        }
    }
}

/// A collection was opened, and recovered from its logs.
pub(super) fn opened(shared: &Shared, segments: usize) {
    let OpenReport { writes_replayed, cut_off, not_removed } = &shared.report;
    #[cfg(feature = "tracing")]
    {
        event!(INFO, "opened", shared, {segments, writes_replayed,}, "a collection was opened");
        for cut in cut_off {
            let (log, copy) = (cut.log.display(), cut.copy.as_ref().map(|copy| copy.display()));
            let (offset, bytes, copy) = (cut.offset, cut.bytes, copy.map(tracing::field::display));
            event!(WARN, "log_cut_off", shared, {%log, offset, bytes, copy,}, "the end of a log was left out");
        }
        for reason in not_removed {
            event!(WARN, "leftover_stays", shared, {%reason,}, "a leftover could not be removed");
        }
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (segments, writes_replayed, cut_off, not_removed);
}

/// The optimizer has begun to build a segment.
pub(super) fn work_begun(shared: &Shared, work: Work, plan: &Plan) {
    #[cfg(feature = "tracing")]
    {
        let (work, segments) = (work.name(), plan.segments.len());
        event!(INFO, "work_begun", shared, {work, segments,}, "the optimizer has begun");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (shared, work, plan);
}

/// A segment is in its place.
pub(super) fn work_ended(shared: &Shared, work: Work, points: u64, bytes: u64) {
    #[cfg(feature = "tracing")]
    {
        let work = work.name();
        event!(INFO, "work_ended", shared, {work, points, bytes,}, "the optimizer is done");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (shared, work, points, bytes);
}

/// The optimizer has failed, or was stopped.
pub(super) fn work_failed(shared: &Shared, work: Work, error: &Error) {
    #[cfg(feature = "tracing")]
    {
        let work = work.name();
        if matches!(error, Error::Stopped) {
            event!(INFO, "work_stopped", shared, {work,}, "the optimizer was stopped");
        } else {
            let error: &(dyn std::error::Error + 'static) = error;
            event!(ERROR, "work_failed", shared, {work, error,}, "the optimizer has failed");
        }
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (shared, work, error);
}

/// Writes wait from now on, because memory is full.
pub(super) fn stall_begun(shared: &Shared, points: usize, log_bytes: u64) {
    #[cfg(feature = "tracing")]
    event!(WARN, "stall_begun", shared, {points, log_bytes,}, "writes wait, because memory is full");
    #[cfg(not(feature = "tracing"))]
    let _ = (shared, points, log_bytes);
}

/// Writes go on.
pub(super) fn stall_ended(shared: &Shared, stalled_us: u64) {
    #[cfg(feature = "tracing")]
    event!(INFO, "stall_ended", shared, {stalled_us,}, "writes go on");
    #[cfg(not(feature = "tracing"))]
    let _ = (shared, stalled_us);
}

/// Logs of an earlier run could not be made durable. The first write tries again.
pub(super) fn logs_not_durable(shared: &Shared, error: &Error) {
    #[cfg(feature = "tracing")]
    {
        let error: &(dyn std::error::Error + 'static) = error;
        event!(ERROR, "logs_not_durable", shared, {error,}, "earlier logs could not be written again");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (shared, error);
}

/// The collection takes no more writes.
pub(super) fn writing_ended(shared: &Shared, reason: &str) {
    #[cfg(feature = "tracing")]
    event!(ERROR, "writing_ended", shared, {reason,}, "the collection is read-only from now on");
    #[cfg(not(feature = "tracing"))]
    let _ = (shared, reason);
}
