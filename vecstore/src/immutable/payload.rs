//! Payloads of the points of an immutable segment: records of any length.
//!
//! Sections of `payload.pages`:
//!
//! | section | what it is |
//! |---|---|
//! | 0 | number of points u64 |
//! | 1 | records, in the order of points: length u32, JSON; an empty payload has length 0 |
//! | 2 | the start of each record and the end of the last one, as packed offsets |
//!
//! A record does not straddle pages if that wastes at most an eighth of a page. The offsets are in memory.

use super::outcome::ended;
use crate::error::{Error, FormatError};
use io_core::{ReadControl, ReadStats};
use std::ops::Range;
use vecstore_format::offsets::{self, Offsets};
use vecstore_format::pages::{PAGE_DATA, Pages, PagesWriter};

/// Writes payloads in order.
pub(crate) struct PayloadWriter {
    pages: PagesWriter,
    starts: Vec<u64>,
}

impl PayloadWriter {
    /// Begins a file for `count` points.
    pub(crate) async fn new(mut pages: PagesWriter, count: u64) -> Result<Self, Error> {
        pages.begin_section().await?;
        pages.write(&count.to_le_bytes()).await?;
        pages.begin_section().await?;
        Ok(Self { pages, starts: Vec::with_capacity(count as usize + 1) })
    }

    /// Appends the payload of the next point.
    pub(crate) async fn push(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.pages.align_record(4 + payload.len()).await?;
        self.starts.push(self.pages.position());
        self.pages.write(&(payload.len() as u32).to_le_bytes()).await?;
        Ok(self.pages.write(payload).await?)
    }

    /// Returns the checksum of the file's header.
    pub(crate) async fn finish(mut self) -> Result<u32, Error> {
        self.starts.push(self.pages.position());
        self.pages.begin_section().await?;
        self.pages.write(&offsets::encode(&self.starts)).await?;
        Ok(self.pages.finish().await?)
    }
}

/// The part of a segment's payloads that is in memory. All cores share it.
#[derive(Debug)]
pub(crate) struct PayloadData {
    count: u64,
    starts: Offsets,
}

