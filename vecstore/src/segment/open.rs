//! Opening a segment: what all cores share, and what each core has of its own.

use super::component::{Component, Kind};
use super::{CODES, GRAPH, Manifest, SegmentError, VECTORS};
use crate::distance::OriginalScorer;
use crate::hnsw::{Graph, GraphParts, SearchScratch, UpperLevel};
use crate::quantization::{ScalarCodes, ScalarParams};
use half::f16;
use io_core::{
    BackendFactory, BackendInfo, ElementType, OpenOptions, ReadControl, ReadOutcome, VectorFile,
    VectorFileError, VectorReader,
};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The part of a segment that is in memory: codes and graph. Load it once and share it.
#[derive(Debug)]
pub struct SegmentData {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) codes: ScalarCodes,
    pub(super) graph: Graph,
}

impl SegmentData {
    /// Reads manifest, codes and graph, and checks all of them. Call it inside the backend's `run`.
    ///
    /// # Errors
    /// [`SegmentError`], naming the file and what is wrong with it.
    pub async fn load<B: BackendFactory>(
        backend: &B,
        path: &Path,
        options: &OpenOptions,
    ) -> Result<Self, SegmentError> {
        let manifest = Manifest::read(path)?;
        let codes = load_codes(backend, &path.join(CODES), options, manifest.dim).await?;
        let graph = load_graph(backend, &path.join(GRAPH), options).await?;
        let mismatch = |what, found: usize| SegmentError::Mismatch {
            path: path.to_owned(),
            what,
            found: found as u64,
            expected: manifest.count,
        };
        if codes.len() as u64 != manifest.count {
            return Err(mismatch("the number of codes", codes.len()));
        }
        if graph.len() as u64 != manifest.count {
            return Err(mismatch("the number of points in the graph", graph.len()));
        }
        Ok(Self { path: path.to_owned(), manifest, codes, graph })
    }

    /// What the segment holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of memory that codes and graph take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.codes.codes().len() + size_of_val(self.codes.params()) + self.graph.memory_bytes()
    }
}

async fn load_codes<B: BackendFactory>(
    backend: &B,
    path: &Path,
    options: &OpenOptions,
    dim: u32,
) -> Result<ScalarCodes, SegmentError> {
    let component = Component::open(backend.open(path, options).await?, Kind::Codes).await?;
    let codes = component.read::<i8>(0).await?;
    let params = component.read::<ScalarParams>(1).await?;
    component.close().await?;
    ScalarCodes::from_parts(dim as usize, codes, params)
        .map_err(|source| SegmentError::Codes { path: path.to_owned(), source })
}

async fn load_graph<B: BackendFactory>(
    backend: &B,
    path: &Path,
    options: &OpenOptions,
) -> Result<Graph, SegmentError> {
    let component = Component::open(backend.open(path, options).await?, Kind::Graph).await?;
    let meta = component.read::<u64>(0).await?;
    let &[m, entry] = meta.as_slice() else {
        let reason = format!("{} numbers where m and the entry point should be", meta.len());
        return Err(SegmentError::Damaged { path: path.to_owned(), reason });
    };
    let offsets = component.read(1).await?;
    let links = component.read(2).await?;
    let mut upper = Vec::new();
    for first in (3..component.sections()).step_by(3) {
        upper.push(UpperLevel {
            nodes: component.read(first).await?,
            offsets: component.read(first + 1).await?,
            links: component.read(first + 2).await?,
        });
    }
    component.close().await?;
    // Numbers too large for their fields are no valid parts either.
    let parts = GraphParts {
        m: usize::try_from(m).unwrap_or(usize::MAX),
        entry: u32::try_from(entry).unwrap_or(u32::MAX),
        offsets,
        links,
        upper,
    };
    Graph::from_parts(parts).map_err(|source| SegmentError::Graph { path: path.to_owned(), source })
}

