//! Requests to a collection, and their results.

use crate::error::InputError;
use crate::filter::Filter;
use crate::point::{Payload, PointId};
use io_core::ReadStats;
use serde_json::Value;
use vecstore_quant::Quantization;

/// The most hits of a search, points of a page, or candidates of a graph walk.
pub const LIMIT_MAX: usize = 1 << 20;

/// A search for the points nearest to a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchRequest {
    /// The query, of the collection's dimension.
    pub vector: Vec<f32>,
    /// Only points that match this are found.
    pub filter: Option<Filter>,
    /// The number of hits.
    pub limit: usize,
    /// The number of best hits to skip.
    ///
    /// With [`SearchParams::exact`], pages neither repeat a point nor skip one while the collection does not
    /// change. Without it, a later page ranks more candidates than the one before. It may repeat a point, or
    /// skip one.
    pub offset: usize,
    /// Only hits at least this near: a score of at least this for cosine and dot, a distance of at most this
    /// for euclid.
    pub score_threshold: Option<f32>,
    /// Whether hits have payloads.
    pub with_payload: bool,
    /// Whether hits have vectors.
    pub with_vector: bool,
    /// How thoroughly to search.
    pub params: SearchParams,
}

/// How thoroughly to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchParams {
    /// Candidates that the search of an index keeps. More candidates find more hits and take longer. The
    /// search keeps at least `(offset + limit) * oversampling`. If that is all points, or more than 10,000,
    /// the codes of all points are scored instead. In a linked graph, the walk ends when no other point is
    /// likely to be among the best `ef`, or the best `offset + limit` if these are more. Cells keep as many,
    /// and the search ends when no cell promises a better point.
    pub ef: usize,
    /// Candidates to rescore for each hit, 1 or more. The default depends on the codes
    /// ([`Quantization::oversampling`]).
    pub oversampling: Option<f32>,
    /// The most candidates to rescore. A search rescores more than `oversampling` asks for only if the error
    /// bounds of the codes leave the hits undecided. That happens among points nearer to each other than a
    /// step of their codes. The default depends on the codes ([`Quantization::candidates_max`]). With 0, it
    /// rescores no more than `oversampling` asks for. [`SearchStats::undecided`] tells whether the limit was
    /// reached.
    pub candidates_max: Option<usize>,
    /// The candidates whose vectors are read to rank them.
    pub rescore: Rescore,
    /// Whether to prove the hits, instead of searching the graph. The hits are then the first of all points
    /// by score and id.
    ///
    /// All int8 codes are scored, and only vectors are read that may be hits by the bounds of these codes.
    /// Other codes have no certain bounds, so all vectors on disk are read. The ids of points that may be
    /// hits are read too. If many vectors are equal, these are all of them.
    pub exact: bool,
    /// The codes of all points that a filter leaves are scored, without the index, if at most this many of a
    /// segment are left. The same holds for deletions of more than half of a segment. The limit is lower
    /// where each code would be a read and the index needs fewer: about `2 * ef` points with cells whose
    /// codes are on disk, and with linked graphs on disk.
    pub scan_max: u64,
    /// The same, as a part of the segment's points, from 0 to 1.
    pub scan_ratio: f32,
}

/// The candidates whose vectors are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rescore {
    /// None. Codes rank the hits, and scores are those of the codes.
    Never,
    /// Those for which the error bounds of the codes leave undecided whether they are among the hits, or near
    /// enough for [`SearchRequest::score_threshold`]. No vector is read for a certain hit, and its score is
    /// that of its code. Which hits these are depends on the number of hits wanted. With another offset,
    /// scores and order may therefore differ. Codes without bounds ([`vecstore_quant::Scorer::bound`]) decide
    /// nothing.
    Undecided {
        /// The part of a bound that counts as error, above 0, up to 1. With 1, the search finds the hits of
        /// [`Rescore::All`]. With less, it reads fewer vectors and misses more hits. A bound is three
        /// standard deviations, and for int8 the maximum error.
        part: f32,
    },
    /// All that may be among the hits, so that each hit has the score of its vector.
    #[default]
    All,
}

impl Rescore {
    pub(crate) fn part_of_bounds(self) -> Option<f32> {
        match self {
            Self::Never => None,
            Self::Undecided { part } => Some(part),
            Self::All => Some(1.0),
        }
    }
}

