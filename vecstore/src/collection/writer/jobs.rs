//! The jobs of the writer, and how it answers.

use super::install::Installation;
use crate::collection::pending::Reply;
use crate::collection::request::{Durability, PayloadChange, Selection, WriteSummary};
use crate::error::Error;
use crate::mutable::PreparedPoint;
use crate::point::PointId;
use io_core::StopFlag;
use std::path::PathBuf;

/// A write.
pub(in crate::collection) struct WriteJob {
    pub(in crate::collection) change: Change,
    pub(in crate::collection) durability: Durability,
    pub(in crate::collection) reply: Reply<WriteSummary>,
}

pub(in crate::collection) enum Change {
    /// The caller has checked and encoded it.
    Batch {
        puts: Vec<PreparedPoint>,
        deletes: Vec<PointId>,
        body: Option<Vec<u8>>,
    },
    /// A change that depends on the content.
    Delete(Selection),
    Payload(Selection, PayloadChange),
}

/// A job other than a write, except for writes that must not wait.
pub(in crate::collection) enum ControlJob {
    /// A write from a thread of a collection. It does not wait for room, because its thread may be the one
    /// that makes room.
    Write(WriteJob),
    Sync(Reply<()>),
    /// Sync, and freeze the mutable segment if the thresholds ask for it.
    Settle(Reply<()>),
    /// Freeze the mutable segment, if it has points. Answers whether it had any.
    Freeze(Reply<bool>),
    /// Give a number to a segment to be built.
    Number(Reply<u64>),
    Install(Box<Installation>, Reply<()>),
    /// Make a copy of the collection in a directory that does not exist.
    Snapshot(PathBuf, StopFlag, Reply<()>),
    /// Look again whether writes have to wait.
    Wake,
}

impl Change {
    pub(super) fn ids(&self) -> impl Iterator<Item = PointId> {
        let (puts, deletes): (&[PreparedPoint], &[PointId]) = match self {
            Self::Batch { puts, deletes, .. } => (puts, deletes),
            Self::Delete(_) | Self::Payload(..) => (&[], &[]),
        };
        puts.iter().map(|point| point.id).chain(deletes.iter().copied())
    }

    pub(super) fn has_puts(&self) -> bool {
        match self {
            Self::Batch { puts, .. } => !puts.is_empty(),
            Self::Delete(_) | Self::Payload(..) => false,
        }
    }

    pub(super) fn body(&self) -> Option<&[u8]> {
        match self {
            Self::Batch { body, .. } => body.as_deref(),
            Self::Delete(_) | Self::Payload(..) => None,
        }
    }
}

/// Answers a caller that may be gone.
pub(super) fn answer<T>(reply: &Reply<T>, result: Result<T, Error>) {
    let _ = reply.try_send(result);
}
