//! Finding candidates in an immutable segment by the codes of its points. A search walks the graph, or scans
//! the nearest cells. Where filters and deletions leave few points, it scores every one of them. Index and
//! codes may be in memory or on disk.
//!
//! | module | concern |
//! |---|---|
//! | `walk`, `ways` | walking the graph, and getting around points that are not allowed |
//! | `linked` | walking a graph whose nodes have codes of their neighbours |
//! | `cells` | scanning the nearest cells |
//! | `scan` | scoring every allowed point |
//! | `possible` | every point that may be among the best |
//! | `scores` | scoring codes |

mod cells;
mod linked;
mod possible;
mod scan;
mod scores;
mod walk;
mod ways;

use super::segment::{CodesData, IndexData, SegmentReader};
use crate::error::Error;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::ops::Range;
use vecstore_index::graph::Candidate;
use vecstore_quant::Scorer;

use linked::detours;
pub(crate) use possible::{AtLeast, keep_possible};
pub(crate) use walk::WalkScratch;

/// If a search would keep more candidates than this, every point is scored instead.
const WALK_KEPT_MAX: usize = 10_000;

/// Which points of a segment may be found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allowed<'a> {
    /// All but these, which are deleted.
    Except(&'a RoaringBitmap),
    /// These: a filter holds for them, and they are not deleted.
    Only(&'a RoaringBitmap),
}

impl Allowed<'_> {
    /// How many of a segment's points these are.
    fn count(&self, points: u32) -> u64 {
        match self {
            Self::Except(deleted) => u64::from(points) - deleted.len(),
            Self::Only(points) => points.len(),
        }
    }

    #[inline]
    fn contains(&self, point: u32) -> bool {
        match self {
            Self::Except(deleted) => !deleted.contains(point),
            Self::Only(points) => points.contains(point),
        }
    }

    /// Whether some of these points are allowed.
    fn any_in(&self, points: Range<u32>) -> bool {
        match self {
            Self::Except(deleted) if deleted.is_empty() => true,
            Self::Except(deleted) => deleted.range_cardinality(points.clone()) < points.len() as u64,
            Self::Only(allowed) => allowed.range_cardinality(points) > 0,
        }
    }
}

/// What to look for.
pub(crate) struct CandidateSearch<'a> {
    /// The query, prepared.
    pub(crate) prepared: &'a [f32],
    pub(crate) scorer: &'a dyn Scorer,
    /// Candidates wanted. Fewer come back only where fewer points are allowed.
    pub(crate) wanted: usize,
    /// Candidates the graph search keeps, at least the hits that are wanted.
    pub(crate) ef: usize,
    pub(crate) allowed: Allowed<'a>,
    /// If a filter, or deletions of more than half, leave at most this many points, each is scored.
    pub(crate) scan_max: u64,
    /// The same for this part of the segment's points. A walk over the graph would lose its way among the
    /// others.
    pub(crate) scan_ratio: f32,
    /// Whether bounds are wanted. Otherwise they are infinite.
    pub(crate) bounded: bool,
    /// The part of a bound that counts in [`FoundByCodes::rest`], if that is wanted.
    pub(crate) part_of_rest: Option<f32>,
    pub(crate) control: &'a ReadControl,
}

/// The cost of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CandidateStats {
    pub(crate) codes_scored: u64,
    pub(crate) read: ReadStats,
}

/// A candidate, and how far its score may be from that of its vector. Infinite if the codec has no bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounded {
    pub(crate) point: u32,
    pub(crate) score: f32,
    pub(crate) bound: f32,
}

impl Bounded {
    /// The worst score that its vector may have.
    pub(crate) fn at_least(&self) -> f32 {
        // Bytes that encode no vector may score NaN. Nothing is known then.
        (self.score - self.bound).max(f32::NEG_INFINITY)
    }

    /// The best score that its vector may have.
    pub(crate) fn at_most(&self) -> f32 {
        let at_most = self.score + self.bound;
        if at_most.is_nan() { f32::INFINITY } else { at_most }
    }
}

/// The best candidates of a segment.
#[derive(Clone, Debug)]
pub(crate) struct FoundByCodes {
    /// Best first, equal scores by point.
    pub(crate) best: Vec<Bounded>,
    /// The best score that any other point with a scored code may have. `NEG_INFINITY` if there is none.
    /// Bounds differ between points, so a point outside may beat the last of the best.
    pub(crate) rest: f32,
    /// The ids of those whose records were read. Others must be looked up.
    pub(crate) ids: Vec<(u32, PointId)>,
}

