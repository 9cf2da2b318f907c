//! Scanning the nearest cells.
//!
//! The one-bit codes of a cell say which of its points promise most. Only these are scored by their codes.
//! Where codes are on disk, the search scans more cells before it reads the first page of codes, and reads
//! several pages at a time. It scores all codes of a page. So it reads fewer pages in vain.

use super::walk::{WalkScratch, best_of_others};
use super::{Allowed, CandidateSearch, CandidateStats, Known};
use crate::error::Error;
use crate::immutable::cells::CellsData;
use crate::immutable::records::Records;
use crate::immutable::segment::{CodesData, SegmentReader};
use std::collections::HashSet;
use std::ops::Range;
use vecstore_index::cells::{CellSearch, CellStep};
use vecstore_index::graph::Candidate;

/// Cells that are scanned before a point is scored, and points that are scored at a time, with codes in
/// memory.
const IN_MEMORY: (usize, usize) = (4, 8);
/// The same with codes on disk. Pages count instead of points.
const ON_DISK: (usize, usize) = (32, 16);

impl CandidateSearch<'_> {
    /// Scans cells until no other one promises a point among the best `ef`. Returns `None` if the codes of
    /// cells say nothing about this query, or if the search finds fewer points than wanted.
    pub(super) async fn search_cells(
        &self,
        segment: &SegmentReader,
        cells: &CellsData,
        allowed: Allowed<'_>,
        scratch: &mut WalkScratch,
        known: &mut Known,
        stats: &mut CandidateStats,
    ) -> Result<Option<(Vec<Candidate>, f32)>, Error> {
        let scorer = cells.layout.query(self.prepared);
        if !scorer.is_sound() {
            return Ok(None);
        }
        let WalkScratch { cells: of_search, scores, seen, .. } = scratch;
        seen.clear();
        let (ahead, at_once) = match &segment.data.codes {
            CodesData::Pinned(_) => IN_MEMORY,
            CodesData::OnDisk(_) => ON_DISK,
        };
        let mut search = CellSearch::new(
            of_search,
            &cells.map,
            self.prepared,
            (self.ef, self.wanted, ahead),
            |points| allowed.any_in(points),
            |point| allowed.contains(point),
        );
        let (mut to_scan, mut to_score, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        let mut pages = Pages::of(segment);
        let mut waiting = 0;
        loop {
            self.check_stop()?;
            let step = search.next();
            match step {
                CellStep::Scan(cell) => to_scan.push(cell),
                CellStep::Score(point) => {
                    let page = pages.points(point);
                    waiting += usize::from(!page.is_empty());
                    to_score.extend(page.filter(|&point| allowed.contains(point)));
                }
                CellStep::Done => {}
            }
            let is_scan = matches!(step, CellStep::Scan(_));
            // Cells on disk are read together, those in memory need not wait.
            let scans_now = match &segment.cells {
                None => is_scan,
                Some(_) => !to_scan.is_empty() && (!is_scan || to_scan.len() == ahead),
            };
            if scans_now {
                if let Some(file) = &segment.cells {
                    let records: Vec<u32> = to_scan.iter().flat_map(|&cell| cells.blocks(cell)).collect();
                    let block_bytes = cells.layout.block_bytes();
                    blocks.resize(records.len() * block_bytes, 0);
                    let sink = |index: usize, block: &[u8]| {
                        blocks[index * block_bytes..][..block_bytes].copy_from_slice(block);
                    };
                    stats.read.add(&file.read(&records, self.control, sink).await?);
                }
                let mut start = 0;
                for cell in to_scan.drain(..) {
                    let blocks = cells.pinned(cell).unwrap_or_else(|| {
                        let len = cells.blocks(cell).len() * cells.layout.block_bytes();
                        start += len;
                        &blocks[start - len..start]
                    });
                    let centre = cells.map.score(self.prepared, cell);
                    search.scan(&cells.layout, &scorer, cell, centre, blocks);
                }
            }
            let is_done = step == CellStep::Done && !scans_now;
            if waiting == at_once || is_done && !to_score.is_empty() {
                self.score(segment, &to_score, scores, known, stats).await?;
                if self.part_of_rest.is_some() {
                    seen.extend(scores.of(&to_score, self.part_of_rest));
                }
                waiting = 0;
                for (point, &score) in to_score.drain(..).zip(&scores.scores) {
                    search.scored(point, score);
                }
            } else if is_done {
                break;
            }
        }
        let mut found = search.finish().to_vec();
        found.truncate(self.wanted);
        if found.len() < self.wanted {
            return Ok(None);
        }
        let rest = best_of_others(seen, &found, allowed);
        Ok(Some((found, rest)))
    }
}

/// The points whose codes are read together.
struct Pages {
    /// Points whose codes share a page, and all points. `None` if codes are in memory.
    sizes: Option<(u32, u32)>,
    /// Pages that were read.
    seen: HashSet<u32>,
}

impl Pages {
    fn of(segment: &SegmentReader) -> Self {
        let of_page = |codes: &Records| codes.file().header().records_per_block;
        let sizes = segment.codes.as_ref().map(|codes| (of_page(codes), segment.data.points));
        Self { sizes, seen: HashSet::new() }
    }

    /// The points to score for this one. None if they were scored before.
    fn points(&mut self, point: u32) -> Range<u32> {
        let Some((of_page, points)) = self.sizes else { return point..point + 1 };
        let page = point / of_page;
        if !self.seen.insert(page) {
            return 0..0;
        }
        page * of_page..((page + 1).saturating_mul(of_page)).min(points)
    }
}
