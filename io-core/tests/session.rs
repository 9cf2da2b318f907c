//! Bytes that callers of a session keep hold back a bounded number of pages.

use bytes::Bytes;
use io_core::backend::{Kept, PageSource, PagedReader, Permit};
use io_core::{
    BackendInfo, Completion, FileInfo, FileSession, IoGeometry, LocalBoxFuture, OpenOptions, ReadControl,
    ReadRequest, VectorReader,
};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{future, io};

const LEN: u64 = 1 << 20;
const PAGE: u32 = 4096;

/// A file whose bytes are the numbers of their pages.
struct Numbered {
    file: FileInfo,
    info: BackendInfo,
    alive: Arc<AtomicUsize>,
}

/// A page that counts as alive until it is dropped.
struct NumberedPage {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Deref for NumberedPage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for NumberedPage {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PageSource for Numbered {
    type Page = NumberedPage;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<NumberedPage>, Permit)> + 'static {
        self.alive.fetch_add(1, Ordering::Relaxed);
        let bytes = (offset..offset + u64::from(len)).map(|at| (at / u64::from(PAGE)) as u8).collect();
        permit.over(future::ready(Ok(NumberedPage { bytes, alive: Arc::clone(&self.alive) })))
    }

    fn share(page: NumberedPage, kept: Kept) -> Result<Bytes, NumberedPage> {
        Ok(kept.over(page))
    }

    fn spawn(&self, _task: LocalBoxFuture<'static, ()>) {}

    fn file(&self) -> &FileInfo {
        &self.file
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn bytes_that_are_kept_hold_back_no_more_than_the_byte_budget() {
    let options = OpenOptions::default()
        .with_bytes_in_flight_max(8 * u64::from(PAGE))
        .with_read_size_max(PAGE)
        .with_gap_max(0);
    let info = BackendInfo::new("numbered", "none", &options, IoGeometry::buffered(PAGE, 0), &[]);
    let alive = Arc::<AtomicUsize>::default();
    let file = FileInfo::new(Path::new("numbered"), LEN);
    let reader = PagedReader::new(Numbered { file, info, alive: Arc::clone(&alive) });
    let mut session = reader.session(ReadControl::default());
    let pages = LEN / u64::from(PAGE);
    let mut cache = vec![Bytes::new(); pages as usize];
    for page in 0..pages {
        session.submit(page, ReadRequest::new(page * u64::from(PAGE) + 5, 10));
        let Completion { tag, bytes, .. } = pollster::block_on(session.next()).expect("one is pending");
        cache[tag as usize] = bytes.expect("a good read");
    }
    assert_eq!(alive.load(Ordering::Relaxed), 8, "the first pages are shared, the others were copied out");
    for (page, bytes) in cache.iter().enumerate() {
        assert_eq!(bytes[..], [page as u8; 10]);
    }
    // What is given back may be kept again.
    cache.truncate(4);
    assert_eq!(alive.load(Ordering::Relaxed), 4);
    session.submit(9, ReadRequest::new(0, 10));
    let again = pollster::block_on(session.next()).expect("one is pending").bytes.expect("a good read");
    assert_eq!(alive.load(Ordering::Relaxed), 5);
    drop((again, cache));
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}
