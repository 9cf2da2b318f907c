//! What the optimizer does next, by the thresholds of the options.

use super::options::CollectionOptions;
use super::state::{FrozenEntry, SegmentEntry, Version};

/// Segments to make one of.
pub(super) struct Plan {
    pub(super) frozen: Option<FrozenEntry>,
    /// Their numbers.
    pub(super) segments: Vec<u64>,
}

/// Whether the thresholds ask for anything.
pub(super) fn is_due(version: &Version, options: &CollectionOptions) -> bool {
    next_plan(version, options, false).is_some()
}

/// What the thresholds ask for next.
///
/// Merging comes first, so that the number of segments has a bound: while it lasts, what is frozen waits, and with it
/// the writer. Sealing and vacuum take turns, so that neither keeps the other waiting for ever.
pub(super) fn next_plan(version: &Version, options: &CollectionOptions, sealed_last: bool) -> Option<Plan> {
    let seal =
        || version.frozen.first().map(|frozen| Plan { frozen: Some(frozen.clone()), segments: Vec::new() });
    let vacuum = || vacuum(version, options, u64::MAX);
    merge(version, options)
        .or_else(|| if sealed_last { vacuum().or_else(seal) } else { seal().or_else(vacuum) })
}

/// A merge, where there are too many segments. A segment that is due for a vacuum may join in.
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
    /// Points that are there.
    size: u64,
    number: u64,
    /// Whether it is to be written anew in any case.
    spent: bool,
}

/// The smallest two, and each of the next as long as it is not larger than all before it together. A point that is merged
/// is then in a segment at least twice as large, but for those of the second, and so is merged a logarithmic number of times.
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

/// The segments before a number of which too many points are deleted; they become one, if they fit together.
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

/// Whether too many points of a segment are deleted.
fn is_spent(entry: &SegmentEntry, options: &CollectionOptions) -> bool {
    entry.deleted.len() as f64 > f64::from(entry.data.points) * options.vacuum_ratio
}

/// The points of a segment that are there, and its number.
pub(super) fn size_and_number(entry: &SegmentEntry) -> (u64, u64) {
    (u64::from(entry.data.points) - entry.deleted.len(), entry.data.number)
}

/// Of segments with their sizes, as many as may become one.
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
        // Two are always merged, and never more than fit.
        assert_eq!(merged(&[1, 50, 90], 100), [0, 1]);
        assert_eq!(merged(&[1, 1, 1, 1, 1], 3), [0, 1, 2]);
        assert_eq!(merged(&[60, 60, 60], 100).len(), 1);
        let mut spent = candidates(&[1, 1, 50, 40]);
        spent[2].spent = true;
        assert_eq!(to_merge(spent.clone(), 100), [0, 1, 2]);
        assert_eq!(to_merge(spent, 40), [0, 1]);
    }

    /// Segments of one point are sealed, and merged whenever there are too many. A point is written anew once for each
    /// doubling, up to `2^segments_max` points.
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
