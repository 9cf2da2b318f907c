//! The links of points, and ways around forbidden points.

use super::{Allowed, CandidateStats};
use crate::error::{Error, FormatError};
use crate::immutable::graph::{GraphData, LINKS_SECTION};
use crate::immutable::outcome::ended;
use crate::immutable::segment::SegmentReader;
use io_core::ReadControl;
use std::ops::Range;
use vecstore_format::links;
use vecstore_index::graph::GraphSearch;

/// Forbidden points whose links are read at once, to get around them.
const WAYS_AROUND: usize = 8;

/// Where a walk may go from a point.
#[derive(Default)]
pub(super) struct Ways {
    /// The points that are allowed.
    pub(super) allowed: Vec<u32>,
    links: Vec<u32>,
    forbidden: Vec<u32>,
}

impl Ways {
    /// Collects the allowed points that a point is linked to. The links of a forbidden point stand in for it
    /// (after Patel et al., "ACORN", 2024), up to the number of links that a point has.
    pub(super) async fn expand(
        &mut self,
        segment: (&SegmentReader, &GraphData),
        node: u32,
        control: &ReadControl,
        allowed: Option<Allowed<'_>>,
        search: &mut GraphSearch<'_>,
        stats: &mut CandidateStats,
    ) -> Result<(), Error> {
        self.links.clear();
        read_links(segment, &[node], control, stats, |links| self.links.extend_from_slice(links)).await?;
        let Some(allowed) = allowed else {
            std::mem::swap(&mut self.allowed, &mut self.links);
            return Ok(());
        };
        self.allowed.clear();
        self.forbidden.clear();
        for &link in &self.links {
            if allowed.contains(link) {
                self.allowed.push(link);
            } else if search.see(link) {
                self.forbidden.push(link);
            }
        }
        let (ways, ways_max) = (&mut self.allowed, self.links.len());
        for forbidden in self.forbidden.chunks(WAYS_AROUND) {
            if ways.len() >= ways_max {
                break;
            }
            read_links(segment, forbidden, control, stats, |links| {
                if ways.len() < ways_max {
                    let links = links.iter().copied();
                    ways.extend(links.filter(|&link| allowed.contains(link) && search.is_unseen(link)));
                }
            })
            .await?;
        }
        Ok(())
    }
}

/// Hands the links of points on level 0 to `sink`, in the order of the points: from memory, or read in one
/// batch.
async fn read_links(
    (segment, graph): (&SegmentReader, &GraphData),
    points: &[u32],
    control: &ReadControl,
    stats: &mut CandidateStats,
    mut sink: impl FnMut(&[u32]),
) -> Result<(), Error> {
    let Some(pages) = &segment.graph else {
        for &point in points {
            sink(graph.links(point).expect("a graph that is not on disk is pinned"));
        }
        return Ok(());
    };
    let ranges: Vec<Range<u64>> = points.iter().map(|&point| graph.record_range(point)).collect();
    // They arrive in any order, and the answer of a search must not depend on it.
    let mut lists = vec![Vec::new(); points.len()];
    let read = pages
        .read(LINKS_SECTION, &ranges, control, |index, record| {
            links::decode(record, graph.len(), &mut lists[index]).ok_or_else(|| {
                let reason = format!("the links of point {} are none", points[index]);
                FormatError::damaged(pages.data().path(), None, reason)
            })
        })
        .await?;
    stats.read.add(&ended(read)?);
    lists.iter().for_each(|links| sink(links));
    Ok(())
}
