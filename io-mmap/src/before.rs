//! A map in front of another backend. Known pages come from the map. Others are read without blocking the
//! thread.

use crate::file::{advise, check};
use crate::known::Known;
use crate::map::{SharedMap, major_faults, map};
use crate::session::{KnownReads, MapBytes};
use io_core::backend::trace_batch;
use io_core::{
    BackendFactory, BackendInfo, BatchEnd, Completion, Directory, Executor, FileInfo, FileSession,
    FileSystem, Links, OpenError, OpenOptions, ReadControl, ReadError, ReadOutcome, ReadRequest, ReadStats,
    ReadTerms, SendBackend, SendVectorReader, StartError, VectorReader, open_regular,
};
use slab::Slab;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Slices delivered between two checks for major faults.
const LOOK_EVERY: u32 = 64;

/// Reads known pages from a map, and all others through another backend. It lives on that backend's executor.
///
/// The known pages are those that the reader has read before, and those that `populate` brought in. So each
/// page goes through the other backend once. If the kernel has dropped a known page since, its slice blocks
/// the thread, as with a plain map. The reader then forgets the older half of the known pages. It keeps 3
/// bits for each page of its file.
///
/// As with a map, truncating an open file may kill the process, and there is no `O_DIRECT`.
///
/// ```
/// use io_core::FileSystem;
/// use io_mmap::MmapBefore;
/// use io_ring::RingBackend;
///
/// let backend = MmapBefore::new("mmap+ring", RingBackend::default());
/// assert_eq!(backend.name(), "mmap+ring");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MmapBefore<B> {
    name: &'static str,
    backend: B,
}

impl<B: BackendFactory> MmapBefore<B> {
    /// A map in front of `backend`, under a name of its own.
    #[must_use]
    pub fn new(name: &'static str, backend: B) -> Self {
        Self { name, backend }
    }
}

impl<B: BackendFactory> FileSystem for MmapBefore<B> {
    type Reader = MmapBeforeReader<B::Reader>;

    type Writer = B::Writer;

    fn name(&self) -> &'static str {
        self.name
    }

    fn directory(&self) -> Arc<dyn Directory> {
        self.backend.directory()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        if options.direct {
            let what = "bypass the page cache, which its map is; open it without `direct`".into();
            return Err(OpenError::Unsupported { backend: self.name, what });
        }
        let file = open_regular(path, Links::Refuse)?;
        MmapBeforeReader::new(self.name, &file, self.backend.open(path, options).await?, options)
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.backend.create(path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.backend.open_for_writing(path, options).await
    }
}

impl<B: BackendFactory> Executor for MmapBefore<B> {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        self.backend.run(main)
    }

    fn spawn_thread(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.backend.spawn_thread(name, work)
    }
}

io_core::send_backend!(MmapBefore<SendBackend>, reader MmapBeforeReader<Box<dyn SendVectorReader>>);

/// Reads one file through a map of it and through another reader.
#[derive(Debug)]
pub struct MmapBeforeReader<R> {
    reader: R,
    /// `None` if the file is empty, since an empty file cannot be mapped.
    map: Option<SharedMap>,
    info: BackendInfo,
    known: Mutex<Known>,
    /// Returns the major faults of this thread, over all maps.
    major_faults: fn() -> i64,
    /// The major faults at the last check, and the slices delivered since.
    faults: AtomicI64,
    unlooked: AtomicU32,
    spare: Mutex<Missing>,
    closed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The requests of a batch that the map does not serve, and their indices in it.
#[derive(Debug, Default)]
struct Missing {
    requests: Vec<ReadRequest>,
    indices: Vec<usize>,
}

impl<R: VectorReader> MmapBeforeReader<R> {
    /// `file` is the file that the path led to before `reader` was opened.
    fn new(name: &'static str, file: &File, reader: R, options: &OpenOptions) -> Result<Self, OpenError> {
        let FileInfo { path, len, .. } = reader.file();
        let failed = |error| OpenError::io(path, error);
        let (mapped, read) = (file.metadata().map_err(failed)?, std::fs::metadata(path).map_err(failed)?);
        if (mapped.dev(), mapped.ino()) != (read.dev(), read.ino()) {
            return Err(failed(io::Error::other("the file was replaced while it was opened: open it again")));
        }
        let bytes = usize::try_from(*len)
            .map_err(|_| failed(io::Error::other("the file is larger than this machine's address space")))?;
        let map = if bytes == 0 { None } else { Some(map(file, bytes, options.populate).map_err(failed)?) };
        let map = map.map(SharedMap::new);
        if let Some(map) = &map {
            advise(map, options.access).map_err(failed)?;
        }
        let known = Known::new(*len, rustix::param::page_size(), options.populate);
        let mut info = reader.info().clone();
        info.backend = name;
        info.kernel_features.push("mmap");
        Ok(Self {
            map,
            info,
            known: Mutex::new(known),
            major_faults,
            faults: AtomicI64::new(major_faults()),
            unlooked: AtomicU32::new(0),
            spare: Mutex::default(),
            closed: AtomicBool::new(false),
            reader,
        })
    }

