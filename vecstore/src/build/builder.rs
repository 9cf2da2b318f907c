//! The steps of a build, in order.

use super::linked::LinkedParts;
use super::order::{by_locality, groups, renumber};
use super::read::{BATCH, Collected};
use super::source::{Origin, Source};
use crate::background::pool;
use crate::error::Error;
use crate::immutable::segment::{linked_layout, untrained_codec};
use crate::schema::{IndexKind, Schema};
use io_core::{DynBackend, OpenOptions, StopFlag};
use rayon::prelude::*;
use std::path::Path;
use vecstore_format::RandomId;
use vecstore_index::cells::CellMap;
use vecstore_index::graph::{
    BuildError, GraphParts, HnswParams, LinkedLayout, PointScores, build as build_graph, fill_links,
};
use vecstore_quant::{CodeScores, Codec, SAMPLE_MAX, ScalarCodes, train};

/// The most bytes of vectors in memory at a time.
pub(super) const BATCH_BYTES_MAX: usize = 16 << 20;
/// The most bytes of vectors that train a codec.
const SAMPLE_BYTES_MAX: usize = 128 << 20;

/// The stage of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildStage {
    /// Reading points.
    Reading,
    /// Building the index.
    Index,
    /// Writing files.
    Writing,
}

/// The index of a segment, to be written.
#[derive(Clone, Copy)]
pub(super) enum BuiltIndex<'a> {
    Graph(&'a GraphParts, Option<&'a LinkedParts>),
    Cells(&'a CellMap),
}

/// The inputs of a build, and how it is watched and stopped.
pub(crate) struct SegmentBuilder<'a> {
    pub(crate) backend: &'a DynBackend,
    pub(crate) schema: &'a Schema,
    /// The identity of the new segment.
    pub(crate) id: RandomId,
    /// The segment contains no write with this sequence number or a later one.
    pub(crate) seq_next: u64,
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a OpenOptions,
    pub(crate) stop: &'a StopFlag,
    /// Also stops the build.
    pub(crate) closing: &'a StopFlag,
    /// Receives the stage, the number of points done, and the number of all points.
    pub(crate) progress: &'a (dyn Fn(BuildStage, u64, u64) + Sync),
}

