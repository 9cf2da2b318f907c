//! The search over linked records, beside exact results.

use std::collections::{BTreeMap, VecDeque};
use vecstore_index::graph::{
    Candidate, Graph, HnswParams, LinkedLayout, LinkedNodes, LinkedScratch, LinkedSearch, LinkedWanted,
    SearchStoppedError, build, fill_links, search_linked_in_memory,
};
use vecstore_quant::{CodeScores, Distance, ScalarCodes, SplitMix64};

const DIM: usize = 40;
const POINTS: usize = 3000;
const EF: usize = 64;
const WANTED: usize = 10;

/// Vectors around a few centres.
fn vectors(count: usize, distance: Distance) -> Vec<Vec<f32>> {
    let mut random = SplitMix64::new(1, 0);
    let centres: Vec<f32> = (0..20 * DIM).map(|_| random.normal()).collect();
    let vector = |_| {
        let centre = random.below(20) * DIM;
        let near = centres[centre..centre + DIM].iter().map(|x| x + 0.5 * random.normal());
        let mut vector: Vec<f32> = near.collect();
        distance.prepare(&mut vector);
        vector
    };
    (0..count).map(vector).collect()
}

/// A graph with linked records over vectors.
struct Setup {
    distance: Distance,
    vectors: Vec<Vec<f32>>,
    graph: Graph,
    layout: LinkedLayout,
    records: Vec<u8>,
}

impl Setup {
    fn new(distance: Distance, m: usize) -> (Self, Vec<Vec<f32>>) {
        Self::scaled(distance, m, 1.0)
    }

    /// The components of all vectors are multiplied by a factor.
    fn scaled(distance: Distance, m: usize, factor: f32) -> (Self, Vec<Vec<f32>>) {
        let mut vectors = vectors(POINTS + 100, distance);
        vectors.iter_mut().flatten().for_each(|component| *component *= factor);
        let queries = vectors.split_off(POINTS);
        let mut codes = ScalarCodes::new(DIM).unwrap();
        codes.extend(&vectors.concat());
        let params = HnswParams { m, ef_construct: 64, seed: 7 };
        let graph = build(&CodeScores::new(distance, &codes), &params, &|_| (), &|| false).unwrap();
        let layout = LinkedLayout::new(distance, DIM, 2 * m, 3);
        let rotated: Vec<Vec<f32>> = vectors
            .iter()
            .map(|vector| {
                let mut rotated = vec![0.0; layout.codec().rotated_dim()];
                layout.codec().rotate(vector, &mut rotated);
                rotated
            })
            .collect();
        let filled = fill_links(
            &graph.clone().into_parts(),
            &CodeScores::new(distance, &codes),
            layout.links_max(),
            &|| false,
        )
        .unwrap();
        let mut records = vec![0; POINTS * layout.record_bytes()];
        for (node, record) in (0..).zip(records.chunks_exact_mut(layout.record_bytes())) {
            layout.encode(
                node,
                &filled.links
                    [filled.offsets[node as usize] as usize..filled.offsets[node as usize + 1] as usize],
                |point, vector| vector.copy_from_slice(&rotated[point as usize]),
                record,
            );
            layout.check(record, POINTS as u32).unwrap();
        }
        (Self { distance, vectors, graph, layout, records }, queries)
    }

    fn record(&self, node: u32) -> &[u8] {
        &self.records[node as usize * self.layout.record_bytes()..][..self.layout.record_bytes()]
    }

    fn score(&self, query: &[f32], node: u32) -> f32 {
        self.distance.score(query, &self.vectors[node as usize])
    }

    fn exact(&self, query: &[f32], wanted: usize) -> Vec<u32> {
        let mut all: Vec<(f32, u32)> =
            (0..POINTS as u32).map(|node| (-self.score(query, node), node)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.iter().take(wanted).map(|entry| entry.1).collect()
    }

    fn entry(&self, query: &[f32]) -> Candidate {
        let id = self.graph.entry().unwrap().0;
        Candidate { id, score: self.score(query, id) }
    }

    fn search(&self, query: &[f32], ef: usize, scratch: &mut LinkedScratch) -> Vec<u32> {
        let found = search_linked_in_memory(
            &self.layout,
            &mut Nodes { setup: self, query },
            &self.layout.query(query),
            scratch,
            LinkedWanted::new(POINTS, ef, ef),
            &[self.entry(query)],
            || false,
        );
        found.unwrap().iter().map(|candidate| candidate.id).collect()
    }

    /// As a driver searches that has some reads in flight, which end in the order they began. Returns the
    /// best nodes, and how many were expanded.
    fn search_with_in_flight(&self, query: &[f32], kind: Kind, in_flight: usize) -> (Vec<u32>, usize) {
        let scorer = self.layout.query(query);
        let mut scratch = LinkedScratch::new();
        let mut search =
            LinkedSearch::new(&mut scratch, kind(LinkedWanted::new(POINTS, EF, EF)), &[self.entry(query)]);
        let (mut waiting, mut expanded) = (VecDeque::new(), 0);
        loop {
            while waiting.len() < in_flight
                && let Some(node) = search.next()
            {
                waiting.push_back(node);
            }
            let Some(node) = waiting.pop_front() else { break };
            search.expand(&self.layout, &scorer, node, self.record(node), self.score(query, node));
            expanded += 1;
        }
        (search.finish().iter().map(|candidate| candidate.id).collect(), expanded)
    }
}

/// A search of either kind.
type Kind = fn(LinkedWanted) -> LinkedWanted;
const SINGLE: Kind = |wanted| wanted;
const COMBINING: Kind = |wanted| wanted.combining();

/// The nodes of a graph, for a query.
struct Nodes<'a> {
    setup: &'a Setup,
    query: &'a [f32],
}

