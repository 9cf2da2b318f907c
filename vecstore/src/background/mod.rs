//! How work is done that nobody waits for, so that whoever waits goes first. All that makes the optimizer's files and threads
//! different from those of searches and writes is here:
//!
//! | what | how |
//! |---|---|
//! | order | files are opened in [`Lane::Background`], for backends that have lanes |
//! | reads | [`options`]: few bytes in flight, so that a search's read waits behind few; neighbours in one go |
//! | writes | [`BackgroundWriter`]: few bytes are not on the disk yet, so that no sync floods it |
//! | threads | [`lower_priority`] and the [`pool`]: cores and, where the disk has a scheduler, the disk go to others first |
//!
//! A thread of a low priority may be kept from running while it holds something that others want. The one lock that it
//! shares with searches is the state's, held for as long as a list of segments is copied; whoever wants it sleeps, which
//! leaves a core to the holder. Files and the state are changed by the writer, whose priority is the usual one.

mod priority;
mod writer;

use crate::error::Error;
use crate::threads::belong_to_a_collection;
use io_core::{Lane, OpenOptions, StartError};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::io;
use std::sync::OnceLock;

pub(crate) use priority::{UsualIo, lower as lower_priority};
pub(crate) use writer::BackgroundWriter;

/// Bytes of one file that are being read at once, at most.
const BYTES_IN_FLIGHT_MAX: u64 = 1 << 20;

/// Neighbours that far apart are read in one go: whoever merges segments wants most of what is there, and few requests.
const GAP_MAX: u32 = 32 << 10;

/// How files are opened.
pub(crate) fn options(options: &OpenOptions) -> OpenOptions {
    // The largest read has to fit.
    let bytes_max = BYTES_IN_FLIGHT_MAX.max(u64::from(options.read_size_max));
    let bytes_in_flight_max = options.bytes_in_flight_max.min(bytes_max);
    let gap_max = options.gap_max.max(GAP_MAX);
    OpenOptions { lane: Lane::Background, bytes_in_flight_max, gap_max, ..options.clone() }
}

/// The threads that compute: as many as rayon's own pool has by default, shared by all builds of the process. Rayon's own are
/// the application's too, and stay as they are.
///
/// Call it on a thread of a low priority: those it starts inherit that. All that uses rayon there, libraries included, is to
/// run in it, or that thread would start rayon's own.
pub(crate) fn pool() -> Result<&'static ThreadPool, Error> {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    // They run the progress callback too.
    let named = ThreadPoolBuilder::new().thread_name(|index| format!("vecstore-build-{index}"));
    let pool = named.start_handler(|_| belong_to_a_collection()).build();
    let failed = |error| StartError::Io { runtime: "a pool of threads", source: io::Error::other(error) };
    let pool = pool.map_err(failed)?;
    Ok(POOL.get_or_init(|| pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stay_sound_and_no_more_is_in_flight_than_asked_for() {
        let large_reads = OpenOptions { read_size_max: 4 << 20, ..OpenOptions::default() };
        let little = OpenOptions { bytes_in_flight_max: 4096, read_size_max: 4096, ..OpenOptions::default() };
        let cases = [
            (OpenOptions::default(), 1 << 20),
            (OpenOptions::direct(), 1 << 20),
            (large_reads, 4 << 20),
            (little, 4096),
        ];
        for (foreground, bytes_in_flight_max) in cases {
            let background = options(&foreground);
            background.check().unwrap();
            let gap_max = 32 << 10;
            let expected = OpenOptions { lane: Lane::Background, bytes_in_flight_max, gap_max, ..foreground };
            assert_eq!(background, expected);
        }
    }
}
