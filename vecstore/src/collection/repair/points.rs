//! Writes saved points into the new collection.

use super::Salvage;
use crate::collection::prepare::{BatchSize, prepare_point};
use crate::collection::request::{Durability, Selection};
use crate::element;
use crate::error::Error;
use crate::mutable::PreparedPoint;
use crate::point::parse_payload;
use crate::point::{Payload, Point, PointId};
use std::collections::BTreeSet;
use vecstore_format::log::LogOp;

/// A saved point.
pub(super) struct SavedPoint {
    pub(super) point: Point,
    /// Why a collection would refuse its payload, if it lost its payload.
    pub(super) payload_refused: Option<String>,
}

impl Salvage<'_> {
    /// Writes the valid points in order. For the others, it deletes older versions.
    pub(super) fn put(&mut self, points: Vec<SavedPoint>) -> Result<(), Error> {
        let (mut puts, mut ids, mut size) = (Vec::new(), BTreeSet::new(), BatchSize::default());
        let mut gone: BTreeSet<PointId> = BTreeSet::new();
        for point in points {
            let id = point.point.id;
            let prepared = self.prepare(point);
            // If an id occurs twice, the last point counts.
            let is_due = match &prepared {
                Some(point) => ids.contains(&id) || size.add(point).is_err(),
                None => ids.contains(&id),
            };
            if is_due {
                self.new.put(std::mem::take(&mut puts), Durability::Written).wait()?;
                (ids, size) = (BTreeSet::new(), BatchSize::default());
                prepared.as_ref().map_or(Ok(()), |point| size.add(point))?;
            }
            match prepared {
                Some(point) => {
                    gone.remove(&id);
                    ids.insert(id);
                    puts.push(point);
                }
                None => drop(gone.insert(id)),
            }
        }
        if !puts.is_empty() {
            self.new.put(puts, Durability::Written).wait()?;
        }
        self.delete(gone.into_iter().collect())
    }

    /// Checks a point. If only its payload is refused, returns it without one. `None` if its vector is
    /// refused.
    fn prepare(&mut self, SavedPoint { mut point, payload_refused }: SavedPoint) -> Option<PreparedPoint> {
        // Earlier faults of the point do not matter, because this version replaces it.
        self.forget(point.id);
        let mut payload_refused = payload_refused;
        let prepared = prepare_point(&self.schema, &point).or_else(|refused| {
            payload_refused = Some(refused.to_string());
            point.payload = Payload::new();
            prepare_point(&self.schema, &point)
        });
        match prepared {
            Ok(prepared) => {
                if let Some(reason) = payload_refused {
                    self.payloads_refused.add(point.id, reason);
                }
                Some(prepared)
            }
            Err(refused) => {
                self.points_refused.add(point.id, refused.to_string());
                None
            }
        }
    }

    fn forget(&mut self, id: PointId) {
        self.points_refused.remove(id);
        self.payloads_refused.remove(id);
    }

    fn delete(&self, ids: Vec<PointId>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        self.new.delete(Selection::Ids(ids), Durability::Written).wait().map(drop)
    }

    pub(super) fn replay(&mut self, ops: Vec<LogOp<'_>>) -> Result<(), Error> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for op in ops {
            match op {
                LogOp::Delete { id } => {
                    self.put(std::mem::take(&mut puts))?;
                    self.forget(id);
                    deletes.push(id);
                }
                LogOp::Put { id, payload, vector } => {
                    self.delete(std::mem::take(&mut deletes))?;
                    let payload = parse_payload(payload);
                    let what = || format!("point {id}: its payload is no JSON object");
                    let payload_refused = payload.is_none().then(what);
                    let vector = element::decode(self.schema.element, vector);
                    let point = Point { id, vector, payload: payload.unwrap_or_default() };
                    puts.push(SavedPoint { point, payload_refused });
                }
            }
        }
        self.put(puts)?;
        self.delete(deletes)
    }
}
