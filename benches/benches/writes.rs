//! Foreground and background writes: `cargo bench -p benches --bench writes`.
//!
//! * **Appends**: durable changes a second of a collection, by 1, 8 and 64 writers. Beside them, one
//!   `fdatasync` for each write, and the rate at which the device can sync.
//! * **Bulk**: a segment's vectors written from front to back and synced, beside fio's sequential writes.
//! * **Workers**: kernel threads for buffered writes to many files, with a ring for each file, with such
//!   rings that share workers, and with one ring for all.
//!
//! Arguments: the parts to run (`-- bulk`); default: all.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_ROUNDS` | the number of rounds | 5 |
//! | `BENCH_QUICK=1` | shows in seconds that it works, measures nothing | |

use benches::fio;
use benches::report::{Report, Table};
use benches::rounds::{Round, Rounds};
use benches::settings::Settings;
use benches::write_rings::{Pooling, Work, WorkerWatch, many_rings};
use io_core::{Executor, FileSystem, Lane, OpenOptions, PageWrite, PageWriter, SyncKind};
use io_ring::{RingBackend, RingOptions};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability};
use vecstore::point::Point;
use vecstore::schema::Schema;
use vecstore_format::ElementType;
use vecstore_format::vector_file::VectorFileWriter;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DIM: usize = 128;

struct Setup {
    dir: PathBuf,
    rounds: usize,
    quick: bool,
}

fn main() -> Result<()> {
    let Settings { quick, dir: base, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 5)?;
    std::fs::create_dir_all(&base)?;
    let dir = tempfile::Builder::new().prefix("writes-").tempdir_in(base)?;
    let setup = Setup { dir: dir.path().to_owned(), rounds, quick };
    let mut report = Report::new("writes");
    // `cargo bench` adds `--bench`. The other arguments name parts.
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, part) in
        [("appends", appends as fn(&Setup) -> Result<Table>), ("bulk", bulk), ("workers", workers)]
    {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            report.table(part(&setup)?);
        }
    }
    report.finish()
}

/// Measures durable changes a second.
fn appends(setup: &Setup) -> Result<Table> {
    let title = format!("Appends: one point of {DIM} components a change, each durable before the next");
    let mut table = Rounds::table(title, &["contender", "writers"], &["changes/s"]);
    let each = if setup.quick { 8 } else { 1000 };
    let mut rounds = Rounds::default();
    for round in 0..setup.rounds {
        let device = "the device: 4 KiB in place, fdatasync, 1 thread";
        rounds.run(round, [device.into(), 1usize.into()], || device_syncs(setup, each))?;
        for writers in [1, 8, 64] {
            let naive = ["one fdatasync a write".into(), writers.into()];
            rounds.run(round, naive, || fdatasync_each(setup, writers, each))?;
            for kind in BackendKind::plain() {
                let store = [format!("vecstore, {kind}").into(), writers.into()];
                rounds.run(round, store, || store_appends(setup, *kind, writers, each))?;
            }
        }
    }
    rounds.add_to(&mut table);
    Ok(table)
}

/// The rate at which the disk makes a block durable in a known place.
fn device_syncs(setup: &Setup, count: usize) -> Result<Round> {
    let file = File::create_new(setup.dir.join("device"))?;
    let block = [7u8; 4096];
    file.write_all_at(&block, 0)?;
    file.sync_all()?;
    let started = Instant::now();
    for _ in 0..count {
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
    }
    let round = Round::rate(count as f64, started.elapsed());
    std::fs::remove_file(setup.dir.join("device"))?;
    Ok(round)
}

