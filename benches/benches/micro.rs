//! Micro-benchmarks with criterion: the cost of planning beside reading, and the overhead of the mmap backend
//! over a plain loop. `cargo bench -p benches --bench micro`

use benches::{data_file, make_warm, map, touch};
use criterion::{BatchSize, Criterion, Throughput};
use io_core::backend::ReadPlan;
use io_core::{
    BackendFactory, Executor, FileSystem, IoGeometry, OpenOptions, ReadControl, ReadRequest, VectorReader,
};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FILE_BYTES: u64 = 256 << 20;
const READS: usize = 4096;

fn random_requests(len: u32) -> Vec<ReadRequest> {
    let mut random = fastrand::Rng::with_seed(1);
    let vectors = FILE_BYTES / u64::from(len);
    (0..READS).map(|_| ReadRequest::new(random.u64(..vectors) * u64::from(len), len)).collect()
}

/// Plans 4,096 requests, and reads them from a warm page cache through each ring backend.
fn planner<B: BackendFactory>(criterion: &mut Criterion, path: &Path, backend: &B) {
    let requests = random_requests(4096);
    let mut group = criterion.benchmark_group("4096 random 4 KiB reads, warm");
    group.throughput(Throughput::Elements(READS as u64)).sample_size(20).warm_up_time(Duration::from_secs(1));
    group.bench_function(backend.name(), |bencher| {
        // Inside the executor, the code times the rounds itself, because criterion's loop cannot await.
        bencher.iter_custom(|iterations| {
            let ran = backend.run(|| async {
                let options = OpenOptions::default().with_queue_depth(128).with_gap_max(0);
                let reader = backend.open(path, &options).await.expect("opens");
                let control = ReadControl::default();
                let started = Instant::now();
                for _ in 0..iterations {
                    let read = reader.read_vectors(&requests, &control, |_, bytes| {
                        black_box(touch(bytes));
                        ControlFlow::Continue(())
                    });
                    read.await.expect("reads");
                }
                started.elapsed()
            });
            ran.expect("starts")
        });
    });
    group.finish();
}

fn plan(criterion: &mut Criterion) {
    let requests = random_requests(4096);
    let geometry = IoGeometry::buffered(256 << 10, 0);
    let mut group = criterion.benchmark_group("4096 random 4 KiB reads, warm");
    group.throughput(Throughput::Elements(READS as u64)).sample_size(50).warm_up_time(Duration::from_secs(1));
    group.bench_function("planning alone", |bencher| {
        bencher.iter_batched_ref(
            ReadPlan::default,
            |plan| plan.build(&requests, &geometry, FILE_BYTES).expect("inside the file"),
            BatchSize::NumIterations(100),
        );
    });
    group.finish();
}

/// Warm reads of 3,072 and 4,096 bytes, by a plain loop over slices and by the mmap backend.
fn warm_maps(criterion: &mut Criterion, path: &Path) {
    let map = map::open(path, false).expect("maps");
    let backend = io_mmap::MmapBackend::default();
    let reader = backend.run(|| async { backend.open(path, &OpenOptions::default()).await });
    let reader = reader.expect("starts").expect("opens");
    let control = ReadControl::default();
    for len in [3072, 4096] {
        let requests = random_requests(len);
        let mut group = criterion.benchmark_group(format!("4096 warm slices of {len} bytes"));
        group
            .throughput(Throughput::Elements(READS as u64))
            .sample_size(50)
            .warm_up_time(Duration::from_secs(1));
        group.bench_function("plain loop", |bencher| bencher.iter(|| black_box(map::read(&map, &requests))));
        group.bench_function("mmap backend", |bencher| {
            bencher.iter(|| {
                let mut sum = 0u64;
                let read = reader.read_vectors(&requests, &control, |_, bytes| {
                    sum = sum.wrapping_add(touch(bytes));
                    ControlFlow::Continue(())
                });
                backend.run(|| read).expect("starts").expect("reads");
                black_box(sum)
            });
        });
        group.finish();
    }
}

fn main() {
    let dir =
        std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), Into::into);
    let path = data_file(&dir, FILE_BYTES).expect("the data file");
    make_warm(&path).expect("reads");
    let mut criterion = Criterion::default().configure_from_args();
    plan(&mut criterion);
    planner(&mut criterion, &path, &io_tokio_uring::TokioUringBackend::default());
    planner(&mut criterion, &path, &io_glommio::GlommioBackend::default());
    planner(&mut criterion, &path, &io_monoio::MonoioBackend::default());
    planner(&mut criterion, &path, &io_compio::CompioBackend::default());
    planner(&mut criterion, &path, &io_threads::ThreadsBackend::default());
    warm_maps(&mut criterion, &path);
    criterion.final_summary();
}
