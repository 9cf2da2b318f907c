//! The parsers of bytes from disk and from users, as functions of bytes. Fuzz targets call them, and a test
//! runs a kept corpus through them.
//!
//! For any bytes, no parser may panic, hang, or ask for memory that the input's length does not justify.
//! Checksums would refuse nearly every input, so some targets correct them first.

use crate::collection::fuzzing as manifests;
use crate::error::Error;
use crate::field::{FieldKind, Key};
use crate::filter::Filter;
use crate::immutable::cells::{cell_layout, read_cells};
use crate::immutable::deleted::load_deleted;
use crate::immutable::fields::{FieldsData, FieldsReader};
use crate::immutable::graph::{GraphData, LINKS_SECTION};
use crate::immutable::ids::IdsData;
use crate::immutable::payload::PayloadData;
use crate::immutable::segment::SegmentInfo;
use crate::input::fuzzed_npy;
use crate::point::{Point, PointId};
use crate::schema::Schema;
use io_core::testing::MemoryBackend;
use io_core::{DynBackend, Executor, FileSystem, OpenOptions, ReadControl, ReadStats};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use vecstore_format::RandomId;
use vecstore_format::checked_json;
use vecstore_format::links;
use vecstore_format::log::{LogBytes, LogReader, decode_batch, salvage_log};
use vecstore_format::pages::{Pages, PagesKind, PagesWriter};
use vecstore_format::vector_file::{VECTOR_FILE_FIELDS_BYTES, VectorFile};
use vecstore_index::cells::{CellLayout, CellScratch, CellSearch, CellStep};
use vecstore_index::graph::{
    Candidate, LinkedLayout, LinkedNodes, LinkedScratch, LinkedSearch, LinkedWanted, search_linked_in_memory,
};
use vecstore_quant::Distance;
use vecstore_quant::{Quantization, from_model, train};

const VECTOR_BYTES: usize = 24;

/// A parser and the name of its fuzz target.
pub type Target = (&'static str, fn(&[u8]));

/// Every parser.
pub const TARGETS: [Target; 16] = [
    ("log", log),
    ("log_batch", log_batch),
    ("json", json),
    ("vector_file", vector_file),
    ("graph", graph),
    ("ids", ids),
    ("payload", payload),
    ("fields", fields),
    ("deleted", deleted),
    ("codec", codec),
    ("cells", cells),
    ("linked", linked),
    ("npy", npy),
    ("filter", filter),
    ("point_id", point_id),
    ("points", points),
];

fn path() -> &'static Path {
    Path::new("fuzzed")
}

/// Parses a whole log, unchanged.
pub fn log(bytes: &[u8]) {
    if let Ok(Some(mut log)) = LogReader::begin(LogBytes::of(path(), bytes), VECTOR_BYTES) {
        while let Ok(Some(_)) = log.next_batch() {}
    }
    if let Ok(mut log) = salvage_log(LogBytes::of(path(), bytes), VECTOR_BYTES) {
        for batch in std::mem::take(&mut log.batches) {
            let _ = log.points(batch);
        }
    }
}

/// Parses the body of a record.
pub fn log_batch(bytes: &[u8]) {
    let _ = decode_batch(bytes, VECTOR_BYTES);
}

/// Parses a manifest or a `segment.json`, unchanged and with a correct checksum.
pub fn json(bytes: &[u8]) {
    let right = checked_json::with_crc(bytes);
    for bytes in [bytes, &right] {
        manifests::manifest(path(), bytes);
        let _ = SegmentInfo::decode(path(), bytes);
    }
}

