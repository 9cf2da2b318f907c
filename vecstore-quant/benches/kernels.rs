//! Measures kernels with criterion, against plain loops. For codes that do not fit a cache, it also measures
//! them against only touching the memory, which is the fastest possible.
//!
//! `cargo bench -p vecstore-quant --bench kernels`. `BENCH_QUICK=1` shows that it works.

use criterion::{Criterion, Throughput};
use half::f16;
use std::hint::black_box;
use std::time::Duration;
use vecstore_quant::kernels::{BLOCK_CODES, FastScan, Kernels, Records, Scan, WINDOW, block_bytes};

const DIM: usize = 384;
/// Bytes of parameters before a code.
const SKIP: usize = 12;
/// Points scored at once.
const BATCH: usize = 1024;
/// Larger than any cache here.
const MEMORY_BYTES: usize = 256 << 20;

/// Reads a word of each cache line, and does nothing else.
fn touch(bytes: &[u8]) -> u64 {
    let ends = bytes.chunks(64).map(|line| u64::from(line[0]) + u64::from(line[line.len() - 1]));
    ends.fold(0, u64::wrapping_add)
}

/// Codes of a number of bits, at random.
struct Codes {
    stride: usize,
    bytes: Vec<u8>,
}

impl Codes {
    fn new(bits: usize, bytes: usize) -> Self {
        let stride = (SKIP + DIM * bits / 8).next_multiple_of(8);
        let mut random = fastrand::Rng::with_seed(1);
        Self { stride, bytes: (0..bytes / stride * stride).map(|_| random.u8(..)).collect() }
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

    /// As one would write it.
    fn naive<const BITS: usize>(&self, point: u32, query: &[f32]) -> f32 {
        let code = &self.record(point)[SKIP..];
        let mut sum = 0.0;
        for (byte, query) in code.iter().zip(query.chunks_exact(8 / BITS)) {
            for (at, x) in query.iter().enumerate() {
                sum += f32::from((byte >> (at * BITS)) & ((1 << BITS) - 1)) * x;
            }
        }
        sum
    }
}

fn codes<const BITS: usize>(criterion: &mut Criterion, scan: Scan<i8>, scalar: Scan<i8>) {
    let bits = BITS;
    let mut random = fastrand::Rng::with_seed(2);
    let windows = (DIM * bits / 8).div_ceil(WINDOW);
    let planes: Vec<i8> = (0..windows * WINDOW * 8 / bits).map(|_| random.i8(..)).collect();
    let query: Vec<f32> = (0..DIM).map(|_| random.f32()).collect();
    let mut sums = [0.0; BATCH];
    let (cached, memory) = (Codes::new(bits, 16 << 10), Codes::new(bits, MEMORY_BYTES));

    let mut group = criterion.benchmark_group(format!("{BATCH} codes of {DIM} x {bits} bits"));
    group.throughput(Throughput::Bytes((BATCH * memory.stride) as u64));
    let points: Vec<u32> = (0..BATCH as u32).map(|point| point % cached.len()).collect();
    group.bench_function("plain loop, from cache", |bencher| {
        bencher.iter(|| {
            for (sum, &point) in sums.iter_mut().zip(&points) {
                *sum = cached.naive::<BITS>(point, black_box(&query));
            }
        });
    });
    group.bench_function("scalar kernel, from cache", |bencher| {
        bencher.iter(|| cached.scan(scalar, &points, black_box(&planes), &mut sums));
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

/// Blocks of 32 codes by tables, one bit a component. A nibble is four components.
fn fast_scan(criterion: &mut Criterion) {
    const NIBBLES: usize = DIM / 4;
    let mut random = fastrand::Rng::with_seed(4);
    let tables: Vec<[u8; 16]> = (0..NIBBLES).map(|_| [(); 16].map(|()| random.u8(..64))).collect();
    let block = block_bytes(NIBBLES);
    let mut bytes_of = |bytes: usize| (0..bytes / block * block).map(|_| random.u8(..)).collect::<Vec<u8>>();
    let (cached, memory) = (bytes_of(16 << 10), bytes_of(MEMORY_BYTES));
    // As many codes as `codes` scores.
    let blocks = BATCH / BLOCK_CODES;
    let scanned = |scan: FastScan, codes: &[u8], first: usize| {
        let mut sums = [0; BLOCK_CODES];
        for index in first..first + blocks {
            scan(&codes[index * block % codes.len()..][..block], &tables, &mut sums);
            black_box(&sums);
        }
    };
    // As one would write it: the nibbles of a code one behind the other.
    let codes = bytes_of(BATCH * NIBBLES / 2);
    let plain = || {
        for code in codes.chunks_exact(NIBBLES / 2) {
            let (mut sum, tables) = (0, black_box(&tables));
            for (byte, tables) in code.iter().zip(tables.chunks_exact(2)) {
                sum += u32::from(tables[0][usize::from(byte & 15)]);
                sum += u32::from(tables[1][usize::from(byte >> 4)]);
            }
            black_box(sum);
        }
    };
    let mut group = criterion.benchmark_group(format!("fast scan of {BATCH} codes of {DIM} x 1 bits"));
    group.throughput(Throughput::Bytes((blocks * block) as u64));
    group.bench_function("plain loop, from cache", |b| b.iter(plain));
    for kernels in [Kernels::scalar(), Kernels::get()] {
        group.bench_function(format!("{}, from cache", kernels.name), |b| {
            b.iter(|| scanned(kernels.fast_scan, &cached, 0));
        });
    }
    let mut first = 0;
    let mut next = || {
        first = (first + blocks) % (memory.len() / block - blocks);
        first
    };
    group.bench_function("kernel, from memory", |b| {
        b.iter(|| scanned(Kernels::get().fast_scan, &memory, next()));
    });
    group.bench_function("touching only, from memory", |b| {
        b.iter(|| black_box(touch(&memory[next() * block..][..blocks * block])));
    });
    group.finish();
}

fn hadamard(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Hadamard transform of 512");
    for kernels in [Kernels::scalar(), Kernels::get()] {
        group.bench_function(kernels.name, |bencher| {
            let mut vector = vec![0.0f32; 512];
            bencher.iter(|| (kernels.hadamard)(black_box(&mut vector)));
        });
    }
    group.finish();
}

/// Vectors and codes as they are scored against a query, 768 components each: plain loops and kernels.
fn vectors(criterion: &mut Criterion) {
    const COMPONENTS: usize = 768;
    let mut random = fastrand::Rng::with_seed(3);
    let floats: Vec<f32> = (0..COMPONENTS).map(|_| random.f32()).collect();
    let halves: Vec<f16> = floats.iter().map(|&x| f16::from_f32(x)).collect();
    let bytes: Vec<u8> = (0..COMPONENTS).map(|_| random.u8(..)).collect();
    let codes: Vec<i8> = (0..COMPONENTS).map(|_| random.i8(..)).collect();
    let query: Vec<f32> = (0..COMPONENTS).map(|_| random.f32()).collect();
    let integers: Vec<i16> = (0..COMPONENTS).map(|_| random.i16(-1000..1000)).collect();
    let mut group = criterion.benchmark_group(format!("dot product of {COMPONENTS}"));
    fn naive<T: Copy + Into<f32>>(vector: &[T], query: &[f32]) -> f32 {
        vector.iter().zip(query).map(|(&x, y)| x.into() * y).sum()
    }
    fn naive_integers<T: Copy + Into<i32>>(code: &[i8], query: &[T]) -> i32 {
        code.iter().zip(query).map(|(&x, &y)| i32::from(x) * y.into()).sum()
    }
    group.bench_function("f32, plain loop", |b| b.iter(|| naive(black_box(&floats), &query)));
    group.bench_function("f16, plain loop", |b| b.iter(|| naive(black_box(&halves), &query)));
    group.bench_function("u8, plain loop", |b| b.iter(|| naive(black_box(&bytes), &query)));
    group.bench_function("i8 x i16, plain loop", |b| b.iter(|| naive_integers(black_box(&codes), &integers)));
    group.bench_function("i8 x i8, plain loop", |b| b.iter(|| naive_integers(black_box(&codes), &codes)));
    for kernels in [Kernels::scalar(), Kernels::get()] {
        let name = kernels.name;
        group.bench_function(format!("f32, {name}"), |b| {
            b.iter(|| (kernels.dot_f32)(black_box(&floats), &query));
        });
        group.bench_function(format!("f16, {name}"), |b| {
            b.iter(|| (kernels.dot_f16)(black_box(&halves), &query));
        });
        group.bench_function(format!("u8, {name}"), |b| {
            b.iter(|| (kernels.dot_u8)(black_box(&bytes), &query));
        });
        group.bench_function(format!("f32 distance, {name}"), |b| {
            b.iter(|| (kernels.l2_f32)(black_box(&floats), &query));
        });
        group.bench_function(format!("i8 x i16, {name}"), |b| {
            b.iter(|| (kernels.dot_i8_i16)(black_box(&codes), &integers));
        });
        group.bench_function(format!("i8 x i8, {name}"), |b| {
            b.iter(|| (kernels.dot_i8_i8)(black_box(&codes), &codes));
        });
    }
    group.finish();
}

fn main() {
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let (warm_up, measurement) = if quick { (20, 60) } else { (400, 1500) };
    let mut criterion = Criterion::default()
        .sample_size(if quick { 10 } else { 30 })
        .warm_up_time(Duration::from_millis(warm_up))
        .measurement_time(Duration::from_millis(measurement))
        .configure_from_args();
    let (kernels, scalar) = (Kernels::get(), Kernels::scalar());
    vectors(&mut criterion);
    codes::<4>(&mut criterion, kernels.scan_u4, scalar.scan_u4);
    codes::<2>(&mut criterion, kernels.scan_u2, scalar.scan_u2);
    codes::<1>(&mut criterion, kernels.scan_u1, scalar.scan_u1);
    fast_scan(&mut criterion);
    hadamard(&mut criterion);
    criterion.final_summary();
}
