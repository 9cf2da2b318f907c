//! Immutable structures with everything in memory, for the bench that compares them with their mutable twins.

use crate::error::Error;
use crate::hnsw::GraphParts;
use crate::immutable::graph::{GraphData, LINKS_SECTION, decode_links, write_graph};
use crate::immutable::ids::{IdsData, write_ids};
use crate::immutable::perfect_hash::PerfectHash;
use crate::immutable::postings;
use crate::pages::{Pages, PagesKind, PagesWriter};
use crate::point::PointId;
use io_core::{BackendFactory, DynBackend, OpenOptions, ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::path::Path;

/// The perfect hash and the slots of numbers.
#[derive(Debug)]
pub struct HashedIds {
    hash: PerfectHash,
    slots: Vec<(u64, u32)>,
}

impl HashedIds {
    /// Of ids that are all different; their points are their places.
    ///
    /// # Panics
    /// When an id is there twice.
    #[must_use]
    pub fn build(ids: &[u64]) -> Self {
        let hash = PerfectHash::build(ids).expect("ids are all different");
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

    /// Bytes of the hash, and of a slot on disk.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        (self.hash.memory_bytes(), self.slots.len() * 12)
    }
}

/// The file of ids as a segment has it, on a disk.
pub struct IdFile {
    data: IdsData,
    pages: Pages,
}

impl IdFile {
    /// Writes the ids to a file and opens it. Call it inside the backend's `run`.
    ///
    /// # Errors
    /// What keeps the file from being written.
    pub async fn build(backend: &DynBackend, path: &Path, ids: &[u64], pinned: bool) -> Result<Self, Error> {
        let options = OpenOptions::default();
        if !path.exists() {
            let ids: Vec<PointId> = ids.iter().copied().map(PointId::Num).collect();
            write_ids(PagesWriter::new(backend.create(path, &options).await?, PagesKind::Ids), &ids).await?;
        }
        let mut pages = Pages::open(backend.open(path, &options).await?, PagesKind::Ids).await?;
        if pinned {
            pages.pin().await?;
        }
        Ok(Self { data: IdsData::load(&pages).await?, pages })
    }

    /// The points of ids, in one batch.
    ///
    /// # Errors
    /// What keeps the file from being read.
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

/// Bit-packed postings.
#[derive(Clone, Debug)]
pub struct PackedPostings {
    bytes: Vec<u8>,
    count: usize,
}

impl PackedPostings {
    /// Of ascending numbers.
    #[must_use]
    pub fn build(numbers: &[u32]) -> Self {
        Self { bytes: postings::encode(numbers), count: numbers.len() }
    }

    /// Bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn parsed(&self) -> postings::Postings<'_> {
        postings::Postings::parse(&self.bytes, self.count).expect("just encoded")
    }

    /// All of them.
    ///
    /// # Panics
    /// Never: they were just encoded.
    #[must_use]
    pub fn to_bitmap(&self) -> RoaringBitmap {
        self.parsed().to_bitmap().expect("just encoded")
    }

    /// Those that are in a set too.
    ///
    /// # Panics
    /// Never: they were just encoded.
    #[must_use]
    pub fn intersect(&self, set: &RoaringBitmap) -> RoaringBitmap {
        self.parsed().intersect(set).expect("just encoded")
    }
}

/// Compressed links, as they are in a file.
#[derive(Debug)]
pub struct PackedLinks {
    graph: GraphData,
    records: Vec<u8>,
}

impl PackedLinks {
    /// Of a graph. Call it inside the backend's `run`.
    ///
    /// # Errors
    /// What keeps the file from being written.
    pub async fn build(backend: &DynBackend, path: &Path, graph: &GraphParts) -> Result<Self, Error> {
        let options = OpenOptions::default();
        write_graph(PagesWriter::new(backend.create(path, &options).await?, PagesKind::Graph), graph).await?;
        let pages = Pages::open(backend.open(path, &options).await?, PagesKind::Graph).await?;
        let records = pages.read_section(LINKS_SECTION).await?;
        Ok(Self { graph: GraphData::load(&pages, false).await?, records })
    }

    /// The links of a point on level 0.
    ///
    /// # Panics
    /// When there is no such point.
    #[inline]
    pub fn links(&self, point: u32, links: &mut Vec<u32>) {
        let range = self.graph.record_range(point);
        let record = &self.records[range.start as usize..range.end as usize];
        decode_links(record, self.graph.len(), links).expect("just written");
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.graph.memory_bytes() + self.records.len()
    }
}