impl Default for SearchParams {
    /// `ef` is 128, and oversampling depends on the codes. Up to 10,000 points, or 3 % of a segment, are
    /// scored one by one.
    fn default() -> Self {
        Self {
            ef: 128,
            oversampling: None,
            candidates_max: None,
            rescore: Rescore::All,
            exact: false,
            scan_max: 10_000,
            scan_ratio: 0.03,
        }
    }
}

impl SearchRequest {
    /// A search for the 10 points nearest to a vector.
    #[must_use]
    pub fn new(vector: Vec<f32>) -> Self {
        Self {
            vector,
            filter: None,
            limit: 10,
            offset: 0,
            score_threshold: None,
            with_payload: false,
            with_vector: false,
            params: SearchParams::default(),
        }
    }

    pub(crate) fn with(&self) -> RecordParts {
        RecordParts { payload: self.with_payload, vector: self.with_vector }
    }

    pub(crate) fn check(&self, dim: u32) -> Result<(), InputError> {
        if self.vector.len() != dim as usize {
            return Err(InputError::QueryDimension { found: self.vector.len(), dim });
        }
        if let Some(component) = vecstore_quant::first_non_finite(&self.vector) {
            return Err(InputError::QueryNotFinite { component, value: self.vector[component] });
        }
        check_limit("limit", self.limit)?;
        if self.offset > LIMIT_MAX {
            return Err(param("offset", self.offset.to_string(), "from 0 to 1048576"));
        }
        check_limit("ef", self.params.ef)?;
        if let Some(oversampling) = self.params.oversampling
            && !(1.0..=1000.0).contains(&oversampling)
        {
            return Err(param("oversampling", oversampling.to_string(), "from 1 to 1000"));
        }
        if let Some(candidates) = self.params.candidates_max.filter(|&candidates| candidates > LIMIT_MAX) {
            return Err(param("candidates_max", candidates.to_string(), "from 0 to 1048576"));
        }
        if let Rescore::Undecided { part } = self.params.rescore
            && !(part > 0.0 && part <= 1.0)
        {
            return Err(param("part", part.to_string(), "above 0, up to 1"));
        }
        if !(0.0..=1.0).contains(&self.params.scan_ratio) {
            return Err(param("scan_ratio", self.params.scan_ratio.to_string(), "from 0 to 1"));
        }
        if self.score_threshold.is_some_and(f32::is_nan) {
            return Err(param("score_threshold", "NaN".to_owned(), "a number"));
        }
        Ok(())
    }

    /// The number of hits to find, including those that the offset skips.
    pub(crate) fn wanted(&self) -> usize {
        self.offset + self.limit
    }

    /// The number of candidates to rescore, for codes of this method.
    pub(crate) fn candidates(&self, method: Quantization) -> usize {
        let oversampling = self.params.oversampling.unwrap_or_else(|| method.oversampling());
        (self.wanted() as f64 * f64::from(oversampling)).ceil() as usize
    }

    /// The most candidates to rescore if bounds leave the hits undecided. `None` if bounds are not used.
    pub(crate) fn candidates_max(&self, method: Quantization) -> Option<usize> {
        let candidates_max = self.params.candidates_max.or_else(|| method.candidates_max());
        candidates_max.map(|candidates_max| candidates_max.max(self.candidates(method)))
    }
}

fn param(name: &'static str, value: String, allowed: &'static str) -> InputError {
    InputError::Param { name, value, allowed }
}

pub(crate) fn check_limit(name: &'static str, limit: usize) -> Result<(), InputError> {
    if limit == 0 || limit > LIMIT_MAX {
        return Err(param(name, limit.to_string(), "from 1 to 1048576"));
    }
    Ok(())
}

/// A point found by a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The id of the point.
    pub id: PointId,
    /// The cosine or dot product, or the Euclidean distance.
    pub score: f32,
    /// Its payload, if requested.
    pub payload: Option<Payload>,
    /// Its vector, if requested.
    pub vector: Option<Vec<f32>>,
}

/// The result of a search: hits, best first, ties by id.
///
/// Ids also decide which of the points with the score of the last hit are hits. With [`SearchParams::exact`]
/// these are all points with that score. Without it they are the candidates with that score, and a search may
/// not find all of many equal vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchResult {
    /// The hits.
    pub hits: Vec<Hit>,
    /// The cost of the search.
    pub stats: SearchStats,
}