/// Parses a file of vectors, unchanged and with correct checksums.
pub fn vector_file(bytes: &[u8]) {
    let mut right = bytes.to_vec();
    // The place of the checksum depends on the version.
    let crc_at = if bytes.get(8) == Some(&2) { 56 } else { VECTOR_FILE_FIELDS_BYTES - 4 };
    if let Some(header) = right.get_mut(..crc_at + 4) {
        let crc = crc32fast::hash(&header[..crc_at]);
        header[crc_at..].copy_from_slice(&crc.to_le_bytes());
    }
    for bytes in [bytes, &right] {
        on_file(bytes, async |backend| {
            let reader = backend.open(path(), &OpenOptions::default()).await?;
            let file = match VectorFile::open(reader).await {
                Ok(file) => file,
                Err(_) => {
                    let reader = backend.open(path(), &OpenOptions::default()).await?;
                    VectorFile::open_unchecked(reader).await?
                }
            };
            let last = file.header().count.saturating_sub(1) as u32;
            let sink = |_, _: &[u8]| ControlFlow::Continue(());
            let _ = file.read(&[0, last], &ReadControl::default(), sink).await;
            file.verify(&ReadControl::default(), |_| ControlFlow::Continue(())).await?;
            Ok(())
        });
    }
}

/// Runs `act` on a file in memory, and ignores its result.
fn on_file(bytes: &[u8], act: impl AsyncFnOnce(DynBackend) -> Result<(), Error>) {
    let memory = MemoryBackend::new(0);
    memory.put(path(), bytes.to_vec());
    let backend = DynBackend::new(memory);
    let _ = backend.run(|| act(backend.clone())).expect("memory has an executor");
}

/// Opens the bytes as a file of pages, unchanged. Then takes the bytes as lengths and contents of sections,
/// and opens a sound file of pages with those sections.
fn on_pages(bytes: &[u8], kind: PagesKind, act: impl AsyncFn(Pages) -> Result<(), Error>) {
    on_file(bytes, async |backend| {
        let reader = backend.open(path(), &OpenOptions::default()).await?;
        act(Pages::open_any(reader, kind).await?).await
    });
    let backend = DynBackend::new(MemoryBackend::new(0));
    let written = async {
        let writer = backend.create(path(), &OpenOptions::default()).await?;
        let mut pages = PagesWriter::new(writer, kind, RandomId([1; 16]).file(0));
        let mut rest = bytes;
        while let Some((len, after)) = rest.split_first_chunk::<2>() {
            let len = usize::from(u16::from_le_bytes(*len)).min(after.len());
            pages.begin_section().await?;
            pages.write(&after[..len]).await?;
            rest = &after[len..];
            if pages.sections() == 40 {
                break;
            }
        }
        pages.finish().await?;
        let reader = backend.open(path(), &OpenOptions::default()).await?;
        act(Pages::open_any(reader, kind).await?).await
    };
    let _: Result<(), Error> = backend.run(|| written).expect("memory has an executor");
}

/// Parses a codec's model, after a byte each for method, distance and dimension. Then scores records.
pub fn codec(bytes: &[u8]) {
    let Some((&[method, distance, dim], rest)) = bytes.split_first_chunk() else { return };
    let method = Quantization::ALL[usize::from(method) % Quantization::ALL.len()];
    let distance = Distance::ALL[usize::from(distance) % Distance::ALL.len()];
    let dim = usize::from(dim) + 1;
    let one_centre = train(method, distance, dim, &[], 0, 0).model_bytes();
    // Rotated codes may have further centres. Their number follows.
    for model_bytes in [one_centre, one_centre + 8 + 3 * 4 * dim] {
        let (model, records) = rest.split_at_checked(model_bytes).unwrap_or((rest, &[]));
        let mut model = model.to_vec();
        if let Some(count) = model.get_mut(one_centre..one_centre + 8) {
            count.copy_from_slice(&3u64.to_le_bytes());
        }
        let Ok(codec) = from_model(method, distance, dim, &model) else { continue };
        let scorer = codec.query(&vec![0.5; dim]);
        for record in records.chunks_exact(codec.record_bytes()).take(100) {
            let score = scorer.score(record);
            let _ = scorer.bound(record, score);
        }
    }
}

