//! What is measured: random reads of every backend, durable writes, and writing from front to back.

use crate::args::Advise;
use crate::error::CliError;
use crate::progress::Progress;
use crate::workload::cpu_time;
use io_core::{
    BackendFactory, OpenOptions, PageWrite, PageWriter, ReadControl, ReadRequest, StopFlag, SyncKind,
    VectorReader,
};
use serde::Serialize;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};
use vecstore::backends::BackendKind;
use vecstore::error::Error;

/// Of a vector, about.
pub(super) const LEN: u32 = 4096;
/// To see whether longer reads come as fast.
pub(super) const LONG_LEN: u32 = 32 << 10;
const ROUNDS: usize = 3;
pub(super) const DEPTHS: [u32; 4] = [1, 8, 32, 128];
/// Where only one depth is of interest.
pub(super) const DEPTH: u32 = 32;
/// Blocks that are written at once.
const WRITE: usize = 1 << 20;

/// What is in the way of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Way {
    /// Nothing: past the page cache.
    Direct,
    /// A page cache without the file.
    Cold,
    /// A page cache that has the file.
    Warm,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "past the page cache",
            Self::Cold => "page cache empty",
            Self::Warm => "page cache full",
        })
    }
}

/// Over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self { min: *values.first()?, median: values[values.len() / 2], max: *values.last()? })
    }
}

/// Random reads by one backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Reads {
    pub(super) backend: String,
    pub(super) way: Way,
    pub(super) depth: u32,
    pub(super) len: u32,
    /// A second.
    pub(super) rate: Spread,
    pub(super) cpu_us: Spread,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Measured {
    pub(super) file_mib: u64,
    pub(super) rounds: usize,
    pub(super) reads: Vec<Reads>,
    /// Backends that cannot be used, and why.
    pub(super) refused: Vec<(String, String)>,
    /// Durable writes a second.
    pub(super) syncs: f64,
    /// MiB a second.
    pub(super) written_mib: f64,
}

/// One kind of reads to be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cell {
    kind: BackendKind,
    way: Way,
    depth: u32,
    len: u32,
}

fn is_map(kind: BackendKind) -> bool {
    kind.name() == "mmap"
}

/// Those of the page cache last: it is filled once a round.
fn cells() -> Vec<Cell> {
    let cell = |kind, way, depth, len| Cell { kind, way, depth, len };
    let mut cells = Vec::new();
    for &kind in BackendKind::all() {
        let from_disk = if is_map(kind) { Way::Cold } else { Way::Direct };
        cells.extend(DEPTHS.map(|depth| cell(kind, from_disk, depth, LEN)));
        cells.push(cell(kind, from_disk, DEPTH, LONG_LEN));
        if !is_map(kind) {
            cells.push(cell(kind, Way::Cold, DEPTH, LEN));
        }
    }
    cells.extend(BackendKind::all().iter().map(|&kind| cell(kind, Way::Warm, DEPTH, LEN)));
    cells
}

pub(super) fn measure(args: &Advise, stop: &StopFlag) -> Result<Measured, CliError> {
    let failed = |problem: String| CliError::File { path: args.path.clone(), problem };
    let bytes = args.file_mib * (1 << 20);
    if let Some(free) = free_bytes(&args.path).map_err(|error| failed(error.to_string()))?
        && free < 2 * bytes
    {
        return Err(failed(format!(
            "{} MiB are free, and the file is to have {} MiB; make room, or give a smaller --file-mib",
            free >> 20,
            args.file_mib
        )));
    }
    // Removed when this returns, however it does.
    let dir = tempfile::Builder::new()
        .prefix(".vecstore-advise-")
        .tempdir_in(&args.path)
        .map_err(|error| failed(format!("cannot make a directory here: {error}")))?;
    let file = dir.path().join("file");
    let written_mib = write_file(&file, bytes, stop)?;
    let syncs = syncs(&dir.path().join("syncs"), Duration::from_secs_f64(args.seconds as f64 * 0.03), stop)?;

    let cells = cells();
    let time = Duration::from_secs_f64(args.seconds as f64 * 0.85 / (cells.len() * ROUNDS) as f64);
    let mut figures: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); cells.len()];
    let mut refused: Vec<(String, String)> = Vec::new();
    let progress = Progress::new("measuring", (cells.len() * ROUNDS) as u64);
    for round in 0..ROUNDS {
        let mut is_warm = false;
        for (cell, figures) in cells.iter().zip(&mut figures) {
            progress.inc();
            if refused.iter().any(|(backend, _)| backend == cell.kind.name()) {
                continue;
            }
            match cell.way {
                Way::Cold => make_cold(&file).map_err(|error| failed(error.to_string()))?,
                Way::Warm if !is_warm => {
                    std::io::copy(&mut std::fs::File::open(&file)?, &mut std::io::sink())?;
                    is_warm = true;
                }
                Way::Warm | Way::Direct => {}
            }
            match reads(cell, &file, bytes, time, round as u64, stop) {
                Ok((rate, cpu)) => {
                    figures.0.push(rate);
                    figures.1.push(cpu);
                }
                Err(_) if stop.is_stopped() => return Err(Error::Stopped.into()),
                Err(reason) => refused.push((cell.kind.name().to_owned(), reason)),
            }
        }
    }
    let reads = cells.into_iter().zip(figures).filter_map(|(cell, (rates, cpu))| {
        let Cell { kind, way, depth, len } = cell;
        let backend = kind.name().to_owned();
        Some(Reads { backend, way, depth, len, rate: Spread::of(rates)?, cpu_us: Spread::of(cpu)? })
    });
    let reads = reads.filter(|read| refused.iter().all(|(backend, _)| *backend != read.backend)).collect();
    Ok(Measured { file_mib: args.file_mib, rounds: ROUNDS, reads, refused, syncs, written_mib })
}

