//! Writing the files of a segment.

use super::builder::{BATCH_BYTES_MAX, BuildStage, BuiltIndex, SegmentBuilder};
use super::cells::CellsWriter;
use super::linked::LinkedWriter;
use super::read::Collected;
use super::source::{Origin, Source};
use crate::background::{BackgroundWriter, UsualIo, pool};
use crate::element;
use crate::error::Error;
use crate::immutable::cells::write_cells;
use crate::immutable::chunks::chunks_by_bytes;
use crate::immutable::fields::{FieldBuilder, write_fields};
use crate::immutable::graph::write_graph;
use crate::immutable::ids::{id_record, write_ids};
use crate::immutable::payload::PayloadWriter;
use crate::immutable::segment::{
    CELL_CODES, CELLS, CODEC, CODES, FIELDS, GRAPH, IDS, LINKED, PAYLOAD, SEGMENT_JSON, SegmentInfo, VECTORS,
    code_record_bytes, file_number,
};
use crate::schema::{IndexKind, Schema};
use io_core::FileSystem;
use rayon::prelude::*;
use std::collections::BTreeMap;
use vecstore_format::pages::{PagesKind, PagesWriter};
use vecstore_format::vector_file::VectorFileWriter;
use vecstore_format::{ElementType, FileIdentity};
use vecstore_quant::Codec;

