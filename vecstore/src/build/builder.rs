//! The steps of a build, one after the other.

use super::order::{by_locality, groups, renumber};
use super::read::{BATCH, Collected};
use super::source::{Origin, Source};
use crate::background::pool;
use crate::error::Error;
use crate::immutable::segment::untrained_codec;
use crate::schema::Schema;
use io_core::{DynBackend, OpenOptions, StopFlag};
use std::path::Path;
use vecstore_format::RandomId;
use vecstore_index::graph::{BuildError, GraphParts, HnswParams, PointScores, build as build_graph};
use vecstore_quant::{CodeScores, Codec, SAMPLE_MAX, ScalarCodes, train};

/// Bytes of vectors that are in memory at a time.
pub(super) const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes of the vectors that a codec is trained on.
const SAMPLE_BYTES_MAX: usize = 128 << 20;

/// What a build is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildStage {
    /// Reading points.
    Reading,
    /// Building the graph.
    Graph,
    /// Writing files.
    Writing,
}

/// How a build is done and watched.
pub(crate) struct SegmentBuilder<'a> {
    pub(crate) backend: &'a DynBackend,
    pub(crate) schema: &'a Schema,
    /// What the new segment is told apart by.
    pub(crate) id: RandomId,
    /// It holds nothing of the write with this sequence number or of later ones.
    pub(crate) seq_next: u64,
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a OpenOptions,
    pub(crate) stop: &'a StopFlag,
    /// Stops the build too.
    pub(crate) closing: &'a StopFlag,
    /// Is told the stage, points done and points in all.
    pub(crate) progress: &'a (dyn Fn(BuildStage, u64, u64) + Sync),
}

impl SegmentBuilder<'_> {
    /// Builds the segment, all but its name durable, in a directory that exists and is empty. Returns where each of its points is from.
    ///
    /// The same points and the same id give the same files, whatever the backend and the number of cores.
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
        // By the keys, then as they came.
        let mut order: Vec<u32> = (0..points.origins.len() as u32).collect();
        order.sort_by_cached_key(|&point| group(point as usize));
        let groups = groups(&order, &group);
        points.reorder(&order);

        // Whatever search scores later, the graph is built from int8 codes: they score as vectors do, nearly.
        let codes = self.encode(sources, &points).await?;
        let scores = CodeScores::new(self.schema.distance, &codes);
        let mut graph = self.build_graph(&scores, &self.schema.hnsw, total)?;
        self.link_values(&mut graph, &scores, &points)?;
        drop(codes);
        let order = by_locality(&graph, &groups);
        points.reorder(&order);
        let graph = renumber(&graph, &order);

        let codec = self.train(sources, &points).await?;
        self.write(sources, &points, &*codec, &graph).await?;
        Ok(points.origins)
    }

    /// Points whose vectors are in memory together.
    fn batch(&self) -> usize {
        (BATCH_BYTES_MAX / (4 * self.schema.dim as usize)).clamp(1, BATCH)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_stopped() || self.closing.is_stopped()
    }

    async fn encode(&self, sources: &[Source<'_>], points: &Collected) -> Result<ScalarCodes, Error> {
        let dim = self.schema.dim as usize;
        let mut codes =
            ScalarCodes::new(dim).map_err(|error| Error::damaged(self.dir, None, error.to_string()))?;
        codes.reserve_exact(points.origins.len());
        for batch in points.origins.chunks(self.batch()) {
            let prepared = self.prepared(sources, batch).await?;
            pool()?.install(|| codes.extend(&prepared));
            (self.progress)(BuildStage::Reading, codes.len() as u64, points.origins.len() as u64);
        }
        Ok(codes)
    }

    /// The codec, trained on a sample of the points, evenly spread over their order.
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
        let progress = |done: usize| (self.progress)(BuildStage::Graph, done as u64, total);
        let built = pool()?.install(|| build_graph(scores, params, &progress, &|| self.is_stopped()));
        match built {
            Ok(graph) => Ok(graph.into_parts()),
            Err(BuildError::Stopped { .. }) => Err(Error::Stopped),
            Err(error) => Err(error.into()),
        }
    }
}