/// The cost of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Codes scored, including those of points in memory. In a linked graph, a point where the walk begins
    /// counts twice if the walk expands it.
    pub codes_scored: u64,
    /// Vectors scored. For points in memory, only those that their codes do not exclude.
    pub vectors_scored: u64,
    /// Candidates within `oversampling` whose vectors were not read, because the error bounds of their codes
    /// exclude them from the hits. With [`Rescore::Undecided`], they may also be certain hits. The bounds
    /// hold with [`vecstore_quant::CONFIDENCE`], and for int8 always.
    pub vectors_spared: u64,
    /// Whether points that were not rescored may be nearer than the hits, by the bounds of the codes. The
    /// search reached [`SearchParams::candidates_max`] before the hits were decided. More candidates find
    /// such points, and so does [`SearchParams::exact`]. In a linked graph only the codes of points count
    /// that the walk expanded, and in cells those that were scored.
    pub undecided: bool,
    /// Whether the hits are proven: no other point can be nearer, whatever the codes say. Only
    /// [`SearchParams::exact`] proves them.
    pub proven: bool,
    /// The cost of all reads.
    pub read: ReadStats,
}

/// The parts of points to return besides their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordParts {
    /// Whether to return payloads.
    pub payload: bool,
    /// Whether to return vectors.
    pub vector: bool,
}

impl RecordParts {
    /// Payloads and vectors.
    pub const ALL: Self = Self { payload: true, vector: true };
    /// Ids only.
    pub const NOTHING: Self = Self { payload: false, vector: false };
}

/// A point, as a collection returns it. In vector files and logs, a *record* is bytes instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The id of the point.
    pub id: PointId,
    /// Its payload, if requested.
    pub payload: Option<Payload>,
    /// Its vector, if requested.
    pub vector: Option<Vec<f32>>,
}

/// The result of fetching points by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retrieved {
    /// The points found, in the order of the request.
    pub records: Vec<Record>,
    /// The ids of missing points.
    pub missing: Vec<PointId>,
    /// The cost of the reads.
    pub read: ReadStats,
}

/// A page of the points of a collection, in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrollRequest {
    /// Only points that match this are returned.
    pub filter: Option<Filter>,
    /// Order by a number field, ascending, then by id. A point with several values occurs once for each
    /// value, and a point without values does not occur. `None` orders by id.
    pub order_by: Option<String>,
    /// The number of points.
    pub limit: usize,
    /// The token of the page before. `None` for the first page.
    pub page: Option<String>,
    /// The parts of the points to return.
    pub with: RecordParts,
}

impl Default for ScrollRequest {
    /// The first 100 points by id, with payloads.
    fn default() -> Self {
        let with = RecordParts { payload: true, vector: false };
        Self { filter: None, order_by: None, limit: 100, page: None, with }
    }
}

/// A page of points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrollPage {
    /// The points, in order.
    pub records: Vec<Record>,
    /// The token of the next page. `None` on the last page. It stays valid while the collection changes: the
    /// next page begins after the last point of this one.
    pub next: Option<String>,
    /// The cost of the reads.
    pub read: ReadStats,
}

/// A value of a field, and the number of its points.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetCount {
    /// The value.
    pub value: Value,
    /// Number of points with the value.
    pub count: u64,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it survives a power cut, and so does every write before it.
    #[default]
    Synced,
    /// Once it is written. It then survives the end of the process, but perhaps not a power cut. The next
    /// synced write, or [`Collection::sync`](super::Collection::sync), makes it durable. The writer syncs by
    /// itself before 256 MiB are unsynced.
    Written,
}

/// The effect of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteSummary {
    /// The sequence number of the write. Later writes have greater ones. If the write changed nothing, this
    /// is the number of the write before.
    pub seq: u64,
    /// Points written, deleted or changed.
    pub points: u64,
}

/// The points that a deletion or a change of payloads applies to.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// The points with these ids. Unknown ids are ignored.
    Ids(Vec<PointId>),
    /// All points that match this.
    Filter(Filter),
}

/// A change of payloads.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadChange {
    /// Replaces the payload.
    Set(Payload),
    /// Sets these fields and keeps the others. A field given as null becomes null.
    Merge(Payload),
    /// Makes the payload empty.
    Clear,
}
