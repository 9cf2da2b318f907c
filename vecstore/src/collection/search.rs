//! Search: candidates by their codes from every segment at once, the best of all of them rescored from their vectors.

use super::best::Best;
use super::decide::{Scored, better_first, decide};
use super::reader::{CollectionReader, OpenEntry, control, in_memory};
use super::request::{Hit, Rescore, SearchRequest, SearchResult, SearchStats};
use super::retrieve::{Contents, fetch};
use crate::distance::{Distance, OriginalScorer};
use crate::element;
use crate::error::Error;
use crate::filter::CheckedFilter;
use crate::immutable::search::{Allowed, Bounded, CandidateSearch, CandidateStats};
use crate::mutable::MutableSegment;
use crate::point::PointId;
use futures_util::future::try_join_all;
use io_core::{ReadControl, ReadStats, StopFlag};
use roaring::RoaringBitmap;

/// Vectors that an exact search reads in one batch.
const EXACT_BATCH: usize = 4096;

/// What a hit is before its payload and vector are fetched.
enum Place {
    Memory(Box<Hit>),
    Disk { segment: usize, point: u32 },
}

impl CollectionReader {
    /// Finds the points nearest to a vector.
    ///
    /// # Errors
    /// [`Error::Input`]; [`Error::Stopped`] once `stop` is raised; whatever keeps files from being read.
    pub async fn search(&self, request: &SearchRequest, stop: &StopFlag) -> Result<SearchResult, Error> {
        let schema = &self.shared.schema;
        request.check(schema.dim)?;
        let filter = request.filter.as_ref().map(|filter| filter.check(&schema.indexes)).transpose()?;
        let control = control(stop);
        let scorer = OriginalScorer::new(schema.distance, &request.vector);
        let wanted = request.offset + request.limit;
        let mut stats = SearchStats::default();

        let in_memory = |segment: &MutableSegment, deleted: Option<&RoaringBitmap>, stats: &mut _| {
            self.scan_memory(segment, deleted, filter.as_ref(), &scorer, request, stats)
        };
        let (mut hits, version, entries) =
            self.view(|state| in_memory(&state.mutable, None, &mut stats)).await?;
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
        let mut scored = if request.params.exact {
            self.scan_disk(&entries, &allowed, &scorer, wanted, &control, &mut stats).await?
        } else {
            let mut candidates = self.candidates(request, &entries, &allowed, &control, &mut stats).await?;
            if let Some(part) = request.params.rescore.part_of_bounds() {
                let found = candidates.len();
                let known: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
                decide(&mut candidates, &known, wanted, part);
                let read_all = request.params.rescore == Rescore::All;
                let (sure, undecided): (Vec<_>, Vec<_>) =
                    candidates.into_iter().partition(|candidate| candidate.sure && !read_all);
                stats.vectors_spared += (found - undecided.len()) as u64;
                let mut scored = self.rescore(undecided, &entries, &scorer, &control, &mut stats).await?;
                scored.extend(sure);
                scored
            } else {
                candidates
            }
        };
        scored.sort_unstable_by(better_first);
        scored.truncate(wanted);

        let ids = self.ids(&scored, &entries, &control, &mut stats.read).await?;
        check_apart(&ids)?;
        let in_memory = |hit: Hit| (false, hit.score, hit.id, Place::Memory(Box::new(hit)));
        let mut ranked: Vec<(bool, f32, PointId, Place)> = hits.into_iter().map(in_memory).collect();
        ranked.extend(scored.iter().zip(ids).map(|(scored, id)| {
            (scored.sure, scored.score, id, Place::Disk { segment: scored.segment, point: scored.point })
        }));
        let better = |a: &(f32, PointId), b: &(f32, PointId)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        // By what is sure they are chosen, and not in this order.
        ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| better(&(a.1, a.2), &(b.1, b.2))));
        ranked.truncate(wanted);
        ranked.sort_by(|a, b| better(&(a.1, a.2), &(b.1, b.2)));
        ranked.retain(|(_, score, ..)| near_enough(schema.distance, *score, request.score_threshold));
        ranked.drain(..request.offset.min(ranked.len()));
        let hits = self.hits(ranked, &entries, request, &control, &mut stats.read).await?;
        if stop.is_stopped() { Err(Error::Stopped) } else { Ok(SearchResult { hits, stats }) }
    }

    /// The best points of a segment in memory, with all that is wanted of them.
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
        let mut best = Best::new(request.offset + request.limit);
        segment.at_most(&points, scorer, |slot, at_most| {
            if best.may_hold(at_most) {
                stats.vectors_scored += 1;
                best.offer(segment.score(slot, scorer), slot, || segment.id(slot));
            }
        });
        let with = request.with();
        let hits = best.into_vec().into_iter().map(|(score, id, slot)| {
            let (payload, vector) = in_memory(&self.shared, segment, slot, with);
            Hit { id, score, payload, vector }
        });
        Ok(hits.collect())
    }

    /// The best candidates of all segments by their codes.
    async fn candidates(
        &self,
        request: &SearchRequest,
        entries: &[OpenEntry],
        allowed: &[Option<RoaringBitmap>],
        control: &ReadControl,
        stats: &mut SearchStats,
    ) -> Result<Vec<Scored>, Error> {
        let distance = self.shared.schema.distance;
        let mut prepared = request.vector.clone();
        distance.prepare(&mut prepared);
        let wanted = request.candidates(self.shared.schema.quantization);
        let searches = entries.iter().zip(allowed).map(async |(entry, allowed)| {
            let scorer = entry.reader.data.codec.query(&prepared);
            let search = CandidateSearch {
                scorer: &*scorer,
                wanted,
                ef: request.params.ef,
                allowed: allowed.as_ref().map_or(Allowed::Except(&entry.deleted), Allowed::Only),
                scan_max: request.params.scan_max,
                scan_ratio: request.params.scan_ratio,
                bounded: request.params.rescore != Rescore::Never,
                control,
            };
            let mut stats = CandidateStats::default();
            let mut scratch = self.take_scratch();
            let found = search.run(&entry.reader, scratch.get(), &mut stats).await?;
            Ok::<_, Error>((found, stats))
        });
        let mut all = Vec::new();
        for (segment, (found, cost)) in try_join_all(searches).await?.into_iter().enumerate() {
            let scored =
                |Bounded { point, score, bound }| Scored { segment, point, score, bound, sure: false };
            all.extend(found.into_iter().map(scored));
            stats.codes_scored += cost.codes_scored;
            stats.read.add(&cost.read);
        }
        all.sort_unstable_by(better_first);
        all.truncate(wanted);
        Ok(all)
    }

    /// Scores candidates by their vectors, read in one batch a segment, all segments at once.
    async fn rescore(
        &self,
        candidates: Vec<Scored>,
        entries: &[OpenEntry],
        scorer: &OriginalScorer,
        control: &ReadControl,
        stats: &mut SearchStats,
    ) -> Result<Vec<Scored>, Error> {
        let reads = entries.iter().enumerate().map(async |(segment, entry)| {
            let own = candidates.iter().filter(|candidate| candidate.segment == segment);
            let points: Vec<u32> = own.map(|candidate| candidate.point).collect();
            self.score_vectors(segment, entry, &points, scorer, control).await
        });
        let mut scored = Vec::with_capacity(candidates.len());
        for (found, read) in try_join_all(reads).await? {
            stats.vectors_scored += found.len() as u64;
            stats.read.add(&read);
            scored.extend(found);
        }
        Ok(scored)
    }

    async fn score_vectors(
        &self,
        segment: usize,
        entry: &OpenEntry,
        points: &[u32],
        scorer: &OriginalScorer,
        control: &ReadControl,
    ) -> Result<(Vec<Scored>, ReadStats), Error> {
        let element = self.shared.schema.element;
        let mut scored: Vec<Scored> = points
            .iter()
            .map(|&point| Scored { segment, point, score: 0.0, bound: 0.0, sure: false })
            .collect();
        let sink = |index: usize, bytes: &[u8]| scored[index].score = element::score(element, bytes, scorer);
        let read = entry.reader.vectors.read(points, control, sink).await?;
        Ok((scored, read))
    }

    /// The best of all vectors that are allowed.
    async fn scan_disk(
        &self,
        entries: &[OpenEntry],
        allowed: &[Option<RoaringBitmap>],
        scorer: &OriginalScorer,
        wanted: usize,
        control: &ReadControl,
        stats: &mut SearchStats,
    ) -> Result<Vec<Scored>, Error> {
        let mut best = Vec::new();
        for (segment, (entry, allowed)) in entries.iter().zip(allowed).enumerate() {
            let points: Vec<u32> = match allowed {
                Some(allowed) => allowed.iter().collect(),
                None => (entry.reader.all() - &*entry.deleted).iter().collect(),
            };
            for batch in points.chunks(EXACT_BATCH) {
                let (found, read) = self.score_vectors(segment, entry, batch, scorer, control).await?;
                stats.vectors_scored += found.len() as u64;
                stats.read.add(&read);
                best.extend(found);
                best.sort_unstable_by(better_first);
                best.truncate(wanted);
            }
        }
        Ok(best)
    }

    async fn ids(
        &self,
        scored: &[Scored],
        entries: &[OpenEntry],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<PointId>, Error> {
        let mut ids = vec![PointId::Num(0); scored.len()];
        for (segment, entry) in entries.iter().enumerate() {
            let own = scored.iter().enumerate().filter(|(_, scored)| scored.segment == segment);
            let (places, points): (Vec<usize>, Vec<u32>) =
                own.map(|(place, scored)| (place, scored.point)).unzip();
            if points.is_empty() {
                continue;
            }
            let found = entry.reader.ids_of(&points, control, stats).await?;
            for (place, id) in places.into_iter().zip(found) {
                ids[place] = id;
            }
        }
        Ok(ids)
    }

    /// The hits with what is wanted of them.
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
fn check_apart(ids: &[PointId]) -> Result<(), Error> {
    let mut in_order = ids.to_vec();
    in_order.sort_unstable();
    match in_order.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::Overlap { id: twice[0] }),
        None => Ok(()),
    }
}

fn near_enough(distance: Distance, score: f32, threshold: Option<f32>) -> bool {
    threshold.is_none_or(|threshold| {
        let reported = distance.reported(score);
        if distance == Distance::Euclid { reported <= threshold } else { reported >= threshold }
    })
}
