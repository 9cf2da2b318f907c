//! Cells, and the search over them, beside exact results.

use proptest::prelude::*;
use std::collections::BTreeSet;
use vecstore_index::cells::{
    CellLayout, CellMap, CellParts, CellPartsError, CellScratch, CellSearch, CellStep, CellVectors, Cells,
    CellsBefore, divide, merge,
};
use vecstore_index::graph::SearchStoppedError;
use vecstore_quant::{Distance, NeighbourScorer, SplitMix64};

const DIM: usize = 40;

/// Prepared vectors.
struct Vectors {
    dim: usize,
    all: Vec<f32>,
}

impl CellVectors for Vectors {
    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.all.len() / self.dim
    }

    fn read(&self, point: u32, vector: &mut [f32]) {
        vector.copy_from_slice(self.vector(point));
    }
}

impl Vectors {
    fn vector(&self, point: u32) -> &[f32] {
        &self.all[point as usize * self.dim..][..self.dim]
    }

    /// Around a few centres.
    fn around_centres(count: usize, distance: Distance, seed: u64) -> Self {
        let mut centres = SplitMix64::new(1, 0);
        let centres: Vec<f32> = (0..20 * DIM).map(|_| centres.normal()).collect();
        let mut random = SplitMix64::new(seed, 1);
        let vector = |_| {
            let centre = random.below(20) * DIM;
            let near = centres[centre..centre + DIM].iter().map(|x| x + 0.5 * random.normal());
            let mut vector: Vec<f32> = near.collect();
            distance.prepare(&mut vector);
            vector
        };
        Self { dim: DIM, all: (0..count).flat_map(vector).collect() }
    }
}

/// The points of each cell.
fn members(cells: &Cells) -> Vec<Vec<u32>> {
    let mut start = 0;
    let members = cells.ends.iter().map(|&end| {
        let range = start..end as usize;
        start = end as usize;
        cells.points[range].to_vec()
    });
    members.collect()
}

fn divided(vectors: &Vectors, groups: &[usize], points_each: usize) -> Cells {
    divide(vectors, groups, points_each, 7, &|| false).unwrap()
}

fn merged(vectors: &Vectors, groups: &[usize], before: CellsBefore<'_>, points_each: usize) -> Cells {
    merge(vectors, groups, before, points_each, 7, &|| false).unwrap()
}

