//! Reads ids and indexed values, vectors and payloads of the points.

use super::builder::{BuildStage, SegmentBuilder};
use super::source::{Origin, Source, from_source};
use crate::element;
use crate::error::Error;
use crate::field::{Key, keys_of_fields};
use crate::immutable::segment::SegmentReader;
use crate::point::{PointId, parse_payload};
use io_core::{ReadControl, ReadStats};

/// The most points whose ids and payloads are read at a time.
pub(super) const BATCH: usize = 1024;

/// The data of the points that is in memory before they are written.
pub(super) struct Collected {
    pub(super) origins: Vec<Origin>,
    pub(super) ids: Vec<PointId>,
    /// The values of each indexed field of each point.
    pub(super) keys: Vec<Vec<Vec<Key>>>,
}

impl Collected {
    /// Reorders the points. `order[0]` becomes the first.
    pub(super) fn reorder(&mut self, order: &[u32]) {
        let mut keys = std::mem::take(&mut self.keys);
        self.origins = order.iter().map(|&point| self.origins[point as usize]).collect();
        self.ids = order.iter().map(|&point| self.ids[point as usize]).collect();
        self.keys = order.iter().map(|&point| std::mem::take(&mut keys[point as usize])).collect();
    }
}

impl SegmentBuilder<'_> {
    /// Reads the ids and indexed values of all points.
    pub(super) async fn collect(&self, sources: &[Source<'_>]) -> Result<Collected, Error> {
        let mut points = Collected { origins: Vec::new(), ids: Vec::new(), keys: Vec::new() };
        let control = ReadControl::new().with_stop(self.stop.clone());
        let total: u64 = sources.iter().map(Source::len).sum();
        for (source, from) in sources.iter().enumerate() {
            let origin = |point| Origin { source: source as u32, point };
            match from {
                Source::Mutable { segment, live } => {
                    for point in live {
                        points.origins.push(origin(point));
                        points.ids.push(segment.id(point));
                        points.keys.push(segment.keys(point).to_vec());
                    }
                }
                Source::Immutable { segment, live } => {
                    let live: Vec<u32> = live.iter().collect();
                    for batch in live.chunks(BATCH) {
                        let mut stats = ReadStats::default();
                        points.origins.extend(batch.iter().map(|&point| origin(point)));
                        points.ids.extend(segment.ids_of(batch, &control, &mut stats).await?);
                        if self.schema.indexes.is_empty() {
                            points.keys.resize(points.ids.len(), Vec::new());
                            continue;
                        }
                        for some in segment.payload_batches(batch) {
                            let payloads = segment.payloads(some, &control, &mut stats).await?;
                            for (&point, payload) in some.iter().zip(&payloads) {
                                points.keys.push(self.keys(segment, point, payload)?);
                            }
                        }
                        (self.progress)(BuildStage::Reading, points.origins.len() as u64, total);
                    }
                }
            }
        }
        Ok(points)
    }

    /// The values of the indexed fields of a stored payload.
    fn keys(&self, segment: &SegmentReader, point: u32, payload: &[u8]) -> Result<Vec<Vec<Key>>, Error> {
        let damaged = |what: String| Error::damaged(segment.payload.data().path(), None, what);
        let payload = parse_payload(payload)
            .ok_or_else(|| damaged(format!("the payload of point {point} is no JSON object")))?;
        keys_of_fields(&payload, &self.schema.indexes).map_err(|(field, kind, wrong)| {
            damaged(format!(
                "the payload of point {point} has {} in field {field}, indexed as {kind}",
                wrong.found
            ))
        })
    }

    /// Reads vectors and prepares them for encoding. Returns them concatenated.
    pub(super) async fn prepared(
        &self,
        sources: &[Source<'_>],
        points: &[Origin],
    ) -> Result<Vec<f32>, Error> {
        let (dim, element) = (self.schema.dim as usize, self.schema.element);
        let mut prepared = vec![0.0; points.len() * dim];
        self.read_vectors(sources, points, |index, bytes| {
            let target = &mut prepared[index * dim..(index + 1) * dim];
            element::decode_into(element, bytes, target);
            self.schema.distance.prepare(target);
        })
        .await?;
        Ok(prepared)
    }

    /// Reads the vectors of points from their sources, and passes each to `sink(index, bytes)`.
    pub(super) async fn read_vectors(
        &self,
        sources: &[Source<'_>],
        points: &[Origin],
        mut sink: impl FnMut(usize, &[u8]),
    ) -> Result<(), Error> {
        let control = ReadControl::new().with_stop(self.stop.clone());
        for (index, source) in sources.iter().enumerate() {
            let (places, wanted) = from_source(points, index);
            match source {
                Source::Mutable { segment, .. } => {
                    for (&place, &point) in places.iter().zip(&wanted) {
                        sink(place, segment.vector(point));
                    }
                }
                Source::Immutable { segment, .. } => {
                    segment.vectors.read(&wanted, &control, |at, bytes| sink(places[at], bytes)).await?;
                }
            }
        }
        if self.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    pub(super) async fn read_payloads(
        &self,
        sources: &[Source<'_>],
        points: &[Origin],
    ) -> Result<Vec<Box<[u8]>>, Error> {
        let control = ReadControl::new().with_stop(self.stop.clone());
        let mut payloads = vec![Box::default(); points.len()];
        for (index, source) in sources.iter().enumerate() {
            let (places, wanted) = from_source(points, index);
            match source {
                Source::Mutable { segment, .. } => {
                    for (&place, &point) in places.iter().zip(&wanted) {
                        payloads[place] = segment.payload(point).into();
                    }
                }
                Source::Immutable { segment, .. } => {
                    let mut stats = ReadStats::default();
                    let found = segment.payloads(&wanted, &control, &mut stats).await?;
                    for (place, payload) in places.into_iter().zip(found) {
                        payloads[place] = payload;
                    }
                }
            }
        }
        Ok(payloads)
    }
}
