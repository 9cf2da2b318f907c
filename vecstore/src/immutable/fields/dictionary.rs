//! Dictionaries: groups of terms, and the places of their postings.

use std::ops::Range;
use vecstore_format::pages::PAGE_DATA;

/// Bytes before a group's terms.
pub(super) const GROUP_HEADER: usize = 8;

/// A term and the place of its postings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) term: Box<[u8]>,
    pub(super) count: u32,
    pub(super) postings: Range<u64>,
}

/// Parses the wanted terms of a group. Also returns the group's length in bytes. `None` if it is not a group.
pub(super) fn parse_group(bytes: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<(Vec<Term>, usize)> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (group_bytes, count) = (u32_at(0)? as usize, u32_at(4)?);
    let mut at = GROUP_HEADER;
    let (mut terms, mut before) = (Vec::new(), None);
    for _ in 0..count {
        let len = u32_at(at)? as usize;
        let term = bytes.get(at + 4..)?.get(..len)?;
        if before.replace(term).is_some_and(|before| before >= term) {
            return None;
        }
        at += 4 + len;
        let points = u32_at(at)?;
        let start = u64::from_le_bytes(bytes.get(at + 4..at + 12)?.try_into().ok()?);
        let len = u64::from(u32_at(at + 12)?);
        let postings = start..start.checked_add(len)?;
        if wanted(term) {
            terms.push(Term { term: term.into(), count: points, postings });
        }
        at += 16;
    }
    (at == group_bytes && count > 0).then_some((terms, at))
}

/// The first term of a group, and the place of the group.
pub(super) type Group = (Box<[u8]>, Range<u64>);

/// The groups of a dictionary, and the end of their terms' last postings. Zeros may fill the rest of a page.
pub(super) fn groups(dictionary: &[u8]) -> Option<(Vec<Group>, u64)> {
    let (mut groups, mut postings_end): (Vec<Group>, u64) = (Vec::new(), 0);
    let (mut at, mut before) = (0, None);
    while at < dictionary.len() {
        let rest = &dictionary[at..];
        let room = PAGE_DATA - at % PAGE_DATA;
        if room < GROUP_HEADER || rest.get(..4)? == [0; 4] {
            if rest.get(..room)?.iter().any(|&byte| byte != 0) {
                return None;
            }
            at += room;
            continue;
        }
        let (mut terms, bytes) = parse_group(rest, |_| true)?;
        if before.is_some_and(|before| before >= terms[0].term) {
            return None;
        }
        postings_end = terms.iter().map(|term| term.postings.end).fold(postings_end, u64::max);
        before = terms.pop().map(|last| last.term);
        let first = terms.into_iter().next().map(|first| first.term).or_else(|| before.clone())?;
        groups.push((first, at as u64..(at + bytes) as u64));
        at += bytes;
    }
    Some((groups, postings_end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nonsense_is_no_dictionary(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = groups(&bytes);
        }
    }
}
