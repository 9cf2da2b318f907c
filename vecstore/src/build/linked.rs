//! Writing the linked records of a segment.

use crate::background::{BackgroundWriter, pool};
use crate::error::Error;
use rayon::prelude::*;
use vecstore_format::vector_file::VectorFileWriter;
use vecstore_format::{ElementType, FileIdentity};
use vecstore_index::graph::{GraphParts, LinkedLayout};
use vecstore_quant::ScalarCodes;

/// What linked records are made from.
pub(super) struct LinkedParts {
    pub(super) layout: LinkedLayout,
    /// The links of the records.
    pub(super) graph: GraphParts,
    /// Codes of rotated vectors.
    pub(super) codes: ScalarCodes,
    /// The code of the graph's point `i` is that of `order[i]`.
    pub(super) order: Vec<u32>,
}

/// Writes the records of the points in order.
pub(super) struct LinkedWriter<'a> {
    parts: &'a LinkedParts,
    file: VectorFileWriter<BackgroundWriter>,
    record_bytes: usize,
    points: usize,
    records: Vec<u8>,
}

impl<'a> LinkedWriter<'a> {
    /// Starts a file of records with own codes of `code_bytes`.
    pub(super) fn new(
        parts: &'a LinkedParts,
        code_bytes: usize,
        file: BackgroundWriter,
        identity: FileIdentity,
    ) -> Result<Self, Error> {
        let record_bytes = parts.layout.record_bytes() + code_bytes;
        let file =
            VectorFileWriter::with_identity(file, ElementType::U8, record_bytes as u32, Some(identity))?;
        Ok(Self { parts, file: file.in_pages(), record_bytes, points: 0, records: Vec::new() })
    }

    /// Writes the records of the next points, whose own codes are these.
    pub(super) async fn push(&mut self, codes: &[u8]) -> Result<(), Error> {
        let LinkedParts { layout, graph, codes: of_rotated, order } = self.parts;
        let (record_bytes, first) = (self.record_bytes, self.points);
        let code_bytes = record_bytes - layout.record_bytes();
        let points = codes.len() / code_bytes;
        self.records.resize(points * record_bytes, 0);
        pool()?.install(|| {
            let records = self.records.par_chunks_exact_mut(record_bytes);
            records.zip(codes.par_chunks_exact(code_bytes)).enumerate().for_each(|(index, (record, own))| {
                let node = first + index;
                let range = graph.offsets[node] as usize..graph.offsets[node + 1] as usize;
                let rotated = |point: u32, vector: &mut [f32]| {
                    of_rotated.decode_into(order[point as usize], vector);
                };
                let (record, code) = record.split_at_mut(layout.record_bytes());
                layout.encode(node as u32, &graph.links[range], rotated, record);
                code.copy_from_slice(own);
            });
        });
        for record in self.records.chunks_exact(record_bytes) {
            self.file.push(record).await?;
        }
        self.points += points;
        Ok(())
    }

    /// Returns the checksum of the file's header.
    pub(super) async fn finish(self) -> Result<u32, Error> {
        Ok(self.file.finish().await?.crc())
    }
}
