//! Checks that the files of a segment agree on each point.

use super::verifier::Verifier;
use crate::element;
use crate::error::Error;
use crate::field::{FieldKind, Key, keys_of_fields};
use crate::immutable::fields::FieldsReader;
use crate::immutable::ids::id_record;
use crate::immutable::segment::{CODES, FIELDS, IDS, IndexData, PAYLOAD, SegmentReader, VECTORS};
use crate::point::parse_payload;
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Points that are checked at a time.
const BATCH: u32 = 1024;

impl Verifier<'_> {
    /// Checks that the files of a segment agree on each point.
    pub(super) async fn compare(&mut self, segment: &SegmentReader) -> Result<(), Error> {
        let (data, schema) = (&segment.data, &segment.data.schema);
        let (control, mut stats) = (self.control.clone(), ReadStats::default());
        let dir = &data.dir;
        let codes = segment.codes.as_ref().expect("loaded cold");
        let mut vector = vec![0.0; schema.dim as usize];
        // The expected content of each field's index.
        let mut values = vec![FieldValues::default(); schema.indexes.len()];
        let mut first = 0;
        while first < data.points {
            let points: Vec<u32> = (first..data.points.min(first + BATCH)).collect();
            let ids = segment.ids_of(&points, &control, &mut stats).await?;
            let found = segment.find(&ids, &control, &mut stats).await?;
            for ((&point, &id), found) in points.iter().zip(&ids).zip(found) {
                if found != Some(point) {
                    let reason = format!("point {point} has the id {id}, which leads to {found:?}");
                    self.unfit(dir, IDS, reason);
                }
            }
            let record_bytes = data.codec.record_bytes();
            let mut expected = vec![0; points.len() * record_bytes];
            let (mut not_finite, mut wrong) = (Vec::new(), Vec::new());
            let sink = |index: usize, bytes: &[u8]| {
                element::decode_into(schema.element, bytes, &mut vector);
                if !vector.iter().all(|component| component.is_finite()) {
                    not_finite.push(points[index]);
                }
                schema.distance.prepare(&mut vector);
                data.codec.encode(&vector, &mut expected[index * record_bytes..][..record_bytes]);
            };
            segment.vectors.read(&points, &control, sink).await?;
            for point in not_finite {
                self.unfit(dir, VECTORS, format!("the vector of point {point} is not finite"));
            }
            let mut other_ids = Vec::new();
            let sink = |index: usize, record: &[u8]| {
                let (code, id) = record.split_at(record_bytes);
                if code != &expected[index * record_bytes..][..record_bytes] {
                    wrong.push(points[index]);
                }
                if id != &id_record(ids[index])[..id.len()] {
                    other_ids.push(points[index]);
                }
            };
            codes.read(&points, &control, sink).await?;
            for point in other_ids {
                self.unfit(dir, CODES, format!("the id of point {point} is not that of {IDS}"));
            }
            for point in wrong {
                self.unfit(dir, CODES, format!("the codes of point {point} are not those of its vector"));
            }
            for some in segment.payload_batches(&points) {
                for (&point, payload) in some.iter().zip(segment.payloads(some, &control, &mut stats).await?)
                {
                    let keys = parse_payload(&payload)
                        .and_then(|payload| keys_of_fields(&payload, &schema.indexes).ok());
                    let Some(keys) = keys else {
                        let reason =
                            format!("the payload of point {point} is no JSON object that fits the schema");
                        self.unfit(dir, PAYLOAD, reason);
                        continue;
                    };
                    for (values, keys) in values.iter_mut().zip(keys) {
                        keys.iter().for_each(|key| values.add(key, point));
                    }
                }
            }
            if let IndexData::Graph(index) = &data.index {
                self.compare_graph(segment, index, &points, (&ids, &expected)).await?;
            }
            self.report.points += points.len() as u64;
            first += BATCH;
        }
        if let IndexData::Cells(cells) = &data.index {
            self.compare_cells(segment, cells).await?;
        }
        for ((field, kind), values) in schema.indexes.iter().zip(values) {
            if let Some(wrong) = compare_index(segment, (field, *kind), &values, &control).await? {
                self.unfit(dir, FIELDS, format!("the index of field {field} {wrong}"));
            }
        }
        let in_order =
            data.ids.in_order(&segment.ids, None, data.points as usize, &control, &mut stats).await?;
        let complete = in_order.len() == data.points as usize && in_order.is_sorted_by(|a, b| a.0 < b.0);
        if !complete {
            self.unfit(dir, IDS, "the sorted tables do not hold each id once".to_owned());
        }
        Ok(())
    }
}

/// The values of a field in all points.
#[derive(Clone, Debug, Default)]
struct FieldValues {
    /// The sum of the values' hashes, in any order, so that no values need be kept. The sums of two different
    /// indexes are equal as rarely as two random numbers.
    sum: u64,
    /// The points with a value.
    present: RoaringBitmap,
}

impl FieldValues {
    fn add(&mut self, key: &Key, point: u32) {
        let mut hasher = DefaultHasher::new();
        (key, point).hash(&mut hasher);
        self.sum = self.sum.wrapping_add(hasher.finish());
        self.present.insert(point);
    }
}

/// The fault of an index that does not match the payloads. Loading it has checked the order of terms and
/// numbers.
async fn compare_index(
    segment: &SegmentReader,
    (field, kind): (&str, FieldKind),
    expected: &FieldValues,
    control: &ReadControl,
) -> Result<Option<&'static str>, Error> {
    let fields = FieldsReader { data: &segment.data.fields, pages: &segment.fields, control };
    let (mut found, mut stats) = (FieldValues::default(), ReadStats::default());
    let mut is_ordered = true;
    if kind.is_number() {
        let (mut from, mut before) = (0, None);
        while let Some(page) = fields.numbers(field, 0, u64::MAX, from, 64, &mut stats).await? {
            let points: Vec<u32> = page.entries.iter().map(|(_, point)| *point).collect();
            let ids = segment.ids_of(&points, control, &mut stats).await?;
            for (&(number, point), id) in page.entries.iter().zip(ids) {
                found.add(&Key::Number(number), point);
                is_ordered &= before.replace((number, id)).is_none_or(|before| before <= (number, id));
            }
            from = page.next;
        }
    } else {
        for (term, points) in fields.all_terms(field, &mut stats).await? {
            let key = Key::Term(term);
            points.iter().for_each(|point| found.add(&key, point));
        }
    }
    Ok(if found.sum != expected.sum {
        Some("does not hold the values of the payloads")
    } else if *fields.present(field) != expected.present {
        Some("does not list the points with a value")
    } else if !is_ordered {
        Some("has points of a number in another order than that of their ids")
    } else {
        None
    })
}