/// Every point is in one cell, whose centroid is the mean. Cells follow the order of the groups, and those of
/// several groups are small.
fn check_cells(
    vectors: &Vectors,
    groups: &[usize],
    points_each: usize,
    cells: &Cells,
) -> Result<(), TestCaseError> {
    let mut points = cells.points.clone();
    points.sort_unstable();
    prop_assert_eq!(points, (0..vectors.len() as u32).collect::<Vec<_>>());
    let group_of = |point: u32| groups.partition_point(|&end| end <= point as usize);
    let mut last = 0;
    for (cell, members) in members(cells).iter().enumerate() {
        prop_assert!(!members.is_empty());
        let mean = |at: usize| {
            let sum: f64 = members.iter().map(|&point| f64::from(vectors.vector(point)[at])).sum();
            (sum / members.len() as f64) as f32
        };
        prop_assert_eq!(&cells.centroids[cell * 2..][..2], &[mean(0), mean(1)]);
        let of: BTreeSet<usize> = members.iter().map(|&point| group_of(point)).collect();
        let (first, end) = (*of.first().unwrap(), *of.last().unwrap());
        prop_assert!(first >= last);
        last = end;
        prop_assert!(of.len() == 1 || members.len() <= 3 * points_each, "{} in {of:?}", members.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// For any vectors, equal ones too.
    #[test]
    fn every_point_is_in_one_cell(
        vectors in prop::collection::vec((-3i8..3, -3i8..3), 0..300),
        cuts in prop::collection::btree_set(0usize..300, 0..6),
        points_each in 1usize..40,
        (sources, cells_each) in (1u32..4, 1u32..20),
    ) {
        let all = vectors.iter().flat_map(|&(x, y)| [f32::from(x), f32::from(y)]).collect();
        let vectors = Vectors { dim: 2, all };
        let count = vectors.len();
        let mut groups: Vec<usize> = cuts.into_iter().filter(|&cut| cut < count).collect();
        groups.push(count);
        check_cells(&vectors, &groups, points_each, &divided(&vectors, &groups, points_each))?;
        // The points of each source go to its cells in turn. Some have none.
        let cell = |point: u32| match point % 7 {
            0 => CellsBefore::NONE,
            _ => point % sources * cells_each + point / sources % cells_each,
        };
        let of_points: Vec<u32> = (0..count as u32).map(cell).collect();
        let ends: Vec<u32> = (1..=sources).map(|source| source * cells_each).collect();
        let cells = merged(&vectors, &groups, CellsBefore { of_points: &of_points, ends: &ends }, points_each);
        check_cells(&vectors, &groups, points_each, &cells)?;
    }
}

/// The squared distances of some points from a centre, added.
fn spread(vectors: &Vectors, points: &[u32], centre: &[f32]) -> f64 {
    points.iter().map(|&point| f64::from(-Distance::Euclid.score(vectors.vector(point), centre))).sum()
}

/// The squared distances of all points from the centroids of their cells, added.
fn spread_within(vectors: &Vectors, cells: &Cells) -> f64 {
    let members = members(cells);
    members.iter().zip(cells.centroids.chunks(DIM)).map(|(some, centre)| spread(vectors, some, centre)).sum()
}

/// The cells of sources that have a part of the points each: point 0, `parts`, and so on.
fn cells_of_parts(vectors: &Vectors, parts: u32) -> (Vec<u32>, Vec<u32>) {
    let count = vectors.len() as u32;
    let (mut of_points, mut ends) = (vec![0; count as usize], Vec::new());
    for part in 0..parts {
        let own: Vec<u32> = (part..count).step_by(parts as usize).collect();
        let all = own.iter().flat_map(|&point| vectors.vector(point)).copied().collect();
        let first = ends.last().copied().unwrap_or(0);
        let members = members(&divided(&Vectors { dim: DIM, all }, &[own.len()], 100));
        for (cell, members) in (first..).zip(&members) {
            members.iter().for_each(|&point| of_points[own[point as usize] as usize] = cell);
        }
        ends.push(first + members.len() as u32);
    }
    (of_points, ends)
}

#[test]
fn merged_cells_are_about_as_good_as_new_ones() {
    let vectors = Vectors::around_centres(20_000, Distance::Euclid, 3);
    let new = divided(&vectors, &[20_000], 100);
    for (parts, known) in [(1, 20_000), (2, 20_000), (8, 20_000), (2, 12_000)] {
        let (mut of_points, ends) = cells_of_parts(&vectors, parts);
        of_points[known..].fill(CellsBefore::NONE);
        let before = CellsBefore { of_points: &of_points, ends: &ends };
        let cells = merged(&vectors, &[20_000], before, 100);
        let members = members(&cells);
        assert!((150..300).contains(&members.len()), "{parts} parts: {} cells", members.len());
        assert!(members.iter().all(|members| members.len() <= 300), "{parts} parts: no cell is much larger");
        let worse = spread_within(&vectors, &cells) / spread_within(&vectors, &new);
        assert!(worse < 1.01, "{parts} parts: {worse} of the spread of new cells");
    }
}

/// Points of divided cells, and those around them, go to the nearest of the new centroids.
#[test]
fn merged_points_are_in_the_nearest_cells() {
    let mut random = SplitMix64::new(9, 0);
    let vectors = Vectors { dim: DIM, all: (0..4000 * DIM).map(|_| random.normal()).collect() };
    let (of_points, ends) = cells_of_parts(&vectors, 2);
    let cells = merged(&vectors, &[4000], CellsBefore { of_points: &of_points, ends: &ends }, 100);
    let to = |centroid: &[f32], point: u32| Distance::Euclid.score(vectors.vector(point), centroid);
    let centroids: Vec<&[f32]> = cells.centroids.chunks(DIM).collect();
    let is_nearest = |(cell, point): (usize, u32)| {
        centroids.iter().filter(|other| to(other, point) > to(centroids[cell], point)).count() == 0
    };
    let all = members(&cells).into_iter().enumerate();
    let near = all.flat_map(|(cell, members)| members.into_iter().map(move |point| (cell, point)));
    let near = near.filter(|&at| is_nearest(at)).count();
    // Without going on to the nearest, it would be 3,171.
    assert!(near > 3300, "{near} of 4000 points are in the nearest cell");
}

#[test]
fn points_that_are_all_alike_are_spread_over_cells() {
    let vectors = Vectors { dim: DIM, all: vec![1.0; 1000 * DIM] };
    let of_points: Vec<u32> = (0..1000).map(|point| point / 25).collect();
    let cells = merged(&vectors, &[1000], CellsBefore { of_points: &of_points, ends: &[16, 40] }, 20);
    assert!(members(&cells).iter().all(|members| members.len() <= 40));
}

/// Of very many small cells, nothing is kept.
#[test]
fn cells_that_are_too_many_are_made_anew() {
    let vectors = Vectors::around_centres(2000, Distance::Euclid, 3);
    let of_points: Vec<u32> = (0..2000).collect();
    let cells = merged(&vectors, &[2000], CellsBefore { of_points: &of_points, ends: &[2000] }, 50);
    assert_eq!(cells, divided(&vectors, &[2000], 50));
}

#[test]
fn cells_have_about_the_wanted_size_and_near_points() {
    let vectors = Vectors::around_centres(20_000, Distance::Euclid, 3);
    let cells = divided(&vectors, &[20_000], 100);
    let members = members(&cells);
    assert!((150..300).contains(&members.len()), "{} cells", members.len());
    assert!(members.iter().all(|members| members.len() <= 200), "no cell is much larger");
    let within = spread_within(&vectors, &cells);
    let all: Vec<u32> = (0..20_000).collect();
    let mean: Vec<f32> = (0..DIM)
        .map(|at| all.iter().map(|&point| vectors.vector(point)[at]).sum::<f32>() / 20_000.0)
        .collect();
    // The centres alone leave a fifth: 0.25 of 1.25.
    let part = within / spread(&vectors, &all, &mean);
    assert!(part < 0.2, "{part} of the spread is left");
}

#[test]
fn cells_are_the_same_on_any_number_of_threads() {
    let vectors = Vectors::around_centres(5000, Distance::Cosine, 3);
    let (of_points, ends) = cells_of_parts(&vectors, 2);
    let before = CellsBefore { of_points: &of_points, ends: &ends };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let groups = [2000, 2010, 5000];
        pool.install(|| (divided(&vectors, &groups, 64), merged(&vectors, &groups, before, 64)))
    };
    let one = on(1);
    assert_eq!(one, on(3));
    assert_ne!(one.0, divide(&vectors, &[2000, 2010, 5000], 64, 8, &|| false).unwrap());
}

#[test]
fn a_stop_ends_the_division() {
    let vectors = Vectors::around_centres(3000, Distance::Cosine, 3);
    assert_eq!(divide(&vectors, &[3000], 64, 7, &|| true), Err(SearchStoppedError));
    let (of_points, ends) = cells_of_parts(&vectors, 2);
    let before = CellsBefore { of_points: &of_points, ends: &ends };
    assert_eq!(merge(&vectors, &[3000], before, 64, 7, &|| true), Err(SearchStoppedError));
}

/// Cells with their codes, over vectors in the order of the cells.
struct Setup {
    distance: Distance,
    vectors: Vectors,
    map: CellMap,
    layout: CellLayout,
    /// The first block of each cell.
    first: Vec<usize>,
    blocks: Vec<u8>,
}

impl Setup {
    fn new(distance: Distance, count: usize, points_each: usize, reach: f32) -> Self {
        let vectors = Vectors::around_centres(count, distance, 3);
        let Cells { centroids, points, ends } = divided(&vectors, &[count], points_each);
        let vectors = Vectors {
            dim: DIM,
            all: points.iter().flat_map(|&point| vectors.vector(point).to_vec()).collect(),
        };
        let layout = CellLayout::new(distance, DIM, 5);
        let rotated = |vector: &[f32]| {
            let mut rotated = vec![0.0; layout.codec().rotated_dim()];
            layout.codec().rotate(vector, &mut rotated);
            rotated
        };
        let (mut first, mut blocks, mut spreads, mut start) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (centre, &end) in centroids.chunks(DIM).zip(&ends) {
            first.push(blocks.len() / layout.block_bytes());
            let points: Vec<u32> = (start..end).collect();
            for some in points.chunks(32) {
                let some: Vec<f32> = some.iter().flat_map(|&point| rotated(vectors.vector(point))).collect();
                let mut block = vec![0xA5; layout.block_bytes()];
                layout.encode(&rotated(centre), &some, &mut block);
                blocks.extend(block);
            }
            let squares: f32 =
                points.iter().map(|&point| -Distance::Euclid.score(vectors.vector(point), centre)).sum();
            spreads.push((squares / points.len() as f32).sqrt());
            start = end;
        }
        let map = CellMap::new(distance, DIM, CellParts { centroids, spreads, ends, reach }).unwrap();
        Self { distance, vectors, map, layout, first, blocks }
    }

    fn score(&self, query: &[f32], point: u32) -> f32 {
        self.distance.score(query, self.vectors.vector(point))
    }

    fn exact(&self, query: &[f32], wanted: usize, may_find: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.vectors.len() as u32).filter(|&point| may_find(point)).collect();
        all.sort_by(|&a, &b| self.score(query, b).total_cmp(&self.score(query, a)).then(a.cmp(&b)));
        all.truncate(wanted);
        all
    }

    fn blocks(&self, cell: u32) -> &[u8] {
        let blocks = CellLayout::blocks(self.map.points(cell).len() as u32) as usize;
        &self.blocks[self.first[cell as usize] * self.layout.block_bytes()..]
            [..blocks * self.layout.block_bytes()]
    }

    fn scan<F: Fn(u32) -> bool>(
        &self,
        search: &mut CellSearch<'_, F>,
        scorer: &NeighbourScorer,
        query: &[f32],
        cell: u32,
    ) {
        search.scan(&self.layout, scorer, cell, self.map.score(query, cell), self.blocks(cell));
    }

    /// Takes `at_once` points before it scores them. Returns what it found, and how many cells it scanned and
    /// how many points it scored.
    fn search(
        &self,
        query: &[f32],
        (kept, ahead, at_once): (usize, usize, usize),
        may_find: impl Fn(u32) -> bool,
    ) -> (Vec<u32>, usize, usize) {
        let scorer = self.layout.query(query);
        let mut scratch = CellScratch::new();
        let may_scan = |points: std::ops::Range<u32>| points.into_iter().any(&may_find);
        let mut search =
            CellSearch::new(&mut scratch, &self.map, query, (kept, kept, ahead), may_scan, &may_find);
        let (mut taken, mut scanned, mut scored) = (Vec::new(), 0, 0);
        loop {
            let step = search.next();
            match step {
                CellStep::Scan(cell) => {
                    scanned += 1;
                    self.scan(&mut search, &scorer, query, cell);
                }
                CellStep::Score(point) => taken.push(point),
                CellStep::Done => {}
            }
            if taken.len() == at_once || step == CellStep::Done {
                if taken.is_empty() {
                    break;
                }
                scored += taken.len();
                taken.drain(..).for_each(|point| search.scored(point, self.score(query, point)));
            }
        }
        (search.finish().iter().map(|found| found.id).collect(), scanned, scored)
    }
}

