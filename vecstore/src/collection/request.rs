//! What can be asked of a collection, and what comes back.

use crate::error::InputError;
use crate::filter::Filter;
use crate::point::{Payload, PointId};
use io_core::ReadStats;
use serde_json::Value;
use vecstore_quant::Quantization;

/// Most hits of a search, points of a page, and candidates of a walk over a graph.
pub const LIMIT_MAX: usize = 1 << 20;

/// A search for the points nearest to a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchRequest {
    /// The query, of the collection's dimension.
    pub vector: Vec<f32>,
    /// Only points this holds for.
    pub filter: Option<Filter>,
    /// Hits wanted.
    pub limit: usize,
    /// The best so many are left out.
    ///
    /// With [`SearchParams::exact`], pages neither repeat a point nor skip one while the collection does not change. Without it, a
    /// later page ranks more candidates than the one before. It may repeat a point, or skip one.
    pub offset: usize,
    /// Only hits at least this near: a score of at least this for cosine and dot, a distance of at most this for euclid.
    pub score_threshold: Option<f32>,
    /// Return payloads.
    pub with_payload: bool,
    /// Return vectors.
    pub with_vector: bool,
    /// How thoroughly to search.
    pub params: SearchParams,
}

/// How thoroughly to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchParams {
    /// Candidates the walk over a graph keeps; more find more and take longer. At least `(offset + limit) * oversampling`
    /// are kept. Where these would be all points, or more than 10,000, the code of each point is scored instead.
    pub ef: usize,
    /// Candidates rescored for each hit wanted, 1 or more; if not given, what the codes need
    /// ([`Quantization::oversampling`]).
    pub oversampling: Option<f32>,
    /// Candidates rescored at most. A search rescores more than `oversampling` asks for only where the bounds of the codes leave
    /// undecided which points are the hits, as among points nearer to each other than a step of their codes. If not given, what
    /// the codes need ([`Quantization::candidates_max`]). With 0 it rescores no more than `oversampling` asks for.
    /// [`SearchStats::undecided`] tells whether the limit was reached.
    pub candidates_max: Option<usize>,
    /// Whose vectors are read to rank by them.
    pub rescore: Rescore,
    /// Read and score every vector on disk instead of searching. The hits are then the first of all points by score and id. Of points
    /// that may be hits the ids are read too; of many equal vectors these are all.
    pub exact: bool,
    /// Where a filter, or deletions of more than half of a segment, leave no more of its points than this, the code of each is
    /// scored instead of walking the graph...
    pub scan_max: u64,
    /// ...or no more than this part of the segment's points, from 0 to 1.
    pub scan_ratio: f32,
}

/// Of which candidates the vectors are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rescore {
    /// Of none: codes decide, and scores are those of the codes.
    Never,
    /// Of those that the codes cannot tell whether they are among the hits, by the bounds of their errors, or whether they are near
    /// enough for [`SearchRequest::score_threshold`]. For what is a hit without doubt nothing is read, and its score is that of
    /// its code. Which hits these are depends on how many are wanted, so that with other offsets scores and order may be others.
    /// Codes without bounds ([`vecstore_quant::Scorer::bound`]) can tell nothing.
    Undecided {
        /// The part of a bound that counts as error, above 0, up to 1. With 1, hits are found as with [`Rescore::All`]; with less,
        /// fewer vectors are read and more hits are missed. A bound is three standard deviations, for int8 the most there can be.
        part: f32,
    },
    /// Of all that may be among the hits, so that each hit has the score of its vector.
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
    /// `ef` 128, rescored with as much oversampling as the codes need; up to 10,000 points, or 3 % of a segment, are scored one by one.
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
    /// The 10 nearest points to a vector.
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

    /// Hits to find, those included that the offset leaves out.
    pub(crate) fn wanted(&self) -> usize {
        self.offset + self.limit
    }

    /// Candidates to rescore, of codes of this method.
    pub(crate) fn candidates(&self, method: Quantization) -> usize {
        let oversampling = self.params.oversampling.unwrap_or_else(|| method.oversampling());
        (self.wanted() as f64 * f64::from(oversampling)).ceil() as usize
    }

    /// Candidates to rescore where bounds leave the hits undecided, at most. None if bounds are not asked.
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

