//! Building a graph: on all cores, and the same graph for the same points and parameters whatever their number.
//!
//! Points are inserted in batches, as in ParlayANN (Manohar et al., "ParlayANN: Scalable and Deterministic Parallel
//! Graph-Based Approximate Nearest Neighbor Search Algorithms", 2024). A batch searches the graph as it was before the
//! batch, in parallel; the links it chooses are then entered from both ends, in an order that depends on ids only. A
//! batch is a small part of what is inserted already, so that its points not seeing each other does not matter.
//!
//! Points come in the order of their levels, highest first, and in a random order within a level. So the entry point
//! never changes, upper levels are complete before the crowd descends through them, and a batch is a random sample even
//! if the input was sorted by cluster.

use super::finished::{Graph, GraphParts, Links, UpperLevel};
use super::params::{HnswParams, ParamsError};
use super::pool::{Candidate, ID_END};
use super::scores::PointScores;
use super::search::{SearchScratch, SearchStoppedError, search_level};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};
use vecstore_quant::SplitMix64;

/// A batch is at most this part of the points inserted before it.
const BATCH_PART: usize = 50;
/// Most points in a batch.
const BATCH_MAX: usize = 1024;
/// Points a thread takes at a time.
const CHUNK: usize = 8;

/// A graph that was not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// With these parameters none can be.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// More points than an id can name.
    #[error("{points} points: a graph has at most {ID_END}, split them into several segments")]
    TooManyPoints {
        /// What was given.
        points: usize,
    },
    /// It was asked to stop.
    #[error("building the graph was stopped after {done} points")]
    Stopped {
        /// Points inserted until then.
        done: usize,
    },
}

