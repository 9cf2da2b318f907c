//! The linked layout of a segment's graph. It has a record for each point, with all that a walk needs of it.
//! `LinkedLayout` has the first part of it, and `ids.pages` says how many bytes an id has:
//!
//! ```text
//! links, and codes of the points that they lead to | the point's own code | its id
//! ```
//!
//! A record lies in one page if it fits. The records are in memory or on disk, as the graph is.

use super::data::CodesData;
use crate::error::Error;
use crate::immutable::chunks::chunks_by_bytes;
use crate::immutable::pinned::PinnedBytes;
use crate::immutable::records::Records;
use crate::schema::{GraphLayout, Placement, Schema};
use io_core::{ReadControl, VectorReader};
use std::path::Path;
use vecstore_format::vector_file::RecordChecksums;
use vecstore_index::graph::LinkedLayout;

/// A cache line.
const LINE: usize = 64;

/// The records of a segment, as far as they are in memory.
#[derive(Debug)]
pub(crate) struct LinkedData {
    pub(crate) layout: LinkedLayout,
    /// Bytes of a point's own code.
    code_bytes: usize,
    points: u32,
    records: LinkedRecords,
}

#[derive(Debug)]
enum LinkedRecords {
    /// A record begins every `stride` bytes, at a cache line. It has no id. It has no code of the point
    /// itself if codes are in memory without it.
    Pinned { records: PinnedBytes, stride: usize },
    OnDisk {
        checksums: RecordChecksums,
        /// Codes of the points on levels above 0, where a walk begins. They are in the order of their ids.
        entries: Option<Vec<u8>>,
    },
}

/// The layout of the records, if the schema asks for them.
pub(crate) fn linked_layout(schema: &Schema) -> Option<LinkedLayout> {
    let Schema { distance, dim, hnsw, graph, .. } = schema;
    (*graph == GraphLayout::Linked)
        .then(|| LinkedLayout::new(*distance, *dim as usize, hnsw.links_max(0), hnsw.seed))
}

/// A record that was read.
pub(crate) struct LinkedRecord<'r> {
    /// The links, and the codes of the points that they lead to.
    pub(crate) links: &'r [u8],
    /// The point's own code.
    pub(crate) code: &'r [u8],
    /// The point's id.
    pub(crate) id: &'r [u8],
}

impl LinkedData {
    /// Takes the records of an open file whose checksums are loaded. A walk begins at the points of `upper`.
    pub(super) async fn load(
        file: &Records,
        layout: LinkedLayout,
        upper: &[u32],
        (codes, code_bytes): (&CodesData, usize),
        placement: Placement,
    ) -> Result<Self, Error> {
        let header = file.file().header();
        let points = header.count as u32;
        let are_codes_pinned = matches!(codes, CodesData::Pinned(_));
        let own = layout.record_bytes();
        let records = match placement {
            Placement::Pinned => {
                let kept = if are_codes_pinned { own } else { own + code_bytes };
                let stride = kept.next_multiple_of(LINE);
                let path = &file.file().reader().file().path;
                let mut records = PinnedBytes::zeroed(stride * points as usize, path)?;
                read_all(file, &(0..points).collect::<Vec<_>>(), |index, record| {
                    records[index * stride..][..kept].copy_from_slice(&record[..kept]);
                })
                .await?;
                LinkedRecords::Pinned { records, stride }
            }
            Placement::Cold | Placement::Cached => {
                let mut entries = (!are_codes_pinned).then(|| vec![0; code_bytes * upper.len()]);
                if let Some(entries) = &mut entries {
                    read_all(file, upper, |index, record| {
                        entries[index * code_bytes..][..code_bytes]
                            .copy_from_slice(&record[own..][..code_bytes]);
                    })
                    .await?;
                }
                LinkedRecords::OnDisk { checksums: file.file().checksums().clone(), entries }
            }
        };
        let data = Self { layout, code_bytes, points, records };
        for point in 0..points {
            let Some(record) = data.record(point) else { break };
            data.check(&file.file().reader().file().path, record)?;
        }
        Ok(data)
    }

    /// The checksums of records that are on disk.
    pub(super) fn on_disk(&self) -> Option<&RecordChecksums> {
        match &self.records {
            LinkedRecords::Pinned { .. } => None,
            LinkedRecords::OnDisk { checksums, .. } => Some(checksums),
        }
    }

    /// The links of a point and the codes of its neighbours, if they are in memory.
    #[inline]
    pub(crate) fn record(&self, point: u32) -> Option<&[u8]> {
        match &self.records {
            LinkedRecords::Pinned { records, stride } => {
                Some(&records[point as usize * stride..][..self.layout.record_bytes()])
            }
            LinkedRecords::OnDisk { .. } => None,
        }
    }

    /// The code of a point, if it is in memory beside its record.
    #[inline]
    pub(crate) fn code(&self, point: u32) -> Option<&[u8]> {
        match &self.records {
            LinkedRecords::Pinned { records, stride } => {
                let code = &records[point as usize * stride..][..*stride][self.layout.record_bytes()..];
                (!code.is_empty()).then_some(code)
            }
            LinkedRecords::OnDisk { .. } => None,
        }
    }

    /// Splits a record that was read into its parts.
    pub(crate) fn split<'r>(&self, record: &'r [u8]) -> LinkedRecord<'r> {
        let (links, own) = record.split_at(self.layout.record_bytes());
        let (code, id) = own.split_at(self.code_bytes);
        LinkedRecord { links, code, id }
    }

    /// Codes of the points on levels above 0, if codes are not in memory otherwise.
    pub(crate) fn entries(&self) -> Option<&[u8]> {
        match &self.records {
            LinkedRecords::Pinned { .. } => None,
            LinkedRecords::OnDisk { entries, .. } => entries.as_deref(),
        }
    }

    /// Checks a record that was read.
    pub(crate) fn check(&self, path: &Path, record: &[u8]) -> Result<(), Error> {
        let checked = self.layout.check(record, self.points);
        checked.map_err(|error| Error::damaged(path, None, error.to_string()))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.records {
            LinkedRecords::Pinned { records, .. } => records.len(),
            LinkedRecords::OnDisk { checksums, entries } => {
                checksums.memory_bytes() + entries.as_ref().map_or(0, Vec::len)
            }
        }
    }
}

/// Reads the records of some points, in batches that fit in memory. Passes each to `sink(index, record)`.
async fn read_all(file: &Records, points: &[u32], mut sink: impl FnMut(usize, &[u8])) -> Result<(), Error> {
    let mut first = 0;
    for batch in chunks_by_bytes(points, |_| u64::from(file.file().header().stride())) {
        file.read(batch, &ReadControl::default(), |index, record| sink(first + index, record)).await?;
        first += batch.len();
    }
    Ok(())
}