impl SegmentBuilder<'_> {
    pub(super) async fn write(
        &self,
        sources: &[Source<'_>],
        points: &Collected,
        codec: &dyn Codec,
        index: BuiltIndex<'_>,
    ) -> Result<(), Error> {
        let mut files = self.write_vectors(sources, points, codec, index).await?;
        if codec.model_bytes() > 0 {
            let mut pages = self.create(CODEC, PagesKind::Codec).await?;
            pages.begin_section().await?;
            pages.write(&codec.model()).await?;
            files.insert(CODEC, pages.finish().await?);
        }
        match index {
            BuiltIndex::Graph(graph, _) => {
                files.insert(GRAPH, write_graph(self.create(GRAPH, PagesKind::Graph).await?, graph).await?);
            }
            BuiltIndex::Cells(map) => {
                let pages = self.create(CELLS, PagesKind::Cells).await?;
                files.insert(CELLS, write_cells(pages, map.parts()).await?);
            }
        }
        files.insert(IDS, write_ids(self.create(IDS, PagesKind::Ids).await?, &points.ids, pool()?).await?);
        files.insert(FIELDS, self.write_fields(points).await?);
        let files = files.into_iter().map(|(name, crc)| (name.to_owned(), crc)).collect();
        let count = points.origins.len() as u32;
        let info = SegmentInfo::new(self.id, count, self.seq_next, self.schema, files);
        let directory = self.backend.directory();
        let _usual = UsualIo::new();
        directory.write(&self.dir.join(SEGMENT_JSON), &info.encode())?;
        directory.sync_dir(self.dir)?;
        Ok(())
    }

    async fn create(&self, name: &str, kind: PagesKind) -> Result<PagesWriter, Error> {
        Ok(PagesWriter::new(Box::new(self.create_file(name).await?), kind, self.identity(name)))
    }

    fn identity(&self, name: &str) -> FileIdentity {
        self.id.file(file_number(name))
    }

    async fn create_file(&self, name: &str) -> Result<BackgroundWriter, Error> {
        Ok(BackgroundWriter::new(self.backend.create(&self.dir.join(name), self.options).await?))
    }

    /// Writes vectors, their codes, those of the index and payloads. All of these come from the same sources.
    /// Returns the checksums of the files' headers.
    async fn write_vectors(
        &self,
        sources: &[Source<'_>],
        points: &Collected,
        codec: &dyn Codec,
        index: BuiltIndex<'_>,
    ) -> Result<BTreeMap<&'static str, u32>, Error> {
        let Schema { dim, element, .. } = *self.schema;
        let (vector_bytes, total) = ((dim * element.bytes()) as usize, points.origins.len() as u64);
        let file = self.create_file(VECTORS).await?;
        let identity = Some(self.identity(VECTORS));
        let mut vectors = VectorFileWriter::with_identity(file, element, dim, identity)?;
        let mut payloads = PayloadWriter::new(self.create(PAYLOAD, PagesKind::Payload).await?, total).await?;
        let record_bytes = codec.record_bytes();
        let (file, identity) = (self.create_file(CODES).await?, Some(self.identity(CODES)));
        let code_bytes = code_record_bytes(self.schema, codec);
        let codes = VectorFileWriter::with_identity(file, ElementType::U8, code_bytes as u32, identity)?;
        // A search of cells reads whole pages of codes.
        let mut codes = if self.schema.index == IndexKind::Cells { codes.in_pages() } else { codes };
        let mut linked = match index {
            BuiltIndex::Graph(_, Some(parts)) => {
                let file = self.create_file(LINKED).await?;
                Some(LinkedWriter::new(parts, record_bytes, &points.ids, file, self.identity(LINKED))?)
            }
            _ => None,
        };
        let mut cells = match index {
            BuiltIndex::Cells(map) => {
                let file = self.create_file(CELL_CODES).await?;
                Some(CellsWriter::new(self.schema, map, file, self.identity(CELL_CODES))?)
            }
            BuiltIndex::Graph(..) => None,
        };
        let (mut originals, mut prepared, mut records) = (Vec::new(), Vec::new(), Vec::new());
        let mut done = 0;
        // In the new order, points lie anywhere in the old files. A larger batch has more neighbours there.
        let batch = (BATCH_BYTES_MAX / (4 * dim as usize)).max(1);
        for (batch, ids) in points.origins.chunks(batch).zip(points.ids.chunks(batch)) {
            originals.clear();
            originals.resize(batch.len() * vector_bytes, 0);
            prepared.clear();
            prepared.resize(batch.len() * dim as usize, 0.0);
            self.read_vectors(sources, batch, |index, bytes| {
                originals[index * vector_bytes..][..vector_bytes].copy_from_slice(bytes);
                element::decode_into(element, bytes, &mut prepared[index * dim as usize..][..dim as usize]);
            })
            .await?;
            for vector in originals.chunks_exact(vector_bytes) {
                vectors.push(vector).await?;
            }
            records.clear();
            records.resize(batch.len() * record_bytes, 0);
            pool()?.install(|| {
                let vectors = prepared.par_chunks_exact_mut(dim as usize);
                vectors.zip(records.par_chunks_exact_mut(record_bytes)).for_each(|(vector, record)| {
                    self.schema.distance.prepare(vector);
                    codec.encode(vector, record);
                });
            });
            let mut with_id = vec![0; code_bytes];
            for (record, &id) in records.chunks_exact(record_bytes).zip(ids) {
                let (code, own_id) = with_id.split_at_mut(record_bytes);
                code.copy_from_slice(record);
                own_id.copy_from_slice(&id_record(id)[..own_id.len()]);
                codes.push(&with_id).await?;
            }
            if let Some(linked) = &mut linked {
                linked.push(&records, ids).await?;
            }
            if let Some(cells) = &mut cells {
                cells.push(&prepared, dim as usize).await?;
            }
            let bytes = |origin: &Origin| sources[origin.source as usize].payload_bytes(origin.point);
            for some in chunks_by_bytes(batch, bytes) {
                for payload in self.read_payloads(sources, some).await? {
                    payloads.push(&payload).await?;
                }
            }
            done += batch.len() as u64;
            (self.progress)(BuildStage::Writing, done, total);
        }
        let mut files = BTreeMap::new();
        files.insert(VECTORS, vectors.finish().await?.crc());
        files.insert(CODES, codes.finish().await?.crc());
        if let Some(linked) = linked {
            files.insert(LINKED, linked.finish().await?);
        }
        if let Some(cells) = cells {
            files.insert(CELL_CODES, cells.finish().await?);
        }
        files.insert(PAYLOAD, payloads.finish().await?);
        Ok(files)
    }

    async fn write_fields(&self, points: &Collected) -> Result<u32, Error> {
        let mut fields: Vec<_> =
            self.schema.indexes.values().map(|&kind| (kind, FieldBuilder::default())).collect();
        for (point, keys) in points.keys.iter().enumerate() {
            for ((_, field), keys) in fields.iter_mut().zip(keys) {
                field.push(point as u32, keys.iter().cloned());
            }
        }
        let mut by_id: Vec<u32> = (0..points.ids.len() as u32).collect();
        by_id.sort_unstable_by_key(|&point| points.ids[point as usize]);
        let mut ranks = vec![0; by_id.len()];
        for (rank, &point) in by_id.iter().enumerate() {
            ranks[point as usize] = rank as u32;
        }
        let pages = self.create(FIELDS, PagesKind::Fields).await?;
        write_fields(pages, fields, points.ids.len() as u64, |point| ranks[point as usize]).await
    }
}
