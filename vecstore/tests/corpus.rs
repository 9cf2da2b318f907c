//! A short fuzzing run of every parser of bytes from disk. Its inputs are the kept corpus (`fuzz/corpus`),
//! the fixtures, and mutations of both from a fixed seed. The run fails on a panic, a hang, or an allocation
//! much larger than the input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use vecstore::internals::fuzzing::TARGETS;

/// Records the largest single allocation.
struct Watching;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Number of mutations of each seed input.
const MUTATIONS: usize = 1000;
/// Memory that readers take for any input.
const ALLOWED: usize = 16 << 20;

fn files(dir: &Path) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(std::fs::read(path).unwrap()) }
    }
    all
}

/// The sections of a file of pages, in the input form of the targets.
fn sections(pages: &[u8]) -> Option<Vec<u8>> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(pages.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(pages.get(at..at + 8)?.try_into().ok()?));
    if !pages.starts_with(b"VECPAGES") {
        return None;
    }
    let listed = if u32_at(8)? == 1 { 24 } else { 56 };
    let mut input = Vec::new();
    for section in 0..u32_at(20)? as usize {
        let at = listed + section * 16;
        let (first, bytes) = (u64_at(at)? as usize, u64_at(at + 8)? as usize);
        let data: Vec<u8> =
            pages.chunks(4096).skip(first).flat_map(|page| &page[..4092]).copied().take(bytes).collect();
        input.extend_from_slice(&(data.len() as u16).to_le_bytes());
        input.extend_from_slice(&data);
    }
    Some(input)
}

fn mutate(random: &mut fastrand::Rng, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..6) {
        let len = bytes.len();
        if len == 0 {
            break;
        }
        let at = random.usize(..len);
        match random.u32(..7) {
            0 => bytes[at] ^= 1 << random.u32(..8),
            1 => bytes[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF]).unwrap(),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + random.usize(1..9)).min(len);
                bytes[at..end].fill(random.choice([0, 0xFF]).unwrap());
            }
            4 => {
                let end = (at + random.usize(1..40)).min(len);
                let piece = bytes[at..end].to_vec();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, piece);
            }
            5 if !other.is_empty() => {
                let from = random.usize(..other.len());
                let end = (from + random.usize(1..64)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
            _ => {
                let end = (at + random.usize(1..20)).min(len);
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

#[test]
fn no_parser_panics_hangs_or_asks_for_too_much() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = files(&manifest.join("tests/fixtures"));
    for (name, target) in TARGETS {
        let mut seeds = files(&manifest.join("fuzz/corpus").join(name));
        assert!(!seeds.is_empty(), "no corpus for {name}");
        seeds.extend(fixtures.iter().filter(|file| file.len() < 20_000).cloned());
        seeds.extend(fixtures.iter().filter_map(|file| sections(file)));
        let mut random = fastrand::Rng::with_seed(1);
        let run = |bytes: &[u8]| {
            LARGEST.store(0, Ordering::Relaxed);
            let ran = std::panic::catch_unwind(|| target(bytes));
            let kept = || {
                let path = std::env::temp_dir().join(format!("vecstore-corpus-{name}"));
                std::fs::write(&path, bytes).unwrap();
                path
            };
            assert!(ran.is_ok(), "{name} panicked on {}: add it to the corpus", kept().display());
            let largest = LARGEST.load(Ordering::Relaxed);
            assert!(
                largest <= ALLOWED + 16 * bytes.len(),
                "{name}: {largest} bytes at once for {}",
                kept().display()
            );
        };
        for index in 0..seeds.len() {
            run(&seeds[index]);
            for _ in 0..MUTATIONS {
                let other = random.usize(..seeds.len());
                run(&mutate(&mut random, &seeds[index], &seeds[other]));
            }
        }
    }
}
