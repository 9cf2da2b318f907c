//! Indexes of payload fields of an immutable segment.
//!
//! `fields.pages` has four sections for each indexed field, in the order of their names:
//!
//! | section | terms (keyword, bool, UUID) | numbers (integer, float, datetime) |
//! |---|---|---|
//! | 0 | points u64, distinct terms u64, points with a value u64 | points u64, entries u64, points with a value u64 |
//! | 1 | postings: the points with a value | the same |
//! | 2 | dictionary: groups of terms, sorted | sorted table (number u64, point u32) |
//! | 3 | the postings of each term, one after the other | empty |
//!
//! ```text
//! group:  |group_bytes u32| terms u32| for each term: |term_len u32| term| count u32| postings_start u64| postings_len u32|
//! ```
//!
//! A group is about a page. Entries of the table are ordered by number, then by the id of their point. In memory are the
//! points with a value, and the first term of each group or the first number of each page: a term is found with one read
//! of the dictionary and one of the postings, a range of numbers with one read of its pages.

use super::{ended, points_from_postings};
use crate::error::{Error, FormatError};
use crate::field::{FieldKind, Key};
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::Range;
use vecstore_format::pages::{PAGE_DATA, Pages, PagesWriter};
use vecstore_format::postings::{self, Postings};
use vecstore_format::table::{page_range, per_page, section_bytes, write_table};

const SECTIONS: usize = 4;
const NUMBER_ENTRY: usize = 12;
/// Entries of a page of the table of numbers.
pub(crate) const NUMBERS_PER_PAGE: usize = per_page(NUMBER_ENTRY);
const GROUP_HEADER: usize = 8;

/// The values of one field while a segment is built: `(key, point)`, and how many points there are.
#[derive(Debug, Default)]
pub(crate) struct FieldBuilder {
    entries: Vec<(Key, u32)>,
}

impl FieldBuilder {
    pub(crate) fn push(&mut self, point: u32, keys: impl IntoIterator<Item = Key>) {
        self.entries.extend(keys.into_iter().map(|key| (key, point)));
    }

    /// The entries, sorted by key: `(key, point)`.
    pub(crate) fn sort(&mut self, rank: impl Fn(u32) -> u32) {
        self.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| rank(a.1).cmp(&rank(b.1))));
    }
}

/// Writes the indexes of a segment of `count` points. `id_rank` tells the place of a point among all in the order of ids.
/// Returns the checksum of the file's header.
pub(crate) async fn write_fields(
    mut pages: PagesWriter,
    fields: Vec<(FieldKind, FieldBuilder)>,
    count: u64,
    id_rank: impl Fn(u32) -> u32,
) -> Result<u32, Error> {
    for (kind, mut field) in fields {
        let present: RoaringBitmap = field.entries.iter().map(|(_, point)| *point).collect();
        if kind.is_number() {
            field.sort(&id_rank);
        } else {
            field.sort(|point| point);
        }
        let terms = field.entries.chunk_by(|a, b| a.0 == b.0);
        let distinct = if kind.is_number() { field.entries.len() } else { terms.clone().count() };
        pages.begin_section().await?;
        for number in [count, distinct as u64, present.len()] {
            pages.write(&number.to_le_bytes()).await?;
        }
        pages.begin_section().await?;
        pages.write(&postings::encode(&present.iter().collect::<Vec<_>>())).await?;
        if kind.is_number() {
            let entry = |(key, point): &(Key, u32)| {
                let Key::Number(number) = key else { unreachable!("a number field has numbers") };
                let mut entry = [0; NUMBER_ENTRY];
                entry[..8].copy_from_slice(&number.to_le_bytes());
                entry[8..].copy_from_slice(&point.to_le_bytes());
                entry
            };
            write_table(&mut pages, field.entries.iter().map(entry)).await?;
            pages.begin_section().await?;
        } else {
            write_terms(&mut pages, terms).await?;
        }
    }
    Ok(pages.finish().await?)
}