impl PayloadData {
    pub(crate) async fn load(pages: &Pages) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::damaged(pages.data().path(), None, reason);
        let meta: Vec<u64> = pages.read_array(0).await?;
        let &[count] = meta.as_slice() else {
            return Err(damaged("its number of points is missing"));
        };
        let data = Self::of_points(pages, count).await?;
        // Bytes behind that end belong to no point, and may be longer than memory.
        let (found, end) = (pages.data().bytes(1), data.starts.get(count as usize));
        if found != end {
            return Err(damaged(&format!("its records take {found} bytes, and end at {end}")));
        }
        Ok(data)
    }

    /// Loads the offsets for a number of points that the caller knows from elsewhere.
    pub(crate) async fn of_points(pages: &Pages, count: u64) -> Result<Self, Error> {
        let starts = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_add(1))
            .zip(Some(pages.read_section(2).await?))
            .and_then(|(count, bytes)| Offsets::parse(&bytes, count))
            .ok_or_else(|| {
                Error::damaged(pages.data().path(), None, "the offsets of its records are none")
            })?;
        Ok(Self { count, starts })
    }

    /// Finds the records without the damaged offsets, by walking from each to the next. `None` unless it
    /// finds all of them.
    pub(crate) async fn by_walking(pages: &Pages, count: u64, control: &ReadControl) -> Option<Self> {
        let (mut starts, mut at, end) = (Vec::new(), 0, pages.data().bytes(1));
        while at < end {
            starts.push(at);
            let room = PAGE_DATA - (at % PAGE_DATA as u64) as usize;
            let mut len = [0; 4];
            let sink = |_, bytes: &[u8]| {
                len.copy_from_slice(bytes);
                Ok(())
            };
            let read = pages.read(1, std::slice::from_ref(&(at..at + 4)), control, sink).await.ok()?;
            ended(read).ok()?;
            // Zeros at the end of a page are a gap before a record that went to the next page, or empty
            // payloads. If they are payloads, treating them as a gap yields too few records, and the walk
            // fails.
            let is_gap = len[..room.min(4)].iter().all(|&byte| byte == 0);
            if is_gap && room <= PAGE_DATA / 8 && at + (room as u64) < end {
                starts.pop();
                at += room as u64;
            } else {
                at += 4 + u64::from(u32::from_le_bytes(len));
            }
        }
        let complete = starts.len() as u64 == count && at == end;
        starts.push(end);
        let starts = complete.then(|| Offsets::parse(&offsets::encode(&starts), starts.len()))??;
        Some(Self { count, starts })
    }

    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.starts.memory_bytes()
    }

    /// Length of a point's record in bytes.
    pub(crate) fn bytes(&self, point: u32) -> u64 {
        self.starts.get(point as usize + 1).saturating_sub(self.starts.get(point as usize))
    }

    /// Reads the payloads of points in one batch. Points must be below [`PayloadData::len`].
    pub(crate) async fn read(
        &self,
        pages: &Pages,
        points: &[u32],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<Box<[u8]>>, Error> {
        let range = |&point: &u32| self.starts.get(point as usize)..self.starts.get(point as usize + 1);
        let ranges: Vec<Range<u64>> = points.iter().map(range).collect();
        let mut payloads = vec![Box::default(); points.len()];
        let read = pages
            .read(1, &ranges, control, |index, bytes| {
                let record = bytes
                    .split_first_chunk::<4>()
                    .and_then(|(len, rest)| rest.get(..u32::from_le_bytes(*len) as usize));
                let Some(payload) = record else {
                    let reason = format!("the payload of point {} is longer than its record", points[index]);
                    return Err(FormatError::damaged(pages.data().path(), None, reason));
                };
                payloads[index] = payload.into();
                Ok(())
            })
            .await?;
        stats.add(&ended(read)?);
        Ok(payloads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::immutable::testing::with_pages;
    use proptest::prelude::*;
    use vecstore_format::pages::PagesKind;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(
            lens in prop::collection::vec(prop_oneof![Just(0usize), 0usize..300, 3000usize..9000], 0..400),
        ) {
            let payloads: Vec<Vec<u8>> =
                lens.iter().enumerate().map(|(i, &len)| (0..len).map(|j| (i + j) as u8).collect()).collect();
            let write = async |pages| {
                let mut writer = PayloadWriter::new(pages, payloads.len() as u64).await.unwrap();
                for payload in &payloads {
                    writer.push(payload).await.unwrap();
                }
                writer.finish().await.unwrap();
            };
            with_pages(PagesKind::Payload, write, async |pages| {
                let data = PayloadData::load(&pages).await.unwrap();
                prop_assert_eq!(data.len(), payloads.len() as u64);
                let points: Vec<u32> = (0..payloads.len() as u32).rev().collect();
                let mut stats = ReadStats::default();
                let found = data.read(&pages, &points, &ReadControl::default(), &mut stats).await.unwrap();
                for (point, found) in points.iter().zip(found) {
                    prop_assert_eq!(&found[..], &payloads[*point as usize][..]);
                }
                // Without the offsets, it finds all payloads or none. It finds none only if some are empty.
                let control = ReadControl::default();
                let walked = PayloadData::by_walking(&pages, data.len(), &control).await;
                prop_assert!(walked.is_some() || lens.contains(&0));
                if let Some(walked) = walked {
                    for point in 0..=payloads.len() {
                        prop_assert_eq!(walked.starts.get(point), data.starts.get(point));
                    }
                }
                prop_assert!(PayloadData::by_walking(&pages, data.len() + 1, &control).await.is_none());
                Ok(())
            })?;
        }
    }
}