impl SegmentBuilder<'_> {
    /// Builds the segment in an existing, empty directory. Its files become durable, but not its name.
    /// Returns the origin of each point.
    ///
    /// The same points and the same id give the same files, on any backend and any number of cores.
    pub(crate) async fn build(&self, sources: &[Source<'_>]) -> Result<Vec<Origin>, Error> {
        let mut points = self.collect(sources).await?;
        let total = points.origins.len() as u64;
        let defragment: Vec<usize> = self
            .schema
            .defragment
            .iter()
            .filter_map(|field| self.schema.indexes.keys().position(|name| name == field))
            .collect();
        let group =
            |point: usize| defragment.iter().map(|&field| &points.keys[point][field]).collect::<Vec<_>>();
        // The sort is stable: points with equal keys keep their order.
        let mut order: Vec<u32> = (0..points.origins.len() as u32).collect();
        order.sort_by_cached_key(|&point| group(point as usize));
        let groups = groups(&order, &group);
        points.reorder(&order);

        // The index is built from int8 codes, whatever codes search scores, because int8 scores are close to
        // the exact ones.
        if self.schema.index == IndexKind::Cells {
            let codes = self.encode(sources, &points, None).await?;
            (self.progress)(BuildStage::Index, 0, total);
            let (map, order) = self.divide(sources, &points, &codes, &groups)?;
            drop(codes);
            (self.progress)(BuildStage::Index, total, total);
            points.reorder(&order);
            let codec = self.train(sources, &points).await?;
            self.write(sources, &points, &*codec, BuiltIndex::Cells(&map)).await?;
            return Ok(points.origins);
        }
        let layout = linked_layout(self.schema);
        let codes = self.encode(sources, &points, layout.as_ref()).await?;
        let scores = CodeScores::new(self.schema.distance, &codes);
        let graph = self.build_graph(&scores, &self.schema.hnsw, total)?;
        // Linked records have no links of values. These may be many, and only filters need them.
        let with_values = self.link_values(&graph, &scores, &points)?;
        let order = by_locality(with_values.as_ref().unwrap_or(&graph), &groups);
        let filled = match &layout {
            Some(layout) => {
                let stop = || self.is_stopped();
                let filled = pool()?.install(|| fill_links(&graph, &scores, layout.links_max(), &stop));
                Some(filled.map_err(|_| Error::Stopped)?)
            }
            None => None,
        };
        let linked = layout.zip(filled).map(|(layout, filled)| LinkedParts {
            layout,
            graph: renumber(&filled, &order),
            codes,
            order: order.clone(),
        });
        points.reorder(&order);
        let graph = renumber(&with_values.unwrap_or(graph), &order);

        let codec = self.train(sources, &points).await?;
        self.write(sources, &points, &*codec, BuiltIndex::Graph(&graph, linked.as_ref())).await?;
        Ok(points.origins)
    }

    /// Points whose vectors are in memory together.
    fn batch(&self) -> usize {
        (BATCH_BYTES_MAX / (4 * self.schema.dim as usize)).clamp(1, BATCH)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_stopped() || self.closing.is_stopped()
    }

    /// Codes of all points. For the linked layout they are codes of rotated vectors, which its records need.
    /// Scores between them are as close to the exact ones.
    async fn encode(
        &self,
        sources: &[Source<'_>],
        points: &Collected,
        layout: Option<&LinkedLayout>,
    ) -> Result<ScalarCodes, Error> {
        let dim = self.schema.dim as usize;
        let code_dim = layout.map_or(dim, |layout| layout.codec().rotated_dim());
        let mut codes =
            ScalarCodes::new(code_dim).map_err(|error| Error::damaged(self.dir, None, error.to_string()))?;
        codes.reserve_exact(points.origins.len());
        let mut rotated = Vec::new();
        for batch in points.origins.chunks(self.batch()) {
            let prepared = self.prepared(sources, batch).await?;
            pool()?.install(|| match layout {
                None => codes.extend(&prepared),
                Some(layout) => {
                    rotated.resize(batch.len() * code_dim, 0.0);
                    let vectors = prepared.par_chunks_exact(dim).zip(rotated.par_chunks_exact_mut(code_dim));
                    vectors.for_each(|(vector, rotated)| layout.codec().rotate(vector, rotated));
                    codes.extend(&rotated);
                }
            });
            (self.progress)(BuildStage::Reading, codes.len() as u64, points.origins.len() as u64);
        }
        Ok(codes)
    }

    /// Trains the codec on a sample of the points, spread evenly over their order.
    async fn train(&self, sources: &[Source<'_>], points: &Collected) -> Result<Box<dyn Codec>, Error> {
        if let Some(codec) = untrained_codec(self.schema) {
            return Ok(codec);
        }
        let (count, dim) = (points.origins.len(), self.schema.dim as usize);
        let wanted = count.min(SAMPLE_MAX).min(SAMPLE_BYTES_MAX / (4 * dim));
        let sample: Vec<Origin> = (0..wanted).map(|index| points.origins[index * count / wanted]).collect();
        let sample = self.prepared(sources, &sample).await?;
        let Schema { quantization, distance, hnsw, .. } = self.schema;
        Ok(pool()?.install(|| train(*quantization, *distance, dim, &sample, count, hnsw.seed)))
    }

    pub(super) fn build_graph<S: PointScores>(
        &self,
        scores: &S,
        params: &HnswParams,
        total: u64,
    ) -> Result<GraphParts, Error> {
        let progress = |done: usize| (self.progress)(BuildStage::Index, done as u64, total);
        let built = pool()?.install(|| build_graph(scores, params, &progress, &|| self.is_stopped()));
        match built {
            Ok(graph) => Ok(graph.into_parts()),
            Err(BuildError::Stopped { .. }) => Err(Error::Stopped),
            Err(error) => Err(error.into()),
        }
    }
}
