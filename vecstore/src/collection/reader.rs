//! Reads a collection on one core. Holds the segments open there, and the parts that all reads share.

use super::request::RecordParts;
use super::shared::Shared;
use super::state::{SegmentEntry, State, Version};
use crate::element;
use crate::error::{Error, FormatError};
use crate::field::Key;
use crate::filter::CheckedFilter;
use crate::filtering::{FilterSource, evaluate};
use crate::immutable::fields::FieldsReader;
use crate::immutable::search::WalkScratch;
use crate::immutable::segment::SegmentReader;
use crate::mutable::MutableSegment;
use crate::point::parse_payload;
use crate::point::{Payload, PointId};
use io_core::{BackendInfo, OpenOptions, ReadControl, ReadStats, StopFlag};
use roaring::RoaringBitmap;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Reads a collection. Use it on the thread that made it, inside the backend's `run`.
///
/// Its futures may be dropped at any point.
pub struct CollectionReader {
    pub(super) shared: Arc<Shared>,
    /// The options for opening files.
    pub(super) options: OpenOptions,
    /// The segments open on this core, by number.
    open: RefCell<HashMap<u64, Rc<SegmentReader>>>,
    /// The memory of ended searches, for reuse.
    scratch: RefCell<Vec<WalkScratch>>,
}

impl std::fmt::Debug for CollectionReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CollectionReader").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

/// An immutable segment as one read sees it.
pub(super) struct OpenEntry {
    pub(super) reader: Rc<SegmentReader>,
    pub(super) deleted: Arc<RoaringBitmap>,
}

impl CollectionReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let options = shared.options.open.clone();
        Self::with_options(shared, options)
    }

    pub(super) fn with_options(shared: Arc<Shared>, options: OpenOptions) -> Self {
        Self { shared, options, open: RefCell::default(), scratch: RefCell::default() }
    }

    /// Looks at the state in memory, and opens the missing segments of the same version.
    ///
    /// If a segment was replaced meanwhile, it looks again. It returns the result of the last look.
    pub(super) async fn view<T>(
        &self,
        look: impl Fn(&State) -> Result<T, Error>,
    ) -> Result<(T, Version, Vec<OpenEntry>), Error> {
        // Before this core opened a segment, it may be merged and its files removed.
        const ATTEMPTS: usize = 10;
        for attempt in 0.. {
            let (seen, version) = {
                let state = self.shared.state.read();
                (look(&state)?, state.version.clone())
            };
            self.close_others(&version).await;
            match self.open_all(&version.segments).await {
                Ok(entries) => return Ok((seen, version, entries)),
                Err(error) if attempt < ATTEMPTS && is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop ends with an error or a version")
    }

    async fn open_all(&self, entries: &[SegmentEntry]) -> Result<Vec<OpenEntry>, Error> {
        let mut opened = Vec::with_capacity(entries.len());
        for entry in entries {
            let number = entry.data.number;
            let known = self.open.borrow().get(&number).cloned();
            let reader = match known {
                Some(reader) => reader,
                None => {
                    let shared = &self.shared;
                    let data = Arc::clone(&entry.data);
                    let reader = Rc::new(SegmentReader::open(&shared.backend, data, &self.options).await?);
                    self.open.borrow_mut().insert(number, Rc::clone(&reader));
                    reader
                }
            };
            opened.push(OpenEntry { reader, deleted: Arc::clone(&entry.deleted) });
        }
        Ok(opened)
    }

    /// Closes replaced segments. While open, they keep their memory and their files on disk.
    pub(super) async fn close_replaced(&self) {
        let version = self.shared.state.read().version.clone();
        self.close_others(&version).await;
    }

    /// Closes segments that are not part of the version.
    async fn close_others(&self, version: &Version) {
        let is_part = |number: &u64| version.segments.iter().any(|entry| entry.data.number == *number);
        let gone: Vec<Rc<SegmentReader>> = self
            .open
            .borrow_mut()
            .extract_if(|number, _| !is_part(number))
            .map(|(_, reader)| reader)
            .collect();
        for reader in gone {
            // If another read still uses the segment, dropping that read closes it.
            if let Ok(reader) = Rc::try_unwrap(reader) {
                // The segment was only read, so a failed close loses nothing.
                let _ = reader.close().await;
            }
        }
    }

    /// The properties of the backend's readers in use. `None` while there is no immutable segment.
    ///
    /// # Errors
    /// The error that prevents opening files.
    pub async fn backend_info(&self) -> Result<Option<BackendInfo>, Error> {
        let ((), _, entries) = self.view(|_| Ok(())).await?;
        Ok(entries.first().map(|entry| entry.reader.vectors.info().clone()))
    }

    /// Closes all open files.
    ///
    /// # Errors
    /// The system's error on closing.
    pub async fn close(&self) -> Result<(), Error> {
        let all = self.open.take();
        for reader in all.values() {
            reader.close().await?;
        }
        Ok(())
    }

    /// A read control with this stop flag.
    pub(super) fn control(&self, stop: &StopFlag) -> ReadControl {
        let control = ReadControl::new().with_stop(stop.clone());
        #[cfg(feature = "histograms")]
        let control = control.with_meter(self.shared.meter.clone());
        control
    }

    pub(super) fn take_scratch(&self) -> Scratch<'_> {
        let scratch = self.scratch.borrow_mut().pop().unwrap_or_default();
        Scratch { pool: &self.scratch, scratch: Some(scratch) }
    }
}

