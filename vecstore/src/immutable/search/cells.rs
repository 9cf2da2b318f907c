//! Scanning the nearest cells.
//!
//! The one-bit codes of a cell say which of its points promise most. Only these are scored by their codes.
//! Where codes are on disk, the search scans more cells before it reads the first page of codes, and keeps
//! several reads in flight. It scores all codes of a page. So it reads fewer pages in vain.

use super::scores::Scores;
use super::walk::{WalkScratch, best_of_others};
use super::{Allowed, Bounded, CandidateSearch, CandidateStats, Known};
use crate::error::Error;
use crate::immutable::cells::CellsData;
use crate::immutable::records::Records;
use crate::immutable::segment::SegmentReader;
use std::collections::HashSet;
use vecstore_index::cells::{CellSearch, CellStep};
use vecstore_index::graph::Candidate;
use vecstore_quant::NeighbourScorer;

/// Cells that are scanned before a point is scored, with codes in memory.
const AHEAD_IN_MEMORY: usize = 4;
/// The same with codes on disk.
const AHEAD_ON_DISK: usize = 32;
/// Points that are scored at a time, with codes in memory.
const SCORED_AT_ONCE: usize = 8;
/// Pages of codes whose reads are in flight. With more of them a search waits less, and more reads lead to
/// nothing.
const READ_AT_ONCE: usize = 16;

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
        scratch.seen.clear();
        let ahead = if segment.codes.is_some() { AHEAD_ON_DISK } else { AHEAD_IN_MEMORY };
        let search = CellSearch::new(
            &mut scratch.cells,
            &cells.map,
            self.prepared,
            (self.ef, self.wanted, ahead),
            |points| allowed.any_in(points),
            |point| allowed.contains(point),
        );
        let (to_scan, blocks) = (Vec::new(), Vec::new());
        let mut scan =
            Scan { of: self, segment, cells, scorer, search, ahead, to_scan, blocks, known, stats };
        let seen = &mut scratch.seen;
        match &segment.codes {
            None => scan.in_memory(&mut scratch.scores, seen).await?,
            Some(file) => scan.on_disk(file, allowed, seen).await?,
        }
        let mut found = scan.search.finish().to_vec();
        found.truncate(self.wanted);
        if found.len() < self.wanted {
            return Ok(None);
        }
        let rest = best_of_others(seen, &found, allowed);
        Ok(Some((found, rest)))
    }
}

/// A search of cells, and what it has seen.
struct Scan<'a, F> {
    of: &'a CandidateSearch<'a>,
    segment: &'a SegmentReader,
    cells: &'a CellsData,
    scorer: NeighbourScorer,
    search: CellSearch<'a, F>,
    /// Cells on disk that are read together.
    ahead: usize,
    to_scan: Vec<u32>,
    blocks: Vec<u8>,
    known: &'a mut Known,
    stats: &'a mut CandidateStats,
}

impl<F: Fn(u32) -> bool> Scan<'_, F> {
    /// Scores points by their codes, which are in memory.
    async fn in_memory(&mut self, scores: &mut Scores, seen: &mut Vec<(u32, f32, f32)>) -> Result<(), Error> {
        let mut to_score = Vec::with_capacity(SCORED_AT_ONCE);
        loop {
            while to_score.len() < SCORED_AT_ONCE {
                let Some(point) = self.next_point().await? else { break };
                to_score.push(point);
            }
            if to_score.is_empty() {
                return Ok(());
            }
            self.of.score(self.segment, &to_score, scores, self.known, self.stats).await?;
            if self.of.part_of_rest.is_some() {
                seen.extend(scores.of(&to_score, self.of.part_of_rest));
            }
            for (point, &score) in to_score.drain(..).zip(&scores.scores) {
                self.search.scored(point, score);
            }
        }
    }

    /// Scores all points of a page by their codes, in the order in which it asks for pages.
    async fn on_disk(
        &mut self,
        file: &Records,
        allowed: Allowed<'_>,
        seen: &mut Vec<(u32, f32, f32)>,
    ) -> Result<(), Error> {
        let of_page = file.file().header().records_per_block;
        let mut pages_seen = HashSet::new();
        let mut reads = file.in_order(self.of.control);
        loop {
            while reads.len() < READ_AT_ONCE {
                let Some(point) = reads.beside(self.next_point()).await? else { break };
                let page = point / of_page;
                if pages_seen.insert(page) {
                    let end = (page + 1).saturating_mul(of_page).min(self.segment.data.points);
                    reads.push(page * of_page..end)?;
                }
            }
            let Some(run) = reads.next().await? else {
                self.stats.read.add(&reads.stats());
                return Ok(());
            };
            for (point, record) in run.iter().filter(|&(point, _)| allowed.contains(point)) {
                self.stats.codes_scored += 1;
                let (score, bound) = self.of.score_record(self.segment, point, record, self.known);
                if self.of.part_of_rest.is_some() {
                    seen.push(Bounded { point, score, bound }.with_best(self.of.part_of_rest));
                }
                self.search.scored(point, score);
            }
        }
    }

    /// The next point to score. Scans the cells that come before it.
    async fn next_point(&mut self) -> Result<Option<u32>, Error> {
        // Cells on disk are read together, those in memory need not wait.
        let at_once = if self.segment.cells.is_some() { self.ahead } else { 1 };
        loop {
            self.of.check_stop()?;
            let step = self.search.next();
            if let CellStep::Scan(cell) = step {
                self.to_scan.push(cell);
                if self.to_scan.len() < at_once {
                    continue;
                }
            }
            let has_scanned = !self.to_scan.is_empty();
            self.scan().await?;
            match step {
                CellStep::Score(point) => return Ok(Some(point)),
                CellStep::Done if !has_scanned => return Ok(None),
                CellStep::Done | CellStep::Scan(_) => {}
            }
        }
    }

    /// Estimates the scores of the points of some cells.
    async fn scan(&mut self) -> Result<(), Error> {
        let block_bytes = self.cells.layout.block_bytes();
        if let Some(file) = &self.segment.cells
            && !self.to_scan.is_empty()
        {
            let of_cell = |&cell: &u32| self.cells.blocks(cell);
            let records: Vec<u32> = self.to_scan.iter().flat_map(of_cell).collect();
            let blocks = &mut self.blocks;
            blocks.resize(records.len() * block_bytes, 0);
            let sink = |index: usize, block: &[u8]| {
                blocks[index * block_bytes..][..block_bytes].copy_from_slice(block);
            };
            self.stats.read.add(&file.read(&records, self.of.control, sink).await?);
        }
        let mut start = 0;
        for cell in self.to_scan.drain(..) {
            let blocks = self.cells.pinned(cell).unwrap_or_else(|| {
                let len = self.cells.blocks(cell).len() * block_bytes;
                start += len;
                &self.blocks[start - len..start]
            });
            let centre = self.cells.map.score(self.of.prepared, cell);
            self.search.scan(&self.cells.layout, &self.scorer, cell, centre, blocks);
        }
        Ok(())
    }
}