/// A segment open on one core: the shared part, and the originals behind a reader of this core.
#[derive(Debug)]
pub struct OpenSegment<R> {
    pub(super) data: Arc<SegmentData>,
    pub(super) originals: Originals<R>,
    /// Memory of searches that ended, for those to come; as many as ever ran at once.
    pub(super) scratch: RefCell<Vec<SearchScratch>>,
}

impl<R: VectorReader> OpenSegment<R> {
    /// Opens the originals. Call it inside the backend's `run`, on the core that is to search.
    ///
    /// # Errors
    /// [`SegmentError`], naming the file and what is wrong with it.
    pub async fn open<B: BackendFactory<Reader = R>>(
        backend: &B,
        data: Arc<SegmentData>,
        options: &OpenOptions,
    ) -> Result<Self, SegmentError> {
        let reader = backend.open(&data.path.join(VECTORS), options).await?;
        let originals = match data.manifest.element {
            ElementType::F32 => Originals::F32(VectorFile::open(reader).await?),
            ElementType::F16 => Originals::F16(VectorFile::open(reader).await?),
            ElementType::U8 => Originals::U8(VectorFile::open(reader).await?),
        };
        let (header, manifest) = (originals.header(), &data.manifest);
        let checks = [
            ("the number of original vectors", header.count, manifest.count),
            ("the dimension of the original vectors", u64::from(header.dim), u64::from(manifest.dim)),
        ];
        for (what, found, expected) in checks {
            if found != expected {
                return Err(SegmentError::Mismatch { path: data.path.clone(), what, found, expected });
            }
        }
        Ok(Self { data, originals, scratch: RefCell::default() })
    }

    /// The shared part.
    pub fn data(&self) -> &Arc<SegmentData> {
        &self.data
    }

    /// What the reader of the originals really uses.
    pub fn info(&self) -> &BackendInfo {
        self.originals.info()
    }

    /// Waits for what is in flight and closes the originals.
    ///
    /// # Errors
    /// What the system says on closing.
    pub async fn close(&self) -> Result<(), SegmentError> {
        let closed = match &self.originals {
            Originals::F32(file) => file.close().await,
            Originals::F16(file) => file.close().await,
            Originals::U8(file) => file.close().await,
        };
        closed.map_err(|error| SegmentError::io("cannot close", &self.data.path.join(VECTORS), error))
    }
}

/// The original vectors, in the type they were given in.
#[derive(Debug)]
pub(super) enum Originals<R> {
    F32(VectorFile<f32, R>),
    F16(VectorFile<f16, R>),
    U8(VectorFile<u8, R>),
}

impl<R: VectorReader> Originals<R> {
    fn header(&self) -> &io_core::VectorFileHeader {
        match self {
            Self::F32(file) => file.header(),
            Self::F16(file) => file.header(),
            Self::U8(file) => file.header(),
        }
    }

    fn info(&self) -> &BackendInfo {
        match self {
            Self::F32(file) => file.reader().info(),
            Self::F16(file) => file.reader().info(),
            Self::U8(file) => file.reader().info(),
        }
    }

    /// Reads the vectors of `points` in one batch and hands `scored(index in points, score)` each as it arrives.
    pub(super) async fn score(
        &self,
        points: &[u32],
        scorer: &OriginalScorer,
        control: &ReadControl,
        mut scored: impl FnMut(usize, f32),
    ) -> Result<ReadOutcome, VectorFileError> {
        let mut go_on = |index, score| {
            scored(index, score);
            ControlFlow::Continue(())
        };
        match self {
            Self::F32(file) => {
                file.read(points, control, |i, vector| go_on(i, scorer.score_f32(vector))).await
            }
            Self::F16(file) => {
                file.read(points, control, |i, vector| go_on(i, scorer.score_f16(vector))).await
            }
            Self::U8(file) => file.read(points, control, |i, vector| go_on(i, scorer.score_u8(vector))).await,
        }
    }
}
