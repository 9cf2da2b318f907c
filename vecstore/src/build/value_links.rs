//! Links among the points of one value. Without them, a filter by the value would split the graph.

use super::builder::SegmentBuilder;
use super::read::Collected;
use crate::error::Error;
use crate::field::Key;
use std::collections::BTreeMap;
use vecstore_index::graph::{GraphParts, HnswParams, PointScores};

/// A value with at least this many points gets links among them. The points of a rarer value are scored one
/// by one.
const VALUE_LINKS_MIN: u64 = 5000;

impl SegmentBuilder<'_> {
    /// Adds links among the points of each frequent value.
    pub(super) fn link_values<S: PointScores>(
        &self,
        graph: &mut GraphParts,
        scores: &S,
        points: &Collected,
    ) -> Result<(), Error> {
        let mut extra: Vec<Vec<u32>> = Vec::new();
        let total = points.ids.len() as u64;
        // Few links are enough. They only connect the value's points, and the whole graph leads to the near
        // ones.
        let params = HnswParams { m: (self.schema.hnsw.m / 2).max(2), ..self.schema.hnsw };
        for (field, kind) in self.schema.indexes.values().enumerate() {
            if kind.is_number() {
                continue;
            }
            let mut values: BTreeMap<&Key, Vec<u32>> = BTreeMap::new();
            for (point, keys) in points.keys.iter().enumerate() {
                for key in &keys[field] {
                    values.entry(key).or_default().push(point as u32);
                }
            }
            // A value that nearly all points have needs no links of its own.
            let many = VALUE_LINKS_MIN..total - total / 10;
            for members in values.into_values().filter(|members| many.contains(&(members.len() as u64))) {
                let among = Among { scores, members: &members };
                let own = self.build_graph(&among, &params, members.len() as u64)?;
                extra.resize(points.ids.len(), Vec::new());
                for (index, &point) in members.iter().enumerate() {
                    let links = &own.links[own.offsets[index] as usize..own.offsets[index + 1] as usize];
                    extra[point as usize].extend(links.iter().map(|&link| members[link as usize]));
                }
            }
        }
        if extra.is_empty() {
            return Ok(());
        }
        let (mut offsets, mut links) = (vec![0], Vec::with_capacity(graph.links.len()));
        for (point, range) in graph.offsets.windows(2).enumerate() {
            let mut all = graph.links[range[0] as usize..range[1] as usize].to_vec();
            all.append(&mut extra[point]);
            all.sort_unstable();
            all.dedup();
            all.truncate(usize::from(u16::MAX));
            links.extend_from_slice(&all);
            offsets.push(links.len() as u64);
        }
        (graph.offsets, graph.links) = (offsets, links);
        Ok(())
    }
}

/// Scores among a subset of the points.
struct Among<'a, S> {
    scores: &'a S,
    members: &'a [u32],
}

impl<S: PointScores> PointScores for Among<'_, S> {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn score(&self, a: u32, b: u32) -> f32 {
        self.scores.score(self.members[a as usize], self.members[b as usize])
    }
}
