//! Immutable structures in memory, for the bench that compares them with their mutable twins.

use crate::background::pool;
use crate::error::Error;
use crate::field::{FieldKind, Key};
use crate::immutable::fields::{FieldBuilder, FieldsData, FieldsReader, write_fields};
use crate::immutable::graph::{GraphData, LINKS_SECTION, write_graph};
use crate::immutable::ids::{IdsData, write_ids};
use crate::mutable::fields::MutableField;
use crate::point::PointId;
use io_core::{DynBackend, FileSystem, OpenOptions, ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::path::Path;
use vecstore_format::RandomId;
use vecstore_format::links;
use vecstore_format::pages::{Pages, PagesKind, PagesWriter};
use vecstore_format::perfect_hash::PerfectHash;
use vecstore_format::postings;
use vecstore_index::graph::GraphParts;

/// The perfect hash of number ids, and the slots.
#[derive(Debug)]
pub struct HashedIds {
    hash: PerfectHash,
    slots: Vec<(u64, u32)>,
}

impl HashedIds {
    /// Builds the hash of distinct ids. The point of an id is its index.
    ///
    /// # Panics
    /// If an id occurs twice.
    #[must_use]
    pub fn build(ids: &[u64]) -> Self {
        let hash = PerfectHash::build(ids, 0).expect("ids are all different");
        let mut slots = vec![(0, 0); ids.len()];
        for (&id, point) in ids.iter().zip(0..) {
            slots[hash.slot(&id).expect("a key it was built from") as usize] = (id, point);
        }
        Self { hash, slots }
    }

    /// The point of an id.
    #[must_use]
    #[inline]
    pub fn get(&self, id: u64) -> Option<u32> {
        let (found, point) = *self.slots.get(self.hash.slot(&id)? as usize)?;
        (found == id).then_some(point)
    }

    /// Length of the hash alone, in bytes.
    #[must_use]
    pub fn hash_bytes(&self) -> usize {
        self.hash.memory_bytes()
    }
}

async fn open(backend: &DynBackend, path: &Path, kind: PagesKind, pinned: bool) -> Result<Pages, Error> {
    let mut pages = Pages::open_any(backend.open(path, &OpenOptions::default()).await?, kind).await?;
    if pinned {
        pages.pin().await?;
    }
    Ok(pages)
}

/// A segment's file of ids, on a disk.
pub struct IdFile {
    data: IdsData,
    pages: Pages,
}

impl IdFile {
    /// Writes the ids to a new file. Call it inside the backend's `run`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn write(backend: &DynBackend, path: &Path, ids: &[PointId]) -> Result<(), Error> {
        let writer = backend.create(path, &OpenOptions::default()).await?;
        write_ids(PagesWriter::new(writer, PagesKind::Ids, RandomId::random().file(0)), ids, pool()?)
            .await
            .map(drop)
    }

    /// Opens the file. If `pinned`, reads its pages into memory.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn open(backend: &DynBackend, path: &Path, pinned: bool) -> Result<Self, Error> {
        let pages = open(backend, path, PagesKind::Ids, pinned).await?;
        Ok(Self { data: IdsData::load(&pages).await?, pages })
    }

    /// Finds the points of ids, in one batch.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn find(&self, ids: &[PointId]) -> Result<Vec<Option<u32>>, Error> {
        let mut stats = ReadStats::default();
        self.data.find(&self.pages, ids, &ReadControl::default(), &mut stats).await
    }
}

impl std::fmt::Debug for IdFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdFile").field("ids", &self.data.len()).finish()
    }
}

/// The value of a field.
#[derive(Clone, Debug)]
pub struct FieldKey(Key);

impl FieldKey {
    /// A number.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self(Key::Number(number))
    }

    /// A keyword.
    #[must_use]
    pub fn keyword(keyword: &str) -> Self {
        Self(Key::Term(keyword.as_bytes().into()))
    }
}

const FIELD: &str = "field";

/// A segment's index file of one field, on a disk: a sorted table of numbers, or packed postings of keywords.
pub struct FieldFile {
    data: FieldsData,
    pages: Pages,
}