/// The memory of a search. It returns to its pool even if the search is dropped.
pub(super) struct Scratch<'a> {
    pool: &'a RefCell<Vec<WalkScratch>>,
    scratch: Option<WalkScratch>,
}

impl Scratch<'_> {
    pub(super) fn get(&mut self) -> &mut WalkScratch {
        self.scratch.as_mut().expect("taken only on drop")
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        self.pool.borrow_mut().extend(self.scratch.take());
    }
}

fn is_not_found(error: &Error) -> bool {
    let not_found = std::io::ErrorKind::NotFound;
    match error {
        Error::Format(FormatError::Open(io_core::OpenError::Io { source, .. })) => source.kind() == not_found,
        Error::Format(FormatError::Directory(error)) => error.is_not_found(),
        _ => false,
    }
}

impl OpenEntry {
    /// The live points that match a filter.
    pub(super) async fn allowed(
        &self,
        filter: &CheckedFilter,
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<RoaringBitmap, Error> {
        let cost = Cell::new(*stats);
        let source = SegmentFilter { segment: &self.reader, control, stats: &cost };
        let points = evaluate(filter, &source).await?;
        *stats = cost.get();
        Ok(points - &*self.deleted)
    }

    /// The live points. With a filter, only those that match it.
    pub(super) async fn live(
        &self,
        filter: Option<&CheckedFilter>,
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<RoaringBitmap, Error> {
        match filter {
            Some(filter) => self.allowed(filter, control, stats).await,
            None => Ok(self.reader.all() - &*self.deleted),
        }
    }

    pub(super) fn fields<'a>(&'a self, control: &'a ReadControl) -> FieldsReader<'a> {
        FieldsReader { data: &self.reader.data.fields, pages: &self.reader.fields, control }
    }
}

/// Lets filters query the indexes of an immutable segment.
struct SegmentFilter<'a> {
    segment: &'a SegmentReader,
    control: &'a ReadControl,
    stats: &'a Cell<ReadStats>,
}

impl SegmentFilter<'_> {
    fn fields(&self) -> FieldsReader<'_> {
        let SegmentReader { data, fields, .. } = self.segment;
        FieldsReader { data: &data.fields, pages: fields, control: self.control }
    }

    fn count(&self, read: &ReadStats) {
        let mut stats = self.stats.get();
        stats.add(read);
        self.stats.set(stats);
    }
}

impl FilterSource for SegmentFilter<'_> {
    fn all(&self) -> RoaringBitmap {
        self.segment.all()
    }

    fn present(&self, field: &str) -> RoaringBitmap {
        self.fields().present(field).clone()
    }

    async fn any(
        &self,
        field: &str,
        keys: &[Key],
        within: Option<&RoaringBitmap>,
    ) -> Result<RoaringBitmap, Error> {
        let mut stats = ReadStats::default();
        let points = self.fields().any(field, keys, within, &mut stats).await;
        self.count(&stats);
        points
    }

    async fn except(&self, field: &str, keys: &[Key]) -> Result<RoaringBitmap, Error> {
        let mut stats = ReadStats::default();
        let points = self.fields().except(field, keys, &mut stats).await;
        self.count(&stats);
        points
    }

    async fn range(&self, field: &str, low: u64, high: u64) -> Result<RoaringBitmap, Error> {
        let mut stats = ReadStats::default();
        let points = self.fields().range(field, low, high, &mut stats).await;
        self.count(&stats);
        points
    }

    async fn ids(&self, ids: &[PointId]) -> Result<RoaringBitmap, Error> {
        let mut stats = ReadStats::default();
        let found = self.segment.find(ids, self.control, &mut stats).await;
        self.count(&stats);
        Ok(found?.into_iter().flatten().collect())
    }
}

/// Decodes the stored payload of a point.
pub(super) fn payload_of(segment: &SegmentReader, point: u32, bytes: &[u8]) -> Result<Payload, Error> {
    parse_payload(bytes).ok_or_else(|| {
        let reason = format!("the payload of point {point} is no JSON object");
        Error::damaged(segment.payload.data().path(), None, reason)
    })
}

/// The payload and vector of a point in memory, as requested.
pub(super) fn in_memory(
    shared: &Shared,
    segment: &MutableSegment,
    slot: u32,
    with: RecordParts,
) -> (Option<Payload>, Option<Vec<f32>>) {
    let payload = with.payload.then(|| {
        parse_payload(segment.payload(slot)).expect("payloads in memory were checked on their way in")
    });
    let vector = with.vector.then(|| element::decode(shared.schema.element, segment.vector(slot)));
    (payload, vector)
}