/// Reads a second for as long as `time`, and CPU us a read.
fn reads(
    cell: &Cell,
    file: &Path,
    bytes: u64,
    time: Duration,
    seed: u64,
    stop: &StopFlag,
) -> Result<(f64, f64), String> {
    let backend = cell.kind.backend();
    let options = OpenOptions {
        direct: cell.way == Way::Direct,
        queue_depth: cell.depth,
        gap_max: 0,
        ..OpenOptions::default()
    };
    // A map is told of a batch at a time; a ring is kept full by a longer one.
    let batch = if is_map(cell.kind) { cell.depth } else { (4 * cell.depth).max(16) };
    let mut random = fastrand::Rng::with_seed(seed);
    let places = bytes / u64::from(cell.len);
    let control = ReadControl::with_stop(stop.clone());
    backend
        .run(|| async {
            let reader = backend.open(file, &options).await.map_err(|error| error.to_string())?;
            let (mut count, cpu, started) = (0u64, cpu_time(), Instant::now());
            let mut sum = 0u64;
            while started.elapsed() < time {
                let requests: Vec<ReadRequest> = (0..batch)
                    .map(|_| ReadRequest::new(random.u64(..places) * u64::from(cell.len), cell.len))
                    .collect();
                let read = reader
                    .read_vectors(&requests, &control, |_, bytes| {
                        // A word of each cache line, as scoring would.
                        sum += bytes.chunks(64).map(|line| u64::from(line[0])).sum::<u64>();
                        ControlFlow::Continue(())
                    })
                    .await
                    .map_err(|error| error.to_string())?;
                if read.stopped {
                    return Err("interrupted".to_owned());
                }
                count += requests.len() as u64;
            }
            std::hint::black_box(sum);
            let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
            reader.close().await.map_err(|error| error.to_string())?;
            Ok((count as f64 / elapsed.as_secs_f64(), cpu.as_secs_f64() * 1e6 / count as f64))
        })
        .map_err(|error| error.to_string())?
}

/// The backend that files are written with: the default one.
fn writing_backend() -> Result<io_core::DynBackend, CliError> {
    BackendKind::all().first().map(|kind| kind.backend()).ok_or(CliError::NoBackend)
}

fn write_file(path: &Path, bytes: u64, stop: &StopFlag) -> Result<f64, CliError> {
    let failed =
        |error: &dyn fmt::Display| CliError::File { path: path.to_owned(), problem: error.to_string() };
    let backend = writing_backend()?;
    let started = Instant::now();
    let mut random = fastrand::Rng::with_seed(1);
    let mut block = vec![0; WRITE];
    random.fill(&mut block);
    let ran = backend.run(|| async {
        let writer = backend.create(path, &OpenOptions::default()).await.map_err(|error| failed(&error))?;
        for offset in (0..bytes).step_by(WRITE) {
            if stop.is_stopped() {
                return Err(Error::Stopped.into());
            }
            // Blocks differ, so that no disk can tell them to be one.
            block[..8].copy_from_slice(&offset.to_le_bytes());
            let len = WRITE.min((bytes - offset) as usize);
            writer
                .write_pages(&[PageWrite { offset, bytes: &block[..len] }])
                .await
                .map_err(|error| failed(&error))?;
        }
        writer.sync(SyncKind::All).await.map_err(|error| failed(&error))?;
        writer.close().await.map_err(|error| failed(&error))
    });
    ran.map_err(|error| failed(&error))??;
    Ok(bytes as f64 / (1u64 << 20) as f64 / started.elapsed().as_secs_f64())
}

/// Writes of 4 KiB in place, each durable before the next, a second.
fn syncs(path: &Path, time: Duration, stop: &StopFlag) -> Result<f64, CliError> {
    let failed =
        |error: &dyn fmt::Display| CliError::File { path: path.to_owned(), problem: error.to_string() };
    let (backend, block) = (writing_backend()?, [7u8; 4096]);
    let ran = backend.run(|| async {
        let writer = backend.create(path, &OpenOptions::default()).await.map_err(|error| failed(&error))?;
        let (mut count, started) = (0u64, Instant::now());
        while count == 0 || started.elapsed() < time {
            if stop.is_stopped() {
                return Err(Error::Stopped.into());
            }
            let write = PageWrite { offset: count % 256 * 4096, bytes: &block };
            writer.write_pages(&[write]).await.map_err(|error| failed(&error))?;
            writer.sync(SyncKind::Data).await.map_err(|error| failed(&error))?;
            count += 1;
        }
        let rate = count as f64 / started.elapsed().as_secs_f64();
        writer.close().await.map_err(|error| failed(&error))?;
        Ok::<_, CliError>(rate)
    });
    ran.map_err(|error| failed(&error))?
}

/// Bytes that may still be written, where the system tells.
#[cfg(target_os = "linux")]
fn free_bytes(dir: &Path) -> std::io::Result<Option<u64>> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(Some(stat.f_bavail * stat.f_frsize))
}

#[cfg(not(target_os = "linux"))]
fn free_bytes(dir: &Path) -> std::io::Result<Option<u64>> {
    std::fs::metadata(dir).map(|_| None)
}

/// Leaves nothing of the file in the page cache.
#[cfg(target_os = "linux")]
fn make_cold(path: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::fadvise(&std::fs::File::open(path)?, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Elsewhere nobody can; what is measured as cold is then warm.
#[cfg(not(target_os = "linux"))]
fn make_cold(_path: &Path) -> std::io::Result<()> {
    Ok(())
}