#[test]
fn neighbours_are_found_under_every_distance() {
    for distance in Distance::ALL {
        let setup = Setup::new(distance, 8000, 64, 1.3);
        let queries = Vectors::around_centres(100, distance, 4);
        for filter in [1, 5] {
            let may_find = |point: u32| point.is_multiple_of(filter);
            let (mut hits, mut scanned, mut scored) = (0, 0, 0);
            for query in queries.all.chunks(DIM) {
                let exact = setup.exact(query, 10, may_find);
                let (found, cells, points) = setup.search(query, (20, 4, 8), may_find);
                assert!(found.iter().all(|&point| may_find(point)));
                hits += found.iter().take(10).filter(|point| exact.contains(point)).count();
                (scanned, scored) = (scanned + cells, scored + points);
            }
            assert!(hits >= 950, "{distance}, one of {filter}: recall {hits} of 1000");
            // The centres are twenty, and a search need not leave that of its query.
            assert!(scanned < 100 * setup.map.len() / 2, "{distance}, one of {filter}: {scanned} cells");
            assert!(scored < 100 * 400, "{distance}, one of {filter}: {scored} points");
        }
    }
}

/// Whatever the codes say.
#[test]
fn with_room_for_all_points_the_result_is_exact() {
    for (distance, reach) in Distance::ALL.into_iter().zip([0.0, 0.5, 100.0]) {
        let setup = Setup::new(distance, 700, 50, reach);
        let query = setup.vectors.vector(5);
        for (ahead, at_once) in [(0, 1), (3, 8), (1000, 1000)] {
            let (found, scanned, scored) = setup.search(query, (700, ahead, at_once), |_| true);
            assert_eq!((found, scored), (setup.exact(query, 700, |_| true), 700));
            assert_eq!(scanned, setup.map.len());
            let odd = |point| point % 2 == 1;
            assert_eq!(setup.search(query, (350, ahead, at_once), odd).0, setup.exact(query, 350, odd));
            // Fewer than are wanted.
            let few = |point| point < 3;
            assert_eq!(setup.search(query, (10, ahead, at_once), few).0, setup.exact(query, 3, few));
            assert_eq!(setup.search(query, (10, ahead, at_once), |_| false), (Vec::new(), 0, 0));
        }
    }
}