    /// Counts a delivered slice. Every [`LOOK_EVERY`] slices, checks for major faults.
    fn look(&self) {
        if self.unlooked.fetch_add(1, Relaxed) + 1 < LOOK_EVERY {
            return;
        }
        self.unlooked.store(0, Relaxed);
        let faults = (self.major_faults)();
        if faults != self.faults.swap(faults, Relaxed) {
            lock(&self.known).forget_older();
        }
    }

    /// Delivers the requests on known pages, and collects the others. Ends early if the batch is stopped.
    fn deliver_known(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        missing: &mut Missing,
        outcome: &mut ReadOutcome,
        sink: &mut impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) {
        let bytes: &[u8] = self.map.as_ref().map_or(&[], AsRef::as_ref);
        for (index, &request) in requests.iter().enumerate() {
            let ReadRequest { offset, len } = request;
            outcome.end = control.end();
            if !outcome.is_complete() {
                return;
            }
            if len > 0 && !lock(&self.known).use_if_all(offset, len) {
                missing.requests.push(request);
                missing.indices.push(index);
                continue;
            }
            outcome.delivered += 1;
            if len > 0 {
                outcome.stats.reads += 1;
                outcome.stats.bytes_read += u64::from(len);
            }
            if let Some(meter) = &control.meter {
                meter.slice_delivered(u64::from(len));
            }
            let flow = sink(index, &bytes[offset as usize..][..len as usize]);
            self.look();
            if flow.is_break() {
                outcome.end = BatchEnd::Stopped;
                return;
            }
        }
    }

    /// Reads a batch that was checked: what is known from the map, then the others.
    async fn read_batch(
        &self,
        requests: &[ReadRequest],
        bytes_wanted: u64,
        control: &ReadControl,
        mut sink: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> Result<ReadOutcome, ReadError> {
        let mut outcome = ReadOutcome::new();
        outcome.stats.bytes_wanted = bytes_wanted;
        let mut missing = std::mem::take(&mut *lock(&self.spare));
        missing.requests.clear();
        missing.indices.clear();
        self.deliver_known(requests, control, &mut missing, &mut outcome, &mut sink);
        let goes_on = outcome.is_complete() && !missing.requests.is_empty();
        if let Some(meter) = &control.meter {
            let missing_bytes: u64 = missing.requests.iter().map(|request| u64::from(request.len)).sum();
            if goes_on {
                // The other reader counts the batch, and the bytes that it is asked for.
                meter.wanted(bytes_wanted - missing_bytes);
            } else {
                meter.batch_started(bytes_wanted, 0, 0);
            }
        }
        if goes_on {
            let from_map = outcome.delivered;
            let deliver = |at: usize, bytes: &[u8]| {
                let ReadRequest { offset, len } = missing.requests[at];
                lock(&self.known).add(offset, len);
                sink(missing.indices[at], bytes)
            };
            let read = self.reader.read_vectors(&missing.requests, control, deliver).await;
            let read = read.map_err(|mut error| {
                if let ReadError::Io { index, delivered, .. }
                | ReadError::Truncated { index, delivered, .. } = &mut error
                {
                    *index = missing.indices[*index];
                    *delivered += from_map;
                }
                error
            })?;
            outcome.delivered += read.delivered;
            outcome.end = read.end;
            let mut stats = read.stats;
            stats.bytes_wanted = 0;
            outcome.stats.add(&stats);
        }
        *lock(&self.spare) = missing;
        Ok(outcome)
    }
}

impl<R: VectorReader> VectorReader for MmapBeforeReader<R> {
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        if self.closed.load(SeqCst) {
            return Err(ReadError::Closed { file: self.file().path.clone() });
        }
        let bytes_wanted = check(requests, self.file())?;
        let batch = self.read_batch(requests, bytes_wanted, control, sink);
        trace_batch(self.file(), &self.info, requests.len(), bytes_wanted, batch).await
    }

