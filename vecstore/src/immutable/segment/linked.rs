//! The linked layout of a segment's graph: for each point a record of its links, with codes of the points
//! that they lead to. They are in memory or on disk, as the graph is.

use super::data::load_records;
use crate::error::Error;
use crate::immutable::records::Records;
use crate::schema::{GraphLayout, Placement, Schema};
use aligned_vec::AVec;
use io_core::VectorReader;
use std::path::Path;
use vecstore_format::vector_file::RecordChecksums;
use vecstore_index::graph::LinkedLayout;

/// The records of a segment, as far as they are in memory.
#[derive(Debug)]
pub(crate) struct LinkedData {
    pub(crate) layout: LinkedLayout,
    points: u32,
    records: LinkedRecords,
}

#[derive(Debug)]
enum LinkedRecords {
    /// Concatenated, from the start of a cache line.
    Pinned(AVec<u8>),
    OnDisk(RecordChecksums),
}

/// The layout of the records, if the schema asks for them.
pub(crate) fn linked_layout(schema: &Schema) -> Option<LinkedLayout> {
    let Schema { distance, dim, hnsw, graph, .. } = schema;
    (*graph == GraphLayout::Linked)
        .then(|| LinkedLayout::new(*distance, *dim as usize, hnsw.links_max(0), hnsw.seed))
}

impl LinkedData {
    /// Takes the records of an open file whose checksums are loaded.
    pub(super) async fn load(
        file: &Records,
        layout: LinkedLayout,
        points: u32,
        placement: Placement,
    ) -> Result<Self, Error> {
        let records = match placement {
            Placement::Pinned => {
                LinkedRecords::Pinned(load_records(file, layout.record_bytes(), points).await?)
            }
            Placement::Cold | Placement::Cached => LinkedRecords::OnDisk(file.file().checksums().clone()),
        };
        let data = Self { layout, points, records };
        for point in 0..points {
            let Some(record) = data.record(point) else { break };
            data.check(&file.file().reader().file().path, record)?;
        }
        Ok(data)
    }

    /// The checksums of records that are on disk.
    pub(super) fn on_disk(&self) -> Option<&RecordChecksums> {
        match &self.records {
            LinkedRecords::Pinned(_) => None,
            LinkedRecords::OnDisk(checksums) => Some(checksums),
        }
    }

    /// The record of a point, if it is in memory.
    #[inline]
    pub(crate) fn record(&self, point: u32) -> Option<&[u8]> {
        match &self.records {
            LinkedRecords::Pinned(records) => {
                let record_bytes = self.layout.record_bytes();
                Some(&records[point as usize * record_bytes..][..record_bytes])
            }
            LinkedRecords::OnDisk(_) => None,
        }
    }

    /// Checks a record that was read.
    pub(crate) fn check(&self, path: &Path, record: &[u8]) -> Result<(), Error> {
        let checked = self.layout.check(record, self.points);
        checked.map_err(|error| Error::damaged(path, None, error.to_string()))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.records {
            LinkedRecords::Pinned(records) => records.len(),
            LinkedRecords::OnDisk(checksums) => checksums.memory_bytes(),
        }
    }
}
