//! Search: the graph over the codes finds candidates, the originals on disk decide among them.

use super::SegmentError;
use super::open::OpenSegment;
use crate::distance::{OriginalScorer, first_non_finite};
use crate::hnsw::{SearchStopped, search_in_memory};
use crate::quantization::ScalarQuery;
use io_core::{ReadControl, ReadStats, StopFlag, VectorReader};
use std::cmp::Ordering;

/// Points whose originals an exact search reads in one batch.
const EXACT_BATCH: u32 = 4096;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchParams {
    /// Hits wanted.
    pub limit: usize,
    /// Candidates the graph search keeps; more find more and take longer. At least `limit * oversampling` are kept.
    pub ef: usize,
    /// Candidates rescored for each hit wanted, 1 or more.
    pub oversampling: f32,
    /// Read the originals of the candidates and rank by them; else the codes' scores decide.
    pub rescore: bool,
    /// Read and score every original instead of searching.
    pub exact: bool,
}

impl Default for SearchParams {
    /// 10 hits, `ef` 128, oversampling 2, rescored.
    fn default() -> Self {
        Self { limit: 10, ef: 128, oversampling: 2.0, rescore: true, exact: false }
    }
}

impl SearchParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SegmentError::BadParams`] with what is allowed.
    pub fn check(&self) -> Result<(), SegmentError> {
        const LIMIT_MAX: usize = 1 << 20;
        let bad = |name, value, allowed| Err(SegmentError::BadParams { name, value, allowed });
        if self.limit == 0 || self.limit > LIMIT_MAX {
            return bad("limit", self.limit.to_string(), "from 1 to 1048576");
        }
        if self.ef == 0 || self.ef > LIMIT_MAX {
            return bad("ef", self.ef.to_string(), "from 1 to 1048576");
        }
        if !(1.0..=1000.0).contains(&self.oversampling) {
            return bad("oversampling", self.oversampling.to_string(), "from 1 to 1000");
        }
        Ok(())
    }

    /// Candidates to rescore.
    #[must_use]
    pub fn candidates(&self) -> usize {
        (self.limit as f64 * f64::from(self.oversampling)).ceil() as usize
    }
}

/// A point that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The point, by its place in the input.
    pub id: u32,
    /// Cosine or dot product, or the Euclidean distance.
    pub score: f32,
}

/// What a search found, best first; equal scores by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchResult {
    /// The hits.
    pub hits: Vec<Hit>,
    /// What it cost.
    pub stats: SearchStats,
}

/// What a search cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Codes scored.
    pub codes_scored: u64,
    /// Originals scored.
    pub originals_scored: u64,
    /// What reading them cost.
    pub read: ReadStats,
}

impl<R: VectorReader> OpenSegment<R> {
    /// Finds the nearest points to `query`.
    ///
    /// # Errors
    /// A query of another dimension or with NaN or infinite components; parameters out of range; a failed read;
    /// [`SegmentError::Stopped`] once `stop` is raised.
    ///
    /// # Cancel safety
    /// The future may be dropped at any point.
    pub async fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        stop: Option<&StopFlag>,
    ) -> Result<SearchResult, SegmentError> {
        params.check()?;
        let dim = self.data.manifest.dim as usize;
        if query.len() != dim {
            return Err(SegmentError::QueryDimension { found: query.len(), dim });
        }
        if let Some(component) = first_non_finite(query) {
            return Err(SegmentError::QueryNotFinite { component, value: query[component] });
        }
        let control = ReadControl { stop: stop.cloned(), meter: None };
        let mut stats = SearchStats::default();
        let mut best = if params.exact {
            self.scan(query, params.limit, &control, &mut stats).await?
        } else {
            let candidates = self.candidates(query, params, &control, &mut stats)?;
            if params.rescore {
                self.rescore(query, candidates, &control, &mut stats).await?
            } else {
                candidates
            }
        };
        best.truncate(params.limit);
        let distance = self.data.manifest.distance;
        for hit in &mut best {
            hit.score = distance.reported(hit.score);
        }
        Ok(SearchResult { hits: best, stats })
    }

    /// The best candidates by their codes, best first.
    fn candidates(
        &self,
        query: &[f32],
        params: &SearchParams,
        control: &ReadControl,
        stats: &mut SearchStats,
    ) -> Result<Vec<Hit>, SegmentError> {
        let data = &*self.data;
        let mut prepared = query.to_vec();
        data.manifest.distance.prepare(&mut prepared);
        let query = ScalarQuery::new(data.manifest.distance, &prepared);
        let mut scratch = self.scratch.borrow_mut().pop().unwrap_or_default();
        let score_many = |points: &[u32], scores: &mut [f32]| {
            stats.codes_scored += points.len() as u64;
            query.score_many(&data.codes, points, scores);
        };
        let wanted = params.candidates();
        let ef = params.ef.max(wanted);
        let found = search_in_memory(&data.graph, &mut scratch, ef, score_many, || control.is_stopped());
        let hits = found.map(|found| {
            found.iter().take(wanted).map(|found| Hit { id: found.id, score: found.score }).collect()
        });
        self.scratch.borrow_mut().push(scratch);
        hits.map_err(|SearchStopped| SegmentError::Stopped)
    }

    /// Ranks candidates by their originals, read in one batch.
    async fn rescore(
        &self,
        query: &[f32],
        mut candidates: Vec<Hit>,
        control: &ReadControl,
        stats: &mut SearchStats,
    ) -> Result<Vec<Hit>, SegmentError> {
        let scorer = OriginalScorer::new(self.data.manifest.distance, query);
        let points: Vec<u32> = candidates.iter().map(|hit| hit.id).collect();
        let outcome = self
            .originals
            .score(&points, &scorer, control, |index, score| candidates[index].score = score)
            .await?;
        if outcome.stopped {
            return Err(SegmentError::Stopped);
        }
        stats.originals_scored += outcome.delivered as u64;
        stats.read.add(&outcome.stats);
        candidates.sort_unstable_by(better_first);
        Ok(candidates)
    }

    /// The best of all originals.
    async fn scan(
        &self,
        query: &[f32],
        limit: usize,
        control: &ReadControl,
        stats: &mut SearchStats,
    ) -> Result<Vec<Hit>, SegmentError> {
        let scorer = OriginalScorer::new(self.data.manifest.distance, query);
        let count = self.data.codes.len() as u32;
        let mut best: Vec<Hit> = Vec::new();
        let mut first = 0;
        while first < count {
            let points: Vec<u32> = (first..count.min(first.saturating_add(EXACT_BATCH))).collect();
            let outcome = self
                .originals
                .score(&points, &scorer, control, |index, score| best.push(Hit { id: points[index], score }))
                .await?;
            if outcome.stopped {
                return Err(SegmentError::Stopped);
            }
            stats.originals_scored += outcome.delivered as u64;
            stats.read.add(&outcome.stats);
            best.sort_unstable_by(better_first);
            best.truncate(limit);
            first = first.saturating_add(EXACT_BATCH);
        }
        Ok(best)
    }
}

/// Higher scores first, equal ones by id: the order does not depend on the order of arrival.
fn better_first(a: &Hit, b: &Hit) -> Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}