impl LinkedNodes for Nodes<'_> {
    fn record(&self, node: u32) -> &[u8] {
        self.setup.record(node)
    }

    fn score(&mut self, node: u32) -> f32 {
        self.setup.score(self.query, node)
    }
}

#[test]
fn neighbours_are_found_under_every_distance() {
    for (distance, m) in Distance::ALL.into_iter().flat_map(|distance| [(distance, 16), (distance, 24)]) {
        let (setup, queries) = Setup::new(distance, m);
        let (mut hits, mut hits_in_flight, mut hits_combining) = (0, 0, 0);
        let (mut expanded, mut expanded_combining) = (0, 0);
        let mut scratch = LinkedScratch::new();
        for query in &queries {
            let exact = setup.exact(query, WANTED);
            let hits_of = |found: &[u32]| found.iter().take(WANTED).filter(|id| exact.contains(id)).count();
            let found = setup.search(query, EF, &mut scratch);
            assert_eq!(found.len(), EF);
            hits += hits_of(&found);
            let (found, count) = setup.search_with_in_flight(query, SINGLE, 8);
            (hits_in_flight, expanded) = (hits_in_flight + hits_of(&found), expanded + count);
            let (found, count) = setup.search_with_in_flight(query, COMBINING, 8);
            hits_combining += hits_of(&found);
            expanded_combining += count;
        }
        assert!(hits >= 950, "{distance}, m {m}: recall {hits} of 1000");
        assert!(hits_in_flight >= 950, "{distance}, m {m}: recall {hits_in_flight} of 1000");
        assert!(hits_combining >= 950, "{distance}, m {m}: recall {hits_combining} of 1000, combining");
        let part = expanded_combining as f64 / expanded as f64;
        assert!(part < 0.95, "{distance}, m {m}: {expanded_combining} of {expanded} nodes");
    }
}

/// Each node is expanded once, and the result ranks all of them by their own scores.
#[test]
fn with_room_for_all_points_the_result_is_exact() {
    let (setup, queries) = Setup::new(Distance::Cosine, 16);
    let mut scratch = LinkedScratch::new();
    for query in &queries[..5] {
        for ef in [POINTS, usize::MAX] {
            assert_eq!(setup.search(query, ef, &mut scratch), setup.exact(query, POINTS));
            let mut search = LinkedSearch::new(
                &mut scratch,
                LinkedWanted::new(POINTS, ef, ef).combining(),
                &[setup.entry(query)],
            );
            let scorer = setup.layout.query(query);
            while let Some(node) = search.next() {
                search.expand(&setup.layout, &scorer, node, setup.record(node), setup.score(query, node));
            }
            let found: Vec<u32> = search.finish().iter().map(|candidate| candidate.id).collect();
            assert_eq!(found, setup.exact(query, POINTS));
        }
    }
}

#[test]
fn the_search_in_memory_has_two_nodes_in_flight() {
    let (setup, queries) = Setup::new(Distance::Euclid, 16);
    let mut scratch = LinkedScratch::new();
    for query in &queries {
        let (found, _) = setup.search_with_in_flight(query, SINGLE, 2);
        assert_eq!(found, setup.search(query, EF, &mut scratch));
    }
}

#[test]
fn a_stop_ends_the_search() {
    let (setup, queries) = Setup::new(Distance::Dot, 16);
    let (mut scratch, mut expansions) = (LinkedScratch::new(), 0);
    let found = search_linked_in_memory(
        &setup.layout,
        &mut Nodes { setup: &setup, query: &queries[0] },
        &setup.layout.query(&queries[0]),
        &mut scratch,
        LinkedWanted::new(POINTS, EF, EF),
        &[setup.entry(&queries[0])],
        || {
            expansions += 1;
            expansions > 3
        },
    );
    assert_eq!(found, Err(SearchStoppedError));
}

