//! Files far longer than memory in a collection. Each is refused with a clear error, after little of it is
//! read.

// On other systems, such a file would take disk space.
#![cfg(unix)]

use io_core::{
    Directory, DynBackend, DynPageWriter, DynVectorReader, Executor, FileSystem, Meter, Metered, OpenError,
    OpenOptions, StartError, with_causes,
};
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, Selection};
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::{Placement, Placements, Schema};

/// Counts allocated bytes, and their maximum.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A test holds it, so that no other test allocates.
static ALONE: Mutex<()> = Mutex::new(());

/// The length of a sparse file that would fill memory.
const LONG: u64 = 20 << 30;

/// Runs `act`. Returns the most bytes allocated meanwhile, and its result.
fn most<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let done = act();
    (MOST.load(Ordering::Relaxed) - before, done)
}

#[test]
fn a_file_longer_than_memory_is_refused_and_not_read() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let backend = BackendKind::all()[0].backend();
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let dir = temp.path().join("c");
    let collection = Collection::create(&backend, &dir, &Schema::new(2), &options).unwrap();
    let put = |id: u64| {
        collection.upsert(vec![Point::new(id, vec![1.0, 2.0])], Durability::Synced).wait().unwrap();
    };
    put(1);
    collection.optimize(|_| {}).wait().unwrap();
    put(2);
    collection.close().unwrap();
    let open = || Collection::open(&backend, &dir, &options).map(drop);
    let (usual, opened) = most(open);
    opened.unwrap();
    let verify = || Collection::verify(&backend, &dir, &Default::default());
    for (name, said, allowed) in [
        ("log-000002.wal", "more zeros", 4 << 20),
        ("MANIFEST", "more than 67108864 bytes", 65 << 20),
        ("segment-000001/segment.json", "more than 67108864 bytes", 65 << 20),
    ] {
        let path = dir.join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(LONG).unwrap();
        let (bytes, opened) = most(open);
        let error = with_causes(&opened.unwrap_err()).to_string();
        assert!(error.contains(said) && error.contains(name), "{error}");
        assert!(bytes < usual + allowed, "{bytes} bytes to refuse {name}, {usual} to open it");
        let (bytes, verified) = most(verify);
        let told = match verified {
            Ok(report) => report.problems.iter().map(|error| with_causes(error).to_string()).collect(),
            Err(error) => with_causes(&error).to_string(),
        };
        assert!(told.contains(said), "{told}");
        assert!(bytes < usual + allowed + (8 << 20), "{bytes} bytes to verify {name}");
        let repaired = temp.path().join("repaired");
        let (bytes, report) = most(|| {
            Collection::repair(&backend, &dir, &repaired, Some(&Schema::new(2)), &Default::default())
        });
        assert_eq!(report.unwrap().points, 2, "{name}");
        assert!(bytes < 2 * (usual + allowed + (8 << 20)), "{bytes} bytes to repair {name}");
        std::fs::remove_dir_all(repaired).unwrap();
        restore(&path, &whole);
    }
    open().unwrap();
}

