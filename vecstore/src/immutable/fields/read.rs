//! Queries the indexes.

use super::data::{FieldData, FieldsData, Lookup, parse_number};
use super::dictionary::{Term, parse_group};
use super::layout::NUMBER_ENTRY;
use crate::error::{Error, FormatError};
use crate::field::Key;
use crate::immutable::outcome::ended;
use crate::immutable::point_set::points_from_postings;
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::Range;
use vecstore_format::pages::Pages;
use vecstore_format::postings::{self, Postings};
use vecstore_format::table::page_range;

/// The indexes of a segment, for one query.
pub(crate) struct FieldsReader<'a> {
    pub(crate) data: &'a FieldsData,
    pub(crate) pages: &'a Pages,
    pub(crate) control: &'a ReadControl,
}

impl FieldsReader<'_> {
    fn field(&self, name: &str) -> &FieldData {
        self.data
            .fields
            .get(name)
            .expect("filters are checked against the schema, whose indexes each segment has")
    }

    fn damaged(&self, reason: &str) -> FormatError {
        FormatError::damaged(self.pages.data().path(), None, reason)
    }

    pub(crate) fn present(&self, field: &str) -> &RoaringBitmap {
        &self.field(field).present
    }

    /// Points with one of these values. `keys` is sorted. If `within` is given, points outside of it may be
    /// missing.
    pub(crate) async fn any(
        &self,
        field: &str,
        keys: &[Key],
        within: Option<&RoaringBitmap>,
        stats: &mut ReadStats,
    ) -> Result<RoaringBitmap, Error> {
        let data = self.field(field);
        let Lookup::Terms(groups) = &data.lookup else {
            let mut points = RoaringBitmap::new();
            for key in keys {
                if let Key::Number(number) = key {
                    points |= self.range(field, *number, *number, stats).await?;
                }
            }
            return Ok(points);
        };
        // A term can only be in the last group whose first term is not after it.
        let mut wanted: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
        for key in keys {
            let Key::Term(term) = key else { continue };
            let after = groups.partition_point(|(first, _)| first <= term);
            if let Some(group) = after.checked_sub(1) {
                wanted.entry(group).or_default().push(term);
            }
        }
        let chosen: Vec<usize> = wanted.keys().copied().collect();
        let wanted: Vec<&[u8]> = wanted.into_values().flatten().collect();
        let terms = self.terms(data, &chosen, |term| wanted.binary_search(&term).is_ok(), stats).await?;
        self.union(data, &terms, within, stats).await
    }

    /// Points with a value that is not one of these. `keys` is sorted.
    pub(crate) async fn except(
        &self,
        field: &str,
        keys: &[Key],
        stats: &mut ReadStats,
    ) -> Result<RoaringBitmap, Error> {
        let data = self.field(field);
        let Lookup::Terms(groups) = &data.lookup else {
            let mut points = RoaringBitmap::new();
            let mut low = Some(0);
            for key in keys {
                if let (Key::Number(number), Some(from)) = (key, low) {
                    if let Some(high) = number.checked_sub(1) {
                        points |= self.range(field, from, high, stats).await?;
                    }
                    low = number.checked_add(1);
                }
            }
            if let Some(from) = low {
                points |= self.range(field, from, u64::MAX, stats).await?;
            }
            return Ok(points);
        };
        let all: Vec<usize> = (0..groups.len()).collect();
        let terms = self.terms(data, &all, |_| true, stats).await?;
        let is_listed = |term: &Term| {
            keys.binary_search_by(|key| match key {
                Key::Term(key) => key.cmp(&term.term),
                Key::Number(_) => std::cmp::Ordering::Greater,
            })
            .is_ok()
        };
        let others: Vec<Term> = terms.into_iter().filter(|term| !is_listed(term)).collect();
        self.union(data, &others, None, stats).await
    }

    /// Points with a number from `low` to `high`.
    pub(crate) async fn range(
        &self,
        field: &str,
        low: u64,
        high: u64,
        stats: &mut ReadStats,
    ) -> Result<RoaringBitmap, Error> {
        let mut points = Vec::new();
        let mut from = 0;
        while let Some(page) = self.numbers(field, low, high, from, 64, stats).await? {
            points.extend(page.entries.iter().map(|(_, point)| *point));
            from = page.next;
        }
        Ok(points.into_iter().collect())
    }

    /// The entries of numbers from `low` to `high`, in order. It reads some pages of them, from page `from`
    /// on. `None` if there are no more.
    pub(crate) async fn numbers(
        &self,
        field: &str,
        low: u64,
        high: u64,
        from: usize,
        pages_max: usize,
        stats: &mut ReadStats,
    ) -> Result<Option<NumbersPage>, Error> {
        let data = self.field(field);
        let Lookup::Numbers { firsts, entries } = &data.lookup else {
            unreachable!("ranges are checked to be of numbers");
        };
        let first = firsts.partition_point(|&first| first < low).saturating_sub(1).max(from);
        let end = firsts.partition_point(|&first| first <= high).min(first + pages_max);
        if low > high || first >= end {
            return Ok(None);
        }
        let ranges: Vec<Range<u64>> =
            (first..end).map(|page| page_range(page as u64, *entries, NUMBER_ENTRY)).collect();
        let mut found = vec![Vec::new(); ranges.len()];
        let read = self
            .pages
            .read(data.section + 2, &ranges, self.control, |index, bytes| {
                let entries = bytes.chunks_exact(NUMBER_ENTRY).map(parse_number);
                found[index] = entries.filter(|(number, _)| (low..=high).contains(number)).collect();
                Ok(())
            })
            .await?;
        stats.add(&ended(read)?);
        let entries: Vec<(u64, u32)> = found.into_iter().flatten().collect();
        if entries.iter().any(|&(_, point)| point >= self.data.count) {
            return Err(self.damaged("a number belongs to a point that is not there").into());
        }
        Ok(Some(NumbersPage { entries, next: end }))
    }

    /// The pages of a number field's table whose first entry has this number.
    pub(crate) fn pages_beginning_with(&self, field: &str, number: u64) -> Range<usize> {
        let Lookup::Numbers { firsts, .. } = &self.field(field).lookup else {
            unreachable!("orders are checked to be of numbers");
        };
        firsts.partition_point(|&first| first < number)..firsts.partition_point(|&first| first <= number)
    }

    /// Each value of a field, with the number of its points in a set.
    pub(crate) async fn counts(
        &self,
        field: &str,
        points: &RoaringBitmap,
        stats: &mut ReadStats,
    ) -> Result<BTreeMap<Key, u64>, Error> {
        let data = self.field(field);
        let mut counts = BTreeMap::new();
        match &data.lookup {
            Lookup::Terms(groups) => {
                let all: Vec<usize> = (0..groups.len()).collect();
                let terms = self.terms(data, &all, |_| true, stats).await?;
                let sets = self.points_of(data, &terms, stats).await?;
                for (term, set) in terms.into_iter().zip(sets) {
                    let count = set.intersection_len(points);
                    if count > 0 {
                        counts.insert(Key::Term(term.term), count);
                    }
                }
            }
            Lookup::Numbers { .. } => {
                let mut from = 0;
                while let Some(page) = self.numbers(field, 0, u64::MAX, from, 64, stats).await? {
                    for (number, _) in page.entries.iter().filter(|(_, point)| points.contains(*point)) {
                        *counts.entry(Key::Number(*number)).or_default() += 1;
                    }
                    from = page.next;
                }
            }
        }
        Ok(counts)
    }

    /// Each term of a field, with its points. Only for fields of terms.
    pub(crate) async fn all_terms(
        &self,
        field: &str,
        stats: &mut ReadStats,
    ) -> Result<Vec<(Box<[u8]>, RoaringBitmap)>, Error> {
        let data = self.field(field);
        let Lookup::Terms(groups) = &data.lookup else {
            unreachable!("only fields of terms have terms");
        };
        let all: Vec<usize> = (0..groups.len()).collect();
        let terms = self.terms(data, &all, |_| true, stats).await?;
        let sets = self.points_of(data, &terms, stats).await?;
        Ok(terms.into_iter().map(|term| term.term).zip(sets).collect())
    }

    /// Reads the terms of groups.
    async fn terms(
        &self,
        data: &FieldData,
        groups: &[usize],
        wanted: impl Fn(&[u8]) -> bool,
        stats: &mut ReadStats,
    ) -> Result<Vec<Term>, Error> {
        let Lookup::Terms(all) = &data.lookup else { return Ok(Vec::new()) };
        let ranges: Vec<Range<u64>> = groups.iter().map(|&group| all[group].1.clone()).collect();
        let mut found = vec![Vec::new(); ranges.len()];
        let read = self
            .pages
            .read(data.section + 2, &ranges, self.control, |index, bytes| {
                let (terms, _) =
                    parse_group(bytes, &wanted).ok_or_else(|| self.damaged("a group of terms is none"))?;
                found[index] = terms;
                Ok(())
            })
            .await?;
        stats.add(&ended(read)?);
        Ok(found.into_iter().flatten().collect())
    }

    async fn union(
        &self,
        data: &FieldData,
        terms: &[Term],
        within: Option<&RoaringBitmap>,
        stats: &mut ReadStats,
    ) -> Result<RoaringBitmap, Error> {
        let mut points = RoaringBitmap::new();
        self.each_postings(data, terms, within, stats, |_, own| points |= own).await?;
        Ok(points)
    }

    async fn points_of(
        &self,
        data: &FieldData,
        terms: &[Term],
        stats: &mut ReadStats,
    ) -> Result<Vec<RoaringBitmap>, Error> {
        let mut sets = vec![RoaringBitmap::new(); terms.len()];
        self.each_postings(data, terms, None, stats, |index, own| sets[index] = own).await?;
        Ok(sets)
    }

    /// Passes the points of each term to `each`. If `within` is given, they may be limited to it.
    async fn each_postings(
        &self,
        data: &FieldData,
        terms: &[Term],
        within: Option<&RoaringBitmap>,
        stats: &mut ReadStats,
        mut each: impl FnMut(usize, RoaringBitmap),
    ) -> Result<(), Error> {
        let bad = || self.damaged("the postings of a term are none");
        let longest = |points: u32| u64::from(points) * postings::NUMBER_BYTES_MAX;
        let is_possible = |term: &Term| {
            term.count <= self.data.count && term.postings.end - term.postings.start <= longest(term.count)
        };
        if !terms.iter().all(is_possible) {
            return Err(bad().into());
        }
        let ranges: Vec<Range<u64>> = terms.iter().map(|term| term.postings.clone()).collect();
        let read = self
            .pages
            .read(data.section + 3, &ranges, self.control, |index, bytes| {
                let count = terms[index].count as usize;
                let points = match within {
                    // Skipping pays if few of many postings are wanted.
                    Some(within) if within.len() < count as u64 / 16 => {
                        Postings::parse(bytes, count).and_then(|postings| postings.intersect(within)).ok()
                    }
                    _ => points_from_postings(bytes, count, self.data.count),
                };
                each(index, points.ok_or_else(bad)?);
                Ok(())
            })
            .await?;
        stats.add(&ended(read)?);
        Ok(())
    }
}

/// Entries from some pages of a number table.
pub(crate) struct NumbersPage {
    /// `(number, point)`, ordered by number, then by the id of the point.
    pub(crate) entries: Vec<(u64, u32)>,
    /// The page to continue with.
    pub(crate) next: usize,
}