impl FieldFile {
    /// Writes the value of each point to a new file. Call it inside the backend's `run`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn write(
        backend: &DynBackend,
        path: &Path,
        kind: FieldKind,
        values: &[FieldKey],
    ) -> Result<(), Error> {
        let mut builder = FieldBuilder::default();
        for (value, point) in values.iter().zip(0..) {
            builder.push(point, [value.0.clone()]);
        }
        let writer = backend.create(path, &OpenOptions::default()).await?;
        let pages = PagesWriter::new(writer, PagesKind::Fields, RandomId::random().file(0));
        write_fields(pages, vec![(kind, builder)], values.len() as u64, |point| point).await.map(drop)
    }

    /// Opens the file. If `pinned`, reads its pages into memory.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn open(
        backend: &DynBackend,
        path: &Path,
        kind: FieldKind,
        points: u32,
        pinned: bool,
    ) -> Result<Self, Error> {
        let pages = open(backend, path, PagesKind::Fields, pinned).await?;
        let indexes = [(FIELD.to_owned(), kind)].into();
        Ok(Self { data: FieldsData::load(&pages, &indexes, points).await?, pages })
    }

    /// The points with a value.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn points(&self, value: &FieldKey) -> Result<RoaringBitmap, Error> {
        let control = ReadControl::default();
        let reader = FieldsReader { data: &self.data, pages: &self.pages, control: &control };
        reader.any(FIELD, std::slice::from_ref(&value.0), None, &mut ReadStats::default()).await
    }

    /// The points with a number from `low` to `high`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn range(&self, low: u64, high: u64) -> Result<RoaringBitmap, Error> {
        let control = ReadControl::default();
        let reader = FieldsReader { data: &self.data, pages: &self.pages, control: &control };
        reader.range(FIELD, low, high, &mut ReadStats::default()).await
    }
}

impl std::fmt::Debug for FieldFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FieldFile").finish_non_exhaustive()
    }
}

/// The mutable segment's index of a field: a B-tree from values to bitmaps of points.
#[derive(Debug)]
pub struct FieldTree(MutableField);

impl FieldTree {
    /// Builds the index from the value of each point.
    #[must_use]
    pub fn build(values: &[FieldKey]) -> Self {
        let mut field = MutableField::default();
        for (value, point) in values.iter().zip(0..) {
            field.insert(point, std::slice::from_ref(&value.0));
        }
        Self(field)
    }

    /// The points with a value.
    #[must_use]
    pub fn points(&self, value: &FieldKey) -> RoaringBitmap {
        self.0.any(std::slice::from_ref(&value.0))
    }

    /// The points with a number from `low` to `high`.
    #[must_use]
    pub fn range(&self, low: u64, high: u64) -> RoaringBitmap {
        self.0.range(low, high)
    }
}

/// Bit-packed postings.
#[derive(Clone, Debug)]
pub struct PackedPostings {
    bytes: Vec<u8>,
    count: usize,
}

impl PackedPostings {
    /// Packs ascending numbers.
    #[must_use]
    pub fn build(numbers: &[u32]) -> Self {
        Self { bytes: postings::encode(numbers), count: numbers.len() }
    }

    /// Their length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn parsed(&self) -> postings::Postings<'_> {
        postings::Postings::parse(&self.bytes, self.count).expect("just encoded")
    }

    /// Decodes all numbers.
    ///
    /// # Panics
    /// Never: the bytes were encoded here.
    #[must_use]
    pub fn to_bitmap(&self) -> RoaringBitmap {
        self.parsed().to_bitmap().expect("just encoded")
    }

    /// The numbers that are also in `set`.
    ///
    /// # Panics
    /// Never: the bytes were encoded here.
    #[must_use]
    pub fn intersect(&self, set: &RoaringBitmap) -> RoaringBitmap {
        self.parsed().intersect(set).expect("just encoded")
    }
}

/// Compressed links, as in a file.
#[derive(Debug)]
pub struct PackedLinks {
    graph: GraphData,
    records: Vec<u8>,
}

impl PackedLinks {
    /// Packs the links of a graph. Call it inside the backend's `run`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn build(backend: &DynBackend, path: &Path, graph: &GraphParts) -> Result<Self, Error> {
        let writer = backend.create(path, &OpenOptions::default()).await?;
        write_graph(PagesWriter::new(writer, PagesKind::Graph, RandomId::random().file(0)), graph).await?;
        let pages = open(backend, path, PagesKind::Graph, false).await?;
        let records = pages.read_section(LINKS_SECTION).await?;
        Ok(Self { graph: GraphData::load(&pages, false).await?, records })
    }

    /// The links of a point on level 0.
    ///
    /// # Panics
    /// If there is no such point.
    #[inline]
    pub fn links(&self, point: u32, links: &mut Vec<u32>) {
        let range = self.graph.record_range(point);
        let record = &self.records[range.start as usize..range.end as usize];
        links::decode(record, self.graph.len(), links).expect("just written");
    }
}
