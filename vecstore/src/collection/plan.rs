//! Decides the optimizer's next step, by the thresholds of the options.

use super::options::CollectionOptions;
use super::state::{FrozenEntry, SegmentEntry, Version};

/// The sources of one new segment.
pub(super) struct Plan {
    pub(super) frozen: Option<FrozenEntry>,
    /// Their numbers.
    pub(super) segments: Vec<u64>,
}

/// Whether the thresholds ask for any work.
pub(super) fn is_due(version: &Version, options: &CollectionOptions) -> bool {
    next_plan(version, options, false).is_some()
}

/// The next step that the thresholds ask for.
///
/// Merging comes first, so that the number of segments has a bound. Meanwhile frozen points wait, and so does
/// the writer. Sealing and vacuum take turns, so that neither waits for ever.
pub(super) fn next_plan(version: &Version, options: &CollectionOptions, sealed_last: bool) -> Option<Plan> {
    let seal =
        || version.frozen.first().map(|frozen| Plan { frozen: Some(frozen.clone()), segments: Vec::new() });
    let vacuum = || vacuum(version, options, u64::MAX);
    merge(version, options)
        .or_else(|| if sealed_last { vacuum().or_else(seal) } else { seal().or_else(vacuum) })
}

/// A merge, if there are too many segments. A segment that needs a vacuum may join.
pub(super) fn merge(version: &Version, options: &CollectionOptions) -> Option<Plan> {
    if version.segments.len() <= options.segments_max {
        return None;
    }
    let candidate = |entry| {
        let (size, number) = size_and_number(entry);
        Candidate { size, number, spent: is_spent(entry, options) }
    };
    let candidates = version.segments.iter().map(candidate).collect();
    let segments = to_merge(candidates, options.segment_points_max);
    (segments.len() >= 2).then_some(Plan { frozen: None, segments })
}

/// A segment that may be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// Points that are not deleted.
    size: u64,
    number: u64,
    /// Whether it needs a vacuum, and is rewritten in any case.
    spent: bool,
}

/// Takes the smallest two segments, and each further one that is not larger than all before it together. A
/// merged point ends in a segment at least twice as large as before, except for points of the second
/// smallest. A point is therefore merged a logarithmic number of times.
fn to_merge(mut candidates: Vec<Candidate>, points_max: u32) -> Vec<u64> {
    candidates.sort_unstable();
    let (mut chosen, mut sum) = (Vec::new(), 0);
    for Candidate { size, number, spent } in candidates {
        if chosen.len() >= 2 && size > sum && !spent {
            continue;
        }
        sum += size;
        if sum > u64::from(points_max) {
            break;
        }
        chosen.push(number);
    }
    chosen
}

/// The segments below `number_end` with too many deleted points. If they fit together, they become one.
pub(super) fn vacuum(version: &Version, options: &CollectionOptions, number_end: u64) -> Option<Plan> {
    let spent = |entry: &&SegmentEntry| entry.data.number < number_end && is_spent(entry, options);
    let mut spent: Vec<(u64, u64)> = version.segments.iter().filter(spent).map(size_and_number).collect();
    spent.sort_unstable();
    let (_, first) = *spent.first()?;
    let mut segments = fitting(spent.into_iter(), u64::from(options.segment_points_max));
    if segments.is_empty() {
        segments.push(first);
    }
    Some(Plan { frozen: None, segments })
}

/// Whether a segment has too many deleted points.
fn is_spent(entry: &SegmentEntry, options: &CollectionOptions) -> bool {
    entry.deleted.len() as f64 > f64::from(entry.data.points) * options.vacuum_ratio
}

/// The number of a segment's live points, and its number.
pub(super) fn size_and_number(entry: &SegmentEntry) -> (u64, u64) {
    (u64::from(entry.data.points) - entry.deleted.len(), entry.data.number)
}

/// As many of these segments as fit into one.
pub(super) fn fitting(segments: impl Iterator<Item = (u64, u64)>, points_max: u64) -> Vec<u64> {
    let mut sum = 0;
    let mut chosen = Vec::new();
    for (points, number) in segments {
        sum += points;
        if sum > points_max {
            break;
        }
        chosen.push(number);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(sizes: &[u64]) -> Vec<Candidate> {
        (0..).zip(sizes).map(|(number, &size)| Candidate { size, number, spent: false }).collect()
    }

    #[test]
    fn the_smallest_are_merged_with_what_is_no_larger_than_they_are() {
        let merged = |sizes: &[u64], points_max| to_merge(candidates(sizes), points_max);
        assert_eq!(merged(&[8, 1, 4, 1, 2], 100), [1, 3, 4, 2, 0]);
        assert_eq!(merged(&[1, 1, 3, 8], 100), [0, 1]);
        // A merge takes at least two segments, and never more than fit.
        assert_eq!(merged(&[1, 50, 90], 100), [0, 1]);
        assert_eq!(merged(&[1, 1, 1, 1, 1], 3), [0, 1, 2]);
        assert_eq!(merged(&[60, 60, 60], 100).len(), 1);
        let mut spent = candidates(&[1, 1, 50, 40]);
        spent[2].spent = true;
        assert_eq!(to_merge(spent.clone(), 100), [0, 1, 2]);
        assert_eq!(to_merge(spent, 40), [0, 1]);
    }

    /// Segments of one point are sealed, and merged whenever there are too many. Up to `2^segments_max`
    /// points, a point is rewritten once for each doubling.
    #[test]
    fn points_are_written_anew_a_logarithmic_number_of_times() {
        for segments_max in 1..10 {
            let (mut segments, mut sealed, mut written) = (Vec::<u64>::new(), 0u64, 0u64);
            while sealed < 1 << segments_max {
                if segments.len() > segments_max {
                    let merged = to_merge(candidates(&segments), u32::MAX);
                    let sum: u64 = merged.iter().map(|&number| segments[number as usize]).sum();
                    assert!(merged.len() >= 2);
                    written += sum;
                    let rest = (0..).zip(&segments).filter(|(number, _)| !merged.contains(number));
                    segments = rest.map(|(_, &size)| size).chain([sum]).collect();
                }
                segments.push(1);
                sealed += 1;
                assert!(segments.len() <= segments_max + 1);
                assert_eq!(segments.iter().sum::<u64>(), sealed);
            }
            assert!(written <= sealed * segments_max as u64, "{written} for {sealed} points");
        }
    }
}
