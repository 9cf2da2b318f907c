//! The part of a segment that is in memory, and loading it.

use super::codec::{trained_codec, untrained_codec};
use super::info::SegmentInfo;
use super::linked::{LinkedData, linked_layout};
use super::placement::{bring_in, loading};
use super::{CODEC, CODES, FIELDS, GRAPH, IDS, LINKED, PAYLOAD, SEGMENT_JSON, VECTORS};
use crate::element::Vectors;
use crate::error::Error;
use crate::immutable::fields::FieldsData;
use crate::immutable::graph::GraphData;
use crate::immutable::ids::IdsData;
use crate::immutable::originals;
use crate::immutable::payload::PayloadData;
use crate::immutable::pinned::PinnedBytes;
use crate::immutable::records::Records;
use crate::schema::{Placement, Schema};
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
    pub(crate) graph: GraphData,
    pub(super) graph_pages: PagesData,
    pub(crate) linked: Option<LinkedData>,
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

        // Pinned links are kept unpacked, and therefore not as pages.
        let as_pages = if place.graph == Placement::Cached { Placement::Cached } else { Placement::Cold };
        let pages = open(GRAPH, PagesKind::Graph, as_pages).await?;
        let graph = GraphData::load(&pages, place.graph == Placement::Pinned).await?;
        check(GRAPH, u64::from(graph.len()))?;
        let graph_pages = close(pages).await?;

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
        codes.check(u64::from(points), codec.record_bytes() as u32)?;
        codes.load_checksums().await?;
        let codes_data = match place.codes {
            Placement::Pinned => CodesData::Pinned(load_records(&codes, codec.record_bytes(), points).await?),
            Placement::Cold | Placement::Cached => CodesData::OnDisk(codes.file().checksums().clone()),
        };
        codes.close().await?;

        let linked = match linked_layout(schema) {
            Some(layout) => {
                let (file, options) = (dir.join(LINKED), options_of(place.graph));
                let mut records = Records::open(backend, &file, &options, ElementType::U8, None).await?;
                records.file().check(&info.expected(&path, LINKED)?)?;
                let record_bytes = layout.record_bytes() + codec.record_bytes() + ids.id_bytes();
                records.check(u64::from(points), record_bytes as u32)?;
                records.load_checksums().await?;
                let (upper, codes) = (graph.upper_points(), (&codes_data, codec.record_bytes()));
                let linked = LinkedData::load(&records, layout, upper, codes, place.graph).await?;
                records.close().await?;
                Some(linked)
            }
            None => None,
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
            (GRAPH, place.graph),
            (IDS, place.ids),
            (PAYLOAD, place.payload),
            (FIELDS, place.indexes),
            (CODES, place.codes),
            (VECTORS, place.vectors),
        ];
        let linked_place = linked.is_some().then_some((LINKED, place.graph));
        for (name, placement) in places.into_iter().chain(linked_place) {
            bring_in(backend, &dir.join(name), options, placement).await?;
        }
        Ok(Self {
            number,
            id,
            dir: dir.to_owned(),
            points,
            seq_next: info.seq_next,
            schema: schema.clone(),
            graph,
            graph_pages,
            linked,
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
        let linked = self.linked.as_ref().map(|linked| (LINKED, linked.memory_bytes()));
        let others = [
            (VECTORS, self.vectors.memory_bytes() + pinned),
            (CODES, codes),
            (GRAPH, self.graph.memory_bytes() + self.graph_pages.memory_bytes()),
            (IDS, self.ids.memory_bytes() + self.ids_pages.memory_bytes()),
            (PAYLOAD, self.payload.memory_bytes() + self.payload_pages.memory_bytes()),
            (FIELDS, self.fields.memory_bytes() + self.fields_pages.memory_bytes()),
        ];
        others.into_iter().chain(linked).collect()
    }
}

async fn close(pages: Pages) -> Result<PagesData, Error> {
    pages.close().await?;
    Ok(pages.data().clone())
}

async fn load_records(file: &Records, record_bytes: usize, points: u32) -> Result<PinnedBytes, Error> {
    const BATCH: usize = 16 << 10;
    let path = &file.file().reader().file().path;
    let mut records = PinnedBytes::zeroed(record_bytes * points as usize, path)?;
    let all: Vec<u32> = (0..points).collect();
    for batch in all.chunks(BATCH) {
        let sink = |index: usize, record: &[u8]| {
            let start = batch[index] as usize * record_bytes;
            records[start..start + record_bytes].copy_from_slice(record);
        };
        file.read(batch, &ReadControl::default(), sink).await?;
    }
    Ok(records)
}
