//! Points by id, counts, and facets.

use super::reader::{CollectionReader, OpenEntry, in_memory, payload_of};
use super::request::{FacetCount, Record, RecordParts, Retrieved, check_limit};
use crate::error::Error;
use crate::field::Key;
use crate::filter::{Filter, indexed};
use crate::mutable::MutableSegment;
use crate::point::{Payload, PointId};
use io_core::{ReadControl, ReadStats, StopFlag};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

/// Where a point was found: its record in memory, or its place on disk.
pub(super) enum Found {
    Memory(Record),
    Disk { segment: usize, point: u32 },
}

impl CollectionReader {
    /// Fetches points by their ids.
    ///
    /// # Errors
    /// [`Error::Stopped`] once `stop` is raised; the error that prevents reading files.
    pub async fn retrieve(
        &self,
        ids: &[PointId],
        with: RecordParts,
        stop: &StopFlag,
    ) -> Result<Retrieved, Error> {
        let result = self.by_ids(ids, with, stop).await;
        let counts = &self.shared.counts;
        counts.read(&counts.retrieves, &result, |found| found.read);
        result
    }

    async fn by_ids(&self, ids: &[PointId], with: RecordParts, stop: &StopFlag) -> Result<Retrieved, Error> {
        let control = self.control(stop);
        let find = |segment: &MutableSegment, id: PointId, deleted: Option<&RoaringBitmap>| {
            let slot =
                segment.find(id).filter(|&slot| deleted.is_none_or(|deleted| !deleted.contains(slot)))?;
            let (payload, vector) = in_memory(&self.shared, segment, slot, with);
            Some(Found::Memory(Record { id, payload, vector }))
        };
        let (mut found, version, entries) = self
            .view(|state| Ok(ids.iter().map(|&id| find(&state.mutable, id, None)).collect::<Vec<_>>()))
            .await?;
        for frozen in &version.frozen {
            for (found, &id) in found.iter_mut().zip(ids) {
                if found.is_none() {
                    *found = find(&frozen.segment, id, Some(&frozen.deleted));
                }
            }
        }
        let mut read = ReadStats::default();
        for (segment, entry) in entries.iter().enumerate() {
            let open = found.iter().enumerate().filter(|(_, found)| found.is_none());
            let (places, wanted): (Vec<usize>, Vec<PointId>) =
                open.map(|(place, _)| (place, ids[place])).unzip();
            let points = entry.reader.find(&wanted, &control, &mut read).await?;
            for (place, point) in places.into_iter().zip(points) {
                if let Some(point) = point.filter(|&point| !entry.deleted.contains(point)) {
                    found[place] = Some(Found::Disk { segment, point });
                }
            }
        }
        let (mut missing, mut there) = (Vec::new(), Vec::new());
        for (found, &id) in found.into_iter().zip(ids) {
            match found {
                Some(found) => there.push((id, found)),
                None => missing.push(id),
            }
        }
        let records = self.records(there, &entries, with, &control, &mut read).await?;
        if stop.is_stopped() { Err(Error::Stopped) } else { Ok(Retrieved { records, missing, read }) }
    }

    /// Reads the records of found points.
    pub(super) async fn records(
        &self,
        found: Vec<(PointId, Found)>,
        entries: &[OpenEntry],
        with: RecordParts,
        control: &ReadControl,
        read: &mut ReadStats,
    ) -> Result<Vec<Record>, Error> {
        let (mut places, mut points) = (Vec::new(), Vec::new());
        let mut records = Vec::with_capacity(found.len());
        for (place, (id, found)) in found.into_iter().enumerate() {
            records.push(match found {
                Found::Memory(record) => record,
                Found::Disk { segment, point } => {
                    places.push(place);
                    points.push((segment, point));
                    Record { id, payload: None, vector: None }
                }
            });
        }
        let contents = fetch(&points, entries, with, control, read).await?;
        for (place, Contents { payload, vector }) in places.into_iter().zip(contents) {
            (records[place].payload, records[place].vector) = (payload, vector);
        }
        Ok(records)
    }

    /// Counts points.
    ///
    /// # Errors
    /// As [`CollectionReader::search`].
    pub async fn count(&self, filter: Option<&Filter>, stop: &StopFlag) -> Result<u64, Error> {
        let result = self.matching(filter, stop).await;
        let counts = &self.shared.counts;
        counts.read(&counts.counts, &result, |(_, read)| *read);
        result.map(|(count, _)| count)
    }

