//! The search over linked records, beside exact results.

use std::collections::VecDeque;
use vecstore_index::graph::{
    Graph, HnswParams, LinkedLayout, LinkedScratch, LinkedSearch, SearchStoppedError, build,
    search_linked_in_memory,
};
use vecstore_quant::{CodeScores, Distance, NeighbourScorer, ScalarCodes, SplitMix64};

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
        let mut vectors = vectors(POINTS + 100, distance);
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
        let mut records = vec![0; POINTS * layout.record_bytes()];
        for (node, record) in (0..).zip(records.chunks_exact_mut(layout.record_bytes())) {
            layout.encode(
                node,
                graph.links(node, 0),
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

    fn entry(&self) -> u32 {
        self.graph.entry().unwrap().0
    }

    fn search(&self, query: &[f32], ef: usize, scratch: &mut LinkedScratch) -> Vec<u32> {
        let scorer = self.layout.codec().query(query);
        let found = search_linked_in_memory(
            &self.layout,
            POINTS,
            |node| self.record(node),
            &scorer,
            scratch,
            ef,
            [self.entry()],
            |node| self.score(query, node),
            || false,
        );
        found.unwrap().iter().map(|candidate| candidate.id).collect()
    }

    /// As a driver searches that has some reads in flight, which end in the order they began.
    fn search_with_in_flight(&self, query: &[f32], in_flight: usize) -> Vec<u32> {
        let scorer: NeighbourScorer = self.layout.codec().query(query);
        let mut scratch = LinkedScratch::new();
        let mut search = LinkedSearch::new(&mut scratch, POINTS, EF);
        search.enter(self.entry(), self.score(query, self.entry()));
        let mut waiting = VecDeque::new();
        loop {
            while waiting.len() < in_flight
                && let Some(node) = search.next()
            {
                waiting.push_back(node);
            }
            let Some(node) = waiting.pop_front() else { break };
            let own = self.score(query, node);
            search.score(node, own);
            let threshold = search.threshold();
            self.layout.estimate(&scorer, self.record(node), own, threshold, |link, estimate| {
                search.estimate(link, estimate);
            });
        }
        search.finish().iter().map(|candidate| candidate.id).collect()
    }
}

#[test]
fn neighbours_are_found_under_every_distance() {
    for (distance, m) in Distance::ALL.into_iter().flat_map(|distance| [(distance, 16), (distance, 24)]) {
        let (setup, queries) = Setup::new(distance, m);
        let (mut hits, mut hits_in_flight) = (0, 0);
        let mut scratch = LinkedScratch::new();
        for query in &queries {
            let exact = setup.exact(query, WANTED);
            let hits_of = |found: &[u32]| found.iter().take(WANTED).filter(|id| exact.contains(id)).count();
            let found = setup.search(query, EF, &mut scratch);
            assert_eq!(found.len(), EF);
            hits += hits_of(&found);
            hits_in_flight += hits_of(&setup.search_with_in_flight(query, 8));
        }
        assert!(hits >= 950, "{distance}, m {m}: recall {hits} of 1000");
        assert!(hits_in_flight >= 950, "{distance}, m {m}: recall {hits_in_flight} of 1000");
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
        }
    }
}

#[test]
fn the_search_in_memory_has_two_nodes_in_flight() {
    let (setup, queries) = Setup::new(Distance::Euclid, 16);
    let mut scratch = LinkedScratch::new();
    for query in &queries {
        assert_eq!(setup.search_with_in_flight(query, 2), setup.search(query, EF, &mut scratch));
    }
}

#[test]
fn a_stop_ends_the_search() {
    let (setup, queries) = Setup::new(Distance::Dot, 16);
    let (mut scratch, mut expansions) = (LinkedScratch::new(), 0);
    let found = search_linked_in_memory(
        &setup.layout,
        POINTS,
        |node| setup.record(node),
        &setup.layout.codec().query(&queries[0]),
        &mut scratch,
        EF,
        [setup.entry()],
        |node| setup.score(&queries[0], node),
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
    let mut search = LinkedSearch::new(&mut scratch, 0, 5);
    search.enter(0, 1.0);
    assert_eq!(search.next(), None);
    assert!(search.finish().is_empty());

    let mut search = LinkedSearch::new(&mut scratch, 3, 5);
    search.enter(1, f32::NAN);
    search.enter(1, 1.0);
    search.enter(3, 1.0);
    assert_eq!(search.waiting().collect::<Vec<_>>(), [1]);
    assert_eq!((search.next(), search.next()), (Some(1), None));
    search.score(1, 0.5);
    for (link, estimate) in [(1, 1.0), (2, 0.25), (3, 1.0), (u32::MAX, 1.0), (0, f32::NAN)] {
        search.estimate(link, estimate);
    }
    assert_eq!(search.waiting().collect::<Vec<_>>(), [2, 0]);
    assert_eq!((search.next(), search.next(), search.next()), (Some(2), Some(0), None));
    search.score(2, 0.75);
    search.score(0, 0.5);
    let found: Vec<u32> = search.finish().iter().map(|candidate| candidate.id).collect();
    assert_eq!(found, [2, 0, 1]);
}