/// Linked records, after a byte each for distance, dimension and most links. Then a walk over them that knows
/// no other scores.
pub fn linked(bytes: &[u8]) {
    let Some((&[distance, dim, links_max], records)) = bytes.split_first_chunk() else { return };
    let distance = Distance::ALL[usize::from(distance) % Distance::ALL.len()];
    let dim = usize::from(dim) + 1;
    let layout = LinkedLayout::new(distance, dim, usize::from(links_max), 0);
    let records: Vec<&[u8]> = records.chunks_exact(layout.record_bytes()).take(100).collect();
    let points = records.len() as u32;
    if records.iter().any(|record| layout.check(record, points).is_err()) {
        return;
    }
    let scorer = layout.query(&vec![0.5; dim]);
    let entry = Candidate { id: 0, score: 0.0 };
    let (mut scratch, mut nodes) = (LinkedScratch::new(), Nodes(records));
    let wanted = LinkedWanted::new(points as usize, 5, 10);
    let found =
        search_linked_in_memory(&layout, &mut nodes, &scorer, &mut scratch, wanted, &[entry], || false);
    assert!(found.is_ok_and(|found| found.len() <= 10));
    let is_even = |node| node % 2 == 0;
    let mut search = LinkedSearch::new(&mut scratch, wanted.combining().among(is_even, 1.5), &[entry]);
    let mut taken = vec![false; points as usize];
    while let Some(node) = search.next() {
        assert!(!std::mem::replace(&mut taken[node as usize], true), "a node is taken once");
        let score = nodes.score(node);
        search.expand(&layout, &scorer, node, nodes.record(node), score);
    }
    let found = search.finish();
    assert!(found.len() <= 10 && found.iter().all(|found| is_even(found.id)));
}

/// Records of nodes. The score of a node is its number.
struct Nodes<'a>(Vec<&'a [u8]>);

impl LinkedNodes for Nodes<'_> {
    fn record(&self, node: u32) -> &[u8] {
        self.0[node as usize]
    }

    fn score(&mut self, node: u32) -> f32 {
        node as f32
    }
}

/// `graph.pages`.
pub fn graph(bytes: &[u8]) {
    on_pages(bytes, PagesKind::Graph, async |pages| {
        let cold = GraphData::load(&pages, false).await?;
        let mut links = Vec::new();
        for point in (0..cold.len()).take(100) {
            let range = cold.record_range(point);
            let sink = |_: usize, record: &[u8]| {
                let _ = links::decode(record, cold.len(), &mut links);
                Ok(())
            };
            let _ = pages.read(LINKS_SECTION, &[range], &ReadControl::default(), sink).await;
        }
        GraphData::load(&pages, true).await.map(drop)
    });
}

/// `cells.pages`, with three components a vector. Then a search over the cells, whose codes are the same
/// bytes again and again.
pub fn cells(bytes: &[u8]) {
    const POINTS_MAX: u32 = 10_000;
    on_pages(bytes, PagesKind::Cells, async |pages| {
        let schema = Schema::new(3);
        let map = read_cells(&pages, &schema).await?;
        if map.is_empty() || map.parts().ends.last().is_some_and(|&end| end > POINTS_MAX) {
            return Ok(());
        }
        let (layout, query) = (cell_layout(&schema), [0.6, 0.0, 0.8]);
        let (scorer, is_even) = (layout.query(&query), |point| point % 2 == 0);
        let mut scratch = CellScratch::new();
        let mut search = CellSearch::new(&mut scratch, &map, &query, (5, 10, 2), |_| true, is_even);
        let mut taken = BTreeSet::new();
        loop {
            match search.next() {
                CellStep::Scan(cell) => {
                    let blocks = CellLayout::blocks(map.points(cell).len() as u32) as usize;
                    let codes: Vec<u8> =
                        bytes.iter().copied().cycle().take(blocks * layout.block_bytes()).collect();
                    search.scan(&layout, &scorer, cell, map.score(&query, cell), &codes);
                }
                CellStep::Score(point) => {
                    assert!(taken.insert(point), "a point is taken once");
                    search.scored(point, point as f32);
                }
                CellStep::Done => break,
            }
        }
        let found = search.finish();
        assert!(found.len() <= 10 && found.iter().all(|found| is_even(found.id)));
        Ok(())
    });
}

/// `ids.pages`.
pub fn ids(bytes: &[u8]) {
    on_pages(bytes, PagesKind::Ids, async |pages| {
        let ids = IdsData::load(&pages).await?;
        let (control, mut stats) = (ReadControl::default(), ReadStats::default());
        let some: Vec<PointId> =
            (0..20).flat_map(|id| [PointId::Num(id), PointId::Uuid(u128::from(id))]).collect();
        let _ = ids.find(&pages, &some, &control, &mut stats).await;
        for after in [None, Some(PointId::Num(3)), Some(PointId::Uuid(3))] {
            let _ = ids.in_order(&pages, after, 50, &control, &mut stats).await;
        }
        let points: Vec<u32> = (0..ids.len().min(100) as u32).collect();
        ids.ids_of(&pages, &points, &control, &mut stats).await.map(drop)
    });
}

