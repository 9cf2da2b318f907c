//! Building an immutable segment from points of others: ordered so that a tenant's points lie together, and near ones near.
//!
//! ```text
//! points, in the order of the defragmentation keys ──> codes ──> graph ──> order by locality within equal keys ──> files
//! ```
//!
//! In memory are ids, codes, the graph and the values of indexed fields; vectors and payloads pass through in batches.

use super::chunks_by_bytes;
use super::fields::{FieldBuilder, write_fields};
use super::graph::write_graph;
use super::ids::write_ids;
use super::payload::PayloadWriter;
use super::segment::{
    CODEC, CODES, FIELDS, GRAPH, IDS, PAYLOAD, SEGMENT_JSON, SegmentInfo, SegmentReader, VECTORS,
    file_number, untrained_codec,
};
use crate::background::{BackgroundWriter, UsualIo, pool};
use crate::element;
use crate::error::Error;
use crate::field::Key;
use crate::mutable::MutableSegment;
use crate::mutable::fields::keys_of_fields;
use crate::point::{Payload, PointId};
use crate::schema::Schema;
use io_core::{BackendFactory, DynBackend, OpenOptions, ReadControl, ReadStats, StopFlag};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use vecstore_format::RandomId;
use vecstore_format::pages::{PagesKind, PagesWriter};
use vecstore_format::vector_file::VectorFileWriter;
use vecstore_format::{ElementType, FileIdentity};
use vecstore_index::graph::{
    BuildError, GraphParts, HnswParams, PointScores, UpperLevel, build as build_graph,
};
use vecstore_quant::{CodeScores, Codec, SAMPLE_MAX, ScalarCodes, train};

/// Points read and written at a time, at most...
const BATCH: usize = 1024;
/// ...and bytes of their vectors.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes of the vectors that a codec is trained on.
const SAMPLE_BYTES_MAX: usize = 128 << 20;
/// A value of an indexed field that has this many points gets links among them, so that a filter by it does not take the
/// graph apart. Fewer are scored one by one.
const VALUE_LINKS_MIN: u64 = 5000;

/// A segment whose points go into the new one.
pub(crate) enum Source<'a> {
    Mutable { segment: &'a MutableSegment, live: RoaringBitmap },
    Immutable { segment: &'a SegmentReader, live: RoaringBitmap },
}

/// A point of the new segment: which source it is from, and which point there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: u32,
    pub(crate) point: u32,
}

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

/// What is known of the points before they are written.
struct Collected {
    origins: Vec<Origin>,
    ids: Vec<PointId>,
    /// The values of each indexed field of each point.
    keys: Vec<Vec<Vec<Key>>>,
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

    fn is_stopped(&self) -> bool {
        self.stop.is_stopped() || self.closing.is_stopped()
    }