    async fn matching(&self, filter: Option<&Filter>, stop: &StopFlag) -> Result<(u64, ReadStats), Error> {
        let filter = filter.map(|filter| filter.check(&self.shared.schema.indexes)).transpose()?;
        let Some(filter) = filter else {
            let state = self.shared.state.read();
            return Ok((state.mutable.len() as u64 + state.version.points(), ReadStats::default()));
        };
        let control = self.control(stop);
        let (mut count, version, entries) =
            self.view(|state| Ok(state.mutable.allowed(Some(&filter), None)?.len())).await?;
        for frozen in &version.frozen {
            count += frozen.segment.allowed(Some(&filter), Some(&frozen.deleted))?.len();
        }
        let mut read = ReadStats::default();
        for entry in &entries {
            count += entry.allowed(&filter, &control, &mut read).await?.len();
        }
        if stop.is_stopped() { Err(Error::Stopped) } else { Ok((count, read)) }
    }

    /// The values of an indexed field that most points have, in descending order. Ties are in the order of
    /// values.
    ///
    /// # Errors
    /// As [`CollectionReader::search`].
    pub async fn facet(
        &self,
        field: &str,
        filter: Option<&Filter>,
        limit: usize,
        stop: &StopFlag,
    ) -> Result<Vec<FacetCount>, Error> {
        let result = self.values(field, filter, limit, stop).await;
        let counts = &self.shared.counts;
        counts.read(&counts.facets, &result, |(_, read)| *read);
        result.map(|(values, _)| values)
    }

    async fn values(
        &self,
        field: &str,
        filter: Option<&Filter>,
        limit: usize,
        stop: &StopFlag,
    ) -> Result<(Vec<FacetCount>, ReadStats), Error> {
        check_limit("limit", limit)?;
        let indexes = &self.shared.schema.indexes;
        let kind = indexed(field, indexes)?;
        let filter = filter.map(|filter| filter.check(indexes)).transpose()?;
        let control = self.control(stop);
        let in_memory = |segment: &MutableSegment, deleted: Option<&RoaringBitmap>, counts: &mut Counts| {
            let points = segment.allowed(filter.as_ref(), deleted)?;
            for (key, some) in &segment.field(field).points {
                *counts.entry(key.clone()).or_default() += some.intersection_len(&points);
            }
            Ok::<_, Error>(())
        };
        let (mut counts, version, entries) = self
            .view(|state| {
                let mut counts = Counts::new();
                in_memory(&state.mutable, None, &mut counts)?;
                Ok(counts)
            })
            .await?;
        for frozen in &version.frozen {
            in_memory(&frozen.segment, Some(&frozen.deleted), &mut counts)?;
        }
        let mut read = ReadStats::default();
        for entry in &entries {
            let points = entry.live(filter.as_ref(), &control, &mut read).await?;
            for (key, count) in entry.fields(&control).counts(field, &points, &mut read).await? {
                *counts.entry(key).or_default() += count;
            }
        }
        let mut counts: Vec<(Key, u64)> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        // The sort is stable, so values with equal counts stay in order.
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(limit);
        let value = |(key, count)| FacetCount { value: kind.value(&key), count };
        if stop.is_stopped() {
            Err(Error::Stopped)
        } else {
            Ok((counts.into_iter().map(value).collect(), read))
        }
    }
}

type Counts = BTreeMap<Key, u64>;

/// The requested parts of a point.
#[derive(Clone, Default)]
pub(super) struct Contents {
    pub(super) payload: Option<Payload>,
    pub(super) vector: Option<Vec<f32>>,
}

/// Fetches the requested parts of points on disk, given as segment and point. Each part takes one batch a
/// segment.
pub(super) async fn fetch(
    points: &[(usize, u32)],
    entries: &[OpenEntry],
    with: RecordParts,
    control: &ReadControl,
    read: &mut ReadStats,
) -> Result<Vec<Contents>, Error> {
    let mut contents = vec![Contents::default(); points.len()];
    for (segment, entry) in entries.iter().enumerate() {
        let own = points.iter().enumerate().filter(|(_, (of, _))| *of == segment);
        let (places, points): (Vec<usize>, Vec<u32>) = own.map(|(place, (_, point))| (place, *point)).unzip();
        if with.payload {
            let mut places = places.iter();
            for some in entry.reader.payload_batches(&points) {
                let payloads = entry.reader.payloads(some, control, read).await?;
                for ((&point, bytes), &place) in some.iter().zip(&payloads).zip(&mut places) {
                    contents[place].payload = Some(payload_of(&entry.reader, point, bytes)?);
                }
            }
        }
        if with.vector {
            let vectors = entry.reader.vectors(&points, control, read).await?;
            for (&place, vector) in places.iter().zip(vectors) {
                contents[place].vector = Some(vector);
            }
        }
    }
    Ok(contents)
}