/// Builds a graph over all points of `scores`, on the cores of the current rayon pool.
///
/// `progress` is told the number of points done after each batch; `stop` is asked before each. The result depends on the
/// scores and the parameters only.
///
/// # Errors
///
/// When the parameters are out of range, there are too many points, or `stop` said so.
pub fn build<S: PointScores>(
    scores: &S,
    params: &HnswParams,
    progress: &(dyn Fn(usize) + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Graph, BuildError> {
    params.check()?;
    let points = scores.len();
    if points > ID_END as usize {
        return Err(BuildError::TooManyPoints { points });
    }
    let mut graph = Growing::new(points, params);
    let scratches = Scratches::default();
    let mut done = usize::from(points > 0);
    while done < points {
        if stop() {
            return Err(BuildError::Stopped { done });
        }
        let size = (done / BATCH_PART).clamp(1, BATCH_MAX).min(points - done);
        graph.insert(done..done + size, scores, params, &scratches);
        done += size;
        progress(done);
    }
    graph.connect(scores, params, &scratches, stop).map_err(|_| BuildError::Stopped { done })?;
    Ok(graph.into_graph(params))
}

/// The highest level of a point: each is reached by one point in `m` of the level below. Integers only, so that a graph
/// is the same on every machine.
fn level_of(random: u64, m: usize) -> usize {
    let mut threshold = u64::MAX / m as u64;
    let mut level = 0;
    while random < threshold {
        level += 1;
        threshold /= m as u64;
    }
    level
}

/// The links of one level, with room for as many as are allowed.
struct GrowingLevel {
    links_max: usize,
    links: Vec<u32>,
    counts: Vec<u16>,
}

impl GrowingLevel {
    fn new(slots: usize, links_max: usize) -> Self {
        Self { links_max, links: vec![0; slots * links_max], counts: vec![0; slots] }
    }

    #[inline]
    fn get(&self, slot: usize) -> &[u32] {
        let start = slot * self.links_max;
        &self.links[start..start + usize::from(self.counts[slot])]
    }

    fn set(&mut self, slot: usize, links: &[u32]) {
        let start = slot * self.links_max;
        self.links[start..start + links.len()].copy_from_slice(links);
        self.counts[slot] = links.len() as u16;
    }
}

impl GrowingLevel {
    /// Gives points that their best neighbour does not lead to, in two steps, a link from it or from the best of its neighbours. Level
    /// 0 only, where slots are ids.
    fn connect_to_best<S: PointScores>(&mut self, scores: &S) {
        for point in 0..self.counts.len() as u32 {
            let near = self.get(point as usize).iter().copied();
            let Some(best) = best_for(point, near, scores) else { continue };
            let of_best = self.get(best as usize);
            let leads_to = |from: u32| self.get(from as usize).contains(&point);
            if leads_to(best) || of_best.iter().any(|&from| leads_to(from)) {
                continue;
            }
            let places = std::iter::once(best).chain(of_best.iter().copied());
            if let Some(from) = best_for(point, places.filter(|&id| self.has_room(id)), scores) {
                self.add(from, point);
            }
        }
    }

    /// Gives points that no walk from the entry can reach a link from the best place with room for one, among their
    /// neighbours and the neighbours of these. Choosing links leaves a few in ten thousand without any. Returns what is reached
    /// then, and the points that are not. Level 0 only, where slots are ids.
    fn connect_nearby<S: PointScores>(&mut self, entry: u32, scores: &S) -> (Vec<bool>, Vec<u32>) {
        let mut reached = vec![false; self.counts.len()];
        self.reach(entry, &mut reached);
        let mut lost: Vec<u32> = (0..reached.len() as u32).filter(|&id| !reached[id as usize]).collect();
        loop {
            let before = lost.len();
            lost.retain(|&point| {
                if reached[point as usize] {
                    return false;
                }
                let near = self.get(point as usize).iter().copied();
                let further = near.clone().flat_map(|near| self.get(near as usize)).copied();
                let may_link = |id: &u32| reached[*id as usize] && self.has_room(*id);
                let Some(from) = best_for(point, near.filter(may_link), scores)
                    .or_else(|| best_for(point, further.filter(may_link), scores))
                else {
                    return true;
                };
                self.add(from, point);
                self.reach(point, &mut reached);
                false
            });
            // One that was connected may be the place that another was waiting for.
            if lost.len() == before || lost.is_empty() {
                return (reached, lost);
            }
        }
    }

    fn has_room(&self, slot: u32) -> bool {
        usize::from(self.counts[slot as usize]) < self.links_max
    }

    fn add(&mut self, slot: u32, link: u32) {
        let count = &mut self.counts[slot as usize];
        self.links[slot as usize * self.links_max + usize::from(*count)] = link;
        *count += 1;
    }

    /// Marks everything that a walk from a point leads to.
    fn reach(&self, from: u32, reached: &mut [bool]) {
        reached[from as usize] = true;
        let mut waiting = vec![from];
        while let Some(node) = waiting.pop() {
            for &link in self.get(node as usize) {
                if !std::mem::replace(&mut reached[link as usize], true) {
                    waiting.push(link);
                }
            }
        }
    }
}

/// The best of some points for a point, of equals the one of the lower id.
fn best_for<S: PointScores>(point: u32, places: impl Iterator<Item = u32>, scores: &S) -> Option<u32> {
    places
        .map(|id| (scores.score(id, point), id))
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
        .map(|(_, id)| id)
}

/// A graph under construction.
struct Growing {
    /// The points in the order of insertion: by level, highest first.
    order: Vec<u32>,
    /// Where each point is in `order`.
    ranks: Vec<u32>,
    /// Number of points on each level: the first so many in `order`.
    sizes: Vec<usize>,
    /// Slots of level 0 are ids, those of upper levels are ranks.
    levels: Vec<GrowingLevel>,
}

impl Links for Growing {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn entry(&self) -> Option<(u32, usize)> {
        self.order.first().map(|&entry| (entry, self.levels.len() - 1))
    }

    #[inline]
    fn links(&self, node: u32, level: usize) -> &[u32] {
        self.levels[level].get(self.slot(node, level))
    }
}

/// New lists of links, as a thread made them: which lists, and their links one after the other.
#[derive(Default)]
struct Lists {
    lists: Vec<List>,
    links: Vec<u32>,
}

struct List {
    point: u32,
    level: usize,
    len: usize,
}

impl Growing {
    fn new(points: usize, params: &HnswParams) -> Self {
        let mut keys: Vec<(usize, u64, u32)> = (0..points as u32)
            .into_par_iter()
            .map(|point| {
                let mut rng = SplitMix64::new(params.seed, u64::from(point));
                (usize::MAX - level_of(rng.next_u64(), params.m), rng.next_u64(), point)
            })
            .collect();
        keys.par_sort_unstable();
        let level = |key: &(usize, u64, u32)| usize::MAX - key.0;
        let top = keys.first().map_or(0, level);
        let sizes: Vec<usize> = (0..=top).map(|l| keys.partition_point(|key| level(key) >= l)).collect();
        let order: Vec<u32> = keys.iter().map(|key| key.2).collect();
        let mut ranks = vec![0; points];
        for (rank, &point) in order.iter().enumerate() {
            ranks[point as usize] = rank as u32;
        }
        let levels =
            sizes.iter().enumerate().map(|(l, &size)| GrowingLevel::new(size, params.links_max(l))).collect();
        Self { order, ranks, sizes, levels }
    }

    #[inline]
    fn slot(&self, node: u32, level: usize) -> usize {
        if level == 0 { node as usize } else { self.ranks[node as usize] as usize }
    }

    /// Inserts the points of a range of ranks.
    fn insert<S: PointScores>(
        &mut self,
        batch: std::ops::Range<usize>,
        scores: &S,
        params: &HnswParams,
        scratches: &Scratches,
    ) {
        let graph = &*self;
        let chosen: Vec<Lists> = batch
            .into_par_iter()
            .chunks(CHUNK)
            .map(|ranks| scratches.with(|scratch| graph.choose_links(&ranks, scores, params, scratch)))
            .collect();
        let mut back_links: Vec<Vec<BackLink>> = vec![Vec::new(); self.levels.len()];
        self.apply(&chosen, |list, links| {
            back_links[list.level].extend(links.iter().map(|&to| BackLink { to, from: list.point }));
        });
        for (level, links) in back_links.iter_mut().enumerate() {
            links.par_sort_unstable();
            let targets: Vec<&[BackLink]> = links.chunk_by(|a, b| a.to == b.to).collect();
            let graph = &*self;
            let merged: Vec<Lists> = targets
                .par_chunks(CHUNK)
                .map(|targets| scratches.with(|scratch| graph.merge_links(level, targets, scores, scratch)))
                .collect();
            self.apply(&merged, |_, _| {});
        }
    }

    fn apply(&mut self, chunks: &[Lists], mut each: impl FnMut(&List, &[u32])) {
        for chunk in chunks {
            let mut rest = &chunk.links[..];
            for list in &chunk.lists {
                let links;
                (links, rest) = rest.split_at(list.len);
                let slot = self.slot(list.point, list.level);
                self.levels[list.level].set(slot, links);
                each(list, links);
            }
        }
    }

    /// The links of new points on each of their levels.
    fn choose_links<S: PointScores>(
        &self,
        ranks: &[usize],
        scores: &S,
        params: &HnswParams,
        scratch: &mut BuildScratch,
    ) -> Lists {
        let mut chosen = Lists::default();
        for &rank in ranks {
            let point = self.order[rank];
            let levels = self.sizes.partition_point(|&size| size > rank);
            for level in (0..levels).rev() {
                let candidates =
                    self.nearest(point, params.ef_construct, level, scores, &mut scratch.search, &|| false);
                let candidates = candidates.expect("nothing stops it");
                let selected = scratch.selection.select(candidates, params.m, scores);
                chosen.push(point, level, selected.iter().map(|candidate| candidate.id));
            }
        }
        chosen
    }

    /// The links of points that new ones link to, with the way back added.
    fn merge_links<S: PointScores>(
        &self,
        level: usize,
        targets: &[&[BackLink]],
        scores: &S,
        scratch: &mut BuildScratch,
    ) -> Lists {
        let links_max = self.levels[level].links_max;
        let mut merged = Lists::default();
        for links in targets {
            let point = links[0].to;
            let old = self.links(point, level);
            let all = old.iter().copied().chain(links.iter().map(|link| link.from));
            if old.len() + links.len() <= links_max {
                merged.push(point, level, all);
                continue;
            }
            let candidates = &mut scratch.candidates;
            candidates.clear();
            candidates.extend(all.map(|id| Candidate { id, score: scores.score(point, id) }));
            candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
            let selected = scratch.selection.select(candidates, links_max, scores);
            merged.push(point, level, selected.iter().map(|candidate| candidate.id));
        }
        merged
    }

    /// Makes every point reachable from its best neighbour in two steps, where there is room for a link, and then, on level 0, from the
    /// entry. What choosing links leaves without would hardly be found.
    ///
    /// By a dot product a point that is a little shorter than those around it is nobody's best match, and codes make points shorter. A
    /// group of points that are far from all others may have no link from these: it gets one from where a walk that looks for it ends.
    /// Where there is no room for a link a point stays as it is. The walk comes down through the upper levels, so it may end at
    /// the point itself, or among others that are lost: no link from there would help.
    fn connect<S: PointScores>(
        &mut self,
        scores: &S,
        params: &HnswParams,
        scratches: &Scratches,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), SearchStoppedError> {
        let Some(&entry) = self.order.first() else { return Ok(()) };
        self.levels[0].connect_to_best(scores);
        let (mut reached, lost) = self.levels[0].connect_nearby(entry, scores);
        for point in lost {
            if reached[point as usize] {
                continue;
            }
            let from = scratches.with(|scratch| {
                let found = self.nearest(point, params.ef_construct, 0, scores, &mut scratch.search, stop)?;
                let level = &self.levels[0];
                let near = found.iter().map(|found| found.id);
                let further = near.clone().flat_map(|near| level.get(near as usize)).copied();
                Ok(near.chain(further).find(|&id| reached[id as usize] && level.has_room(id)))
            })?;
            if let Some(from) = from {
                self.levels[0].add(from, point);
                self.levels[0].reach(point, &mut reached);
            }
        }
        Ok(())
    }

    /// The best of a level for a point, as far as a walk finds them.
    fn nearest<'s, S: PointScores>(
        &self,
        point: u32,
        ef: usize,
        level: usize,
        scores: &S,
        scratch: &'s mut SearchScratch,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<&'s [Candidate], SearchStoppedError> {
        let score_many = |ids: &[u32], out: &mut [f32]| {
            for (out, &id) in out.iter_mut().zip(ids) {
                *out = scores.score(point, id);
            }
        };
        search_level(self, scratch, ef, level, score_many, stop)
    }

    fn into_graph(self, params: &HnswParams) -> Graph {
        let mut levels = self.levels.iter().enumerate().map(|(l, level)| {
            let mut nodes = self.order[..self.sizes[l]].to_vec();
            nodes.sort_unstable();
            let count = level.counts.iter().map(|&count| usize::from(count)).sum();
            let mut links = Vec::with_capacity(count);
            let mut offsets = Vec::with_capacity(nodes.len() + 1);
            offsets.push(0);
            for &node in &nodes {
                links.extend_from_slice(level.get(self.slot(node, l)));
                offsets.push(links.len() as u64);
            }
            UpperLevel { nodes, offsets, links }
        });
        let base = levels.next().expect("level 0 always exists");
        let parts = GraphParts {
            m: params.m,
            entry: self.order.first().copied().unwrap_or(0),
            offsets: base.offsets,
            links: base.links,
            upper: levels.collect(),
        };
        Graph::from_parts(parts).expect("the builder keeps the rules of a graph")
    }
}

impl Lists {
    fn push(&mut self, point: u32, level: usize, links: impl Iterator<Item = u32>) {
        let before = self.links.len();
        self.links.extend(links);
        self.lists.push(List { point, level, len: self.links.len() - before });
    }
}

/// A link that is to be entered at its other end. Orders by that end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct BackLink {
    to: u32,
    from: u32,
}

/// Choosing links that lead into different directions: the heuristic of the paper (algorithm 4).
#[derive(Default)]
struct Selection {
    selected: Vec<Candidate>,
    twins: Vec<Candidate>,
}

impl Selection {
    /// Chooses at most `links_max` of the candidates, which come best first: those that are nearer to the point than to
    /// any chosen before them.
    ///
    /// Candidates as near to each other as both are to the point are usually copies of it. They fill what room is left at
    /// the end: first chosen, they would cut a group of copies off from everything else.
    fn select<S: PointScores>(
        &mut self,
        candidates: &[Candidate],
        links_max: usize,
        scores: &S,
    ) -> &[Candidate] {
        let Self { selected, twins } = self;
        selected.clear();
        twins.clear();
        'candidates: for &candidate in candidates {
            if selected.len() == links_max {
                break;
            }
            for other in &*selected {
                let between = scores.score(candidate.id, other.id);
                if between > candidate.score {
                    continue 'candidates;
                }
                if between == candidate.score && other.score == candidate.score {
                    twins.push(candidate);
                    continue 'candidates;
                }
            }
            selected.push(candidate);
        }
        let room = links_max - selected.len();
        selected.extend(twins.iter().take(room));
        selected
    }
}

