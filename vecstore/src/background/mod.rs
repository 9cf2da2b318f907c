//! Background work gives way to foreground work. This module holds everything that sets the optimizer's files
//! and threads apart from those of searches and writes:
//!
//! | what | how |
//! |---|---|
//! | priority | files are opened in [`Lane::Background`], for backends that have lanes |
//! | reads | [`options`]: few bytes in flight, so that a search waits behind few; neighbours in one read |
//! | writes | [`BackgroundWriter`]: few bytes wait for the disk, so that no sync floods it |
//! | threads | [`lower_priority`], [`pool`]: others get cores first, and the disk if it has a scheduler |
//!
//! The scheduler may suspend a low-priority thread while it holds a lock that others want. The only lock it
//! shares with searches is that of the state, and it holds that while it copies a list of segments. Threads
//! that wait for the lock sleep, which leaves a core to the holder. Only the writer changes the state and
//! existing files, and it has the usual priority.

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

/// The most bytes of one file that are being read at once.
const BYTES_IN_FLIGHT_MAX: u64 = 1 << 20;

/// Neighbours up to this far apart are read in one read. A merge wants most of the data, and few requests.
const GAP_MAX: u32 = 32 << 10;

/// The options for opening files.
pub(crate) fn options(options: &OpenOptions) -> OpenOptions {
    // The largest read must fit.
    let bytes_max = BYTES_IN_FLIGHT_MAX.max(u64::from(options.read_size_max));
    let bytes_in_flight_max = options.bytes_in_flight_max.min(bytes_max);
    let gap_max = options.gap_max.max(GAP_MAX);
    options
        .clone()
        .with_lane(Lane::Background)
        .with_bytes_in_flight_max(bytes_in_flight_max)
        .with_gap_max(gap_max)
}

/// The threads that compute. All builds of the process share them; there are as many as in rayon's own pool
/// by default. The application uses rayon's own pool too, so that pool stays as it is.
///
/// Call it on a low-priority thread, because the threads it starts inherit the priority. All code that uses
/// rayon there, including libraries, must run in this pool. Otherwise it would start rayon's own pool with a
/// low priority.
pub(crate) fn pool() -> Result<&'static ThreadPool, Error> {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    // These threads also run the progress callback.
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
        let large_reads = OpenOptions::default().with_read_size_max(4 << 20);
        let little = OpenOptions::default().with_bytes_in_flight_max(4096).with_read_size_max(4096);
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
            let expected = foreground
                .with_lane(Lane::Background)
                .with_bytes_in_flight_max(bytes_in_flight_max)
                .with_gap_max(gap_max);
            assert_eq!(background, expected);
        }
    }
}
