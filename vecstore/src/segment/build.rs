//! Building a segment: originals to disk as they come, codes beside them, then the graph over the codes' vectors.
//!
//! Everything is written into a directory beside the target, under another name, and renamed when it is durable: a build
//! that is stopped, fails or is killed leaves no segment, and an error removes what it wrote.

use super::component::{Kind, write_component};
use super::{CODES, GRAPH, Manifest, SegmentError, VECTORS};
use crate::distance::Distance;
use crate::hnsw::{BuildError, Graph, HnswParams, build as build_graph};
use crate::input::{Rows, VectorSource};
use crate::quantization::{CodeScores, ScalarCodes};
use half::f16;
use io_core::{BackendFactory, Element, ElementType, OpenOptions, StopFlag, VectorFileWriter};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Vectors read, encoded and written at a time.
const BLOCK_ROWS: usize = 1024;

/// How a segment is built.
#[derive(Clone, Debug)]
pub struct BuildParams {
    /// How vectors are compared.
    pub distance: Distance,
    /// How the graph is built.
    pub hnsw: HnswParams,
    /// How the files are written.
    pub open: OpenOptions,
}

impl Default for BuildParams {
    /// Cosine, `m` 16, `ef_construct` 128, buffered files.
    fn default() -> Self {
        Self { distance: Distance::Cosine, hnsw: HnswParams::default(), open: OpenOptions::default() }
    }
}

/// What a build is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildStage {
    /// Reading, encoding and writing vectors.
    Vectors,
    /// Building the graph.
    Graph,
    /// Writing codes and graph.
    Files,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildProgress {
    /// What it is at.
    pub stage: BuildStage,
    /// Points done in this stage.
    pub done: u64,
    /// Points in all.
    pub total: u64,
}

/// Builds the segment `path` from all vectors of `source`. The same vectors and parameters give the same files, whatever
/// the backend and the number of cores.
///
/// # Errors
/// [`SegmentError`]; nothing is left behind. [`SegmentError::Stopped`] once `stop` is raised.
pub fn build_segment<B: BackendFactory, S: VectorSource>(
    backend: &B,
    source: &mut S,
    path: &Path,
    params: &BuildParams,
    progress: &(dyn Fn(BuildProgress) + Sync),
    stop: &StopFlag,
) -> Result<Manifest, SegmentError> {
    params.hnsw.check().map_err(BuildError::from)?;
    let total = source.count();
    if total == 0 {
        return Err(SegmentError::Empty { path: source.name().to_owned() });
    }
    if total > u64::from(u32::MAX) {
        let points = usize::try_from(total).unwrap_or(usize::MAX);
        return Err(BuildError::TooManyPoints { points }.into());
    }
    let staging = Staging::new(path)?;
    let report = |stage, done| progress(BuildProgress { stage, done, total });

    let codes = backend.run(|| async {
        match source.element() {
            ElementType::F32 => {
                write_vectors::<f32, _, _>(backend, source, &staging, params, &report, stop).await
            }
            ElementType::F16 => {
                write_vectors::<f16, _, _>(backend, source, &staging, params, &report, stop).await
            }
            ElementType::U8 => {
                write_vectors::<u8, _, _>(backend, source, &staging, params, &report, stop).await
            }
        }
    })??;
    let scores = CodeScores::new(params.distance, &codes);
    let built = build_graph(&scores, &params.hnsw, &|done| report(BuildStage::Graph, done as u64), &|| {
        stop.is_stopped()
    });
    let graph = built.map_err(|error| match error {
        BuildError::Stopped { .. } => SegmentError::Stopped,
        other => other.into(),
    })?;
    report(BuildStage::Files, 0);
    backend.run(|| write_memory_parts(backend, &staging.dir, params, &codes, &graph))??;
    let manifest = Manifest {
        count: total,
        dim: source.dim() as u32,
        element: source.element(),
        distance: params.distance,
        hnsw: params.hnsw,
    };
    manifest.write(&staging.dir)?;
    report(BuildStage::Files, total);
    if stop.is_stopped() {
        return Err(SegmentError::Stopped);
    }
    staging.publish()?;
    Ok(manifest)
}