/// What a thread needs to insert points.
#[derive(Default)]
struct BuildScratch {
    search: SearchScratch,
    selection: Selection,
    candidates: Vec<Candidate>,
}

/// Scratches that are used again: as many as threads worked at the same time.
#[derive(Default)]
struct Scratches {
    free: Mutex<Vec<BuildScratch>>,
}

impl Scratches {
    fn with<R>(&self, work: impl FnOnce(&mut BuildScratch) -> R) -> R {
        let lock = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = lock().pop().unwrap_or_default();
        let result = work(&mut scratch);
        lock().push(scratch);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::search_in_memory;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use vecstore_quant::{CodeScores, Distance, ScalarCodes};

    const DIM: usize = 12;

    /// Scores between prepared vectors.
    struct VectorScores<'a> {
        distance: Distance,
        vectors: &'a [f32],
        dim: usize,
    }

    impl<'a> VectorScores<'a> {
        fn new(distance: Distance, vectors: &'a [f32], dim: usize) -> Self {
            Self { distance, vectors, dim }
        }
    }

    impl PointScores for VectorScores<'_> {
        fn len(&self) -> usize {
            self.vectors.len() / self.dim
        }

        fn score(&self, a: u32, b: u32) -> f32 {
            let vector = |point: u32| &self.vectors[point as usize * self.dim..][..self.dim];
            self.distance.score(vector(a), vector(b))
        }
    }

    fn params() -> HnswParams {
        HnswParams { m: 8, ef_construct: 64, seed: 7 }
    }

    /// Normalised vectors around a few centres.
    fn vectors(count: usize) -> Vec<f32> {
        let mut rng = SplitMix64::new(1, 0);
        let centres: Vec<f32> = (0..20 * DIM).map(|_| rng.normal()).collect();
        let mut vectors = Vec::new();
        for _ in 0..count {
            let centre = rng.below(20) * DIM;
            let mut vector: Vec<f32> =
                centres[centre..centre + DIM].iter().map(|x| x + 0.5 * rng.normal()).collect();
            Distance::Cosine.prepare(&mut vector);
            vectors.extend(vector);
        }
        vectors
    }

    fn built(vectors: &[f32], distance: Distance, params: &HnswParams) -> Graph {
        build(&VectorScores::new(distance, vectors, DIM), params, &|_| (), &|| false).unwrap()
    }

    fn search(graph: &Graph, vectors: &[f32], query: &[f32], ef: usize, distance: Distance) -> Vec<u32> {
        let mut scratch = SearchScratch::new();
        let score = |ids: &[u32], out: &mut [f32]| {
            for (out, &id) in out.iter_mut().zip(ids) {
                *out = distance.score(query, &vectors[id as usize * DIM..][..DIM]);
            }
        };
        let found = search_in_memory(graph, &mut scratch, ef, score, || false).unwrap();
        found.iter().map(|candidate| candidate.id).collect()
    }

    /// By sorting all scores.
    fn exact(vectors: &[f32], query: &[f32], count: usize, distance: Distance) -> Vec<u32> {
        let mut all: Vec<(f32, u32)> =
            vectors.chunks(DIM).zip(0..).map(|(vector, id)| (-distance.score(query, vector), id)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.iter().take(count).map(|entry| entry.1).collect()
    }

    #[test]
    fn the_graph_is_the_same_on_any_number_of_threads() {
        let vectors = vectors(3000);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| built(&vectors, Distance::Cosine, &params()))
        };
        let one = on(1);
        for threads in [2, 3, 8] {
            assert_eq!(on(threads), one, "{threads} threads");
        }
        assert_ne!(built(&vectors, Distance::Cosine, &HnswParams { seed: 8, ..params() }), one);
    }

    #[test]
    fn neighbours_are_found_under_every_distance() {
        let mut vectors = vectors(3000);
        let queries = vectors.split_off(2900 * DIM);
        for distance in Distance::ALL {
            let graph = built(&vectors, distance, &params());
            let mut hits = 0;
            for query in queries.chunks(DIM) {
                let found = search(&graph, &vectors, query, 64, distance);
                let exact = exact(&vectors, query, 10, distance);
                hits += found.iter().take(10).filter(|id| exact.contains(id)).count();
            }
            assert!(hits >= 980, "{distance}: recall {hits} of 1000");
        }
    }

    #[test]
    fn codes_build_a_graph_as_good() {
        let mut vectors = vectors(3000);
        let queries = vectors.split_off(2900 * DIM);
        let mut codes = ScalarCodes::new(DIM).unwrap();
        codes.extend(&vectors);
        let scores = CodeScores::new(Distance::Cosine, &codes);
        let graph = build(&scores, &params(), &|_| (), &|| false).unwrap();
        let mut hits = 0;
        for query in queries.chunks(DIM) {
            let found = search(&graph, &vectors, query, 64, Distance::Cosine);
            let exact = exact(&vectors, query, 10, Distance::Cosine);
            hits += found.iter().take(10).filter(|id| exact.contains(id)).count();
        }
        assert!(hits >= 980, "recall {hits} of 1000");
    }

    /// Every size up to a few batches: each point finds itself.
    #[test]
    fn small_sets_are_searched_exactly() {
        let vectors = vectors(120);
        for count in (0..40).chain([119, 120]) {
            let vectors = &vectors[..count * DIM];
            let graph = built(vectors, Distance::Cosine, &params());
            assert_eq!(graph.len(), count);
            for (query, id) in vectors.chunks(DIM).zip(0..) {
                let found = search(&graph, vectors, query, count, Distance::Cosine);
                assert_eq!(found[0], id, "of {count}");
                assert_eq!(found, exact(vectors, query, count, Distance::Cosine), "of {count}");
            }
        }
    }

    /// The worst order of insertion for batches: one cluster after the other.
    #[test]
    fn sorted_input_does_not_hurt() {
        let vectors = vectors(3000);
        let mut rows: Vec<&[f32]> = vectors.chunks(DIM).collect();
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        let sorted = rows.concat();
        let graph = built(&sorted, Distance::Cosine, &params());
        let mut hits = 0;
        for query in vectors.chunks(DIM).take(100) {
            let exact = exact(&sorted, query, 10, Distance::Cosine);
            let found = search(&graph, &sorted, query, 64, Distance::Cosine);
            hits += found.iter().take(10).filter(|id| exact.contains(id)).count();
        }
        assert!(hits >= 980, "recall {hits} of 1000");
    }

    /// Many copies of one point: the others stay reachable, and so do the copies.
    #[test]
    fn copies_do_not_cut_the_graph() {
        let mut vectors = vectors(1000);
        let copy = vectors[..DIM].to_vec();
        for id in (0..1000).step_by(2) {
            vectors[id * DIM..][..DIM].copy_from_slice(&copy);
        }
        let graph = built(&vectors, Distance::Cosine, &params());
        let mut lost = 0;
        for id in (1..1000).step_by(2) {
            let found = search(&graph, &vectors, &vectors[id * DIM..][..DIM], 64, Distance::Cosine);
            lost += usize::from(found[0] != id as u32);
        }
        assert!(lost <= 2, "{lost} of 500 were not found");
        let copies = search(&graph, &vectors, &copy, 64, Distance::Cosine);
        assert!(copies.iter().filter(|&id| id % 2 == 0).count() >= 60, "{copies:?}");
    }

    #[test]
    fn levels_thin_out_by_m() {
        let counts = |m: usize| {
            let mut rng = SplitMix64::new(3, 0);
            let mut counts = [0; 65];
            (0..100_000).for_each(|_| counts[level_of(rng.next_u64(), m)] += 1);
            counts
        };
        let of_16 = counts(16);
        assert!((93_200..94_300).contains(&of_16[0]) && (5_500..6_300).contains(&of_16[1]), "{of_16:?}");
        let of_2 = counts(2);
        assert!((49_000..51_000).contains(&of_2[0]) && (24_300..25_700).contains(&of_2[1]), "{of_2:?}");
        assert!(level_of(0, 2) < 64 && level_of(u64::MAX, 2) == 0);
    }

    /// The points that a walk from the entry can come to on level 0.
    fn reachable(graph: &Graph) -> usize {
        let mut reached = HashSet::from([graph.entry().unwrap().0]);
        let mut waiting: Vec<u32> = reached.iter().copied().collect();
        while let Some(node) = waiting.pop() {
            waiting.extend(graph.links(node, 0).iter().filter(|&&link| reached.insert(link)));
        }
        reached.len()
    }

    #[test]
    fn every_point_can_be_reached() {
        for (distance, m) in [(Distance::Cosine, 4), (Distance::Euclid, 4), (Distance::Dot, 4)] {
            let mut vectors = vectors(3000);
            if distance == Distance::Dot {
                // Of lengths from 1 to 4: all equal, a dot product would be a cosine.
                for (id, vector) in vectors.chunks_mut(DIM).enumerate() {
                    vector.iter_mut().for_each(|x| *x *= 1.0 + (id % 4) as f32);
                }
            }
            let graph = built(&vectors, distance, &HnswParams { m, ef_construct: 20, seed: 1 });
            assert_eq!(reachable(&graph), 3000, "{distance}");
        }
    }

    /// Of clusters that are far from each other, and of more points than a walk keeps, none is cut off.
    #[test]
    fn far_clusters_can_be_reached() {
        let mut rng = SplitMix64::new(4, 0);
        let centres: Vec<f32> = (0..30 * DIM).map(|_| 100.0 * rng.normal()).collect();
        let mut vectors = Vec::new();
        for centre in centres.chunks(DIM) {
            for _ in 0..100 {
                vectors.extend(centre.iter().map(|x| x + 0.01 * rng.normal()));
            }
        }
        for distance in [Distance::Euclid, Distance::Dot] {
            let graph = built(&vectors, distance, &params());
            assert_eq!(reachable(&graph), 3000, "{distance}");
        }
    }

    /// By the products of codes some points are nobody's best match, though their vectors are: who is near finds them all the same.
    #[test]
    fn points_are_found_from_next_to_them() {
        let mut rng = SplitMix64::new(6, 0);
        let mut vectors = Vec::new();
        for _ in 0..20 {
            // All of one length: else the product with a point of a longer one may be the best.
            let centre: Vec<f32> = (0..DIM).map(|_| rng.normal()).collect();
            let length = centre.iter().map(|x| x * x).sum::<f32>().sqrt();
            for _ in 0..100 {
                vectors.extend(centre.iter().map(|x| 35.0 * x / length + 0.01 * rng.normal()));
            }
        }
        let mut codes = ScalarCodes::new(DIM).unwrap();
        codes.extend(&vectors);
        let scores = CodeScores::new(Distance::Dot, &codes);
        let graph = build(&scores, &HnswParams::default(), &|_| (), &|| false).unwrap();
        let found = vectors.chunks(DIM).enumerate().map(|(point, query)| {
            let found = search(&graph, &vectors, query, 128, Distance::Dot);
            found.iter().filter(|&&id| id as usize / 100 == point / 100).count()
        });
        let found: usize = found.sum();
        assert!(found >= 199_000, "{found} of 200,000 in the same cluster");
    }

    #[test]
    fn links_are_distinct() {
        let vectors = vectors(2000);
        let graph = built(&vectors, Distance::Euclid, &params());
        for point in 0..2000 {
            let links = graph.links(point, 0);
            assert_eq!(links.iter().collect::<HashSet<_>>().len(), links.len());
        }
    }

    #[test]
    fn progress_is_told_and_a_stop_obeyed() {
        let vectors = vectors(500);
        let scores = VectorScores::new(Distance::Dot, &vectors, DIM);
        let last = AtomicUsize::new(0);
        let progress = |done| {
            assert!(last.swap(done, Ordering::Relaxed) < done);
        };
        build(&scores, &params(), &progress, &|| false).unwrap();
        assert_eq!(last.load(Ordering::Relaxed), 500);

        let last = AtomicUsize::new(0);
        let stop = || last.load(Ordering::Relaxed) >= 100;
        let stopped = build(&scores, &params(), &|done| last.store(done, Ordering::Relaxed), &stop);
        let done = last.into_inner();
        assert!(done < 110);
        assert_eq!(stopped, Err(BuildError::Stopped { done }));
        let wrong = HnswParams { m: 0, ..params() };
        assert_eq!(
            build(&scores, &wrong, &|_| (), &|| false),
            Err(BuildError::Params(ParamsError::M { m: 0 }))
        );
    }

    /// With few links a walk for a lost point often ends at the point itself, or among others that are lost.
    #[test]
    fn a_lost_point_is_linked_from_one_that_is_reached() {
        for seed in 0..40 {
            let mut rng = SplitMix64::new(seed, 1);
            let centres: Vec<f32> = (0..6 * DIM).map(|_| rng.normal()).collect();
            let near = |index: usize, rng: &mut SplitMix64| {
                centres[index % 6 * DIM + index / 6 % DIM] + 0.1 * rng.normal()
            };
            let vectors: Vec<f32> = (0..200)
                .flat_map(|point| (0..DIM).map(move |i| point % 6 + 6 * i))
                .map(|index| near(index, &mut rng))
                .collect();
            for (m, ef_construct) in [(2, 2), (2, 128), (3, 3), (4, 4)] {
                // It panics where a rule of graphs is broken.
                let graph = built(&vectors, Distance::Euclid, &HnswParams { m, ef_construct, seed });
                assert_eq!(graph.len(), 200);
            }
        }
    }
}