/// Many equal points are as good as others.
#[test]
fn equal_points_are_divided_too() {
    let equal = Vectors { dim: DIM, all: vec![0.25; 5000 * DIM] };
    let cells = divided(&equal, &[5000], 50);
    assert!(members(&cells).iter().all(|members| members.len() <= 100), "{:?}", cells.ends);
    assert_eq!(cells.points.iter().collect::<BTreeSet<_>>().len(), 5000);
}

/// What a search needs is learned from the points.
#[test]
fn the_reach_that_was_learned_finds_most_neighbours() {
    for distance in Distance::ALL {
        let mut setup = Setup::new(distance, 8000, 64, 0.0);
        let ends = setup.map.parts().ends.clone();
        let cells =
            Cells { centroids: setup.map.parts().centroids.clone(), points: (0..8000).collect(), ends };
        let learned = |threads: usize| {
            let mut map = setup.map.clone();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let score = |a, b| distance.score(setup.vectors.vector(a), setup.vectors.vector(b));
            pool.install(|| map.learn_reach(&setup.vectors, &cells, score, &|| false));
            map
        };
        let (map, other) = (learned(1), learned(3));
        assert_eq!(map.parts(), other.parts());
        setup.map = map;
        let queries = Vectors::around_centres(100, distance, 4);
        let (mut hits, mut scanned) = (0, 0);
        for query in queries.all.chunks(DIM) {
            let exact = setup.exact(query, 10, |_| true);
            let (found, cells, _) = setup.search(query, (14, 4, 8), |_| true);
            hits += found.iter().take(10).filter(|point| exact.contains(point)).count();
            scanned += cells;
        }
        assert!(hits >= 900, "{distance}: recall {hits} of 1000");
        assert!(scanned < 100 * setup.map.len() / 2, "{distance}: {scanned} cells");
    }
}

