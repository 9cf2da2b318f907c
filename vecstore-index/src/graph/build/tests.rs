use super::growing::level_of;
use super::{BuildError, build};
use crate::graph::finished::Graph;
use crate::graph::params::{HnswParams, ParamsError};
use crate::graph::scores::PointScores;
use crate::graph::search::{SearchScratch, search_in_memory};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use vecstore_quant::{CodeScores, Distance, ScalarCodes, SplitMix64};

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

/// The exact result, by sorting all scores.
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

/// For every size up to a few batches, each point finds itself.
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

/// Sorting by cluster is the worst order of insertion for batches.
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

/// With many copies of one point, both the copies and the other points stay reachable.
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

/// The number of points that a walk from the entry reaches on level 0.
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
            // Lengths from 1 to 4. With equal lengths, a dot product would rank as a cosine does.
            for (id, vector) in vectors.chunks_mut(DIM).enumerate() {
                vector.iter_mut().for_each(|x| *x *= 1.0 + (id % 4) as f32);
            }
        }
        let graph = built(&vectors, distance, &HnswParams { m, ef_construct: 20, seed: 1 });
        assert_eq!(reachable(&graph), 3000, "{distance}");
    }
}

/// No cluster is cut off, though clusters are far apart and hold more points than a walk keeps.
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

/// Some points are the best match of no other point by their codes, but are by their vectors. A search from
/// nearby still finds them.
#[test]
fn points_are_found_from_next_to_them() {
    let mut rng = SplitMix64::new(6, 0);
    let mut vectors = Vec::new();
    for _ in 0..20 {
        // All of one length. Otherwise a longer point could have the highest product with every other point.
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
    assert_eq!(build(&scores, &wrong, &|_| (), &|| false), Err(BuildError::Params(ParamsError::M { m: 0 })));
}

/// With few links, a walk for a lost point often ends at the point itself, or among other lost points.
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
            // `built` panics if the graph breaks a rule.
            let graph = built(&vectors, Distance::Euclid, &HnswParams { m, ef_construct, seed });
            assert_eq!(graph.len(), 200);
        }
    }
}