fn restore(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Bytes that a header claims and a sparse file has. Opening may take far less, and survives if it takes
/// them.
const SPARSE: u64 = 512 << 20;
const PAGE: usize = 4096;

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The header of a file of pages with a section of [`SPARSE`] bytes, and the length of the file.
fn long_section(header: &[u8], section: usize) -> (Vec<u8>, u64) {
    let mut header = header[..PAGE].to_vec();
    let mut page = 1u64;
    for index in 0..u64_at(&header, 20) as u32 as usize {
        let at = 56 + index * 16;
        let bytes = if index == section { SPARSE } else { u64_at(&header, at + 8) };
        header[at..at + 8].copy_from_slice(&page.to_le_bytes());
        header[at + 8..at + 16].copy_from_slice(&bytes.to_le_bytes());
        page += bytes.div_ceil(PAGE as u64 - 4);
    }
    let seed = crc32fast::hash(&[&header[24..48], &header[16..20]].concat());
    let mut crc = crc32fast::Hasher::new_with_initial(seed);
    crc.update(&header[..PAGE - 4]);
    header[PAGE - 4..].copy_from_slice(&crc.finalize().to_le_bytes());
    (header, page * PAGE as u64)
}

/// The header of a vector file with a table of checksums of [`SPARSE`] bytes, and the length of the file.
fn long_table(header: &[u8]) -> (Vec<u8>, u64) {
    let mut header = header[..84].to_vec();
    let count = SPARSE / 4;
    header[24..32].copy_from_slice(&count.to_le_bytes());
    let crc = crc32fast::hash(&header[..80]);
    header[80..84].copy_from_slice(&crc.to_le_bytes());
    let [stride, per_block, block] = [32, 36, 40].map(|at| u64_at(&header, at) & u64::from(u32::MAX));
    let records = count / per_block * block + count % per_block * stride;
    (header, PAGE as u64 + records.next_multiple_of(PAGE as u64) + SPARSE)
}

/// Lists another checksum for a file's header.
fn list(json: &Path, name: &str, header: &[u8]) {
    let text = std::fs::read_to_string(json).unwrap();
    let mut all: Value = serde_json::from_str(text.rsplit_once("\ncrc32 ").unwrap().0).unwrap();
    let crc = u32::from_le_bytes(header[header.len() - 4..].try_into().unwrap());
    all["files"][name] = json!(crc);
    let text = format!("{all:#}\n");
    std::fs::write(json, format!("{text}crc32 {:08x}\n", crc32fast::hash(text.as_bytes()))).unwrap();
}

/// A backend that counts the bytes that its readers are asked for, by any method of reading. A populated file
/// counts as a whole.
#[derive(Clone)]
struct Asked {
    inner: DynBackend,
    meter: Meter,
}

impl FileSystem for Asked {
    type Reader = Metered<Box<dyn DynVectorReader>>;

    type Writer = Box<dyn DynPageWriter>;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn directory(&self) -> Arc<dyn Directory> {
        self.inner.directory()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        // The bytes are only counted, so they need not be read.
        let inner = self.inner.open(path, &options.clone().with_populate(false)).await?;
        let populated = if options.populate { inner.file_dyn().len } else { 0 };
        self.meter.wanted(populated);
        Ok(Metered::with_meter(inner, self.meter.clone()))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.inner.create(path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.inner.open_for_writing(path, options).await
    }
}

impl Executor for Asked {
    fn run<M: FnOnce() -> F, F: Future>(&self, main: M) -> Result<F::Output, StartError> {
        self.inner.run(main)
    }

    fn spawn_thread(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.inner.spawn_thread(name, work)
    }
}

/// Headers with right checksums that claim far more than their file holds. Opening allocates no memory for
/// the claim, and does not read all of it.
#[test]
fn what_a_header_says_is_not_believed_before_it_is_read() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let inner = BackendKind::all()[0].backend();
    let asked = Asked { inner, meter: Meter::new() };
    let backend = DynBackend::new(asked.clone());
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    for placement in [Placement::Pinned, Placement::Cached] {
        let all = Placements {
            vectors: placement,
            codes: placement,
            graph: placement,
            payload: placement,
            ids: placement,
            indexes: placement,
        };
        let schema = Schema { placement: all, ..Schema::new(2) }.index("n", FieldKind::Integer);
        let schema = schema.index("t", FieldKind::Keyword);
        let dir = temp.path().join(format!("{placement:?}"));
        let collection = Collection::create(&backend, &dir, &schema, &options).unwrap();
        let point = |id| {
            Point::new(id, vec![1.0, id as f32]).with_payload(json!({"n": id, "t": format!("t{}", id % 9)}))
        };
        collection.upsert((0..100).map(point).collect(), Durability::Synced).wait().unwrap();
        collection.optimize(|_| {}).wait().unwrap();
        collection.delete(Selection::Ids(vec![PointId::Num(7)]), Durability::Synced).wait().unwrap();
        collection.upsert(vec![point(200)], Durability::Synced).wait().unwrap();
        collection.seal(|_| {}).wait().unwrap();
        collection.close().unwrap();
        let segment = dir.join("segment-000001");
        let names = std::fs::read_dir(&segment).unwrap().map(|entry| entry.unwrap().file_name());
        let deleted = names.map(|name| name.into_string().unwrap()).find(|name| name.starts_with("deleted-"));
        let deleted = deleted.unwrap();
        let cases = [
            ("payload.pages", Some(0)),
            ("payload.pages", Some(1)),
            ("payload.pages", Some(2)),
            ("ids.pages", Some(0)),
            ("ids.pages", Some(1)),
            ("ids.pages", Some(2)),
            ("ids.pages", Some(3)),
            ("ids.pages", Some(4)),
            ("ids.pages", Some(5)),
            ("graph.pages", Some(0)),
            ("graph.pages", Some(1)),
            ("graph.pages", Some(2)),
            // Sections of numbers, and of terms.
            ("fields.pages", Some(0)),
            ("fields.pages", Some(1)),
            ("fields.pages", Some(2)),
            ("fields.pages", Some(3)),
            ("fields.pages", Some(6)),
            ("fields.pages", Some(7)),
            (&*deleted, Some(0)),
            (&*deleted, Some(1)),
            ("vectors.vec", None),
            ("codes.vec", None),
        ];
        for (name, section) in cases {
            check_sparse(&asked, &dir, &segment, name, section, &options);
        }
        Collection::open(&backend, &dir, &options).unwrap().close().unwrap();
    }
}

fn check_sparse(
    asked: &Asked,
    dir: &Path,
    segment: &Path,
    name: &str,
    section: Option<usize>,
    options: &CollectionOptions,
) {
    let backend = &DynBackend::new(asked.clone());
    let (path, json) = (segment.join(name), segment.join("segment.json"));
    let context = format!("section {section:?} of {}", path.display());
    let (whole, listed) = (std::fs::read(&path).unwrap(), std::fs::read(&json).unwrap());
    let (header, len) = match section {
        Some(section) => long_section(&whole, section),
        None => long_table(&whole),
    };
    let file = std::fs::File::create(&path).unwrap();
    file.write_all_at(&header, 0).unwrap();
    file.set_len(len).unwrap();
    if !name.starts_with("deleted-") {
        list(&json, name, &header);
    }
    let allowed = 40 << 20;
    let before = asked.meter.counters().bytes_wanted;
    let (bytes, opened) = most(|| Collection::open(backend, dir, options).map(drop));
    let error = opened.unwrap_err().to_string();
    assert!(error.contains(name), "{context}: {error}");
    assert!(bytes < allowed, "{bytes} bytes to open {context}");
    let read = asked.meter.counters().bytes_wanted - before;
    assert!(read < SPARSE / 4, "{read} bytes read to open {context}");
    let (bytes, report) = most(|| Collection::verify(backend, dir, &Default::default()));
    let report = report.unwrap();
    assert!(bytes < allowed, "{bytes} bytes to verify {context}");
    let told = report.problems.iter().filter(|problem| problem.to_string().contains(name)).count();
    assert!((1..=102).contains(&told), "{told} problems of {context}");
    let repaired = dir.with_extension("repaired");
    let (bytes, report) = most(|| Collection::repair(backend, dir, &repaired, None, &Default::default()));
    report.unwrap();
    assert!(bytes < allowed, "{bytes} bytes to repair {context}");
    std::fs::remove_dir_all(repaired).unwrap();
    restore(&path, &whole);
    restore(&json, &listed);
}
