//! The part of a segment that is in memory, and loading it.

use super::codec::{code_record_bytes, trained_codec, untrained_codec};
use super::index::{GraphIndex, IndexData};
use super::info::SegmentInfo;
use super::linked::{LinkedData, linked_layout};
use super::placement::{bring_in, loading};
use super::{CELL_CODES, CELLS, CODEC, CODES, FIELDS, GRAPH, IDS, LINKED, PAYLOAD, SEGMENT_JSON, VECTORS};
use crate::element::Vectors;
use crate::error::Error;
use crate::immutable::cells::{CellsData, cell_layout, read_cells};
use crate::immutable::fields::FieldsData;
use crate::immutable::graph::GraphData;
use crate::immutable::ids::IdsData;
use crate::immutable::originals;
use crate::immutable::payload::PayloadData;
use crate::immutable::pinned::PinnedBytes;
use crate::immutable::records::Records;
use crate::schema::{IndexKind, Placement, Schema};
use io_core::{DynBackend, FileSystem, OpenOptions, ReadControl, VectorReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vecstore_format::ElementType;
use vecstore_format::RandomId;
use vecstore_format::pages::{Pages, PagesData, PagesKind};
use vecstore_format::vector_file::RecordChecksums;
use vecstore_quant::Codec;

/// The codes of a segment.
#[derive(Debug)]
pub(crate) enum CodesData {
    /// Records, concatenated.
    Pinned(PinnedBytes),
    OnDisk(RecordChecksums),
}

/// The part of a segment that is in memory. All cores share it.
#[derive(Debug)]
pub(crate) struct SegmentData {
    pub(crate) number: u64,
    pub(crate) id: Option<RandomId>,
    pub(crate) dir: PathBuf,
    pub(crate) points: u32,
    pub(crate) seq_next: u64,
    pub(crate) schema: Schema,
    pub(crate) index: IndexData,
    pub(crate) codec: Box<dyn Codec>,
    pub(crate) codes: CodesData,
    pub(super) vectors: RecordChecksums,
    pub(super) pinned_vectors: Option<Arc<Vectors>>,
    pub(crate) ids: IdsData,
    pub(super) ids_pages: PagesData,
    pub(crate) payload: PayloadData,
    pub(super) payload_pages: PagesData,
    pub(crate) fields: FieldsData,
    pub(super) fields_pages: PagesData,
}

impl SegmentData {
    /// Loads a segment of a collection with this schema. Call it inside the backend's `run`.
    pub(crate) async fn load(
        backend: &DynBackend,
        dir: &Path,
        (number, id): (u64, Option<RandomId>),
        schema: &Schema,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let path = dir.join(SEGMENT_JSON);
        let info = SegmentInfo::decode(&path, &backend.directory().read(&path)?)?;
        info.check(&path, id)?;
        let points = info.points;
        // The placement may change between openings. The rest of the schema describes the files, and may not.
        let same = Schema { placement: schema.placement, ..info.schema.clone() } == *schema;
        if !same {
            return Err(Error::damaged(&path, None, "its schema is not that of the collection"));
        }
        let place = schema.placement;
        let open = async |name: &str, kind, placement| {
            let reader = backend.open(&dir.join(name), &loading(options, placement)).await?;
            let mut pages = Pages::open(reader, kind, &info.expected(&path, name)?).await?;
            if placement == Placement::Pinned {
                pages.pin().await?;
            }
            Ok::<_, Error>(pages)
        };
        let mismatch = |name: &str, found: u64| {
            let reason = format!("it is of {found} points, and the segment has {points}");
            Error::damaged(&dir.join(name), None, reason)
        };
        let check = |name: &str, found: u64| {
            if found == u64::from(points) { Ok(()) } else { Err(mismatch(name, found)) }
        };

        let pages = open(IDS, PagesKind::Ids, place.ids).await?;
        let ids = IdsData::load(&pages).await?;
        check(IDS, ids.len())?;
        let ids_pages = close(pages).await?;

        let pages = open(PAYLOAD, PagesKind::Payload, place.payload).await?;
        let payload = PayloadData::load(&pages).await?;
        check(PAYLOAD, payload.len())?;
        let payload_pages = close(pages).await?;

        let pages = open(FIELDS, PagesKind::Fields, place.indexes).await?;
        let fields = FieldsData::load(&pages, &schema.indexes, points).await?;
        let fields_pages = close(pages).await?;

        let codec = match untrained_codec(schema) {
            Some(codec) => codec,
            None => {
                let pages = open(CODEC, PagesKind::Codec, Placement::Cold).await?;
                let codec = trained_codec(&pages, schema).await?;
                pages.close().await?;
                codec
            }
        };
        let (file, options_of) = (dir.join(CODES), |placement| loading(options, placement));
        let mut codes =
            Records::open(backend, &file, &options_of(place.codes), ElementType::U8, None).await?;
        codes.file().check(&info.expected(&path, CODES)?)?;
        codes.check(u64::from(points), code_record_bytes(schema, &*codec) as u32)?;
        codes.load_checksums().await?;
        let codes_data = match place.codes {
            Placement::Pinned => CodesData::Pinned(load_records(&codes, codec.record_bytes(), points).await?),
            Placement::Cold | Placement::Cached => CodesData::OnDisk(codes.file().checksums().clone()),
        };
        codes.close().await?;

        // Parts of the index that are pinned are kept unpacked, and therefore not as pages.
        let as_pages = if place.graph == Placement::Cached { Placement::Cached } else { Placement::Cold };
        let index_records = async |name: &str| {
            let (file, options) = (dir.join(name), options_of(place.graph));
            let mut records = Records::open(backend, &file, &options, ElementType::U8, None).await?;
            records.file().check(&info.expected(&path, name)?)?;
            records.load_checksums().await?;
            Ok::<_, Error>(records)
        };
        let index = match schema.index {
            IndexKind::Graph => {
                let pages = open(GRAPH, PagesKind::Graph, as_pages).await?;
                let graph = GraphData::load(&pages, place.graph == Placement::Pinned).await?;
                check(GRAPH, u64::from(graph.len()))?;
                let pages = close(pages).await?;
                let linked = match linked_layout(schema) {
                    Some(layout) => {
                        let records = index_records(LINKED).await?;
                        let record_bytes = layout.record_bytes() + codec.record_bytes() + ids.id_bytes();
                        records.check(u64::from(points), record_bytes as u32)?;
                        let (upper, codes) = (graph.upper_points(), (&codes_data, codec.record_bytes()));
                        let linked = LinkedData::load(&records, layout, upper, codes, place.graph).await?;
                        records.close().await?;
                        Some(linked)
                    }
                    None => None,
                };
                IndexData::Graph(Box::new(GraphIndex { graph, pages, linked }))
            }
            IndexKind::Cells => {
                let pages = open(CELLS, PagesKind::Cells, as_pages).await?;
                let map = read_cells(&pages, schema).await?;
                pages.close().await?;
                check(CELLS, map.parts().ends.last().map_or(0, |&end| u64::from(end)))?;
                let records = index_records(CELL_CODES).await?;
                let cells = CellsData::load(&records, map, cell_layout(schema), place.graph).await?;
                records.close().await?;
                IndexData::Cells(Box::new(cells))
            }
        };

        let (file, vectors_options) = (dir.join(VECTORS), options_of(place.vectors));
        let mut vectors = Records::open(backend, &file, &vectors_options, schema.element, None).await?;
        vectors.file().check(&info.expected(&path, VECTORS)?)?;
        vectors.check(u64::from(points), schema.dim)?;
        vectors.load_checksums().await?;
        let checksums = vectors.file().checksums().clone();
        let pinned_vectors = match place.vectors {
            Placement::Pinned => {
                Some(Arc::new(originals::pin(&vectors, schema.element, schema.dim, points).await?))
            }
            Placement::Cold | Placement::Cached => None,
        };
        vectors.close().await?;

        let places = [
            (IDS, place.ids),
            (PAYLOAD, place.payload),
            (FIELDS, place.indexes),
            (CODES, place.codes),
            (VECTORS, place.vectors),
        ];
        let of_index = index.files_on_disk().iter().map(|name| (*name, place.graph));
        for (name, placement) in places.into_iter().chain(of_index) {
            bring_in(backend, &dir.join(name), options, placement).await?;
        }
        Ok(Self {
            number,
            id,
            dir: dir.to_owned(),
            points,
            seq_next: info.seq_next,
            schema: schema.clone(),
            index,
            codec,
            codes: codes_data,
            vectors: checksums,
            pinned_vectors,
            ids,
            ids_pages,
            payload,
            payload_pages,
            fields,
            fields_pages,
        })
    }

    /// The memory of each part in bytes, by the name of its file.
    pub(crate) fn memory_bytes(&self) -> Vec<(&'static str, usize)> {
        let codes = match &self.codes {
            CodesData::Pinned(records) => records.len(),
            CodesData::OnDisk(checksums) => checksums.memory_bytes(),
        } + self.codec.model_bytes();
        let pinned = self.pinned_vectors.as_ref().map_or(0, |vectors| vectors.memory_bytes());
        let others = [
            (VECTORS, self.vectors.memory_bytes() + pinned),
            (CODES, codes),
            (IDS, self.ids.memory_bytes() + self.ids_pages.memory_bytes()),
            (PAYLOAD, self.payload.memory_bytes() + self.payload_pages.memory_bytes()),
            (FIELDS, self.fields.memory_bytes() + self.fields_pages.memory_bytes()),
        ];
        others.into_iter().chain(self.index.memory_bytes()).collect()
    }
}

async fn close(pages: Pages) -> Result<PagesData, Error> {
    pages.close().await?;
    Ok(pages.data().clone())
}

/// Reads all records of a file, whose checksums are loaded, into memory: the first `record_bytes` of each.
pub(crate) async fn load_records(
    file: &Records,
    record_bytes: usize,
    points: u32,
) -> Result<PinnedBytes, Error> {
    const BATCH: usize = 16 << 10;
    let path = &file.file().reader().file().path;
    let mut records = PinnedBytes::zeroed(record_bytes * points as usize, path)?;
    let all: Vec<u32> = (0..points).collect();
    for batch in all.chunks(BATCH) {
        let sink = |index: usize, record: &[u8]| {
            let start = batch[index] as usize * record_bytes;
            records[start..start + record_bytes].copy_from_slice(&record[..record_bytes]);
        };
        file.read(batch, &ReadControl::default(), sink).await?;
    }
    Ok(records)
}
