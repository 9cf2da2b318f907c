//! The mutable segment: the newest points, in memory, protected by the log. A search scores the codes of all
//! points. Then it scores the vectors of those that may be among the best by their codes.

mod codes;
pub(crate) mod fields;

use crate::element::Vectors;
use crate::error::Error;
use crate::field::{FieldKind, Key};
use crate::filter::CheckedFilter;
use crate::filtering::{FilterSource, evaluate};
use crate::point::PointId;
use crate::schema::Schema;
use codes::Codes;
use fields::MutableField;
use futures_util::FutureExt;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::Bound;
use vecstore_quant::OriginalScorer;

/// A point that is checked against the schema and encoded.
#[derive(Clone, Debug)]
pub(crate) struct PreparedPoint {
    pub(crate) id: PointId,
    /// Its bytes in the collection's element type.
    pub(crate) vector: Box<[u8]>,
    /// JSON; empty for an empty payload.
    pub(crate) payload: Box<[u8]>,
    /// The values of each indexed field, in the order of the fields.
    pub(crate) keys: Vec<Vec<Key>>,
}

#[derive(Clone, Debug)]
struct Slot {
    id: PointId,
    payload: Box<[u8]>,
    keys: Vec<Vec<Key>>,
}

/// Points in memory. A replaced point keeps its slot. The slot of a deleted point stays empty.
#[derive(Clone, Debug)]
pub(crate) struct MutableSegment {
    indexes: BTreeMap<String, FieldKind>,
    ids: BTreeMap<PointId, u32>,
    /// The slots that hold points.
    live: RoaringBitmap,
    slots: Vec<Slot>,
    vectors: Vectors,
    /// `None` if codes would not be shorter than the vectors.
    codes: Option<Codes>,
    /// In the order of the field names.
    fields: Vec<MutableField>,
    payload_bytes: usize,
}

impl MutableSegment {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            indexes: schema.indexes.clone(),
            ids: BTreeMap::new(),
            live: RoaringBitmap::new(),
            slots: Vec::new(),
            vectors: Vectors::new(schema.element, schema.dim as usize),
            codes: Codes::new(schema),
            fields: vec![MutableField::default(); schema.indexes.len()],
            payload_bytes: 0,
        }
    }

    /// Points in it.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Number of slots, including those of deleted points.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Memory of vectors, their codes and payloads in bytes, about.
    pub(crate) fn bytes(&self) -> usize {
        let codes = self.codes.as_ref().map_or(0, Codes::memory_bytes);
        self.vectors.memory_bytes() + codes + self.payload_bytes + self.slots.len() * 200
    }

    pub(crate) fn find(&self, id: PointId) -> Option<u32> {
        self.ids.get(&id).copied()
    }

    pub(crate) fn put(&mut self, point: PreparedPoint) {
        self.payload_bytes += point.payload.len();
        let slot = if let Some(slot) = self.find(point.id) {
            self.clear(slot);
            self.vectors.set(slot as usize, &point.vector);
            slot
        } else {
            let slot = self.slots.len() as u32;
            self.slots.push(Slot { id: point.id, payload: Box::default(), keys: Vec::new() });
            self.vectors.push(&point.vector);
            self.ids.insert(point.id, slot);
            self.live.insert(slot);
            slot
        };
        if let Some(codes) = &mut self.codes {
            codes.set(slot, &point.vector);
        }
        for (field, keys) in self.fields.iter_mut().zip(&point.keys) {
            field.insert(slot, keys);
        }
        let place = &mut self.slots[slot as usize];
        (place.payload, place.keys) = (point.payload, point.keys);
    }

    pub(crate) fn delete(&mut self, id: PointId) -> bool {
        let Some(slot) = self.ids.remove(&id) else { return false };
        self.live.remove(slot);
        self.clear(slot);
        true
    }

    fn clear(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        self.payload_bytes -= place.payload.len();
        place.payload = Box::default();
        for (field, keys) in self.fields.iter_mut().zip(&std::mem::take(&mut place.keys)) {
            field.remove(slot, keys);
        }
    }

    pub(crate) fn id(&self, slot: u32) -> PointId {
        self.slots[slot as usize].id
    }

    pub(crate) fn payload(&self, slot: u32) -> &[u8] {
        &self.slots[slot as usize].payload
    }

    pub(crate) fn keys(&self, slot: u32) -> &[Vec<Key>] {
        &self.slots[slot as usize].keys
    }

    pub(crate) fn vector(&self, slot: u32) -> &[u8] {
        self.vectors.bytes(slot as usize)
    }

    pub(crate) fn score(&self, slot: u32, scorer: &OriginalScorer) -> f32 {
        self.vectors.score(slot as usize, scorer)
    }

    /// Whether points have codes that [`MutableSegment::at_most`] scores.
    pub(crate) fn has_codes(&self) -> bool {
        self.codes.is_some()
    }

    /// Calls `each` for each point, with an upper bound of its score. Infinite without codes.
    pub(crate) fn at_most(
        &self,
        points: &RoaringBitmap,
        scorer: &OriginalScorer,
        mut each: impl FnMut(u32, f32),
    ) {
        match &self.codes {
            Some(codes) => codes.at_most(points, scorer.query(), each),
            None => points.iter().for_each(|slot| each(slot, f32::INFINITY)),
        }
    }

    pub(crate) fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    /// The ids after `after` with their slots, in order.
    pub(crate) fn after(&self, after: Option<PointId>) -> impl Iterator<Item = (PointId, u32)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.ids.range((from, Bound::Unbounded)).map(|(id, slot)| (*id, *slot))
    }

    pub(crate) fn field(&self, name: &str) -> &MutableField {
        let index = self.indexes.keys().position(|field| field == name);
        &self.fields[index.expect("filters are checked against the schema")]
    }

    /// The points that match a filter, or all points. Points deleted elsewhere are omitted.
    pub(crate) fn allowed(
        &self,
        filter: Option<&CheckedFilter>,
        deleted: Option<&RoaringBitmap>,
    ) -> Result<RoaringBitmap, Error> {
        let mut points = match filter {
            Some(filter) => evaluate(filter, self).now_or_never().expect("memory never waits")?,
            None => self.live.clone(),
        };
        if let Some(deleted) = deleted {
            points -= deleted;
        }
        Ok(points)
    }
}

impl FilterSource for MutableSegment {
    fn all(&self) -> RoaringBitmap {
        self.live.clone()
    }

    fn present(&self, field: &str) -> RoaringBitmap {
        self.field(field).present.clone()
    }

    async fn any(
        &self,
        field: &str,
        keys: &[Key],
        _: Option<&RoaringBitmap>,
    ) -> Result<RoaringBitmap, Error> {
        Ok(self.field(field).any(keys))
    }

    async fn except(&self, field: &str, keys: &[Key]) -> Result<RoaringBitmap, Error> {
        Ok(self.field(field).except(keys))
    }

    async fn range(&self, field: &str, low: u64, high: u64) -> Result<RoaringBitmap, Error> {
        Ok(self.field(field).range(low, high))
    }

    async fn ids(&self, ids: &[PointId]) -> Result<RoaringBitmap, Error> {
        Ok(ids.iter().filter_map(|&id| self.find(id)).collect())
    }
}
