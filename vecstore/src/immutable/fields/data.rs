//! The part of the indexes that is in memory.

use super::dictionary::{Group, groups};
use super::layout::{NUMBER_ENTRY, SECTIONS};
use crate::error::Error;
use crate::field::FieldKind;
use crate::immutable::point_set::points_from_postings;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use vecstore_format::pages::{PAGE_DATA, Pages};
use vecstore_format::table::section_bytes;

/// The part of one field that is in memory.
#[derive(Debug)]
pub(super) struct FieldData {
    /// The first section of the field.
    pub(super) section: usize,
    pub(super) present: RoaringBitmap,
    pub(super) lookup: Lookup,
}

#[derive(Debug)]
pub(super) enum Lookup {
    /// The first term of each group, and the place of the group.
    Terms(Vec<Group>),
    /// The first number of each page of the table, and the number of entries.
    Numbers { firsts: Vec<u64>, entries: u64 },
}

/// The part of a segment's indexes that is in memory. All cores share it.
#[derive(Debug)]
pub(crate) struct FieldsData {
    pub(super) count: u32,
    pub(super) fields: BTreeMap<String, FieldData>,
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
            // Postings behind that end belong to no term. They could be longer than memory.
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

pub(super) fn parse_number(entry: &[u8]) -> (u64, u32) {
    let (number, point) = entry.split_at(8);
    let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
    (number, u32::from_le_bytes(point.try_into().expect("four bytes")))
}
