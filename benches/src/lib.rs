//! The parts that the benches share: the data file, the baselines, and measuring costs.
//!
//! The baselines do what a user of a backend would otherwise write by hand. [`ring`] keeps a bare io_uring
//! full, and [`map`] loops over slices of a memory map. All contenders touch the same bytes with [`touch`].
//! [`slow_disk`] is a disk to measure on.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

pub mod data;
pub mod disk;
pub mod fio;
pub mod index;
pub mod kept;
pub mod machine;
pub mod map;
pub mod memory;
pub mod one_by_one;
pub mod reads;
pub mod report;
pub mod ring;
pub mod rounds;
pub mod scenarios;
pub mod search_data;
pub mod settings;
pub mod slow_disk;
pub mod without_lanes;
pub mod write_rings;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The work of every contender on a vector: reads a word of each cache line.
#[must_use]
pub fn touch(bytes: &[u8]) -> u64 {
    bytes
        .chunks(64)
        .map(|line| u64::from(line[0]) + u64::from(line[line.len() - 1]))
        .fold(0, u64::wrapping_add)
}

/// The content of the data file at 8 times `at`, as a little-endian number.
pub fn data_word(at: u64) -> u64 {
    (at * 8).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Makes the file to read, unless it exists. Its `bytes` bytes differ from place to place.
///
/// # Errors
/// The error of the system.
pub fn data_file(dir: &Path, bytes: u64) -> io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("reads-{bytes}.bin"));
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes) {
        return Ok(path);
    }
    let mut file = File::create(&path)?;
    let mut chunk = vec![0u8; 1 << 20];
    let mut written = 0u64;
    while written < bytes {
        for (at, word) in chunk.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&data_word(written / 8 + at as u64).to_le_bytes());
        }
        let len = (bytes - written).min(chunk.len() as u64) as usize;
        file.write_all(&chunk[..len])?;
        written += len as u64;
    }
    file.sync_all()?;
    Ok(path)
}

/// Evicts the file from the page cache.
///
/// # Errors
/// The error of the system.
pub fn make_cold(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Reads the whole file into the page cache.
///
/// # Errors
/// The error of the system.
pub fn make_warm(path: &Path) -> io::Result<()> {
    io::copy(&mut File::open(path)?, &mut io::sink()).map(drop)
}

/// CPU time of all threads of this process so far, including the kernel's ring workers.
#[must_use]
pub fn cpu_time() -> Duration {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(clock.tv_sec.unsigned_abs(), clock.tv_nsec.unsigned_abs() as u32)
}

/// The least, the median and the most of the values. The median of an even number is the mean of the middle
/// two.
///
/// # Panics
/// If there are no values.
#[must_use]
pub fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    (values[0], f64::midpoint(lower, upper), values[values.len() - 1])
}

/// The examples of the README and the documents. This crate compiles them, because it has every backend.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/guides/choose-a-backend.md")]
#[doc = include_str!("../../docs/guides/tune-recall.md")]
#[doc = include_str!("../../docs/guides/write-a-backend.md")]
#[doc = include_str!("../../docs/reference/filters.md")]
mod documents {}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(spread([5.0, 1.0, 2.0].into_iter()), (1.0, 2.0, 5.0));
        assert_eq!(spread([9.0, 1.0, 2.0, 4.0].into_iter()), (1.0, 3.0, 9.0));
        assert_eq!(spread([7.0].into_iter()), (7.0, 7.0, 7.0));
    }
}