async fn write_terms<'a>(
    pages: &mut PagesWriter,
    terms: impl Iterator<Item = &'a [(Key, u32)]>,
) -> Result<(), Error> {
    pages.begin_section().await?;
    let (mut group, mut group_terms, mut all) = (vec![0; GROUP_HEADER], 0u32, Vec::new());
    let mut write_group = async |group: &mut Vec<u8>, terms: &mut u32| {
        let bytes = group.len() as u32;
        group[..4].copy_from_slice(&bytes.to_le_bytes());
        group[4..8].copy_from_slice(&terms.to_le_bytes());
        pages.align_record(group.len()).await?;
        // A group's header is within one page, so that zeros there mean that there is none.
        if pages.room_in_page() < GROUP_HEADER {
            pages.write(&[0; GROUP_HEADER][..pages.room_in_page()]).await?;
        }
        pages.write(group).await?;
        group.truncate(GROUP_HEADER);
        *terms = 0;
        Ok::<_, Error>(())
    };
    for entries in terms {
        let Key::Term(term) = &entries[0].0 else { unreachable!("a term field has terms") };
        let points: Vec<u32> = entries.iter().map(|(_, point)| *point).collect();
        let packed = postings::encode(&points);
        if group_terms > 0 && group.len() + term.len() + 20 > PAGE_DATA {
            write_group(&mut group, &mut group_terms).await?;
        }
        group.extend_from_slice(&(term.len() as u32).to_le_bytes());
        group.extend_from_slice(term);
        group.extend_from_slice(&(points.len() as u32).to_le_bytes());
        group.extend_from_slice(&(all.len() as u64).to_le_bytes());
        group.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        group_terms += 1;
        all.extend_from_slice(&packed);
    }
    if group_terms > 0 {
        write_group(&mut group, &mut group_terms).await?;
    }
    pages.begin_section().await?;
    Ok(pages.write(&all).await?)
}

/// Where the postings of a term are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    term: Box<[u8]>,
    count: u32,
    postings: Range<u64>,
}