/// A point that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which point.
    pub id: PointId,
    /// Cosine or dot product, or the Euclidean distance.
    pub score: f32,
    /// Its payload, if asked for.
    pub payload: Option<Payload>,
    /// Its vector, if asked for.
    pub vector: Option<Vec<f32>>,
}

/// What a search found, best first; equal scores by id.
///
/// Ids also decide which of the points with the score of the last hit are hits. With [`SearchParams::exact`] these are all points with
/// that score. Without it they are the candidates with that score, and a search may not find all of many equal vectors.
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
    /// Codes scored, those of points in memory too.
    pub codes_scored: u64,
    /// Vectors scored, of points in memory those that their codes do not rule out.
    pub vectors_scored: u64,
    /// Candidates that oversampling asks for whose vectors were not read: by the error bounds of their codes they cannot be among
    /// the hits, or, with [`Rescore::Undecided`], must be. With [`vecstore_quant::CONFIDENCE`], for int8 with certainty.
    pub vectors_spared: u64,
    /// Whether, by the bounds of the codes, points that were not rescored may be nearer than the hits:
    /// [`SearchParams::candidates_max`] was reached before that was decided. More candidates find them, and so does
    /// [`SearchParams::exact`].
    pub undecided: bool,
    /// What reading cost, of every kind.
    pub read: ReadStats,
}

/// What is wanted of points besides their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordParts {
    /// Return payloads.
    pub payload: bool,
    /// Return vectors.
    pub vector: bool,
}

impl RecordParts {
    /// Payloads and vectors.
    pub const ALL: Self = Self { payload: true, vector: true };
    /// Ids only.
    pub const NOTHING: Self = Self { payload: false, vector: false };
}

/// A point as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Which point.
    pub id: PointId,
    /// Its payload, if asked for.
    pub payload: Option<Payload>,
    /// Its vector, if asked for.
    pub vector: Option<Vec<f32>>,
}

/// What was found of the points that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retrieved {
    /// Those that are there, in the order they were asked for.
    pub records: Vec<Record>,
    /// The ids of the others.
    pub missing: Vec<PointId>,
    /// What reading cost.
    pub read: ReadStats,
}

/// A page of the points of a collection, in some order.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrollRequest {
    /// Only points this holds for.
    pub filter: Option<Filter>,
    /// By a field of numbers, ascending, then by id; a point with several values comes once a value, points without one
    /// do not come. Otherwise by id.
    pub order_by: Option<String>,
    /// Points wanted.
    pub limit: usize,
    /// The token of the page before; none for the first page.
    pub page: Option<String>,
    /// What is wanted of the points.
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
    /// The token for the page that follows; none after the last one. It stays good while the collection changes: the next
    /// page begins after the last point of this one.
    pub next: Option<String>,
    /// What reading cost.
    pub read: ReadStats,
}

/// A value of a field, and how many points have it.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetCount {
    /// The value.
    pub value: Value,
    /// Points with it.
    pub count: u64,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it, and every write before it, survives a power cut.
    #[default]
    Synced,
    /// When it is written, which survives the process, but not yet a power cut. The next synced write, or
    /// [`Collection::sync`](super::Collection::sync), makes it durable too.
    Written,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteSummary {
    /// The sequence number of the write: later writes have greater ones. Of one that changed nothing, that of the last
    /// write before.
    pub seq: u64,
    /// Points that were put, deleted or changed.
    pub points: u64,
}

/// Which points a deletion or a change of payloads is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// These; those that are not there are left out.
    Ids(Vec<PointId>),
    /// All this holds for.
    Filter(Filter),
}

/// A change of payloads.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadChange {
    /// The payload is this now.
    Set(Payload),
    /// These fields are changed or added, the others stay. A field that is given as null becomes null.
    Merge(Payload),
    /// The payload is empty now.
    Clear,
}
