//! Points that are whole and that no collection takes.

use crate::point::PointId;
use std::collections::BTreeSet;

/// The points, and why one of them was refused: the reasons of all could be longer than the points.
#[derive(Default)]
pub(super) struct Refused {
    ids: BTreeSet<PointId>,
    example: Option<(PointId, String)>,
}

impl Refused {
    /// Says that a point was refused, however often.
    pub(super) fn add(&mut self, id: PointId, reason: String) {
        self.ids.insert(id);
        self.example.get_or_insert((id, reason));
    }

    /// Says that a later write replaced the point.
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
            Some((_, reason)) => format!("{reason}; for reasons such as this, {count} {what}"),
            None => {
                format!("no collection takes point {first}, or all of it; for such reasons, {count} {what}")
            }
        });
    }
}