/// Writes the originals as they come and returns the codes of all.
async fn write_vectors<T, B, S>(
    backend: &B,
    source: &mut S,
    staging: &Staging,
    params: &BuildParams,
    report: &(dyn Fn(BuildStage, u64) + Sync),
    stop: &StopFlag,
) -> Result<ScalarCodes, SegmentError>
where
    T: Original,
    B: BackendFactory,
    S: VectorSource,
{
    let (dim, total) = (source.dim(), source.count());
    let writer = backend.create(&staging.dir.join(VECTORS), &params.open).await?;
    let mut originals = VectorFileWriter::<T, _>::new(writer, dim as u32)?;
    let mut codes = ScalarCodes::new(dim)
        .map_err(|source| SegmentError::Codes { path: staging.dir.join(CODES), source })?;
    codes.reserve_exact(total as usize);
    let mut prepared = Vec::with_capacity(BLOCK_ROWS * dim);
    let mut done = 0;
    while done < total {
        if stop.is_stopped() {
            return Err(SegmentError::Stopped);
        }
        let rows = T::rows(source.next_rows(BLOCK_ROWS)?);
        prepared.clear();
        for row in rows.chunks_exact(dim) {
            let start = prepared.len();
            prepared.extend(row.iter().map(|&component| component.to_f32()));
            params.distance.prepare(&mut prepared[start..]);
            originals.push(row).await?;
        }
        codes.extend(&prepared);
        done += (rows.len() / dim) as u64;
        report(BuildStage::Vectors, done);
    }
    originals.finish().await?;
    Ok(codes)
}

/// Writes codes and graph.
async fn write_memory_parts<B: BackendFactory>(
    backend: &B,
    dir: &Path,
    params: &BuildParams,
    codes: &ScalarCodes,
    graph: &Graph,
) -> Result<(), SegmentError> {
    let writer = backend.create(&dir.join(CODES), &params.open).await?;
    let sections: [&[u8]; 2] = [bytemuck::cast_slice(codes.codes()), bytemuck::cast_slice(codes.params())];
    write_component(writer, Kind::Codes, &sections).await?;

    let parts = graph.parts();
    let meta = [parts.m as u64, u64::from(parts.entry)];
    let mut sections: Vec<&[u8]> = vec![
        bytemuck::cast_slice(&meta),
        bytemuck::cast_slice(&parts.offsets),
        bytemuck::cast_slice(&parts.links),
    ];
    for level in &parts.upper {
        sections.push(bytemuck::cast_slice(&level.nodes));
        sections.push(bytemuck::cast_slice(&level.offsets));
        sections.push(bytemuck::cast_slice(&level.links));
    }
    let writer = backend.create(&dir.join(GRAPH), &params.open).await?;
    write_component(writer, Kind::Graph, &sections).await
}

/// A component type of the originals.
trait Original: Element {
    fn to_f32(self) -> f32;
    /// The rows, which are of this type: the source said so.
    fn rows(rows: Rows<'_>) -> &[Self];
}

macro_rules! original {
    ($type:ty, $variant:ident, $to_f32:expr) => {
        impl Original for $type {
            fn to_f32(self) -> f32 {
                $to_f32(self)
            }

            fn rows(rows: Rows<'_>) -> &[Self] {
                match rows {
                    Rows::$variant(rows) => rows,
                    _ => unreachable!("a source gives rows of the element type it names"),
                }
            }
        }
    };
}

original!(f32, F32, std::convert::identity);
original!(f16, F16, f16::to_f32);
original!(u8, U8, f32::from);

/// The directory a segment is built in. Dropped before it is published, it is removed.
struct Staging {
    dir: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Staging {
    fn new(target: &Path) -> Result<Self, SegmentError> {
        if target.symlink_metadata().is_ok() {
            return Err(SegmentError::Exists { path: target.to_owned() });
        }
        let Some(name) = target.file_name() else {
            let error = std::io::Error::from(std::io::ErrorKind::InvalidInput);
            return Err(SegmentError::io("cannot create", target, error));
        };
        let mut staged: OsString = name.to_owned();
        staged.push(format!(".building-{}", std::process::id()));
        let dir = target.with_file_name(staged);
        std::fs::create_dir(&dir).map_err(|error| SegmentError::io("cannot create", &dir, error))?;
        Ok(Self { dir, target: target.to_owned(), published: false })
    }

    /// Gives the durable directory its name, durably.
    fn publish(mut self) -> Result<(), SegmentError> {
        sync_dir(&self.dir)?;
        // A directory that somebody made meanwhile is not replaced: rename fails unless it is empty.
        std::fs::rename(&self.dir, &self.target).map_err(|error| {
            SegmentError::io("cannot rename the finished segment to", &self.target, error)
        })?;
        self.published = true;
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // The error that led here is the one to report.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<(), SegmentError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| SegmentError::io("cannot sync", dir, error))
}

/// Elsewhere directories cannot be synced; renames are as durable as the system makes them.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> Result<(), SegmentError> {
    Ok(())
}