/// The terms of a group that are wanted, and the group's bytes; `None` if it is none.
fn parse_group(bytes: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<(Vec<Term>, usize)> {
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

/// What is in memory of one field.
#[derive(Debug)]
struct FieldData {
    /// The first of the field's sections.
    section: usize,
    present: RoaringBitmap,
    lookup: Lookup,
}

#[derive(Debug)]
enum Lookup {
    /// The first term of each group, and where the group is.
    Terms(Vec<Group>),
    /// The first number of each page of the table, and entries in all.
    Numbers { firsts: Vec<u64>, entries: u64 },
}

/// What is in memory of a segment's indexes, for all cores.
#[derive(Debug)]
pub(crate) struct FieldsData {
    count: u32,
    fields: BTreeMap<String, FieldData>,
}

impl FieldsData {
    pub(crate) async fn load(
        pages: &Pages,
        indexes: &BTreeMap<String, FieldKind>,
        count: u32,
    ) -> Result<Self, Error> {
        let damaged = |field: &str, reason: &str| {
            Error::damaged(pages.data().path(), None, format!("index of field {field}: {reason}"))
        };
        if pages.data().sections() != indexes.len() * SECTIONS {
            let reason = format!("{} sections for {} fields", pages.data().sections(), indexes.len());
            return Err(Error::damaged(pages.data().path(), None, reason));
        }
        let mut fields = BTreeMap::new();
        for (index, (name, &kind)) in indexes.iter().enumerate() {
            let section = index * SECTIONS;
            let meta: Vec<u64> = pages.read_array(section).await?;
            let &[points, distinct, present] = meta.as_slice() else {
                return Err(damaged(name, "its numbers are missing"));
            };
            if points != u64::from(count) || present > points {
                return Err(damaged(name, "it is of another number of points"));
            }
            let bytes = pages.read_section(section + 1).await?;
            let present = points_from_postings(&bytes, present as usize, count)
                .ok_or_else(|| damaged(name, "the points with a value are no postings"))?;
            let main = pages.read_section(section + 2).await?;
            let (lookup, postings_end) = if kind.is_number() {
                if main.len() as u64 != section_bytes(distinct, NUMBER_ENTRY) {
                    return Err(damaged(name, "its table is not as long as it says"));
                }
                let entries = main.chunks(PAGE_DATA).flat_map(|page| page.chunks_exact(NUMBER_ENTRY));
                if !entries.map(|entry| parse_number(entry).0).is_sorted() {
                    return Err(damaged(name, "its numbers are not in order"));
                }
                let firsts = main.chunks(PAGE_DATA).map(|page| parse_number(&page[..NUMBER_ENTRY]).0);
                (Lookup::Numbers { firsts: firsts.collect(), entries: distinct }, 0)
            } else {
                let (groups, end) = groups(&main).ok_or_else(|| damaged(name, "its dictionary is none"))?;
                (Lookup::Terms(groups), end)
            };
            // More of them is nobody's, and may be longer than memory.
            let found = pages.data().bytes(section + 3);
            if found != postings_end {
                let reason = format!("its postings take {found} bytes, and end at {postings_end}");
                return Err(damaged(name, &reason));
            }
            fields.insert(name.clone(), FieldData { section, present, lookup });
        }
        Ok(Self { count, fields })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let lookup = |field: &FieldData| match &field.lookup {
            Lookup::Terms(groups) => groups.iter().map(|(term, _)| term.len() + 32).sum::<usize>(),
            Lookup::Numbers { firsts, .. } => size_of_val(firsts.as_slice()),
        };
        self.fields.values().map(|field| lookup(field) + field.present.serialized_size()).sum()
    }
}

/// The first term of a group, and where the group is.
type Group = (Box<[u8]>, Range<u64>);

/// The groups of a dictionary, and where the last postings of their terms end. Between them may be zeros, up to the end of the page.
fn groups(dictionary: &[u8]) -> Option<(Vec<Group>, u64)> {
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

fn parse_number(entry: &[u8]) -> (u64, u32) {
    let (number, point) = entry.split_at(8);
    let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
    (number, u32::from_le_bytes(point.try_into().expect("four bytes")))
}

/// The indexes of a segment, to be asked once for one query.
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

    /// Points with a value among these, which are sorted; if `within` is given, of those only.
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
        // The group that may hold a term is the last one that does not begin after it.
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

    /// Points with a value that is not among these, which are sorted.
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

    /// The entries of numbers from `low` to `high` in their order, some pages of them from page `from` on; `None` when
    /// there are no more.
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

    /// The pages of the table of a field of numbers whose first entry has this number.
    pub(crate) fn pages_beginning_with(&self, field: &str, number: u64) -> Range<usize> {
        let Lookup::Numbers { firsts, .. } = &self.field(field).lookup else {
            unreachable!("orders are checked to be of numbers");
        };
        firsts.partition_point(|&first| first < number)..firsts.partition_point(|&first| first <= number)
    }

    /// Every value of a field with the number of its points that are in a set.
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

    /// Every term of a field with its points; only of fields of terms.
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

    /// The terms of groups.
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

    /// The points of each term; if `within` is given, perhaps only those of it.
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
                    // Skipping pays where few of many are wanted.
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

/// Some entries of a table of numbers.
pub(crate) struct NumbersPage {
    /// `(number, point)`, ordered by number, then by the id of the point.
    pub(crate) entries: Vec<(u64, u32)>,
    /// The page to go on with.
    pub(crate) next: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::immutable::testing::with_pages;
    use crate::mutable::fields::MutableField;
    use proptest::prelude::*;
    use vecstore_format::pages::PagesKind;

    /// Points with some values each, of a kind.
    fn check(kind: FieldKind, values: &[Vec<Key>], asked: &[Key]) -> Result<(), TestCaseError> {
        let (mut twin, mut builder) = (MutableField::default(), FieldBuilder::default());
        for (point, keys) in values.iter().enumerate() {
            twin.insert(point as u32, keys);
            builder.push(point as u32, keys.iter().cloned());
        }
        let count = values.len() as u32;
        let indexes: BTreeMap<String, FieldKind> = [("f".to_owned(), kind)].into();
        // Ids in the opposite order of points.
        let rank = |point| count - point;
        let write = async |pages| {
            write_fields(pages, vec![(kind, builder)], u64::from(count), rank).await.unwrap();
        };
        with_pages(PagesKind::Fields, write, async |pages| {
            let data = FieldsData::load(&pages, &indexes, count).await.unwrap();
            let control = ReadControl::default();
            let reader = FieldsReader { data: &data, pages: &pages, control: &control };
            let mut stats = ReadStats::default();
            prop_assert_eq!(reader.present("f"), &twin.present);
            for size in [1, 3, asked.len()] {
                for keys in asked.chunks(size.max(1)) {
                    let mut keys = keys.to_vec();
                    keys.sort_unstable();
                    keys.dedup();
                    prop_assert_eq!(reader.any("f", &keys, None, &mut stats).await.unwrap(), twin.any(&keys));
                    let few: RoaringBitmap = (0..count).step_by(40).collect();
                    let within = reader.any("f", &keys, Some(&few), &mut stats).await.unwrap();
                    prop_assert_eq!(within & &few, twin.any(&keys) & &few);
                    prop_assert_eq!(reader.except("f", &keys, &mut stats).await.unwrap(), twin.except(&keys));
                }
            }
            let half: RoaringBitmap = (0..count / 2).collect();
            let counts = reader.counts("f", &half, &mut stats).await.unwrap();
            let expected =
                twin.points.iter().map(|(key, points)| (key.clone(), points.intersection_len(&half)));
            prop_assert_eq!(counts, expected.filter(|(_, count)| *count > 0).collect());
            if kind.is_number() {
                for pair in asked.windows(2) {
                    let (Key::Number(low), Key::Number(high)) = (&pair[0], &pair[1]) else { unreachable!() };
                    let found = reader.range("f", *low, *high, &mut stats).await.unwrap();
                    prop_assert_eq!(found, twin.range(*low, *high));
                }
                let (mut from, mut all) = (0, Vec::new());
                while let Some(page) = reader.numbers("f", 0, u64::MAX, from, 2, &mut stats).await.unwrap() {
                    all.extend(page.entries);
                    from = page.next;
                }
                let by_number_and_id = |a: &(u64, u32), b: &(u64, u32)| (a.0, rank(a.1)) <= (b.0, rank(b.1));
                prop_assert!(all.is_sorted_by(by_number_and_id));
                prop_assert_eq!(all.len(), values.iter().map(Vec::len).sum::<usize>());
            } else {
                let terms = reader.all_terms("f", &mut stats).await.unwrap();
                let terms: BTreeMap<Key, RoaringBitmap> =
                    terms.into_iter().map(|(term, points)| (Key::Term(term), points)).collect();
                prop_assert_eq!(&terms, &twin.points);
            }
            Ok(())
        })
    }

    fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn terms_answer_as_their_mutable_twin(
            values in prop::collection::vec(prop::collection::vec("[a-c]{0,3}|x[a-z]{60}|long{200}[a-d]", 0..3), 0..800),
            asked in prop::collection::vec("[a-d]{0,3}|x[a-z]{60}", 1..20),
        ) {
            let term = |text: &String| Key::Term(text.as_bytes().into());
            let values: Vec<Vec<Key>> = values.iter().map(|keys| sorted(keys.iter().map(term).collect())).collect();
            check(FieldKind::Keyword, &values, &asked.iter().map(term).collect::<Vec<_>>())?;
        }

        #[test]
        fn numbers_answer_as_their_mutable_twin(
            values in prop::collection::vec(prop::collection::vec(prop_oneof![0u64..20, any::<u64>()], 0..3), 0..1500),
            asked in prop::collection::vec(prop_oneof![0u64..22, any::<u64>(), Just(0), Just(u64::MAX)], 1..20),
        ) {
            let values: Vec<Vec<Key>> =
                values.iter().map(|keys| sorted(keys.iter().copied().map(Key::Number).collect())).collect();
            check(FieldKind::Integer, &values, &asked.iter().copied().map(Key::Number).collect::<Vec<_>>())?;
        }

        #[test]
        fn nonsense_is_no_dictionary(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = groups(&bytes);
        }
    }
}
