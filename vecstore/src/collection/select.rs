//! The points of a change, one after the other, in memory and on disk.

use super::reader::{CollectionReader, payload_of};
use super::request::{RecordParts, Selection};
use crate::error::Error;
use crate::filter::{Condition, Filter};
use crate::mutable::MutableSegment;
use crate::point::parse_payload;
use crate::point::{Payload, PointId};
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;

impl CollectionReader {
    /// Passes the selected points to `each`: the id, and the vector's bytes and the payload if `with` asks
    /// for them. Parts not asked for are empty. An error of `each` ends the call.
    pub(super) async fn each_selected(
        &self,
        selection: &Selection,
        with: RecordParts,
        mut each: impl FnMut(PointId, &[u8], Payload) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let indexes = &self.shared.schema.indexes;
        let filter = match selection {
            Selection::Ids(ids) => Filter::must(Condition::has_id(ids.iter().copied())).check(indexes)?,
            Selection::Filter(filter) => filter.check(indexes)?,
        };
        let mut take = |segment: &MutableSegment, deleted: Option<&RoaringBitmap>| {
            for slot in segment.allowed(Some(&filter), deleted)? {
                let payload = if with.payload { segment.payload(slot) } else { &[] };
                let payload =
                    parse_payload(payload).expect("payloads in memory were checked on their way in");
                each(segment.id(slot), if with.vector { segment.vector(slot) } else { &[] }, payload)?;
            }
            Ok::<_, Error>(())
        };
        // Only the writer makes changes, and this is the writer. A second look would see the same.
        let ((), version, entries) = self.view(|_| Ok(())).await?;
        take(&self.shared.state.read().mutable, None)?;
        for frozen in &version.frozen {
            take(&frozen.segment, Some(&frozen.deleted))?;
        }
        let (control, mut stats) = (ReadControl::default(), ReadStats::default());
        for entry in &entries {
            let points: Vec<u32> = entry.allowed(&filter, &control, &mut stats).await?.iter().collect();
            let ids = entry.reader.ids_of(&points, &control, &mut stats).await?;
            let mut ids = ids.into_iter();
            for some in entry.reader.payload_batches(&points) {
                let mut found = vec![(Box::<[u8]>::default(), Payload::new()); some.len()];
                if with.payload {
                    let payloads = entry.reader.payloads(some, &control, &mut stats).await?;
                    for ((found, &point), bytes) in found.iter_mut().zip(some).zip(&payloads) {
                        found.1 = payload_of(&entry.reader, point, bytes)?;
                    }
                }
                if with.vector {
                    let sink = |index: usize, bytes: &[u8]| found[index].0 = bytes.into();
                    entry.reader.vectors.read(some, &control, sink).await?;
                }
                for ((vector, payload), id) in found.into_iter().zip(&mut ids) {
                    each(id, &vector, payload)?;
                }
            }
        }
        Ok(())
    }
}
