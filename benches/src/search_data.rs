//! Vectors, queries, and the nearest points of each query.

use crate::data::{Error, Vectors, variable};
use std::path::Path;
use vecstore::collection::SearchResult;
use vecstore::dataset::Clustered;
use vecstore::input::read_npy_i32;
use vecstore::point::PointId;

/// The hits of a query.
pub const LIMIT: usize = 10;

/// The data of a scenario that searches.
#[derive(Clone, Debug)]
pub struct SearchData {
    /// The points.
    pub vectors: Vectors,
    /// The queries.
    pub queries: Vectors,
    /// The nearest points of each query, if given. Otherwise an exact search finds them.
    pub truth: Option<Vec<Vec<PointId>>>,
}

impl SearchData {
    /// Reads the files that `BENCH_VECTORS`, `BENCH_QUERIES` and `BENCH_TRUTH` name. Without them, makes
    /// `count` vectors.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn load(count: usize) -> Result<Self, Error> {
        if let (Some(vectors), Some(queries)) = (variable("BENCH_VECTORS"), variable("BENCH_QUERIES")) {
            let truth = match variable("BENCH_TRUTH") {
                Some(path) => {
                    let id = |id: &i32| PointId::Num(id.unsigned_abs().into());
                    let rows = read_npy_i32(Path::new(&path))?;
                    Some(rows.iter().map(|row| row.iter().take(LIMIT).map(id).collect()).collect())
                }
                None => None,
            };
            return Ok(Self { vectors: Vectors::read(&vectors)?, queries: Vectors::read(&queries)?, truth });
        }
        let mut base = Clustered::new(count, 100, 7);
        let components = base.queries(100).concat();
        let vectors = Vectors::all_of(&mut base)?;
        Ok(Self { queries: Vectors { components, ..vectors.clone() }, vectors, truth: None })
    }
}

/// The ids of the hits.
#[must_use]
pub fn ids(found: &SearchResult) -> Vec<PointId> {
    found.hits.iter().map(|hit| hit.id).collect()
}

/// The part of the nearest points that searches found.
#[must_use]
pub fn recall(found: &[SearchResult], truth: &[Vec<PointId>]) -> f64 {
    let hits = |(found, truth): (&SearchResult, &Vec<PointId>)| {
        ids(found).iter().filter(|id| truth.contains(id)).count()
    };
    let hits: usize = found.iter().zip(truth).map(hits).sum();
    hits as f64 / truth.iter().map(Vec::len).sum::<usize>().max(1) as f64
}
