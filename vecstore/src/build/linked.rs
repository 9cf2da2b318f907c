//! Writing the linked records of a segment.

use crate::background::{BackgroundWriter, pool};
use crate::error::Error;
use crate::immutable::ids::{id_bytes, id_record};
use crate::point::PointId;
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
    code_bytes: usize,
    record_bytes: usize,
    points: usize,
    records: Vec<u8>,
}

impl<'a> LinkedWriter<'a> {
    /// Starts a file of records with own codes of `code_bytes`, for points with these ids.
    pub(super) fn new(
        parts: &'a LinkedParts,
        code_bytes: usize,
        ids: &[PointId],
        file: BackgroundWriter,
        identity: FileIdentity,
    ) -> Result<Self, Error> {
        let id_bytes = id_bytes(ids.iter().all(|id| matches!(id, PointId::Num(_))));
        let record_bytes = parts.layout.record_bytes() + code_bytes + id_bytes;
        let file =
            VectorFileWriter::with_identity(file, ElementType::U8, record_bytes as u32, Some(identity))?;
        Ok(Self { parts, file: file.in_pages(), code_bytes, record_bytes, points: 0, records: Vec::new() })
    }

    /// Writes the records of the next points, whose own codes and ids are these.
    pub(super) async fn push(&mut self, codes: &[u8], ids: &[PointId]) -> Result<(), Error> {
        let LinkedParts { layout, graph, codes: of_rotated, order } = self.parts;
        let Self { record_bytes, code_bytes, points: first, .. } = *self;
        self.records.resize(ids.len() * record_bytes, 0);
        pool()?.install(|| {
            let records = self.records.par_chunks_exact_mut(record_bytes);
            let own = codes.par_chunks_exact(code_bytes).zip(ids);
            records.zip(own).enumerate().for_each(|(index, (record, (own_code, own_id)))| {
                let node = first + index;
                let range = graph.offsets[node] as usize..graph.offsets[node + 1] as usize;
                let rotated = |point: u32, vector: &mut [f32]| {
                    of_rotated.decode_into(order[point as usize], vector);
                };
                let (links, own) = record.split_at_mut(layout.record_bytes());
                let (code, id) = own.split_at_mut(code_bytes);
                layout.encode(node as u32, &graph.links[range], rotated, links);
                code.copy_from_slice(own_code);
                id.copy_from_slice(&id_record(*own_id)[..id.len()]);
            });
        });
        for record in self.records.chunks_exact(record_bytes) {
            self.file.push(record).await?;
        }
        self.points += ids.len();
        Ok(())
    }

    /// Returns the checksum of the file's header.
    pub(super) async fn finish(self) -> Result<u32, Error> {
        Ok(self.file.finish().await?.crc())
    }
}