/// `payload.pages`.
pub fn payload(bytes: &[u8]) {
    on_pages(bytes, PagesKind::Payload, async |pages| {
        let payload = PayloadData::load(&pages).await?;
        for point in (0..payload.len() as u32).take(100) {
            let mut stats = ReadStats::default();
            let _ = payload.read(&pages, &[point], &ReadControl::default(), &mut stats).await;
        }
        Ok(())
    });
}

/// `fields.pages` with a keyword and an integer.
pub fn fields(bytes: &[u8]) {
    let indexes: BTreeMap<String, FieldKind> =
        [("a".to_owned(), FieldKind::Keyword), ("b".to_owned(), FieldKind::Integer)].into();
    on_pages(bytes, PagesKind::Fields, async |pages| {
        // The number of points normally comes from elsewhere. Here the file gives it.
        let meta: Vec<u64> = pages.read_array(0).await?;
        let points = meta.first().map_or(0, |&points| points.min(1 << 20) as u32);
        let data = FieldsData::load(&pages, &indexes, points).await?;
        let control = ReadControl::default();
        let reader = FieldsReader { data: &data, pages: &pages, control: &control };
        let mut stats = ReadStats::default();
        let terms = [Key::Term(b"".as_slice().into()), Key::Term(b"k1".as_slice().into())];
        let _ = reader.any("a", &terms, None, &mut stats).await;
        let _ = reader.except("a", &terms, &mut stats).await;
        let _ = reader.all_terms("a", &mut stats).await;
        let _ = reader.range("b", 5, u64::MAX, &mut stats).await;
        reader.counts("b", reader.present("a"), &mut stats).await.map(drop)
    });
}

/// `deleted-*.pages`.
pub fn deleted(bytes: &[u8]) {
    on_pages(bytes, PagesKind::Deleted, async |pages| {
        let meta: Vec<u64> = pages.read_array(0).await?;
        let points = meta.first().map_or(0, |&points| points as u32);
        load_deleted(&pages, points).await.map(drop)
    });
}

/// A `.npy` file.
pub fn npy(bytes: &[u8]) {
    fuzzed_npy(path(), bytes);
}

/// Parses a filter as JSON, with indexes of each kind. A parsed filter survives printing and parsing.
pub fn filter(bytes: &[u8]) {
    let Ok(filter) = serde_json::from_slice::<Filter>(bytes) else { return };
    let printed = serde_json::to_string(&filter).expect("it was JSON");
    assert_eq!(serde_json::from_str::<Filter>(&printed).expect("it was just printed"), filter);
    use FieldKind::{Bool, Datetime, Float, Integer, Keyword, Uuid};
    for (a, b) in [(Keyword, Float), (Integer, Bool), (Datetime, Uuid)] {
        let _ = filter.check(&[("a".to_owned(), a), ("b".to_owned(), b)].into());
    }
}

/// Parses the id of a point, as text and as JSON. A parsed id survives printing and parsing.
pub fn point_id(bytes: &[u8]) {
    let as_text = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<PointId>().ok());
    let as_json = serde_json::from_slice::<PointId>(bytes).ok();
    for id in as_text.into_iter().chain(as_json) {
        assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_vec(&id).expect("ids are JSON");
        assert_eq!(serde_json::from_slice::<PointId>(&json).expect("it was just printed"), id);
    }
}

/// Parses points as JSON lines. A parsed point survives printing and parsing, unless it has numbers that JSON
/// cannot express.
pub fn points(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(point) = serde_json::from_slice::<Point>(line) else { continue };
        if point.vector.iter().all(|component| component.is_finite()) {
            let printed = serde_json::to_string(&point).expect("it was JSON");
            assert_eq!(serde_json::from_str::<Point>(&printed).expect("it was just printed"), point);
        }
    }
}
