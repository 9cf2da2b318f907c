//! Reading a segment on one core.

use super::data::{CodesData, SegmentData};
use super::index::IndexData;
use super::linked::LinkedData;
use super::placement::placed;
use super::{CELL_CODES, CODES, FIELDS, GRAPH, IDS, LINKED, PAYLOAD, VECTORS};
use crate::element;
use crate::error::Error;
use crate::immutable::chunks::chunks_by_bytes;
use crate::immutable::originals::Originals;
use crate::immutable::records::Records;
use crate::point::PointId;
use crate::schema::{IndexParts, Placement, Schema};
use io_core::{DynBackend, FileSystem, OpenOptions, ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::sync::Arc;
use vecstore_format::ElementType;
use vecstore_format::pages::{Pages, PagesData};
use vecstore_format::vector_file::RecordChecksums;

/// A segment open on one core.
pub(crate) struct SegmentReader {
    pub(crate) data: Arc<SegmentData>,
    pub(crate) vectors: Originals,
    /// Codes that are not in memory.
    pub(crate) codes: Option<Records>,
    /// Links that are not in memory.
    pub(crate) graph: Option<Pages>,
    /// Linked records that are not in memory.
    pub(crate) linked: Option<Records>,
    /// Blocks of cells that are not in memory.
    pub(crate) cells: Option<Records>,
    pub(crate) ids: Pages,
    pub(crate) payload: Pages,
    pub(crate) fields: Pages,
}

impl SegmentReader {
    /// Opens the files of a loaded segment. Call it inside the backend's `run`, on the core that will read.
    pub(crate) async fn open(
        backend: &DynBackend,
        data: Arc<SegmentData>,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let (place, dir, schema) = (data.schema.placement, &data.dir, &data.schema);
        let options_of = |placement| placed(options, placement);
        let pages = async |name: &str, placement, data: &PagesData| {
            let reader = backend.open(&dir.join(name), &options_of(placement)).await?;
            Ok::<_, Error>(Pages::with_data(reader, data.clone()))
        };
        let vectors_options = options_of(place.vectors);
        let path = dir.join(VECTORS);
        let file =
            Records::open(backend, &path, &vectors_options, schema.element, Some(&data.vectors)).await?;
        let vectors = Originals { file, pinned: data.pinned_vectors.clone() };
        let codes = match &data.codes {
            CodesData::Pinned(_) => None,
            CodesData::OnDisk(checksums) => {
                let (path, options) = (dir.join(CODES), options_of(place.codes));
                Some(Records::open(backend, &path, &options, ElementType::U8, Some(checksums)).await?)
            }
        };
        let index_records = async |name: &str, checksums: Option<&RecordChecksums>| match checksums {
            None => Ok::<_, Error>(None),
            checksums => {
                let (path, options) = (dir.join(name), options_of(place.graph));
                Ok(Some(Records::open(backend, &path, &options, ElementType::U8, checksums).await?))
            }
        };
        let (graph, linked, cells) = match &data.index {
            IndexData::Graph(index) => {
                let graph = match place.graph {
                    Placement::Pinned => None,
                    placement => Some(pages(GRAPH, placement, &index.pages).await?),
                };
                let checksums = index.linked.as_ref().and_then(LinkedData::on_disk);
                (graph, index_records(LINKED, checksums).await?, None)
            }
            IndexData::Cells(cells) => (None, None, index_records(CELL_CODES, cells.on_disk()).await?),
        };
        let ids = pages(IDS, place.ids, &data.ids_pages).await?;
        let payload = pages(PAYLOAD, place.payload, &data.payload_pages).await?;
        let fields = pages(FIELDS, place.indexes, &data.fields_pages).await?;
        Ok(Self { vectors, codes, graph, linked, cells, ids, payload, fields, data })
    }

    /// The number of files of a segment that are open on a core.
    pub(crate) fn files(schema: &Schema) -> u64 {
        let on_disk = |placement| u64::from(placement != Placement::Pinned);
        let of_index = match schema.index_parts() {
            IndexParts::CompactGraph | IndexParts::Cells => 1,
            IndexParts::LinkedGraph => 2,
        };
        4 + on_disk(schema.placement.codes) + of_index * on_disk(schema.placement.graph)
    }

    /// Waits for what is in flight and closes the files.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.vectors.close().await?;
        for records in self.codes.iter().chain(&self.linked).chain(&self.cells) {
            records.close().await?;
        }
        for pages in self.graph.iter().chain([&self.ids, &self.payload, &self.fields]) {
            pages.close().await?;
        }
        Ok(())
    }

    /// Reads vectors and decodes their components.
    pub(crate) async fn vectors(
        &self,
        points: &[u32],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut vectors = vec![Vec::new(); points.len()];
        let element = self.data.schema.element;
        let sink = |index: usize, bytes: &[u8]| vectors[index] = element::decode(element, bytes);
        let read = self.vectors.read(points, control, sink).await?;
        stats.add(&read);
        Ok(vectors)
    }

    /// Splits points into chunks whose payloads fit in memory together.
    pub(crate) fn payload_batches<'p>(&self, points: &'p [u32]) -> impl Iterator<Item = &'p [u32]> {
        chunks_by_bytes(points, |&point| self.data.payload.bytes(point))
    }

    pub(crate) async fn payloads(
        &self,
        points: &[u32],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<Box<[u8]>>, Error> {
        self.data.payload.read(&self.payload, points, control, stats).await
    }

    pub(crate) async fn ids_of(
        &self,
        points: &[u32],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<PointId>, Error> {
        self.data.ids.ids_of(&self.ids, points, control, stats).await
    }

    /// Finds the points of ids. `None` for unknown ids.
    pub(crate) async fn find(
        &self,
        ids: &[PointId],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<Option<u32>>, Error> {
        self.data.ids.find(&self.ids, ids, control, stats).await
    }

    /// Every point.
    pub(crate) fn all(&self) -> RoaringBitmap {
        (0..self.data.points).collect()
    }
}
