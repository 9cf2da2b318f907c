//! Makes a group durable, and applies it to the state.

use super::jobs::{Change, WriteJob};
use super::thread::Writer;
use crate::collection::pending::Reply;
use crate::collection::request::{Durability, WriteSummary};
use crate::collection::state::State;
use crate::error::Error;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Where points are in immutable segments: the segment's number, and the point there.
type Places = HashMap<PointId, (u64, u32)>;

impl Writer {
    /// Finds where the points of a group are now, and makes its records durable. Returns the places, and the
    /// sequence number of each write that has a record.
    pub(super) async fn try_write(
        &mut self,
        group: &[WriteJob],
    ) -> Result<(Places, Vec<Option<u64>>), Error> {
        let ids: BTreeSet<PointId> = group.iter().flat_map(|job| job.change.ids()).collect();
        let places = self.find(ids).await?;
        let mut seqs = vec![None; group.len()];
        let records = group.iter().filter(|job| job.change.body().is_some()).count() as u64;
        if records > 0 {
            self.check_number(self.shared.state.read().seq + records, "writes")?;
            self.open_log().await?;
            // If the lock file is gone, another owner may have read this log to its end. A record added now
            // would be lost.
            self.shared.check_place()?;
            let bytes = group.iter().filter_map(|job| job.change.body()).map(|body| body.len() as u64).sum();
            if self.log.as_ref().is_some_and(|log| log.must_sync_before(bytes)) {
                self.sync().await?;
            }
            let log = self.log.as_mut().expect("just opened");
            for (seq, job) in seqs.iter_mut().zip(group) {
                *seq = job.change.body().map(|body| log.push(body));
            }
            log.write().await?;
        }
        // Also if nothing was written, because a synced write makes earlier writes durable.
        if group.iter().any(|job| job.durability == Durability::Synced) {
            self.sync().await?;
        } else if records > 0 {
            self.shared.check_place()?;
        }
        Ok((places, seqs))
    }

    /// The places of these ids in immutable segments. Missing and deleted ones have none.
    async fn find(&self, ids: BTreeSet<PointId>) -> Result<Places, Error> {
        let wanted: Vec<PointId> = {
            let state = self.shared.state.read();
            let newer = |id: &PointId| {
                let frozen = &state.version.frozen;
                state.mutable.find(*id).is_some()
                    || frozen.iter().any(|frozen| {
                        frozen.segment.find(*id).is_some_and(|slot| !frozen.deleted.contains(slot))
                    })
            };
            ids.into_iter().filter(|id| !newer(id)).collect()
        };
        let mut places = Places::new();
        if wanted.is_empty() {
            return Ok(places);
        }
        let (_, _, entries) = self.reader.view(|_| Ok(())).await?;
        let mut stats = ReadStats::default();
        for entry in &entries {
            let found = entry.reader.find(&wanted, &ReadControl::default(), &mut stats).await?;
            for (id, point) in wanted.iter().zip(found) {
                if let Some(point) = point.filter(|&point| !entry.deleted.contains(point)) {
                    places.insert(*id, (entry.reader.data.number, point));
                }
            }
        }
        Ok(places)
    }

    /// Applies a group that is in the log.
    pub(super) fn apply(
        &self,
        group: Vec<WriteJob>,
        places: &Places,
        seqs: &[Option<u64>],
    ) -> Vec<(Reply<WriteSummary>, WriteSummary)> {
        let counts = &self.shared.counts;
        let mut state = self.shared.state.write();
        let mut answers = Vec::with_capacity(group.len());
        for (job, seq) in group.into_iter().zip(seqs) {
            let Change::Batch { puts, deletes, body } = job.change else {
                unreachable!("changes are resolved before they are written")
            };
            let upserted = puts.len() as u64;
            counts.writes.add(1);
            counts.points_upserted.add(upserted);
            counts.log_bytes.add(body.map_or(0, |body| body.len() as u64));
            let mut deleted = 0;
            for point in puts {
                remove_older(&mut state, point.id, places);
                state.mutable.put(point);
            }
            for id in deletes {
                let older = remove_older(&mut state, id, places);
                deleted += u64::from(state.mutable.delete(id) || older);
            }
            counts.points_deleted.add(deleted);
            state.seq = seq.unwrap_or(state.seq);
            answers.push((job.reply, WriteSummary { seq: state.seq, points: upserted + deleted }));
        }
        answers
    }
}

/// Marks the older version of a point, outside of the mutable segment, as deleted; says whether there was
/// one.
fn remove_older(state: &mut State, id: PointId, places: &Places) -> bool {
    for frozen in &mut state.version.frozen {
        if let Some(slot) = frozen.segment.find(id)
            && !frozen.deleted.contains(slot)
        {
            return Arc::make_mut(&mut frozen.deleted).insert(slot);
        }
    }
    let Some((number, point)) = places.get(&id) else { return false };
    let entry = state.version.segments.iter_mut().find(|entry| entry.data.number == *number);
    entry.is_some_and(|entry| {
        !entry.deleted.contains(*point) && Arc::make_mut(&mut entry.deleted).insert(*point)
    })
}
