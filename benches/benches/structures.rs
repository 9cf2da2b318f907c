//! Immutable structures beside their mutable twins: look-up time, build time and size.
//!
//! `cargo bench -p benches --bench structures`; `BENCH_QUICK=1` leaves the largest size out.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use io_core::{BackendFactory, DynBackend};
use io_mmap::MmapBackend;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::time::Instant;
use vecstore::dataset::Clustered;
use vecstore::distance::Distance;
use vecstore::hnsw::{HnswParams, VectorScores, build};
use vecstore::input::{Rows, VectorSource};
use vecstore::point::PointId;
use vecstore::structures::{HashedIds, IdFile, PackedLinks, PackedPostings};

/// Look-ups timed at once, and how often.
const LOOK_UPS: usize = 200_000;
const ROUNDS: usize = 5;
/// Ids of a batch.
const BATCH: usize = 100;

fn quick() -> bool {
    std::env::var_os("BENCH_QUICK").is_some()
}

/// The median time of an item, and the spread of the rounds: (slowest - fastest) / median.
fn timed(items: usize, mut run: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64() * 1e9 / items as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[ROUNDS / 2], (times[ROUNDS - 1] - times[0]) / times[ROUNDS / 2])
}

fn nanoseconds((median, spread): (f64, f64)) -> String {
    format!("{median:.1} ns ±{:.0} %", spread * 50.0)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn print(title: &str, table: &Table) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "\n{title}\n\n{table}");
}

fn main() {
    ids();
    postings();
    links();
}

fn ids() {
    let mut out = table(&["ids", "structure", "look-up", "build a key", "bytes a key"]);
    let mut random = fastrand::Rng::with_seed(1);
    let sizes: &[usize] = if quick() { &[1000, 100_000] } else { &[1000, 100_000, 10_000_000] };
    for &size in sizes {
        let mut ids: Vec<u64> = Vec::with_capacity(size);
        let mut known = std::collections::HashSet::with_capacity(size);
        while ids.len() < size {
            let id = random.u64(..);
            if known.insert(id) {
                ids.push(id);
            }
        }
        drop(known);
        let asked: Vec<u64> = (0..LOOK_UPS).map(|_| ids[random.usize(..size)]).collect();
        let mut row = |name: &str, lookup: (f64, f64), build: Option<f64>, bytes: f64| {
            let build = build.map_or_else(|| "-".to_owned(), |ns| format!("{ns:.0} ns"));
            let bytes = if bytes > 0.0 { format!("{bytes:.1}") } else { "-".to_owned() };
            out.add_row([size.to_string(), name.to_owned(), nanoseconds(lookup), build, bytes]);
        };
        let since = |started: Instant| Some(started.elapsed().as_secs_f64() * 1e9 / size as f64);

        let started = Instant::now();
        let hashed = HashedIds::build(&ids);
        let built = since(started);
        let lookup = timed(LOOK_UPS, || {
            for &id in &asked {
                black_box(hashed.get(id).expect("it is there"));
            }
        });
        let (hash, slots) = hashed.bytes();
        let name = format!("perfect hash ({:.2} bytes a key) and slots", hash as f64 / size as f64);
        row(&name, lookup, built, (hash + slots) as f64 / size as f64);
        drop(hashed);

        let started = Instant::now();
        let tree: BTreeMap<u64, u32> = ids.iter().copied().zip(0..).collect();
        let built = since(started);
        let lookup = timed(LOOK_UPS, || {
            for id in &asked {
                black_box(tree.get(id).expect("it is there"));
            }
        });
        row("BTreeMap, the mutable twin", lookup, built, 0.0);
        drop(tree);

        let started = Instant::now();
        let map: HashMap<u64, u32> = ids.iter().copied().zip(0..).collect();
        let built = since(started);
        let lookup = timed(LOOK_UPS, || {
            for id in &asked {
                black_box(map.get(id).expect("it is there"));
            }
        });
        let bytes = map.capacity() as f64 * 8.0 / 7.0 * 17.0 / size as f64;
        row("HashMap", lookup, built, bytes);
        drop(map);

        let dir = tempfile::tempdir_in(".").expect("a directory here");
        let backend = DynBackend::new(MmapBackend::default());
        let asked: Vec<PointId> = asked.iter().copied().map(PointId::Num).collect();
        for (name, pinned) in
            [("file, pinned, batches of 100", true), ("file, mapped and warm, batches of 100", false)]
        {
            let lookup = backend
                .run(|| async {
                    let path = dir.path().join("ids.pages");
                    let file = IdFile::build(&backend, &path, &ids, pinned).await.expect("written");
                    let find = |batch: &[PointId]| pollster::block_on(file.find(batch)).expect("read");
                    // Once to bring the pages in.
                    asked.chunks(BATCH).for_each(|batch| drop(black_box(find(batch))));
                    timed(LOOK_UPS, || asked.chunks(BATCH).for_each(|batch| drop(black_box(find(batch)))))
                })
                .expect("maps need no executor");
            row(name, lookup, None, 0.0);
        }
    }
    print("Look-up of ids that are there, in random order", &out);
}

