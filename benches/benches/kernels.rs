//! Kernels that score codes, by criterion: beside a loop as one would write it, and, for codes that do not fit a cache, beside
//! touching the same bytes only, which is what the memory gives. `cargo bench -p benches --bench kernels`

use benches::touch;
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::time::Duration;
use vecstore::kernels::{Kernels, Records, Scan, WINDOW};

const DIM: usize = 384;
/// Bytes of parameters before a code.
const SKIP: usize = 12;
/// Points scored at once.
const BATCH: usize = 1024;
/// Larger than any cache here.
const MEMORY_BYTES: usize = 256 << 20;

/// Codes of a number of bits, at random.
struct Codes {
    bits: usize,
    stride: usize,
    bytes: Vec<u8>,
}

impl Codes {
    fn new(bits: usize, bytes: usize) -> Self {
        let stride = (SKIP + DIM * bits / 8).next_multiple_of(8);
        let mut random = fastrand::Rng::with_seed(1);
        Self { bits, stride, bytes: (0..bytes / stride * stride).map(|_| random.u8(..)).collect() }
    }

    fn len(&self) -> u32 {
        (self.bytes.len() / self.stride) as u32
    }

    fn record(&self, point: u32) -> &[u8] {
        &self.bytes[point as usize * self.stride..][..self.stride]
    }

    fn scan(&self, scan: Scan<i8>, points: &[u32], query: &[i8], sums: &mut [f32]) {
        scan(Records { bytes: &self.bytes, stride: self.stride, skip: SKIP }, points, query, sums);
    }

    fn naive(&self, point: u32, query: &[f32]) -> f32 {
        let code = &self.record(point)[SKIP..];
        let per_byte = 8 / self.bits;
        let level = |at: usize| (code[at / per_byte] >> (at % per_byte * self.bits)) & ((1 << self.bits) - 1);
        query.iter().enumerate().map(|(at, x)| f32::from(level(at)) * x).sum()
    }
}

fn codes(criterion: &mut Criterion, bits: usize, scan: Scan<i8>) {
    let mut random = fastrand::Rng::with_seed(2);
    let windows = (DIM * bits / 8).div_ceil(WINDOW);
    let planes: Vec<i8> = (0..windows * WINDOW * 8 / bits).map(|_| random.i8(..)).collect();
    let query: Vec<f32> = (0..DIM).map(|_| random.f32()).collect();
    let mut sums = [0.0; BATCH];
    let (cached, memory) = (Codes::new(bits, 16 << 10), Codes::new(bits, MEMORY_BYTES));

    let mut group = criterion.benchmark_group(format!("{BATCH} codes of {DIM} x {bits} bits"));
    group
        .throughput(Throughput::Bytes((BATCH * memory.stride) as u64))
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    let points: Vec<u32> = (0..BATCH as u32).map(|point| point % cached.len()).collect();
    group.bench_function("plain loop, from cache", |bencher| {
        bencher.iter(|| {
            for (sum, &point) in sums.iter_mut().zip(&points) {
                *sum = cached.naive(point, black_box(&query));
            }
        });
    });
    group.bench_function("kernel, from cache", |bencher| {
        bencher.iter(|| cached.scan(scan, &points, black_box(&planes), &mut sums));
    });
    let mut start = 0;
    let mut in_order = || {
        start = (start + BATCH as u32) % (memory.len() - BATCH as u32);
        (start..start + BATCH as u32).collect::<Vec<u32>>()
    };
    group.bench_function("kernel, from memory in order", |bencher| {
        bencher.iter(|| memory.scan(scan, &in_order(), &planes, &mut sums));
    });
    group.bench_function("touching only, from memory in order", |bencher| {
        bencher.iter(|| {
            for point in in_order() {
                black_box(touch(memory.record(point)));
            }
        });
    });
    let mut at_random = || (0..BATCH).map(|_| random.u32(..memory.len())).collect::<Vec<u32>>();
    group.bench_function("kernel, from memory at random", |bencher| {
        bencher.iter(|| memory.scan(scan, &at_random(), &planes, &mut sums));
    });
    group.bench_function("touching only, from memory at random", |bencher| {
        bencher.iter(|| {
            for point in at_random() {
                black_box(touch(memory.record(point)));
            }
        });
    });
    group.finish();
}

fn hadamard(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Hadamard transform of 512");
    group.sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for kernels in [Kernels::scalar(), Kernels::get()] {
        group.bench_function(kernels.name, |bencher| {
            let mut vector = vec![0.0f32; 512];
            bencher.iter(|| (kernels.hadamard)(black_box(&mut vector)));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let kernels = Kernels::get();
    for (bits, scan) in [(4, kernels.scan_u4), (2, kernels.scan_u2), (1, kernels.scan_u1)] {
        codes(&mut criterion, bits, scan);
    }
    hadamard(&mut criterion);
    criterion.final_summary();
}
