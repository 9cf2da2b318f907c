//! Groups the writes that share a sync, and resolves changes that depend on the content.

use super::jobs::{Change, WriteJob, answer};
use super::thread::Writer;
use crate::collection::prepare::{BatchSize, encode_batch, prepare_payload};
use crate::collection::request::{PayloadChange, RecordParts};
use crate::error::Error;
use crate::mutable::PreparedPoint;
use crate::point::{Payload, PointId};
use crate::threads::Jobs;
use std::sync::Arc;
use vecstore_format::log::GROUP_BYTES_MAX;

/// The most writes that share one sync.
const GROUP_MAX: usize = 1024;

impl Writer {
    /// Does a write, together with those that wait already.
    pub(super) async fn write_group(&mut self, first: WriteJob, writes: Option<&Jobs<WriteJob>>) {
        let mut group = vec![first];
        let mut bytes = 0;
        // A change that depends on the content comes alone, after its group. So it sees all earlier writes.
        while let Change::Batch { body, .. } = &group[group.len() - 1].change {
            bytes += body.as_ref().map_or(0, Vec::len);
            if group.len() >= GROUP_MAX || bytes >= GROUP_BYTES_MAX {
                break;
            }
            match writes.map(|writes| writes.try_recv()) {
                Some(Ok(job)) => group.push(job),
                _ => break,
            }
        }
        let last = match group.last() {
            Some(WriteJob { change: Change::Batch { .. }, .. }) | None => None,
            Some(_) => group.pop(),
        };
        self.write_batches(group).await;
        if let Some(WriteJob { change, durability, reply }) = last {
            match self.resolve(change).await {
                Ok((puts, deletes)) => match encode_batch(&puts, &deletes) {
                    Ok(body) => {
                        let change = Change::Batch { puts, deletes, body };
                        self.write_batches(vec![WriteJob { change, durability, reply }]).await;
                    }
                    Err(error) => {
                        self.shared.counts.write_errors.add(1);
                        answer(&reply, Err(error.into()));
                    }
                },
                Err(error) => {
                    self.shared.counts.write_errors.add(1);
                    answer(&reply, Err(error));
                }
            }
        }
        self.ask_optimizer().await;
    }

    /// The points that a change writes and deletes.
    async fn resolve(&self, change: Change) -> Result<(Vec<PreparedPoint>, Vec<PointId>), Error> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        match change {
            Change::Batch { puts, deletes, .. } => return Ok((puts, deletes)),
            Change::Delete(selection) => {
                let each = |id, _: &[u8], _| {
                    deletes.push(id);
                    Ok(())
                };
                self.reader.each_selected(&selection, RecordParts::NOTHING, each).await?;
            }
            Change::Payload(selection, change) => {
                let mut size = BatchSize::default();
                let each = |id, vector: &[u8], payload| {
                    let payload = changed(payload, &change);
                    let point = prepare_payload(&self.shared.schema, id, vector.into(), &payload)?;
                    size.add(&point)?;
                    puts.push(point);
                    Ok(())
                };
                self.reader.each_selected(&selection, RecordParts::ALL, each).await?;
            }
        }
        Ok((puts, deletes))
    }

    async fn write_batches(&mut self, mut group: Vec<WriteJob>) {
        if group.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let counts = &shared.counts;
        if let Some(reason) = self.shared.state.read().read_only.clone() {
            counts.write_errors.add(group.len() as u64);
            for job in group {
                answer(&job.reply, Err(Error::ReadOnly { reason: reason.clone() }));
            }
            return;
        }
        if let Some((points, source)) = self.refusal() {
            // Deletions may go on: they make room.
            for job in group.extract_if(.., |job| job.change.has_puts()) {
                counts.writes_refused.add(1);
                counts.write_errors.add(1);
                answer(&job.reply, Err(Error::Full { points, source: Arc::clone(&source) }));
            }
        }
        match self.try_write(&group).await {
            Ok((places, seqs)) => {
                // `apply` has released the lock by now. Callers must not wake while it is held.
                let answers = self.apply(group, &places, &seqs);
                for (reply, written) in answers {
                    answer(&reply, Ok(written));
                }
            }
            Err(error) if group.len() == 1 => {
                counts.write_errors.add(1);
                answer(&group.remove(0).reply, Err(error));
            }
            Err(error) => {
                counts.write_errors.add(group.len() as u64);
                let error = Arc::new(error);
                for job in group {
                    answer(&job.reply, Err(Error::Shared(Arc::clone(&error))));
                }
            }
        }
    }
}

fn changed(mut payload: Payload, change: &PayloadChange) -> Payload {
    match change {
        PayloadChange::Set(payload) => payload.clone(),
        PayloadChange::Merge(fields) => {
            payload.extend(fields.clone());
            payload
        }
        PayloadChange::Clear => Payload::new(),
    }
}