    fn session(&self, control: ReadControl) -> impl FileSession {
        BeforeSession {
            reader: self,
            map: MapBytes::new(self.reader.file(), &self.info, self.map.as_ref(), control.clone()),
            known: KnownReads::default(),
            asked: Slab::new(),
            other: self.reader.session(control),
        }
    }

    fn file(&self) -> &FileInfo {
        self.reader.file()
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        self.closed.store(true, SeqCst);
        self.reader.close().await
    }
}

/// Reads of a map and of the reader behind it.
struct BeforeSession<'a, R, O> {
    reader: &'a MmapBeforeReader<R>,
    map: MapBytes<'a>,
    /// Reads that the map serves.
    known: KnownReads,
    /// Reads of the other reader. Their places are their tags there.
    asked: Slab<(u64, ReadRequest)>,
    other: O,
}

impl<R: VectorReader, O: FileSession> FileSession for BeforeSession<'_, R, O> {
    fn submit_with(&mut self, tag: u64, request: ReadRequest, terms: ReadTerms) {
        let ReadRequest { offset, len } = request;
        let checked = if self.reader.closed.load(SeqCst) {
            Err(self.map.closed())
        } else {
            self.map.check(tag, request)
        };
        if checked.is_ok() && len > 0 && !lock(&self.reader.known).use_if_all(offset, len) {
            let place = self.asked.insert((tag, request));
            self.other.submit_with(place as u64, request, terms);
        } else {
            let checked = checked.map(|()| request).inspect(|&request| self.map.want(request));
            self.known.push(tag, terms, checked);
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Completion>> {
        if self.map.control.is_stopped() {
            self.cancel_all();
        }
        // The other reader first, so that it starts its reads before the map's are handed out.
        let polled = self.other.poll_next(cx);
        if let Poll::Ready(Some(Completion { tag: place, bytes, .. })) = polled {
            let (tag, ReadRequest { offset, len }) = self.asked.remove(place as usize);
            if bytes.is_ok() {
                lock(&self.reader.known).add(offset, len);
            }
            let bytes = bytes.map_err(|mut error| {
                if let ReadError::Io { index, .. }
                | ReadError::Truncated { index, .. }
                | ReadError::Deadline { index, .. } = &mut error
                {
                    *index = tag as usize;
                }
                error
            });
            return Poll::Ready(Some(Completion::new(tag, bytes)));
        }
        let Some(completion) = self.known.next(&mut self.map) else { return polled };
        self.reader.look();
        Poll::Ready(Some(completion))
    }

    fn cancel(&mut self, tag: u64) {
        self.known.cancel(tag);
        let other = &mut self.other;
        self.asked.retain(|place, &mut (asked, _)| {
            if asked == tag {
                other.cancel(place as u64);
            }
            asked != tag
        });
    }

    fn cancel_all(&mut self) {
        self.known.clear();
        self.asked.clear();
        self.other.cancel_all();
    }

    fn pending(&self) -> usize {
        self.known.len() + self.asked.len()
    }

    fn stats(&self) -> ReadStats {
        let mut stats = self.map.stats;
        stats.add(&self.other.stats());
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MmapBackend, MmapReader};
    use io_core::{Meter, Metered, with_causes};
    use std::cell::Cell;
    use std::path::PathBuf;

    const PAGE: u64 = 4096;
    const PAGES: u64 = 200;

    /// A reader before a map that counts its requests.
    type Counted = MmapBeforeReader<Metered<MmapReader>>;

    fn byte_at(offset: u64) -> u8 {
        (offset / PAGE * 31 + offset % 251) as u8
    }

    fn file(dir: &tempfile::TempDir) -> PathBuf {
        let path = dir.path().join("file");
        std::fs::write(&path, (0..PAGES * PAGE).map(byte_at).collect::<Vec<_>>()).unwrap();
        path
    }

    fn open(path: &Path, options: &OpenOptions) -> Counted {
        open_before(path, options, Metered::new)
    }

    fn open_before<R: VectorReader>(
        path: &Path,
        options: &OpenOptions,
        wrap: impl FnOnce(MmapReader) -> R,
    ) -> MmapBeforeReader<R> {
        let reader = pollster::block_on(MmapBackend::default().open(path, options)).unwrap();
        let file = File::open(path).unwrap();
        MmapBeforeReader::new("mmap+mmap", &file, wrap(reader), options).unwrap()
    }

    /// Reads and checks the bytes. Returns how many of the requests the other reader served.
    fn read(reader: &Counted, requests: &[ReadRequest]) -> u64 {
        let meter = |reader: &Counted| reader.reader.meter().counters().delivered;
        let before = meter(reader);
        let mut seen = vec![false; requests.len()];
        let sink = |index: usize, bytes: &[u8]| {
            let ReadRequest { offset, len } = requests[index];
            assert!(bytes.iter().copied().eq((offset..offset + u64::from(len)).map(byte_at)));
            assert!(!std::mem::replace(&mut seen[index], true));
            ControlFlow::Continue(())
        };
        let outcome =
            pollster::block_on(reader.read_vectors(requests, &ReadControl::default(), sink)).unwrap();
        assert_eq!(outcome.delivered, requests.len());
        assert!(seen.into_iter().all(|seen| seen));
        meter(reader) - before
    }

    fn every_page() -> Vec<ReadRequest> {
        (0..PAGES).map(|page| ReadRequest::new(page * PAGE + 7, 100)).collect()
    }

    /// At compile time.
    #[test]
    fn readers_may_move_and_be_shared() {
        fn shared<T: Send + Sync>() {}
        shared::<MmapReader>();
        shared::<MmapBeforeReader<MmapReader>>();
    }

    #[test]
    fn what_was_read_comes_from_the_map() {
        let dir = tempfile::tempdir().unwrap();
        let reader = open(&file(&dir), &OpenOptions::default());
        assert_eq!(read(&reader, &every_page()[50..60]), 10);
        assert_eq!(read(&reader, &every_page()), PAGES - 10);
        assert_eq!(read(&reader, &every_page()), 0);
        // A request across several known pages comes from the map too.
        assert_eq!(read(&reader, &[ReadRequest::new(100, 9000), ReadRequest::new(PAGE, 0)]), 0);
    }

    #[test]
    fn what_is_known_in_part_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let reader = open(&file(&dir), &OpenOptions::default());
        let (page_0, across) = (ReadRequest::new(0, 10), ReadRequest::new(PAGE - 1, 2));
        assert_eq!(read(&reader, &[page_0]), 1);
        assert_eq!(read(&reader, &[page_0, across]), 1);
        assert_eq!(read(&reader, &[across]), 0);
    }

    #[test]
    fn what_was_populated_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions::default().with_populate(true);
        assert_eq!(read(&open(&file(&dir), &options), &every_page()), 0);
    }

    #[test]
    fn a_thread_that_had_to_wait_takes_less_for_granted() {
        thread_local!(static FAULTS: Cell<i64> = const { Cell::new(0) });
        let dir = tempfile::tempdir().unwrap();
        let mut reader = open(&file(&dir), &OpenOptions::default());
        reader.major_faults = || FAULTS.get();
        reader.faults.store(0, Relaxed);
        let requests = every_page();
        assert_eq!(read(&reader, &requests), PAGES);
        FAULTS.set(1);
        // The reader sees the fault at the 64th slice. Pages read after that are older ones. They are still
        // known, and become recent again.
        assert_eq!(read(&reader, &requests), 0);
        FAULTS.set(2);
        // The reader sees this fault at the 56th slice, since 8 slices followed the last check. Pages 56 to
        // 63 were not used since the first fault.
        assert_eq!(read(&reader, &requests[..56]), 0);
        assert_eq!(read(&reader, &requests), 8);
        assert_eq!(read(&reader, &requests), 0);
    }

    #[test]
    fn both_parts_of_a_batch_are_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let reader = open_before(&file(&dir), &OpenOptions::default(), |reader| reader);
        let meter = Meter::new();
        let control = ReadControl::new().with_meter(meter.clone());
        let mut batches = 0;
        for pages in [10..20, 0..30, 0..30] {
            let requests = &every_page()[pages];
            pollster::block_on(reader.read_vectors(requests, &control, |_, _| ControlFlow::Continue(())))
                .unwrap();
            batches += 1;
            let counters = meter.counters();
            let reads = counters.delivered;
            assert_eq!((counters.batches, counters.started, counters.completed), (batches, reads, reads));
            assert_eq!((counters.bytes_wanted, counters.bytes_read), (100 * reads, 100 * reads));
        }
        assert_eq!(meter.counters().delivered, 70);
    }

    #[test]
    fn a_file_replaced_meanwhile_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir);
        let first = File::open(&path).unwrap();
        std::fs::rename(&path, dir.path().join("away")).unwrap();
        file(&dir);
        let reader = pollster::block_on(MmapBackend::default().open(&path, &OpenOptions::default())).unwrap();
        let error = MmapBeforeReader::new("m", &first, reader, &OpenOptions::default()).unwrap_err();
        assert!(with_causes(&error).to_string().contains("replaced"), "{error:?}");
    }
}