    /// Ids and indexed values of all points.
    async fn collect(&self, sources: &[Source<'_>]) -> Result<Collected, Error> {
        let mut points = Collected { origins: Vec::new(), ids: Vec::new(), keys: Vec::new() };
        let control = ReadControl::with_stop(self.stop.clone());
        let total: u64 = sources.iter().map(Source::len).sum();
        for (source, from) in sources.iter().enumerate() {
            let origin = |point| Origin { source: source as u32, point };
            match from {
                Source::Mutable { segment, live } => {
                    for point in live {
                        points.origins.push(origin(point));
                        points.ids.push(segment.id(point));
                        points.keys.push(segment.keys(point).to_vec());
                    }
                }
                Source::Immutable { segment, live } => {
                    let live: Vec<u32> = live.iter().collect();
                    for batch in live.chunks(BATCH) {
                        let mut stats = ReadStats::default();
                        points.origins.extend(batch.iter().map(|&point| origin(point)));
                        points.ids.extend(segment.ids_of(batch, &control, &mut stats).await?);
                        if self.schema.indexes.is_empty() {
                            points.keys.resize(points.ids.len(), Vec::new());
                            continue;
                        }
                        for some in segment.payload_batches(batch) {
                            let payloads = segment.payloads(some, &control, &mut stats).await?;
                            for (&point, payload) in some.iter().zip(&payloads) {
                                points.keys.push(self.keys(segment, point, payload)?);
                            }
                        }
                        (self.progress)(BuildStage::Reading, points.origins.len() as u64, total);
                    }
                }
            }
        }
        Ok(points)
    }

    /// The values of the indexed fields of a stored payload.
    fn keys(&self, segment: &SegmentReader, point: u32, payload: &[u8]) -> Result<Vec<Vec<Key>>, Error> {
        let damaged = |what: String| Error::damaged(segment.payload.data().path(), None, what);
        let payload = parse_payload(payload)
            .ok_or_else(|| damaged(format!("the payload of point {point} is no JSON object")))?;
        keys_of_fields(&payload, &self.schema.indexes).map_err(|(field, kind, wrong)| {
            damaged(format!(
                "the payload of point {point} has {} in field {field}, indexed as {kind}",
                wrong.found
            ))
        })
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

    /// Vectors as they are encoded, one after the other.
    async fn prepared(&self, sources: &[Source<'_>], points: &[Origin]) -> Result<Vec<f32>, Error> {
        let (dim, element) = (self.schema.dim as usize, self.schema.element);
        let mut prepared = vec![0.0; points.len() * dim];
        self.read_vectors(sources, points, |index, bytes| {
            let target = &mut prepared[index * dim..(index + 1) * dim];
            element::decode_into(element, bytes, target);
            self.schema.distance.prepare(target);
        })
        .await?;
        Ok(prepared)
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

    fn build_graph<S: PointScores>(
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

    /// Adds links among the points of each value that has many of them.
    fn link_values<S: PointScores>(
        &self,
        graph: &mut GraphParts,
        scores: &S,
        points: &Collected,
    ) -> Result<(), Error> {
        let mut extra: Vec<Vec<u32>> = Vec::new();
        let total = points.ids.len() as u64;
        // They only have to hold the value's points together; the graph of all leads to the near ones.
        let params = HnswParams { m: (self.schema.hnsw.m / 2).max(2), ..self.schema.hnsw };
        for (field, kind) in self.schema.indexes.values().enumerate() {
            if kind.is_number() {
                continue;
            }
            let mut values: BTreeMap<&Key, Vec<u32>> = BTreeMap::new();
            for (point, keys) in points.keys.iter().enumerate() {
                for key in &keys[field] {
                    values.entry(key).or_default().push(point as u32);
                }
            }
            // Nearly all points have no need of a graph of their own.
            let many = VALUE_LINKS_MIN..total - total / 10;
            for members in values.into_values().filter(|members| many.contains(&(members.len() as u64))) {
                let among = Among { scores, members: &members };
                let own = self.build_graph(&among, &params, members.len() as u64)?;
                extra.resize(points.ids.len(), Vec::new());
                for (index, &point) in members.iter().enumerate() {
                    let links = &own.links[own.offsets[index] as usize..own.offsets[index + 1] as usize];
                    extra[point as usize].extend(links.iter().map(|&link| members[link as usize]));
                }
            }
        }
        if extra.is_empty() {
            return Ok(());
        }
        let (mut offsets, mut links) = (vec![0], Vec::with_capacity(graph.links.len()));
        for (point, range) in graph.offsets.windows(2).enumerate() {
            let mut all = graph.links[range[0] as usize..range[1] as usize].to_vec();
            all.append(&mut extra[point]);
            all.sort_unstable();
            all.dedup();
            all.truncate(usize::from(u16::MAX));
            links.extend_from_slice(&all);
            offsets.push(links.len() as u64);
        }
        (graph.offsets, graph.links) = (offsets, links);
        Ok(())
    }

    /// Reads the vectors of points from wherever they are, and hands each to `sink(index, bytes)`.
    async fn read_vectors(
        &self,
        sources: &[Source<'_>],
        points: &[Origin],
        mut sink: impl FnMut(usize, &[u8]),
    ) -> Result<(), Error> {
        let control = ReadControl::with_stop(self.stop.clone());
        for (index, source) in sources.iter().enumerate() {
            let (places, wanted) = from_source(points, index);
            match source {
                Source::Mutable { segment, .. } => {
                    for (&place, &point) in places.iter().zip(&wanted) {
                        sink(place, segment.vector(point));
                    }
                }
                Source::Immutable { segment, .. } => {
                    segment.vectors.read(&wanted, &control, |at, bytes| sink(places[at], bytes)).await?;
                }
            }
        }
        if self.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    async fn read_payloads(
        &self,
        sources: &[Source<'_>],
        points: &[Origin],
    ) -> Result<Vec<Box<[u8]>>, Error> {
        let control = ReadControl::with_stop(self.stop.clone());
        let mut payloads = vec![Box::default(); points.len()];
        for (index, source) in sources.iter().enumerate() {
            let (places, wanted) = from_source(points, index);
            match source {
                Source::Mutable { segment, .. } => {
                    for (&place, &point) in places.iter().zip(&wanted) {
                        payloads[place] = segment.payload(point).into();
                    }
                }
                Source::Immutable { segment, .. } => {
                    let mut stats = ReadStats::default();
                    let found = segment.payloads(&wanted, &control, &mut stats).await?;
                    for (place, payload) in places.into_iter().zip(found) {
                        payloads[place] = payload;
                    }
                }
            }
        }
        Ok(payloads)
    }

    async fn write(
        &self,
        sources: &[Source<'_>],
        points: &Collected,
        codec: &dyn Codec,
        graph: &GraphParts,
    ) -> Result<(), Error> {
        let [vectors, codes, payload] = self.write_vectors(sources, points, codec).await?;
        let mut files = BTreeMap::from([(VECTORS, vectors), (CODES, codes), (PAYLOAD, payload)]);
        if codec.model_bytes() > 0 {
            let mut pages = self.create(CODEC, PagesKind::Codec).await?;
            pages.begin_section().await?;
            pages.write(&codec.model()).await?;
            files.insert(CODEC, pages.finish().await?);
        }
        files.insert(GRAPH, write_graph(self.create(GRAPH, PagesKind::Graph).await?, graph).await?);
        files.insert(IDS, write_ids(self.create(IDS, PagesKind::Ids).await?, &points.ids).await?);
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

    /// Vectors, their codes, and payloads, which come from the same places. Returns the checksums of the files' headers.
    async fn write_vectors(
        &self,
        sources: &[Source<'_>],
        points: &Collected,
        codec: &dyn Codec,
    ) -> Result<[u32; 3], Error> {
        let Schema { dim, element, .. } = *self.schema;
        let (vector_bytes, total) = ((dim * element.bytes()) as usize, points.origins.len() as u64);
        let file = self.create_file(VECTORS).await?;
        let identity = Some(self.identity(VECTORS));
        let mut vectors = VectorFileWriter::with_identity(file, element, dim, identity)?;
        let mut payloads = PayloadWriter::new(self.create(PAYLOAD, PagesKind::Payload).await?, total).await?;
        let record_bytes = codec.record_bytes();
        let (file, identity) = (self.create_file(CODES).await?, Some(self.identity(CODES)));
        let mut codes =
            VectorFileWriter::with_identity(file, ElementType::U8, record_bytes as u32, identity)?;
        let (mut originals, mut prepared, mut records) = (Vec::new(), Vec::new(), Vec::new());
        let mut done = 0;
        // In the new order, points lie anywhere in the old files: the more of them at a time, the more are neighbours.
        for batch in points.origins.chunks((BATCH_BYTES_MAX / (4 * dim as usize)).max(1)) {
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
            for record in records.chunks_exact(record_bytes) {
                codes.push(record).await?;
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
        Ok([vectors.finish().await?.crc(), codes.finish().await?.crc(), payloads.finish().await?])
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

/// A stored payload; `None` if it is none. Nothing at all is an empty payload.
pub(crate) fn parse_payload(payload: &[u8]) -> Option<Payload> {
    if payload.is_empty() { Some(Payload::new()) } else { serde_json::from_slice(payload).ok() }
}

/// Of points, those from one source: their places among them, and their numbers in the source.
fn from_source(points: &[Origin], source: usize) -> (Vec<usize>, Vec<u32>) {
    let own = points.iter().enumerate().filter(|(_, origin)| origin.source as usize == source);
    own.map(|(place, origin)| (place, origin.point)).unzip()
}

impl Source<'_> {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Mutable { live, .. } | Self::Immutable { live, .. } => live.len(),
        }
    }

    fn payload_bytes(&self, point: u32) -> u64 {
        match self {
            Self::Mutable { segment, .. } => segment.payload(point).len() as u64,
            Self::Immutable { segment, .. } => segment.data.payload.bytes(point),
        }
    }
}

impl Collected {
    /// Puts the points into another order: the new first one is `order[0]`.
    fn reorder(&mut self, order: &[u32]) {
        let mut keys = std::mem::take(&mut self.keys);
        self.origins = order.iter().map(|&point| self.origins[point as usize]).collect();
        self.ids = order.iter().map(|&point| self.ids[point as usize]).collect();
        self.keys = order.iter().map(|&point| std::mem::take(&mut keys[point as usize])).collect();
    }
}

/// Where the groups of equal keys end, of points in an order.
fn groups<K: PartialEq>(order: &[u32], group: &impl Fn(usize) -> K) -> Vec<usize> {
    let mut ends = Vec::new();
    for (index, pair) in order.windows(2).enumerate() {
        if group(pair[0] as usize) != group(pair[1] as usize) {
            ends.push(index + 1);
        }
    }
    ends.push(order.len());
    ends
}

/// The points of each group in the order in which a walk over the graph, breadth first from the entry, comes to them.
fn by_locality(graph: &GraphParts, group_ends: &[usize]) -> Vec<u32> {
    let points = graph.offsets.len() - 1;
    let mut rank = vec![u32::MAX; points];
    let mut next = 0;
    let mut waiting = VecDeque::new();
    for start in std::iter::once(graph.entry).chain(0..points as u32).take_while(|_| points > 0) {
        if rank[start as usize] != u32::MAX {
            continue;
        }
        rank[start as usize] = next;
        next += 1;
        waiting.push_back(start);
        while let Some(point) = waiting.pop_front() {
            let range = graph.offsets[point as usize] as usize..graph.offsets[point as usize + 1] as usize;
            for &link in &graph.links[range] {
                if rank[link as usize] == u32::MAX {
                    rank[link as usize] = next;
                    next += 1;
                    waiting.push_back(link);
                }
            }
        }
    }
    let mut order: Vec<u32> = (0..points as u32).collect();
    let mut start = 0;
    for &end in group_ends {
        order[start..end].sort_unstable_by_key(|&point| rank[point as usize]);
        start = end;
    }
    order
}

/// The graph with point `order[i]` as point `i`.
fn renumber(graph: &GraphParts, order: &[u32]) -> GraphParts {
    let mut new = vec![0; order.len()];
    for (place, &point) in order.iter().enumerate() {
        new[point as usize] = place as u32;
    }
    let mut offsets = Vec::with_capacity(graph.offsets.len());
    let mut links = Vec::with_capacity(graph.links.len());
    offsets.push(0);
    for &point in order {
        let range = graph.offsets[point as usize] as usize..graph.offsets[point as usize + 1] as usize;
        links.extend(graph.links[range].iter().map(|&link| new[link as usize]));
        offsets.push(links.len() as u64);
    }
    let upper = graph.upper.iter().map(|level| {
        let mut nodes: Vec<(u32, u32)> = level.nodes.iter().map(|&node| (new[node as usize], node)).collect();
        nodes.sort_unstable();
        let mut renumbered = UpperLevel { offsets: vec![0], ..UpperLevel::default() };
        for (node, old) in nodes {
            renumbered.nodes.push(node);
            renumbered.links.extend(level.links(old).iter().map(|&link| new[link as usize]));
            renumbered.offsets.push(renumbered.links.len() as u64);
        }
        renumbered
    });
    let entry = new.get(graph.entry as usize).copied().unwrap_or(0);
    GraphParts { m: graph.m, entry, upper: upper.collect(), offsets, links }
}

/// Scores among some points of many.
struct Among<'a, S> {
    scores: &'a S,
    members: &'a [u32],
}

impl<S: PointScores> PointScores for Among<'_, S> {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn score(&self, a: u32, b: u32) -> f32 {
        self.scores.score(self.members[a as usize], self.members[b as usize])
    }
}
