//! A graph under construction: the order of its points, and its levels.

use super::level::GrowingLevel;
use crate::graph::finished::{Graph, GraphParts, Links, UpperLevel};
use crate::graph::params::HnswParams;
use crate::graph::scores::PointScores;
use crate::graph::search::{SearchScratch, SearchStoppedError, search_level};
use crate::pool::Candidate;
use rayon::prelude::*;
use vecstore_quant::SplitMix64;

/// The highest level of a point. One in `m` points of a level is also on the next. The computation uses
/// integers only, so that a graph is the same on every machine.
pub(super) fn level_of(random: u64, m: usize) -> usize {
    let mut threshold = u64::MAX / m as u64;
    let mut level = 0;
    while random < threshold {
        level += 1;
        threshold /= m as u64;
    }
    level
}

/// A graph under construction.
pub(super) struct Growing {
    /// The points in order of insertion: by level, highest first.
    pub(super) order: Vec<u32>,
    /// The position of each point in `order`.
    pub(super) ranks: Vec<u32>,
    /// Number of points on each level. They are the first ones in `order`.
    pub(super) sizes: Vec<usize>,
    /// On level 0 a slot is an id, on upper levels a rank.
    pub(super) levels: Vec<GrowingLevel>,
}

impl Links for Growing {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn entry(&self) -> Option<(u32, usize)> {
        self.order.first().map(|&entry| (entry, self.levels.len() - 1))
    }

    #[inline]
    fn links(&self, node: u32, level: usize) -> &[u32] {
        self.levels[level].get(self.slot(node, level))
    }
}

impl Growing {
    pub(super) fn new(points: usize, params: &HnswParams) -> Self {
        let mut keys: Vec<(usize, u64, u32)> = (0..points as u32)
            .into_par_iter()
            .map(|point| {
                let mut rng = SplitMix64::new(params.seed, u64::from(point));
                (usize::MAX - level_of(rng.next_u64(), params.m), rng.next_u64(), point)
            })
            .collect();
        keys.par_sort_unstable();
        let level = |key: &(usize, u64, u32)| usize::MAX - key.0;
        let top = keys.first().map_or(0, level);
        let sizes: Vec<usize> = (0..=top).map(|l| keys.partition_point(|key| level(key) >= l)).collect();
        let order: Vec<u32> = keys.iter().map(|key| key.2).collect();
        let mut ranks = vec![0; points];
        for (rank, &point) in order.iter().enumerate() {
            ranks[point as usize] = rank as u32;
        }
        let levels =
            sizes.iter().enumerate().map(|(l, &size)| GrowingLevel::new(size, params.links_max(l))).collect();
        Self { order, ranks, sizes, levels }
    }

    #[inline]
    pub(super) fn slot(&self, node: u32, level: usize) -> usize {
        if level == 0 { node as usize } else { self.ranks[node as usize] as usize }
    }

    /// The best points of a level for `point`, as far as a walk finds them.
    pub(super) fn nearest<'s, S: PointScores>(
        &self,
        point: u32,
        ef: usize,
        level: usize,
        scores: &S,
        scratch: &'s mut SearchScratch,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<&'s [Candidate], SearchStoppedError> {
        let score_many = |ids: &[u32], out: &mut [f32]| scores.score_many(point, ids, out);
        search_level(self, scratch, ef, level, score_many, stop)
    }

    pub(super) fn into_graph(self, params: &HnswParams) -> Graph {
        let mut levels = self.levels.iter().enumerate().map(|(l, level)| {
            let mut nodes = self.order[..self.sizes[l]].to_vec();
            nodes.sort_unstable();
            let count = level.counts.iter().map(|&count| usize::from(count)).sum();
            let mut links = Vec::with_capacity(count);
            let mut offsets = Vec::with_capacity(nodes.len() + 1);
            offsets.push(0);
            for &node in &nodes {
                links.extend_from_slice(level.get(self.slot(node, l)));
                offsets.push(links.len() as u64);
            }
            UpperLevel { nodes, offsets, links }
        });
        let base = levels.next().expect("level 0 always exists");
        let parts = GraphParts {
            m: params.m,
            entry: self.order.first().copied().unwrap_or(0),
            offsets: base.offsets,
            links: base.links,
            upper: levels.collect(),
        };
        Graph::from_parts(parts).expect("the builder keeps the rules of a graph")
    }
}
