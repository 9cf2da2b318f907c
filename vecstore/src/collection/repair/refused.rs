//! Intact points that a collection would refuse.

use crate::point::PointId;
use std::collections::BTreeSet;

/// Refused points, and the reason for one of them. The reasons for all could be longer than the points.
#[derive(Default)]
pub(super) struct Refused {
    ids: BTreeSet<PointId>,
    example: Option<(PointId, String)>,
}

impl Refused {
    /// Notes that a point was refused. It may be called repeatedly for the same point.
    pub(super) fn add(&mut self, id: PointId, reason: String) {
        self.ids.insert(id);
        self.example.get_or_insert((id, reason));
    }

    /// Notes that a later write replaced the point.
    pub(super) fn remove(&mut self, id: PointId) {
        if self.ids.remove(&id) {
            self.example.take_if(|(example, _)| *example == id);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.ids.len() as u64
    }

    pub(super) fn note(&self, what: &str, notes: &mut Vec<String>) {
        let Some(first) = self.ids.first() else { return };
        let count = self.count();
        notes.push(match &self.example {
            Some((_, reason)) => format!("{reason}; {what} for reasons such as this: {count}"),
            None => {
                format!("no collection takes point {first}, or all of it; {what} for such reasons: {count}")
            }
        });
    }
}
