//! Inserts a batch of points: chooses their links, and stores each link at both ends.

use super::growing::Growing;
use super::scratch::{BuildScratch, Scratches};
use crate::graph::finished::Links;
use crate::graph::params::HnswParams;
use crate::graph::scores::PointScores;
use crate::pool::Candidate;
use rayon::prelude::*;

/// Points a thread takes at a time.
const CHUNK: usize = 8;

/// The new link lists that one thread made, with their links concatenated.
#[derive(Default)]
struct Lists {
    lists: Vec<List>,
    links: Vec<u32>,
}

struct List {
    point: u32,
    level: usize,
    len: usize,
}

impl Lists {
    fn push(&mut self, point: u32, level: usize, links: impl Iterator<Item = u32>) {
        let before = self.links.len();
        self.links.extend(links);
        self.lists.push(List { point, level, len: self.links.len() - before });
    }
}

/// A link to store at its other end. Ordered by that end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct BackLink {
    to: u32,
    from: u32,
}

impl Growing {
    /// Inserts the points of a range of ranks.
    pub(super) fn insert<S: PointScores>(
        &mut self,
        batch: std::ops::Range<usize>,
        scores: &S,
        params: &HnswParams,
        scratches: &Scratches,
    ) {
        let graph = &*self;
        let chosen: Vec<Lists> = batch
            .into_par_iter()
            .chunks(CHUNK)
            .map(|ranks| scratches.with(|scratch| graph.choose_links(&ranks, scores, params, scratch)))
            .collect();
        let mut back_links: Vec<Vec<BackLink>> = vec![Vec::new(); self.levels.len()];
        self.apply(&chosen, |list, links| {
            back_links[list.level].extend(links.iter().map(|&to| BackLink { to, from: list.point }));
        });
        for (level, links) in back_links.iter_mut().enumerate() {
            links.par_sort_unstable();
            let targets: Vec<&[BackLink]> = links.chunk_by(|a, b| a.to == b.to).collect();
            let graph = &*self;
            let merged: Vec<Lists> = targets
                .par_chunks(CHUNK)
                .map(|targets| scratches.with(|scratch| graph.merge_links(level, targets, scores, scratch)))
                .collect();
            self.apply(&merged, |_, _| {});
        }
    }

    fn apply(&mut self, chunks: &[Lists], mut each: impl FnMut(&List, &[u32])) {
        for chunk in chunks {
            let mut rest = &chunk.links[..];
            for list in &chunk.lists {
                let links;
                (links, rest) = rest.split_at(list.len);
                let slot = self.slot(list.point, list.level);
                self.levels[list.level].set(slot, links);
                each(list, links);
            }
        }
    }

    /// Chooses the links of new points on each of their levels.
    fn choose_links<S: PointScores>(
        &self,
        ranks: &[usize],
        scores: &S,
        params: &HnswParams,
        scratch: &mut BuildScratch,
    ) -> Lists {
        let mut chosen = Lists::default();
        for &rank in ranks {
            let point = self.order[rank];
            let levels = self.sizes.partition_point(|&size| size > rank);
            for level in (0..levels).rev() {
                let candidates =
                    self.nearest(point, params.ef_construct, level, scores, &mut scratch.search, &|| false);
                let candidates = candidates.expect("nothing stops it");
                let selected = scratch.selection.select(candidates, params.m, scores);
                chosen.push(point, level, selected.iter().map(|candidate| candidate.id));
            }
        }
        chosen
    }

    /// Merges the links back to new points into the lists of the points that these link to.
    fn merge_links<S: PointScores>(
        &self,
        level: usize,
        targets: &[&[BackLink]],
        scores: &S,
        scratch: &mut BuildScratch,
    ) -> Lists {
        let links_max = self.levels[level].links_max;
        let mut merged = Lists::default();
        for links in targets {
            let point = links[0].to;
            let old = self.links(point, level);
            let all = old.iter().copied().chain(links.iter().map(|link| link.from));
            if old.len() + links.len() <= links_max {
                merged.push(point, level, all);
                continue;
            }
            let candidates = &mut scratch.candidates;
            candidates.clear();
            candidates.extend(all.map(|id| Candidate { id, score: scores.score(point, id) }));
            candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
            let selected = scratch.selection.select(candidates, links_max, scores);
            merged.push(point, level, selected.iter().map(|candidate| candidate.id));
        }
        merged
    }
}