#[test]
fn points_that_do_not_exist_are_ignored() {
    let mut scratch = LinkedScratch::new();
    let mut search =
        LinkedSearch::new(&mut scratch, LinkedWanted::new(0, 5, 5), &[Candidate { id: 0, score: 1.0 }]);
    assert_eq!(search.next(), None);
    assert!(search.finish().is_empty());

    // All points lie at the same place, so an estimate is the score of the node.
    let layout = LinkedLayout::new(Distance::Dot, 4, 8, 1);
    let record = |node: u32, links: &[u32]| {
        let mut record = vec![0; layout.record_bytes()];
        layout.encode(node, links, |_, vector| vector.fill(1.0), &mut record);
        record
    };
    let scorer = layout.query(&[1.0; 4]);
    for kind in [SINGLE, COMBINING] {
        // A score that is none is the worst one.
        let entries = [(0, f32::NAN), (1, 0.5), (2, 1.0)].map(|(id, score)| Candidate { id, score });
        let mut search = LinkedSearch::new(&mut scratch, kind(LinkedWanted::new(3, 2, 2)), &entries);
        assert_eq!((search.next(), search.next(), search.next()), (Some(2), Some(1), None));

        let entries = [(1, f32::NAN), (1, 1.0), (3, 1.0)].map(|(id, score)| Candidate { id, score });
        let mut search = LinkedSearch::new(&mut scratch, kind(LinkedWanted::new(3, 2, 2)), &entries);
        assert_eq!((search.next(), search.next()), (Some(1), None));
        search.expand(&layout, &scorer, 1, &record(1, &[1, 2, 3, u32::MAX, 0, 2]), 0.5);
        assert_eq!((search.next(), search.next(), search.next()), (Some(0), Some(2), None));
        search.expand(&layout, &scorer, 2, &record(2, &[]), 0.75);
        search.expand(&layout, &scorer, 0, &record(0, &[]), 0.5);
        let found: Vec<u32> = search.finish().iter().map(|candidate| candidate.id).collect();
        assert_eq!(found, [2, 0]);
    }
}

/// What waits is left alone once it cannot be among the best.
#[test]
fn the_search_ends_when_nothing_that_waits_may_be_among_the_best() {
    let (setup, queries) = Setup::new(Distance::Cosine, 16);
    let mut scratch = LinkedScratch::new();
    for (query, wanted) in queries.iter().zip((1..=2 * WANTED).cycle()) {
        let scorer = setup.layout.query(query);
        // From one entry point, or from more than are kept.
        let entries: Vec<Candidate> = (0..if wanted % 2 == 0 { 1 } else { 100 })
            .map(|entry| Candidate { id: entry * 7, score: setup.score(query, entry * 7) })
            .collect();
        let mut search = LinkedSearch::new(&mut scratch, LinkedWanted::new(POINTS, WANTED, wanted), &entries);
        // The most that any node has promised of each point, as far as it has not been expanded.
        let (mut promised, mut own) = (BTreeMap::new(), Vec::new());
        while let Some(node) = search.next() {
            let score = setup.score(query, node);
            own.push(score);
            let record = setup.record(node);
            setup.layout.estimate(&scorer, record, score, f32::NEG_INFINITY, |link, estimate| {
                let most = promised.entry(link).or_insert(f32::INFINITY);
                *most = estimate.min(*most);
            });
            promised.insert(node, f32::NEG_INFINITY);
            search.expand(&setup.layout, &scorer, node, record, score);
        }
        assert!(own.len() >= wanted, "{} of {wanted}", own.len());
        let found = search.finish();
        assert_eq!(found.len(), wanted.max(WANTED));
        for entry in entries {
            promised.entry(entry.id).or_insert(entry.score);
        }
        own.sort_by(|a, b| b.total_cmp(a));
        assert!(found.iter().zip(&own).all(|(found, own)| found.score == *own), "the best of all expanded");
        let worst = own[WANTED - 1];
        assert!(promised.values().all(|most| *most <= worst), "one of {promised:?} is above {worst}");
    }
}

