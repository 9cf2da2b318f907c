//! Immutable structures beside their mutable twins: look-up time, build time and size.
//!
//! Times are CPU times of all threads. Nothing here waits for a disk, and other work of the machine must not
//! count.
//!
//! `cargo bench -p benches --bench structures`. `BENCH_QUICK=1` skips the largest size.

#![cfg(target_os = "linux")]

use benches::cpu_time;
use benches::memory::{Counted, bytes_of};
use benches::report::{Cell, Report, Table};
use io_core::{DynBackend, Executor};
use io_mmap::MmapBackend;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::internals::structures::{
    FieldFile, FieldKey, FieldTree, HashedIds, IdFile, PackedLinks, PackedPostings,
};
use vecstore::point::PointId;
use vecstore_index::graph::GraphParts;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Look-ups of one timing, and the number of timings.
const LOOK_UPS: usize = 200_000;
const ROUNDS: usize = 5;
/// Timed builds of a structure. With fewer keys than `LARGE`, an untimed build comes first.
const BUILDS: usize = 3;
const LARGE: usize = 1_000_000;
/// Ids of a batch, or numbers of a range.
const BATCH: usize = 100;
/// Points of a keyword.
const POINTS_OF_KEYWORD: usize = 100;
/// Intersections of one timing.
const INTERSECTIONS: usize = 1000;
/// Links of a point.
const LINKS: usize = 16;

fn quick() -> bool {
    std::env::var_os("BENCH_QUICK").is_some()
}

fn sizes() -> &'static [usize] {
    if quick() { &[1000, 100_000] } else { &[1000, 100_000, 10_000_000] }
}

/// Nanoseconds for each item. A round takes `items` items.
fn timed(rounds: usize, items: usize, mut run: impl FnMut()) -> Cell {
    let times = (0..rounds).map(|_| {
        let before = cpu_time();
        run();
        (cpu_time() - before).as_secs_f64() * 1e9 / items as f64
    });
    Cell::spread(times)
}

/// The time of a look-up, after one pass to warm up.
fn look_ups<T>(asked: &[T], look_up: impl Fn(&T)) -> Cell {
    asked.iter().for_each(&look_up);
    timed(ROUNDS, asked.len(), || asked.iter().for_each(&look_up))
}

/// Builds a structure repeatedly. Returns the last one, and the time and memory (bytes) for each key.
fn built<T>(keys: usize, build: impl Fn() -> T) -> (T, Cell, f64) {
    let mut last = None;
    if keys < LARGE {
        build();
    }
    let time = timed(BUILDS, keys, || {
        last = None;
        last = Some(bytes_of(&build));
    });
    let (made, bytes) = last.expect("built at least once");
    (made, time, bytes as f64 / keys as f64)
}

/// Files of pages in a temporary directory.
struct Files {
    backend: DynBackend,
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory below target/");
        Self { backend: DynBackend::new(MmapBackend::default()), dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("a.pages")
    }

    fn run<T>(&self, act: impl AsyncFnOnce(&DynBackend, &Path) -> Result<T, Error>) -> T {
        let path = self.path();
        let done = self.backend.run(|| act(&self.backend, &path));
        done.expect("maps need no executor").expect("read and written")
    }

    /// Writes the file repeatedly. Returns the time and the bytes of the file for each key.
    fn written(
        &self,
        keys: usize,
        write: &impl AsyncFn(&DynBackend, &Path) -> Result<(), Error>,
    ) -> (Cell, f64) {
        let write = || {
            let _ = std::fs::remove_file(self.path());
            self.run(write);
        };
        if keys < LARGE {
            write();
        }
        let time = timed(BUILDS, keys, write);
        let bytes = std::fs::metadata(self.path()).expect("it was written").len();
        (time, bytes as f64 / keys as f64)
    }
}

/// The place of a file's pages.
const PLACES: [(&str, bool); 2] = [("file, pinned", true), ("file, mapped and warm", false)];

/// A table with a row for each structure.
struct Sheet(Table);

impl Sheet {
    fn new(title: &str, columns: &[&str]) -> Self {
        Self(Table::new(title, columns))
    }

    fn row<const N: usize>(&mut self, keys: usize, structure: &str, cells: [Cell; N]) {
        self.0.row([keys.into(), structure.into()].into_iter().chain(cells));
    }
}

fn bytes(bytes: f64) -> Cell {
    bytes.into()
}

fn none() -> Cell {
    "-".into()
}

/// Distinct numbers in scrambled order, by the mix of SplitMix64, which is a bijection.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut report = Report::new("structures");
    for &size in sizes() {
        // Prints each table as soon as it is measured.
        for table in [ids, numbers, keywords, links] {
            report.table(table(size));
        }
    }
    report.table(postings());
    report.finish()
}

