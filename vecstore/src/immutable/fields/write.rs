//! Writes the indexes.

use super::dictionary::GROUP_HEADER;
use super::layout::NUMBER_ENTRY;
use crate::error::Error;
use crate::field::{FieldKind, Key};
use roaring::RoaringBitmap;
use vecstore_format::pages::{PAGE_DATA, PagesWriter};
use vecstore_format::postings;
use vecstore_format::table::write_table;

/// The values of one field during a build, as `(key, point)`.
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

/// Writes the indexes of a segment of `count` points. `id_rank` gives the rank of a point's id among all ids.
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
        // A group's header lies within one page. Zeros there therefore mean that no group follows on the
        // page.
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
