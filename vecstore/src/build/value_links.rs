//! Links among the points of one value. Without them, a filter by the value would split the graph.

use super::builder::SegmentBuilder;
use super::read::Collected;
use crate::error::Error;
use crate::field::Key;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use vecstore_index::graph::{GraphParts, HnswParams, PointScores};

/// A value with at least this many points gets links among them. The points of a rarer value are scored one
/// by one.
pub(crate) const VALUE_LINKS_MIN: u64 = 5000;
/// Values get links until their points are this many times all points. A point may have any number of
/// values, and each graph costs time and memory.
const VALUE_LINKS_TIMES: u64 = 8;

impl SegmentBuilder<'_> {
    /// The graph with more links: among the points of each frequent value. `None` if no value is frequent.
    pub(super) fn link_values<S: PointScores>(
        &self,
        graph: &GraphParts,
        scores: &S,
        points: &Collected,
    ) -> Result<Option<GraphParts>, Error> {
        let total = points.ids.len() as u64;
        let mut values: Vec<Vec<u32>> = Vec::new();
        // Few links are enough. They only connect the value's points, and the whole graph leads to the near
        // ones.
        let params = HnswParams { m: (self.schema.hnsw.m / 2).max(2), ..self.schema.hnsw };
        for (field, kind) in self.schema.indexes.values().enumerate() {
            if kind.is_number() {
                continue;
            }
            let mut of_field: BTreeMap<&Key, Vec<u32>> = BTreeMap::new();
            for (point, keys) in points.keys.iter().enumerate() {
                for key in &keys[field] {
                    of_field.entry(key).or_default().push(point as u32);
                }
            }
            // A value that nearly all points have needs no links of its own.
            let many = VALUE_LINKS_MIN..total - total / 10;
            values.extend(of_field.into_values().filter(|members| many.contains(&(members.len() as u64))));
        }
        most_frequent(&mut values, total.saturating_mul(VALUE_LINKS_TIMES));
        if values.is_empty() {
            return Ok(None);
        }
        let mut extra: Vec<Vec<u32>> = vec![Vec::new(); points.ids.len()];
        for members in values {
            let among = Among { scores, members: &members };
            let own = self.build_graph(&among, &params, members.len() as u64)?;
            for (index, &point) in members.iter().enumerate() {
                let links = &own.links[own.offsets[index] as usize..own.offsets[index + 1] as usize];
                extra[point as usize].extend(links.iter().map(|&link| members[link as usize]));
            }
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
        Ok(Some(GraphParts { m: graph.m, entry: graph.entry, offsets, links, upper: graph.upper.clone() }))
    }
}

/// Keeps the values with the most points, as long as they have at most `points_max` together. A filter by a
/// rare value scores its points one by one, which costs the least there.
fn most_frequent(values: &mut Vec<Vec<u32>>, points_max: u64) {
    values.sort_by_key(|members| Reverse(members.len()));
    let mut points = 0;
    let kept = values.iter().take_while(|members| {
        points += members.len() as u64;
        points <= points_max
    });
    let kept = kept.count();
    values.truncate(kept);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_values_are_linked_within_a_bound() {
        let kept = |sizes: &[usize], points_max: u64| -> Vec<usize> {
            let mut values: Vec<Vec<u32>> = sizes.iter().map(|&size| vec![0; size]).collect();
            most_frequent(&mut values, points_max);
            values.iter().map(Vec::len).collect()
        };
        assert_eq!(kept(&[3, 9, 5], 17), [9, 5, 3]);
        assert_eq!(kept(&[3, 9, 5], 16), [9, 5]);
        assert!(kept(&[3, 9, 5], 8).is_empty());
        assert!(kept(&[], 8).is_empty());
    }
}