/// A cell is left alone once it promises no more than the worst of those kept.
#[test]
fn the_reach_decides_how_many_cells_are_scanned() {
    for distance in Distance::ALL {
        let queries = Vectors::around_centres(20, distance, 4);
        for reach in [0.0, 0.5, 1.0, 2.0] {
            let setup = Setup::new(distance, 4000, 50, reach);
            for query in queries.all.chunks(DIM) {
                let (found, scanned, _) = setup.search(query, (10, 1, 1), |_| true);
                let worst = setup.score(query, found[9]);
                let reaching = |slack: f32| {
                    let cells = 0..setup.map.len() as u32;
                    cells.filter(|&cell| setup.map.reach_for(query, cell, worst) < reach + slack).count()
                };
                // Scores of centroids are rounded before cells are ordered.
                assert!(scanned >= reaching(-0.05), "{distance} {reach}: {scanned} of {}", reaching(-0.05));
            }
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let parts =
        || CellParts { centroids: vec![1.0; 4], spreads: vec![0.5, 0.0], ends: vec![3, 4], reach: 1.0 };
    let error = |parts| CellMap::new(Distance::Dot, 2, parts).unwrap_err();
    let map = CellMap::new(Distance::Dot, 2, parts()).unwrap();
    assert_eq!((map.len(), map.points(0), map.points(1)), (2, 0..3, 3..4));
    assert_eq!(map.parts(), &parts());
    assert!(matches!(
        error(CellParts { centroids: vec![1.0; 3], ..parts() }),
        CellPartsError::Lengths { .. }
    ));
    assert!(matches!(error(CellParts { spreads: vec![1.0], ..parts() }), CellPartsError::Lengths { .. }));
    for (ends, cell) in [(vec![0, 4], 0), (vec![4, 4], 1), (vec![5, 4], 1)] {
        assert_eq!(error(CellParts { ends, ..parts() }), CellPartsError::Empty { cell });
    }
    for wrong in [f32::NAN, f32::INFINITY, -1.0] {
        assert_eq!(error(CellParts { spreads: vec![0.0, wrong], ..parts() }), CellPartsError::Number);
        assert_eq!(error(CellParts { reach: wrong, ..parts() }), CellPartsError::Number);
    }
    assert_eq!(
        error(CellParts { centroids: vec![0.0, 0.0, f32::NAN, 0.0], ..parts() }),
        CellPartsError::Number
    );
    assert!(CellMap::new(Distance::Dot, 2, CellParts::default()).unwrap().is_empty());
}