/// The same for a search that combines estimates. All that is known of a point is then weighed by its
/// certainty.
#[test]
fn a_search_that_combines_ends_when_nothing_that_waits_may_be_among_the_best() {
    let (setup, queries) = Setup::new(Distance::Cosine, 16);
    let mut scratch = LinkedScratch::new();
    for (query, wanted) in queries.iter().zip((1..=2 * WANTED).cycle()) {
        let scorer = setup.layout.query(query);
        let entry = setup.entry(query);
        let mut search =
            LinkedSearch::new(&mut scratch, LinkedWanted::new(POINTS, WANTED, wanted).combining(), &[entry]);
        // Sums of weights and of weighted estimates.
        let (mut sums, mut own) = (BTreeMap::<u32, (f64, f64)>::new(), BTreeMap::new());
        while let Some(node) = search.next() {
            let score = setup.score(query, node);
            assert_eq!(own.insert(node, score), None, "a node is expanded once");
            let record = setup.record(node);
            setup.layout.estimate_all(&scorer, record, score, |link, estimate, deviation| {
                let (estimate, deviation) = (f64::from(estimate), f64::from(deviation));
                let (weights, weighted) = sums.entry(link).or_default();
                *weights += deviation.powi(-2);
                *weighted += (estimate - deviation) * deviation.powi(-2);
            });
            search.expand(&setup.layout, &scorer, node, record, score);
        }
        let found = search.finish();
        let mut scores: Vec<f32> = own.values().copied().collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        assert!(found.iter().zip(&scores).all(|(found, score)| found.score == *score));
        let worst = f64::from(scores[WANTED - 1]);
        for (link, (weights, weighted)) in sums.iter().filter(|(link, _)| !own.contains_key(link)) {
            let promise = weighted / weights + weights.sqrt().recip();
            assert!(promise <= worst + 1e-4, "{link} promises {promise}, and the worst is {worst}");
        }
        let most = own.keys().filter(|node| **node != entry.id).count();
        assert!(own.len() >= wanted && most < POINTS / 4, "{most} nodes");
    }
}

/// Squares of scores may leave the range of `f32`, and estimates may be far below 1.
#[test]
fn a_search_that_combines_does_not_depend_on_the_scale_of_vectors() {
    let plain = Setup::new(Distance::Euclid, 16);
    let hits_of = |(setup, queries): &(Setup, Vec<Vec<f32>>)| -> usize {
        let hits = queries.iter().map(|query| {
            let exact = setup.exact(query, WANTED);
            let (found, _) = setup.search_with_in_flight(query, COMBINING, 6);
            found.iter().take(WANTED).filter(|id| exact.contains(id)).count()
        });
        hits.sum()
    };
    let expected = hits_of(&plain);
    assert!(expected >= 950, "recall {expected} of 1000");
    for factor in [1e-8, 1e-6, 1e9, 1e16] {
        let hits = hits_of(&Setup::scaled(Distance::Euclid, 16, factor));
        assert!(
            hits.abs_diff(expected) <= 20,
            "factor {factor}: recall {hits} of 1000, and {expected} without"
        );
    }
}

/// A search among some of the points expands few of the others, and all promising ones if asked to.
#[test]
fn only_points_that_may_be_found_are_found() {
    for (distance, kind) in
        Distance::ALL.into_iter().flat_map(|distance| [(distance, SINGLE), (distance, COMBINING)])
    {
        let (setup, queries) = Setup::new(distance, 16);
        let mut scratch = LinkedScratch::new();
        for part in [2, 4, 10] {
            let may_find = |point: u32| point.is_multiple_of(part);
            for detours in [(part as f32 / 4.0 - 1.0).max(0.0), f32::INFINITY] {
                let (mut hits, mut direct, mut others) = (0, 0, 0);
                for query in &queries {
                    let exact = setup.exact(query, POINTS);
                    let exact: Vec<u32> =
                        exact.into_iter().filter(|&point| may_find(point)).take(WANTED).collect();
                    // The nearest of every hundredth point that may be found.
                    let mut entries: Vec<Candidate> = (0..POINTS as u32)
                        .step_by(100 * part as usize)
                        .map(|id| Candidate { id, score: setup.score(query, id) })
                        .collect();
                    entries.sort_by(|a, b| b.score.total_cmp(&a.score));
                    entries.truncate(4);
                    entries.push(setup.entry(query));
                    let wanted = kind(LinkedWanted::new(POINTS, EF, WANTED)).among(may_find, detours);
                    let mut search = LinkedSearch::new(&mut scratch, wanted, &entries);
                    let scorer = setup.layout.query(query);
                    while let Some(node) = search.next() {
                        *if may_find(node) { &mut direct } else { &mut others } += 1;
                        search.expand(
                            &setup.layout,
                            &scorer,
                            node,
                            setup.record(node),
                            setup.score(query, node),
                        );
                    }
                    let found = search.finish();
                    assert!(found.iter().all(|found| may_find(found.id)));
                    hits += found.iter().take(WANTED).filter(|found| exact.contains(&found.id)).count();
                }
                assert!(hits >= 950, "{distance}, one of {part}, {detours} detours: recall {hits} of 1000");
                // A few more are expanded if a search ends with too few points.
                let limit = f64::from(detours) * f64::from(direct) + 20.0 * queries.len() as f64;
                assert!(f64::from(others) <= limit, "{distance}, one of {part}: {others} beside {direct}");
            }
        }
    }
}