/// A log without groups. Each writer syncs its own record, under a lock.
fn fdatasync_each(setup: &Setup, writers: usize, count: usize) -> Result<Round> {
    let path = setup.dir.join("naive");
    let file = Mutex::new(File::create_new(&path)?);
    let record = vec![7u8; DIM * 4 + 64];
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let (file, record) = (&file, &record);
                scope.spawn(move || -> std::io::Result<()> {
                    for _ in share(count, writers, writer) {
                        let mut file = file.lock().expect("nobody panics");
                        file.write_all(record)?;
                        file.sync_data()?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let round = Round::rate(count as f64, started.elapsed());
    std::fs::remove_file(path)?;
    Ok(round)
}

fn store_appends(setup: &Setup, kind: BackendKind, writers: usize, each: usize) -> Result<Round> {
    // Groups write more in the same time.
    let count = if setup.quick { each } else { each * writers.min(16) };
    let dir = setup.dir.join("collection");
    let options = CollectionOptions { background: false, cores: 0, ..CollectionOptions::default() };
    let collection = Collection::create(&kind.backend(), &dir, &Schema::new(DIM as u32), &options)?;
    // The first write creates the log.
    collection.upsert(vec![Point::new(0, vec![1.0; DIM])], Durability::Synced).wait()?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let collection = &collection;
                scope.spawn(move || -> Result<()> {
                    for id in share(count, writers, writer) {
                        let point = Point::new(id as u64, vec![id as f32 + 1.0; DIM]);
                        collection.upsert(vec![point], Durability::Synced).wait()?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let elapsed = started.elapsed();
    collection.close()?;
    let opened = Collection::open(&kind.backend(), &dir, &CollectionOptions::default())?;
    let found = opened.count(None).wait()?;
    if found != count as u64 {
        return Err(format!("{found} points are there after {count} acknowledged changes").into());
    }
    opened.close()?;
    std::fs::remove_dir_all(dir)?;
    Ok(Round::rate(count as f64, elapsed))
}

fn share(count: usize, writers: usize, writer: usize) -> impl Iterator<Item = usize> {
    (writer..count).step_by(writers)
}

/// Writes a file of vectors with checksums from front to back, and syncs it at the end. fio does the same
/// for comparison.
fn bulk(setup: &Setup) -> Result<Table> {
    let mib = if setup.quick { 8 } else { 512 };
    let title = format!("Bulk: {mib} MiB from front to back, synced at the end");
    let mut table = Rounds::table(title, &["written", "contender"], &["MiB/s"]);
    let fio_is_there = fio::is_there();
    if !fio_is_there {
        table = table.note("fio is not installed: left out.");
    }
    for direct in [false, true] {
        let written = if direct { "O_DIRECT" } else { "buffered" };
        let mut rounds = Rounds::default();
        for round in 0..setup.rounds {
            if fio_is_there {
                rounds.run(round, [written.into(), "fio".into()], || {
                    Ok(Round::new(fio::sequential_write(&setup.dir, mib, direct)?))
                })?;
            }
            for kind in BackendKind::plain() {
                for lane in [Lane::Foreground, Lane::Background] {
                    if direct && kind.name() == "mmap" || lane == Lane::Background && kind.name() != "ring" {
                        continue;
                    }
                    let background = if lane == Lane::Background { ", background" } else { "" };
                    let contender = [written.into(), format!("{kind}{background}").into()];
                    let options = OpenOptions::default().with_direct(direct).with_lane(lane);
                    rounds.run(round, contender, || vectors(setup, *kind, &options, mib))?;
                }
            }
        }
        rounds.add_to(&mut table);
    }
    Ok(table)
}

fn vectors(setup: &Setup, kind: BackendKind, options: &OpenOptions, mib: usize) -> Result<Round> {
    const COMPONENTS: usize = 1024;
    let (path, backend) = (setup.dir.join("vectors"), kind.backend());
    let vector: Vec<f32> = (0..COMPONENTS).map(|at| at as f32).collect();
    let started = Instant::now();
    let header = backend.run(|| async {
        let writer = backend.create(&path, options).await?;
        let mut vectors = VectorFileWriter::new(writer, ElementType::F32, COMPONENTS as u32)?;
        for _ in 0..mib * 256 {
            vectors.push_vector(&vector).await?;
        }
        vectors.finish().await.map_err(Box::<dyn Error + Send + Sync>::from)
    })??;
    let elapsed = started.elapsed();
    if header.count != (mib * 256) as u64 {
        return Err(format!("{} vectors written", header.count).into());
    }
    std::fs::remove_file(path)?;
    Ok(Round::rate(mib as f64, elapsed))
}

/// Buffered writes to many files at once: the number of kernel threads, and the rate.
fn workers(setup: &Setup) -> Result<Table> {
    let work = if setup.quick {
        Work { files: 4, threads: 2, mib: 1 }
    } else {
        Work { files: 32, threads: 4, mib: 8 }
    };
    let Work { files, threads, mib } = work;
    let title = format!(
        "Workers: {threads} threads write {mib} MiB to each of {files} files, all files at once, buffered, 64 KiB at a time, \
         each file synced"
    );
    let mut table = Rounds::table(title, &["contender"], &["MiB/s", "kernel threads"]);
    let mut rounds = Rounds::default();
    for round in 0..setup.rounds {
        for (name, pooling) in [
            ("bare rings, one a file", Pooling::File),
            ("bare rings, one a file, ATTACH_WQ", Pooling::FileAttached),
            ("bare rings, one a thread", Pooling::Thread),
            ("bare rings, one a thread, ATTACH_WQ", Pooling::ThreadAttached),
        ] {
            rounds.run(round, [name.into()], || many_rings(&setup.dir, work, pooling))?;
        }
        for (name, count) in [("io-ring, one a file", files), ("io-ring, one for all", 1)] {
            rounds.run(round, [name.into()], || {
                let rings: std::result::Result<Vec<_>, _> =
                    (0..count).map(|_| RingBackend::start(&RingOptions::default())).collect();
                io_rings(&setup.dir, work, &rings?)
            })?;
        }
    }
    rounds.add_to(&mut table);
    Ok(table)
}

/// The same work through `io-ring`. File `n` uses ring `n` modulo the number of rings.
fn io_rings(dir: &Path, work: Work, rings: &[RingBackend]) -> Result<Round> {
    let Work { files, threads, mib } = work;
    let watch = WorkerWatch::start();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || -> Result<()> {
                    let bytes = vec![5u8; 64 << 10];
                    let write = async |file: usize| -> Result<()> {
                        let path = dir.join(format!("many-{file}"));
                        let writer = rings[file % rings.len()].create(&path, &OpenOptions::default()).await?;
                        let page =
                            |page: usize| PageWrite { offset: page as u64 * (64 << 10), bytes: &bytes };
                        let pages: Vec<_> = (0..mib * 16).map(page).collect();
                        writer.write_pages(&pages).await?;
                        writer.sync(SyncKind::Data).await?;
                        Ok(writer.close().await?)
                    };
                    let mine = share(files, threads, thread).map(write);
                    pollster::block_on(futures_util::future::try_join_all(mine)).map(drop)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let round = Round::rate((files * mib) as f64, started.elapsed()).with(watch.peak() as f64);
    for file in 0..files {
        std::fs::remove_file(dir.join(format!("many-{file}")))?;
    }
    Ok(round)
}