fn postings() {
    let mut out =
        table(&["of 1,000,000 points", "structure", "bytes a posting", "decode", "intersect with 1,000"]);
    let mut random = fastrand::Rng::with_seed(2);
    let some: RoaringBitmap = (0..1000).map(|_| random.u32(..1_000_000)).collect();
    for (name, part) in [("every one", 1.0), ("1 in 10, random", 0.1), ("1 in 100, random", 0.01)] {
        let numbers: Vec<u32> = (0..1_000_000).filter(|_| random.f64() < part).collect();
        let count = numbers.len();
        let packed = PackedPostings::build(&numbers);
        let decode = timed(count, || drop(black_box(packed.to_bitmap())));
        let both = timed(1, || drop(black_box(packed.intersect(&some))));
        let row = |structure: &str, bytes: usize, decode: String, both: (f64, f64)| {
            [
                name.to_owned(),
                structure.to_owned(),
                format!("{:.2}", bytes as f64 / count as f64),
                decode,
                format!("{:.0} us", both.0 / 1000.0),
            ]
        };
        out.add_row(row("packed", packed.bytes(), nanoseconds(decode), both));
        let roaring: RoaringBitmap = numbers.iter().copied().collect();
        let both = timed(1, || drop(black_box(&roaring & &some)));
        out.add_row(row("RoaringBitmap, the mutable twin", roaring.serialized_size(), "-".into(), both));
    }
    print("Postings", &out);
}

fn links() {
    let (points, dim) = (if quick() { 5000 } else { 50_000 }, 32);
    let mut data = Clustered::new(points, dim, 3);
    let Ok(Rows::F32(rows)) = data.next_rows(points) else { unreachable!("clusters are of f32") };
    let scores = VectorScores::new(Distance::Euclid, rows, dim);
    let graph = build(&scores, &HnswParams::default(), &|_| {}, &|| false).expect("good parameters");
    let parts = graph.parts();
    let dir = tempfile::tempdir_in(".").expect("a directory here");
    let backend = DynBackend::new(MmapBackend::default());
    let path = dir.path().join("graph.pages");
    let packed = backend
        .run(|| PackedLinks::build(&backend, &path, parts))
        .expect("maps need no executor")
        .expect("written");
    let mut random = fastrand::Rng::with_seed(4);
    let asked: Vec<u32> = (0..LOOK_UPS).map(|_| random.u32(..points as u32)).collect();
    let mut out = table(&["links of a point", "read a list", "bytes a point"]);
    let mut links = Vec::new();
    let unpack = timed(LOOK_UPS, || {
        for &point in &asked {
            packed.links(point, &mut links);
            black_box(&links);
        }
    });
    out.add_row(["packed", &nanoseconds(unpack), &format!("{:.1}", packed.bytes() as f64 / points as f64)]);
    let copy = timed(LOOK_UPS, || {
        for &point in &asked {
            links.clear();
            links.extend_from_slice(graph.links(point, 0));
            black_box(&links);
        }
    });
    out.add_row([
        "flat, copied",
        &nanoseconds(copy),
        &format!("{:.1}", graph.memory_bytes() as f64 / points as f64),
    ]);
    let each = graph.parts().links.len() as f64 / points as f64;
    print(&format!("Links of {points} points, {each:.1} a point"), &out);
}
