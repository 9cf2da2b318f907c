//! An immutable segment: a directory of files, its part in memory, and readers of the rest.
//!
//! ```text
//! segment-NUMBER/  segment.json   what it is          ids.pages        ids, and the points of ids
//!                  vectors.vec    original vectors    payload.pages    payloads
//!                  codes.vec      codes               fields.pages     indexes of payload fields
//!                  graph.pages    HNSW                deleted-*.pages  which points are deleted
//!                  codec.pages    the codec's model, if it has one
//! ```

use super::chunks::chunks_by_bytes;
use super::fields::FieldsData;
use super::graph::GraphData;
use super::ids::IdsData;
use super::originals::{self, Originals};
use super::payload::PayloadData;
use super::records::Records;
use crate::element::{self, Vectors};
use crate::error::{Error, FormatError};
use crate::point::PointId;
use crate::schema::{Placement, Placements, Schema};
use aligned_vec::{AVec, avec};
use io_core::{
    AccessPattern, BackendFactory, DirectoryError, DynBackend, OpenOptions, ReadControl, ReadStats,
};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vecstore_format::ElementType;
use vecstore_format::checked_json;
use vecstore_format::pages::{Pages, PagesData, PagesKind};
use vecstore_format::vector_file::RecordChecksums;
use vecstore_format::{Expected, RandomId};
use vecstore_quant::{Codec, from_model};

pub(crate) const SEGMENT_JSON: &str = "segment.json";
pub(crate) const VECTORS: &str = "vectors.vec";
pub(crate) const CODES: &str = "codes.vec";
pub(crate) const CODEC: &str = "codec.pages";
pub(crate) const GRAPH: &str = "graph.pages";
pub(crate) const IDS: &str = "ids.pages";
pub(crate) const PAYLOAD: &str = "payload.pages";
pub(crate) const FIELDS: &str = "fields.pages";

const FORMAT: &str = "vecstore segment";
const VERSION: u32 = 5;
/// Files of earlier versions have no identities.
const VERSION_OF_IDS: u32 = 4;
/// In versions 2 and 3, rotated codes have one centre.
const VERSION_OLDEST: u32 = 2;

/// The number of a file in its identity. Files of pages have 0, because their kind tells them apart.
pub(crate) fn file_number(name: &str) -> u64 {
    match name {
        VECTORS => 1,
        CODES => 2,
        _ => 0,
    }
}

/// The content of `segment.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentInfo {
    format: String,
    version: u32,
    /// `None` in versions without identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<RandomId>,
    /// Number of points, including those deleted since.
    pub(crate) points: u32,
    /// The segment contains no write with this sequence number or a later one. 0 in versions that did not
    /// state it.
    #[serde(default)]
    pub(crate) seq_next: u64,
    /// The collection's schema, so that a segment can be read on its own.
    pub(crate) schema: Schema,
    /// The checksum of each file's header, which covers the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, u32>,
}

impl SegmentInfo {
    pub(crate) fn new(
        id: RandomId,
        points: u32,
        seq_next: u64,
        schema: &Schema,
        files: BTreeMap<String, u32>,
    ) -> Self {
        let (format, schema) = (FORMAT.to_owned(), schema.clone());
        Self { format, version: VERSION, id: Some(id), points, seq_next, schema, files }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        checked_json::encode(self)
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let info: Self = checked_json::decode(path, bytes)?;
        if info.format != FORMAT {
            let reason = format!("its format is {:?} instead of {FORMAT:?}", info.format);
            return Err(Error::damaged(path, None, reason));
        }
        if !(VERSION_OLDEST..=VERSION).contains(&info.version) {
            let (path, found) = (path.to_owned(), info.version);
            return Err(FormatError::Version { path, found, known: VERSION }.into());
        }
        if info.id.is_some() != (info.version >= VERSION_OF_IDS) {
            let reason = format!("version {} with an id or without one, as it must not be", info.version);
            return Err(Error::damaged(path, None, reason));
        }
        info.schema.check()?;
        Ok(info)
    }

    /// Checks that it belongs to the segment with this id.
    pub(crate) fn check(&self, path: &Path, id: Option<RandomId>) -> Result<(), Error> {
        if self.id == id {
            return Ok(());
        }
        let whose = |id: Option<RandomId>| match id {
            Some(id) => format!("of segment {id}"),
            None => "of a segment of an old version, without an id".to_owned(),
        };
        Err(FormatError::misplaced(path, whose(self.id), format!("that {}", whose(id))).into())
    }

    /// What it says about a file of the segment. `path` is its own path.
    pub(crate) fn expected(&self, path: &Path, name: &str) -> Result<Expected, Error> {
        let Some(id) = self.id else { return Ok(Expected::default()) };
        let listed = self.files.get(name);
        let header_crc =
            listed.ok_or_else(|| Error::damaged(path, None, format!("it does not list {name}")))?;
        Ok(Expected { identity: Some(id.file(file_number(name))), header_crc: Some(*header_crc) })
    }
}

