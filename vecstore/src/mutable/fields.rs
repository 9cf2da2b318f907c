//! Indexes of payload fields in memory: maps from a value to its points.

use crate::field::Key;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

/// The points of each value of a field, and the points with any value.
#[derive(Clone, Debug, Default)]
pub(crate) struct MutableField {
    pub(crate) points: BTreeMap<Key, RoaringBitmap>,
    pub(crate) present: RoaringBitmap,
}

impl MutableField {
    pub(crate) fn insert(&mut self, point: u32, keys: &[Key]) {
        for key in keys {
            self.points.entry(key.clone()).or_default().insert(point);
        }
        if !keys.is_empty() {
            self.present.insert(point);
        }
    }

    pub(crate) fn remove(&mut self, point: u32, keys: &[Key]) {
        for key in keys {
            if let Some(points) = self.points.get_mut(key) {
                points.remove(point);
                if points.is_empty() {
                    self.points.remove(key);
                }
            }
        }
        self.present.remove(point);
    }

    pub(crate) fn any(&self, keys: &[Key]) -> RoaringBitmap {
        keys.iter().filter_map(|key| self.points.get(key)).fold(RoaringBitmap::new(), |all, some| all | some)
    }

    /// Points with a value that is not one of these. `keys` is sorted.
    pub(crate) fn except(&self, keys: &[Key]) -> RoaringBitmap {
        let others = self.points.iter().filter(|(key, _)| keys.binary_search(key).is_err());
        others.fold(RoaringBitmap::new(), |all, (_, some)| all | some)
    }

    pub(crate) fn range(&self, low: u64, high: u64) -> RoaringBitmap {
        if low > high {
            return RoaringBitmap::new();
        }
        let within = self.points.range(Key::Number(low)..=Key::Number(high));
        within.fold(RoaringBitmap::new(), |all, (_, some)| all | some)
    }
}
