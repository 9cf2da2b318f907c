//! How close the points of a value, usually a tenant, lie on disk.

use super::reader::CollectionReader;
use crate::error::Error;
use crate::field::Key;
use crate::filter::indexed;
use crate::immutable::segment::code_record_bytes;
use io_core::{ReadStats, StopFlag};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use vecstore_format::ElementType;
use vecstore_format::vector_file::VectorFileHeader;

const PAGE: u64 = 4096;

/// Pages of 4096 bytes that are touched by reading all vectors and codes of each value of a field, value by
/// value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// Number of distinct values.
    pub values: u64,
    /// Touched pages, summed over the values.
    pub pages_touched: u64,
    /// The same sum if the points of each value lay together in one segment.
    pub pages_least: u64,
}

impl CollectionReader {
    /// How well the points of each value of an indexed field lie together in immutable segments.
    ///
    /// # Errors
    /// As [`CollectionReader::search`].
    pub async fn locality(&self, field: &str, stop: &StopFlag) -> Result<Locality, Error> {
        let schema = &self.shared.schema;
        let kind = indexed(field, &schema.indexes)?;
        let control = self.control(stop);
        let ((), _, entries) = self.view(|_| Ok(())).await?;
        // For each value, its number of points and the pages they touch.
        let mut values: BTreeMap<Key, (u64, u64)> = BTreeMap::new();
        // All segments have the same.
        let codes_dim = entries.first().map_or(1, |entry| {
            let data = &entry.reader.data;
            code_record_bytes(schema, &*data.codec) as u32
        });
        let file = |element, dim, points| VectorFileHeader::new(element, dim, u64::from(points));
        let mut read = ReadStats::default();
        for entry in &entries {
            let fields = entry.fields(&control);
            let mut sets: BTreeMap<Key, RoaringBitmap> = BTreeMap::new();
            if kind.is_number() {
                let mut from = 0;
                while let Some(page) = fields.numbers(field, 0, u64::MAX, from, 64, &mut read).await? {
                    for (number, point) in page.entries {
                        sets.entry(Key::Number(number)).or_default().insert(point);
                    }
                    from = page.next;
                }
            } else {
                let terms = fields.all_terms(field, &mut read).await?;
                sets.extend(terms.into_iter().map(|(term, points)| (Key::Term(term), points)));
            }
            let points = entry.reader.data.points;
            let files = [file(schema.element, schema.dim, points), file(ElementType::U8, codes_dim, points)];
            for (key, points) in sets {
                let points = points - &*entry.deleted;
                let (count, pages) = values.entry(key).or_default();
                *count += points.len();
                *pages += files.iter().map(|file| pages_touched(file, &points)).sum::<u64>();
            }
        }
        values.retain(|_, (count, _)| *count > 0);
        let files = [file(schema.element, schema.dim, 0), file(ElementType::U8, codes_dim, 0)];
        let least = |count: u64| files.iter().map(|file| pages_least(file, count)).sum::<u64>();
        if stop.is_stopped() {
            return Err(Error::Stopped);
        }
        Ok(Locality {
            values: values.len() as u64,
            pages_touched: values.values().map(|(_, pages)| pages).sum(),
            pages_least: values.values().map(|(count, _)| least(*count)).sum(),
        })
    }
}

fn pages_touched(file: &VectorFileHeader, points: &RoaringBitmap) -> u64 {
    let (mut touched, mut last) = (0, None);
    for point in points {
        let start = file.offset(u64::from(point));
        let (first, end) = (start / PAGE, (start + u64::from(file.stride()) - 1) / PAGE);
        let from = last.map_or(first, |last: u64| first.max(last + 1));
        touched += (end + 1).saturating_sub(from);
        last = Some(end);
    }
    touched
}

/// Pages of this many records, packed from the start of a page.
fn pages_least(file: &VectorFileHeader, points: u64) -> u64 {
    VectorFileHeader { count: points, ..*file }.records_bytes().div_ceil(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_by_hand() {
        // Ten records of 400 bytes fit a page. Records of 3072 bytes have no gaps.
        let ten = VectorFileHeader::new(ElementType::F32, 100, 1000);
        let set = |points: &[u32]| points.iter().copied().collect::<RoaringBitmap>();
        assert_eq!(pages_touched(&ten, &set(&[0, 9, 10, 35])), 3);
        assert_eq!((pages_least(&ten, 10), pages_least(&ten, 11), pages_least(&ten, 0)), (1, 2, 0));
        let packed = VectorFileHeader::new(ElementType::F32, 768, 1000);
        assert_eq!(pages_touched(&packed, &set(&[0])), 1);
        assert_eq!(pages_touched(&packed, &set(&[1])), 2);
        assert_eq!(pages_touched(&packed, &set(&[0, 1, 2, 3])), 3);
        assert_eq!((pages_least(&packed, 4), pages_least(&packed, 5)), (3, 4));
    }
}