/// The codes of a segment.
#[derive(Debug)]
pub(crate) enum CodesData {
    /// Records, concatenated, from the start of a cache line.
    Pinned(AVec<u8>),
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
    graph_pages: PagesData,
    pub(crate) codec: Box<dyn Codec>,
    pub(crate) codes: CodesData,
    vectors: RecordChecksums,
    pinned_vectors: Option<Arc<Vectors>>,
    pub(crate) ids: IdsData,
    ids_pages: PagesData,
    pub(crate) payload: PayloadData,
    payload_pages: PagesData,
    pub(crate) fields: FieldsData,
    fields_pages: PagesData,
}

/// The options for opening a file on a core, by its placement. A cached file is read into the page cache
/// once, when the segment is loaded. If each core did that, searches would wait.
fn placed(options: &OpenOptions, placement: Placement) -> OpenOptions {
    match placement {
        Placement::Cold => options.clone(),
        Placement::Cached | Placement::Pinned => OpenOptions { direct: false, ..options.clone() },
    }
}

/// The options for loading a file. Direct IO is used if requested, unless the file belongs in the page cache.
fn loading(options: &OpenOptions, placement: Placement) -> OpenOptions {
    let access = AccessPattern::Sequential;
    OpenOptions { direct: options.direct && placement != Placement::Cached, access, ..options.clone() }
}

/// Reads a file into the page cache if its placement says so. Call it only once the length of the file is
/// checked.
async fn bring_in(
    backend: &DynBackend,
    path: &Path,
    options: &OpenOptions,
    placement: Placement,
) -> Result<(), Error> {
    if placement != Placement::Cached {
        return Ok(());
    }
    let reader = backend.open(path, &OpenOptions { populate: true, ..loading(options, placement) }).await?;
    let closed = reader.close_dyn().await;
    closed.map_err(|error| DirectoryError::new("close", path, error).into())
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
            Placement::Pinned => CodesData::Pinned(load_codes(&codes, codec.record_bytes(), points).await?),
            Placement::Cold | Placement::Cached => CodesData::OnDisk(codes.file().checksums().clone()),
        };
        codes.close().await?;

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
        for (name, placement) in places {
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
    pub(crate) fn memory_bytes(&self) -> [(&'static str, usize); 6] {
        let codes = match &self.codes {
            CodesData::Pinned(records) => records.len(),
            CodesData::OnDisk(checksums) => checksums.memory_bytes(),
        } + self.codec.model_bytes();
        let pinned = self.pinned_vectors.as_ref().map_or(0, |vectors| vectors.memory_bytes());
        [
            (VECTORS, self.vectors.memory_bytes() + pinned),
            (CODES, codes),
            (GRAPH, self.graph.memory_bytes() + self.graph_pages.memory_bytes()),
            (IDS, self.ids.memory_bytes() + self.ids_pages.memory_bytes()),
            (PAYLOAD, self.payload.memory_bytes() + self.payload_pages.memory_bytes()),
            (FIELDS, self.fields.memory_bytes() + self.fields_pages.memory_bytes()),
        ]
    }
}

async fn close(pages: Pages) -> Result<PagesData, Error> {
    pages.close().await?;
    Ok(pages.data().clone())
}

/// The codec of the schema, if it has no trained model. It needs no file.
pub(crate) fn untrained_codec(schema: &Schema) -> Option<Box<dyn Codec>> {
    from_model(schema.quantization, schema.distance, schema.dim as usize, &[]).ok()
}

/// Reads a trained codec.
pub(crate) async fn trained_codec(pages: &Pages, schema: &Schema) -> Result<Box<dyn Codec>, Error> {
    let model = pages.read_section(0).await?;
    from_model(schema.quantization, schema.distance, schema.dim as usize, &model)
        .map_err(|error| Error::damaged(pages.data().path(), None, error.to_string()))
}

async fn load_codes(file: &Records, record_bytes: usize, points: u32) -> Result<AVec<u8>, Error> {
    const BATCH: usize = 16 << 10;
    let mut records = avec![0; record_bytes * points as usize];
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

/// A segment open on one core.
pub(crate) struct SegmentReader {
    pub(crate) data: Arc<SegmentData>,
    pub(crate) vectors: Originals,
    /// Codes that are not in memory.
    pub(crate) codes: Option<Records>,
    /// Links that are not in memory.
    pub(crate) graph: Option<Pages>,
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
        let graph = match place.graph {
            Placement::Pinned => None,
            placement => Some(pages(GRAPH, placement, &data.graph_pages).await?),
        };
        let ids = pages(IDS, place.ids, &data.ids_pages).await?;
        let payload = pages(PAYLOAD, place.payload, &data.payload_pages).await?;
        let fields = pages(FIELDS, place.indexes, &data.fields_pages).await?;
        Ok(Self { vectors, codes, graph, ids, payload, fields, data })
    }

    /// The number of files of a segment that are open on a core.
    pub(crate) fn files(place: &Placements) -> u64 {
        let on_disk = |placement| u64::from(placement != Placement::Pinned);
        4 + on_disk(place.codes) + on_disk(place.graph)
    }

    /// Waits for what is in flight and closes the files.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.vectors.close().await?;
        if let Some(codes) = &self.codes {
            codes.close().await?;
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
