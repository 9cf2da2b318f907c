//! Choosing links that lead into different directions: the heuristic of the paper (algorithm 4).

use crate::graph::pool::Candidate;
use crate::graph::scores::PointScores;

/// The memory of a choice, to be used again by the next one.
#[derive(Default)]
pub(super) struct Selection {
    selected: Vec<Candidate>,
    twins: Vec<Candidate>,
}

impl Selection {
    /// Chooses at most `links_max` of the candidates, which come best first: those that are nearer to the point than to
    /// any chosen before them.
    ///
    /// Candidates as near to each other as both are to the point are usually copies of it. They fill what room is left at
    /// the end: first chosen, they would cut a group of copies off from everything else.
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
