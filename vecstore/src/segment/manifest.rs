//! The manifest: what a segment holds and how it was built, in JSON, for programs and people.

use super::{MANIFEST, SegmentError};
use crate::distance::Distance;
use crate::hnsw::HnswParams;
use io_core::ElementType;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

const FORMAT: &str = "vecstore segment";
const VERSION: u32 = 1;

/// What a segment holds and how it was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Vectors.
    pub count: u64,
    /// Components of a vector.
    pub dim: u32,
    /// How the originals are stored.
    pub element: ElementType,
    /// How vectors are compared.
    pub distance: Distance,
    /// How the graph was built.
    pub hnsw: HnswParams,
}

/// The manifest as it is written.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: String,
    version: u32,
    count: u64,
    dim: u32,
    element: String,
    distance: String,
    quantization: String,
    hnsw_m: usize,
    hnsw_ef_construct: usize,
    hnsw_seed: u64,
}

const QUANTIZATION: &str = "int8";

impl Manifest {
    /// Writes it durably into the segment's directory.
    pub(super) fn write(&self, segment: &Path) -> Result<(), SegmentError> {
        let on_disk = OnDisk {
            format: FORMAT.into(),
            version: VERSION,
            count: self.count,
            dim: self.dim,
            element: self.element.to_string(),
            distance: self.distance.to_string(),
            quantization: QUANTIZATION.into(),
            hnsw_m: self.hnsw.m,
            hnsw_ef_construct: self.hnsw.ef_construct,
            hnsw_seed: self.hnsw.seed,
        };
        let path = segment.join(MANIFEST);
        let mut text = serde_json::to_string_pretty(&on_disk).expect("numbers and strings are JSON");
        text.push('\n');
        let written = File::create_new(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| SegmentError::io("cannot write", &path, error))
    }

    /// Reads the manifest of a segment.
    ///
    /// # Errors
    /// [`SegmentError::NotASegment`] when there is none; [`SegmentError::Manifest`] when it is wrong.
    pub fn read(segment: &Path) -> Result<Self, SegmentError> {
        let path = segment.join(MANIFEST);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                // A directory that is not there at all is the more useful thing to say.
                std::fs::metadata(segment)
                    .map_err(|error| SegmentError::io("cannot open segment", segment, error))?;
                return Err(SegmentError::NotASegment { path: segment.to_owned() });
            }
            Err(error) => return Err(SegmentError::io("cannot read", &path, error)),
        };
        let wrong = |reason: String| SegmentError::Manifest { path: path.clone(), reason };
        let on_disk: OnDisk = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if on_disk.format != FORMAT {
            return Err(wrong(format!("its format is {:?} instead of {FORMAT:?}", on_disk.format)));
        }
        if on_disk.version != VERSION {
            return Err(wrong(format!("version {} (this build reads version {VERSION})", on_disk.version)));
        }
        if on_disk.quantization != QUANTIZATION {
            return Err(wrong(format!("unknown quantization {:?}", on_disk.quantization)));
        }
        let element = [ElementType::F32, ElementType::F16, ElementType::U8]
            .into_iter()
            .find(|element| element.to_string() == on_disk.element)
            .ok_or_else(|| wrong(format!("unknown element type {:?}", on_disk.element)))?;
        let distance = on_disk.distance.parse().map_err(|error| wrong(format!("{error}")))?;
        let hnsw = HnswParams {
            m: on_disk.hnsw_m,
            ef_construct: on_disk.hnsw_ef_construct,
            seed: on_disk.hnsw_seed,
        };
        Ok(Self { count: on_disk.count, dim: on_disk.dim, element, distance, hnsw })
    }
}