fn ids(size: usize) -> Table {
    let header =
        ["ids", "structure", "look-up ns", "build ns a key", "memory bytes a key", "file bytes a key"];
    let mut sheet = Sheet::new("Ids: look-up of one that is there, in random order", &header);
    let mut random = fastrand::Rng::with_seed(1);
    let ids: Vec<u64> = (1..=size as u64).map(mixed).collect();
    let asked: Vec<u64> = (0..LOOK_UPS).map(|_| ids[random.usize(..size)]).collect();

    let (hashed, build, memory) = built(size, || HashedIds::build(&ids));
    let look_up = look_ups(&asked, |&id| {
        black_box(hashed.get(id).expect("it is there"));
    });
    let name = format!("perfect hash ({:.2} bytes) and slots", hashed.hash_bytes() as f64 / size as f64);
    sheet.row(size, &name, [look_up, build, bytes(memory), none()]);
    drop(hashed);

    let entries = || ids.iter().copied().zip(0..);
    let (tree, build, memory) = built(size, || entries().collect::<BTreeMap<u64, u32>>());
    let look_up = look_ups(&asked, |id| {
        black_box(tree.get(id).expect("it is there"));
    });
    sheet.row(size, "BTreeMap, the mutable twin", [look_up, build, bytes(memory), none()]);
    drop(tree);

    let (map, build, memory) = built(size, || entries().collect::<HashMap<u64, u32>>());
    let look_up = look_ups(&asked, |id| {
        black_box(map.get(id).expect("it is there"));
    });
    sheet.row(size, "HashMap", [look_up, build, bytes(memory), none()]);
    drop(map);

    let files = Files::new();
    let ids: Vec<PointId> = ids.into_iter().map(PointId::Num).collect();
    let asked: Vec<PointId> = asked.into_iter().map(PointId::Num).collect();
    let (build, on_disk) =
        files.written(size, &async |backend, path| IdFile::write(backend, path, &ids).await);
    for (name, pinned) in PLACES {
        let (file, memory) =
            bytes_of(|| files.run(async |backend, path| IdFile::open(backend, path, pinned).await));
        let find = |batch: &[PointId]| drop(black_box(pollster::block_on(file.find(batch)).expect("read")));
        asked.chunks(BATCH).for_each(find);
        let look_up = timed(ROUNDS, LOOK_UPS, || asked.chunks(BATCH).for_each(find));
        sheet.row(
            size,
            &format!("{name}, batches of {BATCH}"),
            [look_up, build.clone(), bytes(memory as f64 / size as f64), bytes(on_disk)],
        );
    }
    sheet.0
}

fn numbers(size: usize) -> Table {
    let range = format!("range of {BATCH} ns");
    let header = [
        "numbers",
        "structure",
        "look-up ns",
        &range,
        "build ns a key",
        "memory bytes a key",
        "file bytes a key",
    ];
    let mut sheet =
        Sheet::new("Numbers, all different: the points with one, and with one of a range", &header);
    let mut random = fastrand::Rng::with_seed(2);
    let values: Vec<u64> = (1..=size as u64).map(mixed).collect();
    let keys: Vec<FieldKey> = values.iter().copied().map(FieldKey::number).collect();
    let asked: Vec<FieldKey> = (0..LOOK_UPS).map(|_| keys[random.usize(..size)].clone()).collect();
    let mut sorted = values;
    sorted.sort_unstable();
    let ranges: Vec<(u64, u64)> = (0..LOOK_UPS / 10)
        .map(|_| random.usize(..size - BATCH))
        .map(|first| (sorted[first], sorted[first + BATCH - 1]))
        .collect();

    let files = Files::new();
    let kind = FieldKind::Integer;
    let (build, on_disk) =
        files.written(size, &async |backend, path| FieldFile::write(backend, path, kind, &keys).await);
    for (name, pinned) in PLACES {
        let open = async |backend: &DynBackend, path: &Path| {
            FieldFile::open(backend, path, kind, size as u32, pinned).await
        };
        let (file, memory) = bytes_of(|| files.run(open));
        let one = look_ups(&asked, |key| {
            assert_eq!(pollster::block_on(file.points(key)).expect("read").len(), 1);
        });
        let range = look_ups(&ranges, |&(low, high)| {
            assert_eq!(pollster::block_on(file.range(low, high)).expect("read").len(), BATCH as u64);
        });
        let memory = bytes(memory as f64 / size as f64);
        sheet.row(
            size,
            &format!("sorted, sparse index; {name}"),
            [one, range, build.clone(), memory, bytes(on_disk)],
        );
    }
    let (tree, build, memory) = built(size, || FieldTree::build(&keys));
    let one = look_ups(&asked, |key| assert_eq!(tree.points(key).len(), 1));
    let range = look_ups(&ranges, |&(low, high)| assert_eq!(tree.range(low, high).len(), BATCH as u64));
    sheet.row(size, "B-tree of bitmaps, the mutable twin", [one, range, build, bytes(memory), none()]);
    sheet.0
}

