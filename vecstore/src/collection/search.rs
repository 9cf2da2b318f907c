//! Search: the best points in memory and on disk, with their requested parts.

use super::decide::Scored;
use super::disk_search::DiskSearch;
use super::reader::{CollectionReader, OpenEntry, in_memory};
use super::request::{Hit, SearchRequest, SearchResult, SearchStats};
use super::retrieve::{Contents, fetch};
use super::state::State;
use crate::error::Error;
use crate::filter::CheckedFilter;
use crate::mutable::MutableSegment;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats, StopFlag};
use roaring::RoaringBitmap;
use vecstore_index::TopK;
use vecstore_quant::{Distance, OriginalScorer};

/// The place of a hit whose payload and vector are not fetched yet.
enum Place {
    Memory(Box<Hit>),
    Disk { segment: usize, point: u32 },
}

impl CollectionReader {
    /// Finds the points nearest to a vector.
    ///
    /// # Errors
    /// [`Error::Input`]; [`Error::Stopped`] once `stop` is raised; the error that prevents reading files.
    pub async fn search(&self, request: &SearchRequest, stop: &StopFlag) -> Result<SearchResult, Error> {
        let result = self.nearest(request, stop).await;
        let counts = &self.shared.counts;
        counts.read(&counts.searches, &result, |found| found.stats.read);
        result
    }

    async fn nearest(&self, request: &SearchRequest, stop: &StopFlag) -> Result<SearchResult, Error> {
        let schema = &self.shared.schema;
        request.check(schema.dim)?;
        let filter = request.filter.as_ref().map(|filter| filter.check(&schema.indexes)).transpose()?;
        let control = self.control(stop);
        let scorer = OriginalScorer::new(schema.distance, &request.vector);
        let wanted = request.wanted();
        let in_memory = |segment: &MutableSegment, deleted: Option<&RoaringBitmap>, stats: &mut _| {
            self.scan_memory(segment, deleted, filter.as_ref(), &scorer, request, stats)
        };
        let look = |state: &State| {
            let mut stats = SearchStats::default();
            Ok((in_memory(&state.mutable, None, &mut stats)?, stats))
        };
        let ((mut hits, mut stats), version, entries) = self.view(look).await?;
        for frozen in &version.frozen {
            hits.extend(in_memory(&frozen.segment, Some(&frozen.deleted), &mut stats)?);
        }

        let mut allowed = Vec::with_capacity(entries.len());
        for entry in &entries {
            allowed.push(match &filter {
                Some(filter) => Some(entry.allowed(filter, &control, &mut stats.read).await?),
                None => None,
            });
        }
        let on_disk = DiskSearch {
            reader: self,
            request,
            entries: &entries,
            allowed: &allowed,
            scorer: &scorer,
            control: &control,
        };
        let known: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
        let scored = if request.params.exact {
            stats.proven = true;
            on_disk.exact(&known, &mut stats).await?
        } else {
            on_disk.best(&known, &mut stats).await?
        };
        check_apart(&scored)?;
        let in_memory = |hit: Hit| (false, hit.score, hit.id, Place::Memory(Box::new(hit)));
        let mut ranked: Vec<(bool, f32, PointId, Place)> = hits.into_iter().map(in_memory).collect();
        ranked.extend(scored.into_iter().map(|(Scored { segment, point, score, sure, .. }, id)| {
            (sure, score, id, Place::Disk { segment, point })
        }));
        let better = |a: &(f32, PointId), b: &(f32, PointId)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        // Sure hits come first for the choice. The answer is ordered by score alone.
        ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| better(&(a.1, a.2), &(b.1, b.2))));
        ranked.truncate(wanted);
        ranked.sort_by(|a, b| better(&(a.1, a.2), &(b.1, b.2)));
        ranked.retain(|(_, score, ..)| near_enough(schema.distance, *score, request.score_threshold));
        ranked.drain(..request.offset.min(ranked.len()));
        let hits = self.hits(ranked, &entries, request, &control, &mut stats.read).await?;
        if stop.is_stopped() { Err(Error::Stopped) } else { Ok(SearchResult { hits, stats }) }
    }

    /// The best points of a segment in memory, with the requested parts.
    fn scan_memory(
        &self,
        segment: &MutableSegment,
        deleted: Option<&RoaringBitmap>,
        filter: Option<&CheckedFilter>,
        scorer: &OriginalScorer,
        request: &SearchRequest,
        stats: &mut SearchStats,
    ) -> Result<Vec<Hit>, Error> {
        let points = segment.allowed(filter, deleted)?;
        if segment.has_codes() {
            stats.codes_scored += points.len();
        }
        let mut best = TopK::new(request.wanted(), |a: &(f32, PointId, u32), b: &(f32, PointId, u32)| {
            b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
        });
        segment.at_most(&points, scorer, |slot, at_most| {
            if best.threshold().is_none_or(|threshold| at_most.total_cmp(&threshold.0).is_ge()) {
                stats.vectors_scored += 1;
                best.offer((segment.score(slot, scorer), segment.id(slot), slot));
            }
        });
        let with = request.with();
        let hits = best.into_vec().into_iter().map(|(score, id, slot)| {
            let (payload, vector) = in_memory(&self.shared, segment, slot, with);
            Hit { id, score, payload, vector }
        });
        Ok(hits.collect())
    }

    /// The hits, with the requested parts.
    async fn hits(
        &self,
        ranked: Vec<(bool, f32, PointId, Place)>,
        entries: &[OpenEntry],
        request: &SearchRequest,
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<Hit>, Error> {
        let (mut places, mut points) = (Vec::new(), Vec::new());
        let mut hits = Vec::with_capacity(ranked.len());
        for (index, (_, score, id, place)) in ranked.into_iter().enumerate() {
            let score = self.shared.schema.distance.reported(score);
            hits.push(match place {
                Place::Memory(hit) => Hit { score, ..*hit },
                Place::Disk { segment, point } => {
                    places.push(index);
                    points.push((segment, point));
                    Hit { id, score, payload: None, vector: None }
                }
            });
        }
        let contents = fetch(&points, entries, request.with(), control, stats).await?;
        for (place, Contents { payload, vector }) in places.into_iter().zip(contents) {
            (hits[place].payload, hits[place].vector) = (payload, vector);
        }
        Ok(hits)
    }
}

/// Checks that no point is in two segments.
fn check_apart(scored: &[(Scored, PointId)]) -> Result<(), Error> {
    let mut in_order: Vec<PointId> = scored.iter().map(|(_, id)| *id).collect();
    in_order.sort_unstable();
    match in_order.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::Overlap { id: twice[0] }),
        None => Ok(()),
    }
}

pub(super) fn near_enough(distance: Distance, score: f32, threshold: Option<f32>) -> bool {
    threshold.is_none_or(|threshold| {
        let reported = distance.reported(score);
        if distance == Distance::Euclid { reported <= threshold } else { reported >= threshold }
    })
}