/// What is known of points because their codes or records were read.
#[derive(Default)]
struct Known {
    /// The bounds of their scores. If codes are in memory, bounds are computed for the best only.
    bounds: HashMap<u32, f32>,
    ids: HashMap<u32, PointId>,
}

impl CandidateSearch<'_> {
    /// The best candidates.
    pub(crate) async fn run(
        &self,
        segment: &SegmentReader,
        scratch: &mut WalkScratch,
        stats: &mut CandidateStats,
    ) -> Result<FoundByCodes, Error> {
        let mut known = Known::default();
        let (best, rest) = self.best(segment, scratch, &mut known, stats).await?;
        let bound = |Candidate { id, score }: Candidate| match &segment.data.codes {
            _ if !self.bounded => f32::INFINITY,
            CodesData::Pinned(records) => {
                let start = id as usize * segment.data.codec.record_bytes();
                self.bound(&records[start..], score)
            }
            CodesData::OnDisk(_) => known.bounds.get(&id).copied().unwrap_or(f32::INFINITY),
        };
        let bounded = |found: Candidate| Bounded { point: found.id, score: found.score, bound: bound(found) };
        let best: Vec<Bounded> = best.into_iter().map(bounded).collect();
        let ids =
            best.iter().filter_map(|found| Some((found.point, *known.ids.get(&found.point)?))).collect();
        Ok(FoundByCodes { best, rest, ids })
    }

    fn bound(&self, record: &[u8], score: f32) -> f32 {
        self.scorer.bound(record, score).unwrap_or(f32::INFINITY)
    }

    async fn best(
        &self,
        segment: &SegmentReader,
        scratch: &mut WalkScratch,
        known: &mut Known,
        stats: &mut CandidateStats,
    ) -> Result<(Vec<Candidate>, f32), Error> {
        let points = segment.data.points;
        let live;
        let allowed = match self.allowed {
            // If most points are deleted, deletions act as a filter. A walk copes with fewer.
            Allowed::Except(deleted) if deleted.len() > u64::from(points) / 2 => {
                live = segment.all() - deleted;
                Allowed::Only(&live)
            }
            allowed => allowed,
        };
        let count = allowed.count(points);
        let kept = self.ef.max(self.wanted);
        let is_few = match allowed {
            Allowed::Only(_) => {
                let part = (f64::from(points) * f64::from(self.scan_ratio)) as u64;
                let on_disk_max = self.scan_on_disk_max(segment, count, kept);
                count <= self.scan_max.max(part).min(on_disk_max)
            }
            Allowed::Except(_) => false,
        };
        // A search that keeps all allowed points scores all of them anyway, and may miss some. Its cost grows
        // with the square of `kept`, because it keeps them in order.
        if !is_few && count > kept as u64 && kept <= WALK_KEPT_MAX {
            match &segment.data.index {
                IndexData::Cells(cells) => {
                    if let Some(found) =
                        self.search_cells(segment, cells, allowed, scratch, known, stats).await?
                    {
                        return Ok(found);
                    }
                }
                IndexData::Graph(index) => {
                    if let Some(linked) = self.linked(index)
                        && let Some(found) =
                            self.walk_linked(segment, &linked, allowed, scratch, known, stats).await?
                    {
                        return Ok(found);
                    }
                    let graph = &index.graph;
                    if let Some(found) =
                        self.walk((segment, graph), allowed, kept, scratch, known, stats).await?
                    {
                        return Ok(found);
                    }
                }
            }
        }
        match allowed {
            Allowed::Only(points) => self.scan(segment, points, known, stats).await,
            Allowed::Except(deleted) => self.scan(segment, &(segment.all() - deleted), known, stats).await,
        }
    }

    /// The most points whose codes are read one by one. A search of linked records or cells reads about as
    /// many pages.
    fn scan_on_disk_max(&self, segment: &SegmentReader, matching: u64, kept: usize) -> u64 {
        let each = match &segment.data.index {
            IndexData::Graph(index) if segment.linked.is_some() => {
                let linked =
                    index.linked.as_ref().map(|linked| detours(linked, matching, segment.data.points));
                1.0 + linked.unwrap_or(0.0)
            }
            IndexData::Cells(_) if segment.codes.is_some() => 1.0,
            _ => return u64::MAX,
        };
        (2.0 * f64::from(each) * kept as f64) as u64
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.control.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }
}
