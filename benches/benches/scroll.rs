//! Scrolls through a whole collection with its vectors, point by point and in batches, on every backend.
//!
//! ```sh
//! cargo bench -p benches --bench scroll -- prepare    # makes the collections
//! target/release/slow-disk run --read-ahead-kb 128 --memory-max-mib 96 -- \
//!     cargo bench -p benches --bench scroll
//! ```
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_KEEP` | the directory of the collections | `target/tmp` |
//! | `BENCH_BACKENDS` | only these backends, as `mmap,ring` | all |
//! | `BENCH_ROUNDS` | the number of rounds | 3 |
//! | `BENCH_QUICK=1` | shows in seconds that it works | |

use benches::data::variable;
use benches::disk::DiskCounts;
use benches::kept::{kept, largest_file, only_prepare};
use benches::one_by_one::OneByOne;
use benches::report::{Plot, Report, Table};
use benches::rounds::{Round, Rounds};
use benches::settings::Settings;
use benches::{cpu_time, fio, make_cold, memory};
use io_core::{AccessPattern, DynBackend, FileSystem, OpenOptions, StopFlag};
use std::error::Error;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, RecordParts, ScrollRequest};
use vecstore::dataset::Clustered;
use vecstore::input::VectorSource;
use vecstore::point::{Point, PointId};
use vecstore::schema::Quantization;
use vecstore::schema::{Placement, Schema};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DIM: usize = 768;
/// Points of a page.
const PAGE: usize = 5000;

/// The kind of ids. It determines the order of a scroll.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// Numbers in the order of insertion.
    InOrder,
    /// Random UUIDs.
    Uuids,
}

impl Ids {
    fn name(self) -> &'static str {
        match self {
            Self::InOrder => "in order",
            Self::Uuids => "UUIDs",
        }
    }
}

struct Contender {
    name: String,
    backend: DynBackend,
    access: AccessPattern,
    /// It scrolls through only this part of the points, because it is slow.
    part: usize,
}

/// The contenders. The others are compared with the first one.
fn contenders() -> Result<Vec<Contender>> {
    let kinds: Vec<BackendKind> = match variable("BENCH_BACKENDS") {
        Some(names) => names.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?,
        None => BackendKind::plain().to_vec(),
    };
    let one_by_one = |name: &str, access| Contender {
        name: name.to_owned(),
        backend: DynBackend::new(OneByOne(BackendKind::Mmap.backend())),
        access,
        part: 10,
    };
    let batched = |kind: BackendKind| Contender {
        name: kind.name().to_owned(),
        backend: kind.backend(),
        access: AccessPattern::Random,
        part: 1,
    };
    Ok([
        one_by_one("point by point", AccessPattern::Random),
        one_by_one("point by point, sequential advice", AccessPattern::Sequential),
    ]
    .into_iter()
    .chain(kinds.into_iter().map(batched))
    .collect())
}

fn main() -> Result<()> {
    memory::give_back_when_freed();
    let Settings { quick, dir, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 3)?;
    let points = if quick { 2000 } else { 60_000 };
    let title = format!("Scroll through {points} x {DIM} f32, vectors included, {PAGE} points a page");
    let figures = ["points/s", "seconds", "MB/s", "reads/point", "read/wanted", "of fio", "CPU %"];
    let mut table = Rounds::table(title, &["ids", "contender"], &figures)
        .note(
            "Nothing of the vectors' file is in the page cache at first; rings read past it. *Point by point* reads a vector \
             when the one before has come, through a map, the first tenth of the points. *of fio*: reads of the disk a \
             second, of fio's at random, 4 KiB and 128 deep, in the same round.",
        )
        .note("Points lie on disk by their nearness in the graph, so that a scroll jumps about, however they are named.")
        .plot(Plot::new("contender", "points/s", "contender").pictures(&["ids"]).log());
    for ids in [Ids::InOrder, Ids::Uuids] {
        let name = format!("scroll-{}-{points}x{DIM}", if ids == Ids::Uuids { "uuids" } else { "numbers" });
        let kept = kept(env!("CARGO_TARGET_TMPDIR"), &name, |dir| make(dir, points, ids))?;
        if only_prepare() {
            continue;
        }
        let dir = tempfile::tempdir_in(&dir)?;
        let collection = dir.path().join("collection");
        Collection::restore(&BackendKind::Mmap.backend(), &kept, &collection, &StopFlag::new())?;
        let vectors = largest_file(&collection)?;
        measure(&Setup { dir: collection, vectors, points, rounds, quick }, ids, &mut table)?;
    }
    if only_prepare() {
        return Ok(());
    }
    let mut report = Report::new("scroll");
    report.table(table);
    report.finish()
}

/// Makes one segment, with ids in memory and vectors on disk.
fn make(dir: &Path, points: usize, ids: Ids) -> Result<()> {
    let mut schema = Schema::new(DIM as u32);
    // Codes are in memory, so they should be small. No scroll needs them.
    schema.quantization = Quantization::Binary;
    schema.placement.ids = Placement::Pinned;
    let options = CollectionOptions { background: false, cores: 0, ..CollectionOptions::default() };
    let collection = Collection::create(&BackendKind::Mmap.backend(), dir, &schema, &options)?;
    let mut vectors = Clustered::new(points, DIM, 12);
    let mut random = fastrand::Rng::with_seed(12);
    let mut id = |number: u64| match ids {
        Ids::InOrder => PointId::Num(number),
        Ids::Uuids => PointId::Uuid(random.u128(..)),
    };
    for first in (0..points).step_by(1000) {
        let rows = vectors.next_rows(1000)?.to_f32();
        let rows = rows.chunks_exact(DIM).zip(first as u64..);
        let points = rows.map(|(row, number)| Point::new(id(number), row.to_vec())).collect();
        collection.upsert(points, Durability::Written).wait()?;
    }
    collection.optimize(|_| {}).wait()?;
    Ok(collection.close()?)
}

struct Setup {
    dir: PathBuf,
    vectors: PathBuf,
    points: usize,
    rounds: usize,
    quick: bool,
}

fn measure(setup: &Setup, ids: Ids, table: &mut Table) -> Result<()> {
    let mut rounds = Rounds::default();
    // The expected digests, by the number of points.
    let mut expected: Vec<(usize, u64, String)> = Vec::new();
    let count = contenders()?.len();
    for round in 0..setup.rounds {
        let fio = rate_of_fio(setup, round)?;
        for turn in 0..count {
            // A new one, since the buffers that a backend keeps would take the memory of the next one.
            let contender = &contenders()?[(turn + round) % count];
            rounds.run(round, [ids.name().into(), contender.name.as_str().into()], || {
                let points = setup.points / contender.part;
                let (measured, digest) = scroll(setup, contender, points, fio)?;
                match expected.iter().find(|(of, ..)| *of == points) {
                    None => expected.push((points, digest, contender.name.clone())),
                    Some((_, expected, _)) if *expected == digest => {}
                    Some((.., other)) => {
                        return Err(format!("it scrolled through other points than {other} did").into());
                    }
                }
                Ok(measured)
            })?;
        }
    }
    rounds.add_to(table);
    Ok(())
}

/// The random reads a second that fio gets from the disk.
fn rate_of_fio(setup: &Setup, round: usize) -> Result<Option<f64>> {
    if !fio::is_there() {
        return Ok(None);
    }
    let time = Duration::from_millis(if setup.quick { 200 } else { 2000 });
    Ok(fio::random_reads(&setup.vectors, 4096, 128, true, time, round as u64)?.figure(0))
}

/// Scrolls through the first `points` points. Also returns a digest of their ids and vectors.
fn scroll(setup: &Setup, contender: &Contender, points: usize, fio: Option<f64>) -> Result<(Round, u64)> {
    let Contender { backend, access, .. } = contender;
    let direct = !backend.name().starts_with("mmap");
    let options = CollectionOptions {
        open: OpenOptions::default().with_direct(direct).with_access(*access),
        cores: 1,
        read_only: true,
        ..CollectionOptions::default()
    };
    let collection = Collection::open(backend, &setup.dir, &options)?;
    make_cold(&setup.vectors)?;
    let (disk, cpu, started) = (DiskCounts::of(&setup.dir), cpu_time(), Instant::now());
    let mut digest = DefaultHasher::new();
    let (mut page, mut left) = (None, points);
    while left > 0 {
        let with = RecordParts { payload: false, vector: true };
        let request = ScrollRequest { limit: PAGE.min(left), page, with, ..ScrollRequest::default() };
        let scrolled = collection.scroll(request).wait()?;
        left -= scrolled.records.len();
        for record in scrolled.records {
            digest.write(record.id.to_string().as_bytes());
            let vector = record.vector.ok_or("a record came without its vector")?;
            // Folds the components first, so that the digest costs little beside the reading.
            digest.write_u32(
                vector.iter().fold(0u32, |sum, component| sum.rotate_left(1) ^ component.to_bits()),
            );
        }
        page = scrolled.next;
        if page.is_none() {
            break;
        }
    }
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    let disk = DiskCounts::of(&setup.dir).zip(disk).map(|(now, before)| now.since(before));
    collection.close()?;
    if left > 0 {
        return Err(format!("the scroll ended {left} points early").into());
    }
    let (bytes, reads) = (disk.map(|disk| disk.bytes_read as f64), disk.map(|disk| disk.reads as f64));
    let rate = reads.map(|reads| reads / elapsed);
    let wanted = (points * DIM * size_of::<f32>()) as f64;
    let round = Round::new(points as f64 / elapsed)
        .with(elapsed)
        .with(wanted / 1e6 / elapsed)
        .with(reads.map(|reads| reads / points as f64))
        .with(bytes.map(|bytes| bytes / wanted))
        .with(rate.zip(fio).map(|(rate, fio)| rate / fio))
        .with(100.0 * cpu / elapsed);
    Ok((round, digest.finish()))
}
