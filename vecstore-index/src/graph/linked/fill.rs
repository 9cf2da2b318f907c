//! More links for linked records. A record has room for whole blocks of links, and a scan of a block costs
//! the same for any number of them. So the rest of its room leads to the nearest points that a neighbour
//! links to.

use crate::graph::finished::GraphParts;
use crate::graph::scores::PointScores;
use crate::graph::search::SearchStoppedError;
use crate::graph::visited::Visited;
use crate::pool::Candidate;
use rayon::prelude::*;

/// Points a thread takes at a time.
const CHUNK: usize = 64;

/// The memory of a thread.
#[derive(Default)]
struct Scratch {
    known: Visited,
    around: Vec<u32>,
    scores: Vec<f32>,
    candidates: Vec<Candidate>,
}

/// A graph with up to `links_max` links a point on level 0: those of this graph, then the nearest points that
/// these points link to. Runs on the threads of the current rayon pool. The result depends on the graph and
/// the scores only. Asks `stop` now and then.
///
/// # Errors
///
/// If `stop` returned true.
///
/// # Panics
///
/// If a point has more links.
pub fn fill_links<S: PointScores>(
    graph: &GraphParts,
    scores: &S,
    links_max: usize,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<GraphParts, SearchStoppedError> {
    let points = scores.len();
    let mut links = vec![0; points * links_max];
    let mut counts = vec![0; points];
    let chunks = links.par_chunks_mut((links_max * CHUNK).max(1)).zip(counts.par_chunks_mut(CHUNK));
    chunks.enumerate().try_for_each_init(Scratch::default, |scratch, (chunk, (links, counts))| {
        if stop() {
            return Err(SearchStoppedError);
        }
        let lists = links.chunks_mut(links_max.max(1)).zip(counts);
        for (point, (list, count)) in (chunk * CHUNK..).zip(lists) {
            *count = scratch.fill(graph, scores, point as u32, list);
        }
        Ok(())
    })?;
    let mut offsets = vec![0];
    let mut end = 0;
    for (point, count) in counts.into_iter().enumerate() {
        links.copy_within(point * links_max..point * links_max + count, end);
        end += count;
        offsets.push(end as u64);
    }
    links.truncate(end);
    Ok(GraphParts { m: graph.m, entry: graph.entry, offsets, links, upper: graph.upper.clone() })
}

fn links_of(graph: &GraphParts, point: u32) -> &[u32] {
    let point = point as usize;
    &graph.links[graph.offsets[point] as usize..graph.offsets[point + 1] as usize]
}

impl Scratch {
    /// Writes the links of a point. Returns how many there are.
    fn fill<S: PointScores>(
        &mut self,
        graph: &GraphParts,
        scores: &S,
        point: u32,
        list: &mut [u32],
    ) -> usize {
        let own = links_of(graph, point);
        let (start, room) = list.split_at_mut(own.len());
        start.copy_from_slice(own);
        if room.is_empty() {
            return own.len();
        }
        self.known.begin(scores.len());
        self.known.insert(point);
        own.iter().for_each(|&link| {
            self.known.insert(link);
        });
        self.around.clear();
        for &link in own {
            self.around.extend(links_of(graph, link).iter().filter(|&&next| self.known.insert(next)));
        }
        self.scores.resize(self.around.len(), 0.0);
        scores.score_many(point, &self.around, &mut self.scores);
        let scored = self.around.iter().zip(&self.scores);
        self.candidates.clear();
        self.candidates.extend(scored.map(|(&id, &score)| Candidate { id, score }));
        let better_first = |a: &Candidate, b: &Candidate| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id));
        if self.candidates.len() > room.len() {
            self.candidates.select_nth_unstable_by(room.len(), better_first);
            self.candidates.truncate(room.len());
        }
        self.candidates.sort_unstable_by(better_first);
        for (place, candidate) in room.iter_mut().zip(&self.candidates) {
            *place = candidate.id;
        }
        own.len() + self.candidates.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{HnswParams, build};
    use std::collections::BTreeSet;
    use vecstore_quant::{CodeScores, Distance, ScalarCodes, SplitMix64};

    /// Compared with sorting all points at two steps.
    #[test]
    fn the_room_is_filled_with_the_nearest_at_two_steps() {
        let mut random = SplitMix64::new(3, 0);
        let vectors: Vec<f32> = (0..700 * 8).map(|_| random.normal()).collect();
        let mut codes = ScalarCodes::new(8).unwrap();
        codes.extend(&vectors);
        let scores = CodeScores::new(Distance::Euclid, &codes);
        for (m, links_max) in [(4, 8), (4, 16), (8, 64)] {
            let params = HnswParams { m, ef_construct: 20, seed: 1 };
            let graph = build(&scores, &params, &|_| (), &|| false).unwrap().into_parts();
            let filled = fill_links(&graph, &scores, links_max, &|| false).unwrap();
            assert_eq!((filled.m, filled.entry, &filled.upper), (graph.m, graph.entry, &graph.upper));
            assert_eq!(fill_links(&graph, &scores, links_max, &|| true), Err(SearchStoppedError));
            for point in 0..700 {
                let own = links_of(&graph, point);
                let mut around: BTreeSet<u32> =
                    own.iter().flat_map(|&link| links_of(&graph, link)).copied().collect();
                around.retain(|next| *next != point && !own.contains(next));
                let mut nearest: Vec<u32> = around.into_iter().collect();
                nearest.sort_by(|&a, &b| scores.score(point, b).total_cmp(&scores.score(point, a)));
                let expected: Vec<u32> = own.iter().copied().chain(nearest).take(links_max).collect();
                assert_eq!(links_of(&filled, point), expected, "point {point}, {links_max} links");
            }
        }
    }

    #[test]
    fn no_points_have_no_links() {
        let codes = ScalarCodes::new(2).unwrap();
        let scores = CodeScores::new(Distance::Dot, &codes);
        let graph = build(&scores, &HnswParams::default(), &|_| (), &|| false).unwrap().into_parts();
        assert_eq!(fill_links(&graph, &scores, 32, &|| true), Ok(graph));
    }
}