fn keywords(size: usize) -> Table {
    let header = [
        "points",
        "structure",
        "look-up ns",
        "build ns a point",
        "memory bytes a point",
        "file bytes a point",
    ];
    let mut sheet = Sheet::new(
        &format!("Keywords, each of {POINTS_OF_KEYWORD} random points: the points with one"),
        &header,
    );
    let mut random = fastrand::Rng::with_seed(3);
    let keyword = |number: usize| FieldKey::keyword(&format!("keyword{number}"));
    let mut keys: Vec<FieldKey> = (0..size).map(|point| keyword(point / POINTS_OF_KEYWORD)).collect();
    random.shuffle(&mut keys);
    let asked: Vec<FieldKey> = (0..LOOK_UPS / 10).map(|_| keys[random.usize(..size)].clone()).collect();

    let files = Files::new();
    let kind = FieldKind::Keyword;
    let (build, on_disk) =
        files.written(size, &async |backend, path| FieldFile::write(backend, path, kind, &keys).await);
    for (name, pinned) in PLACES {
        let open = async |backend: &DynBackend, path: &Path| {
            FieldFile::open(backend, path, kind, size as u32, pinned).await
        };
        let (file, memory) = bytes_of(|| files.run(open));
        let look_up = look_ups(&asked, |key| {
            let points = pollster::block_on(file.points(key)).expect("read");
            assert_eq!(points.len(), POINTS_OF_KEYWORD as u64);
        });
        let memory = bytes(memory as f64 / size as f64);
        sheet.row(
            size,
            &format!("packed postings; {name}"),
            [look_up, build.clone(), memory, bytes(on_disk)],
        );
    }
    let (tree, build, memory) = built(size, || FieldTree::build(&keys));
    let look_up = look_ups(&asked, |key| assert_eq!(tree.points(key).len(), POINTS_OF_KEYWORD as u64));
    sheet.row(size, "inverted index of bitmaps, the mutable twin", [look_up, build, bytes(memory), none()]);
    sheet.0
}

fn links(size: usize) -> Table {
    let header = ["points", "structure", "read ns a list", "build ns a point", "memory bytes a point"];
    let mut sheet = Sheet::new(&format!("Links to {LINKS} random points"), &header);
    let mut random = fastrand::Rng::with_seed(4);
    let lists: Vec<[u32; LINKS]> =
        (0..size).map(|_| std::array::from_fn(|_| random.u32(..size as u32))).collect();
    let asked: Vec<u32> = (0..LOOK_UPS).map(|_| random.u32(..size as u32)).collect();
    let links = std::cell::RefCell::new(Vec::new());

    let (flat, build, memory) = built(size, || GraphParts {
        m: LINKS,
        entry: 0,
        offsets: (0..=size as u64).map(|point| point * LINKS as u64).collect(),
        links: lists.as_flattened().to_vec(),
        upper: Vec::new(),
    });
    let copy = look_ups(&asked, |&point| {
        let links = &mut *links.borrow_mut();
        let [start, end] = [point, point + 1].map(|point| flat.offsets[point as usize] as usize);
        links.clear();
        links.extend_from_slice(&flat.links[start..end]);
        black_box(links);
    });
    let files = Files::new();
    let (packed, packed_build, packed_memory) = built(size, || {
        let _ = std::fs::remove_file(files.path());
        files.run(async |backend, path| PackedLinks::build(backend, path, &flat).await)
    });
    let unpack = look_ups(&asked, |&point| {
        let links = &mut *links.borrow_mut();
        packed.links(point, links);
        black_box(links);
    });
    sheet.row(size, "packed", [unpack, packed_build, bytes(packed_memory)]);
    sheet.row(size, "flat, copied", [copy, build, bytes(memory)]);
    sheet.0
}

fn postings() -> Table {
    let header = [
        "of 1,000,000 points",
        "structure",
        "bytes a posting",
        "decode ns a posting",
        "intersect with 1,000 ns",
    ];
    let mut out = Table::new("Postings by how dense they are", &header);
    let mut random = fastrand::Rng::with_seed(5);
    let some: RoaringBitmap = (0..1000).map(|_| random.u32(..1_000_000)).collect();
    let intersections = |both: &dyn Fn() -> RoaringBitmap| {
        timed(ROUNDS, INTERSECTIONS, || (0..INTERSECTIONS).for_each(|_| drop(black_box(both()))))
    };
    for (name, part) in [("every one", 1.0), ("1 in 10, random", 0.1), ("1 in 100, random", 0.01)] {
        let numbers: Vec<u32> = (0..1_000_000).filter(|_| random.f64() < part).collect();
        let count = numbers.len();
        let packed = PackedPostings::build(&numbers);
        let decode = timed(ROUNDS, count, || drop(black_box(packed.to_bitmap())));
        let both = intersections(&|| packed.intersect(&some));
        let row = |structure: &str, bytes: usize, decode: Cell, both: Cell| {
            [name.into(), structure.into(), Cell::from(bytes as f64 / count as f64), decode, both]
        };
        out.row(row("packed", packed.bytes(), decode, both));
        let roaring: RoaringBitmap = numbers.iter().copied().collect();
        let both = intersections(&|| &roaring & &some);
        out.row(row("RoaringBitmap, the mutable twin", roaring.serialized_size(), none(), both));
    }
    out
}
