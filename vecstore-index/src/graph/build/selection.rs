//! Chooses links that lead in different directions, by the heuristic of the HNSW paper (algorithm 4).

use crate::graph::scores::PointScores;
use crate::pool::Candidate;

/// The memory of a selection. The next selection reuses it.
#[derive(Default)]
pub(super) struct Selection {
    selected: Vec<Candidate>,
    twins: Vec<Candidate>,
}

impl Selection {
    /// Chooses at most `links_max` of the candidates, which come best first. It takes a candidate if it is
    /// nearer to the point than to each candidate taken before.
    ///
    /// A candidate as near to another one as both are to the point is usually a copy of it. Copies only fill
    /// the room that is left at the end. Taken first, they would cut a group of copies off from all other
    /// points.
    pub(super) fn select<S: PointScores>(
        &mut self,
        candidates: &[Candidate],
        links_max: usize,
        scores: &S,
    ) -> &[Candidate] {
        let Self { selected, twins } = self;
        selected.clear();
        twins.clear();
        'candidates: for &candidate in candidates {
            if selected.len() == links_max {
                break;
            }
            for other in &*selected {
                let between = scores.score(candidate.id, other.id);
                if between > candidate.score {
                    continue 'candidates;
                }
                if between == candidate.score && other.score == candidate.score {
                    twins.push(candidate);
                    continue 'candidates;
                }
            }
            selected.push(candidate);
        }
        let room = links_max - selected.len();
        selected.extend(twins.iter().take(room));
        selected
    }
}
