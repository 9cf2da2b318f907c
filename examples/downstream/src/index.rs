//! The engine: a tree on disk, in which each page names the pages below it. A search learns from a page what
//! to read next, so it uses a session. It knows no runtime and no backend.
//!
//! A file has pages of 4096 bytes, and all numbers are little-endian `u64`. Page 0 begins with `pagetree` and
//! the number of levels. The last page is the root. Each page but the first has 256 pairs in the order of
//! their keys, and repeats the last one to fill up. In a leaf, a pair is a key and its value. Above, it is
//! the first key of a page below, and the number of that page.

use io_core::{Completion, FileSession, ReadControl, ReadError, ReadRequest, VectorReader};
use std::io;
use std::path::Path;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"pagetree";
const PAGE_BYTES: usize = 4096;
const PAIR_BYTES: usize = 16;
const PAIRS: usize = PAGE_BYTES / PAIR_BYTES;
/// Eight levels of 256 pairs name every key that there is.
const LEVELS_MAX: u64 = 8;

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A page could not be read, or not before the deadline ([`ReadError::Deadline`]).
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The stop flag was raised first.
    #[error("{}: the search was stopped", file.display())]
    Stopped {
        /// The file.
        file: Arc<Path>,
    },
    /// The file is none of these trees, or is damaged.
    #[error("{}: {what}; this is no index, or it is damaged", file.display())]
    Shape {
        /// The file.
        file: Arc<Path>,
        /// What is wrong with it.
        what: String,
    },
}

/// A tree that is open for searches. Any number of them may run at once.
#[derive(Debug)]
pub struct Index<R> {
    reader: R,
    levels: u64,
    root: u64,
}

impl<R: VectorReader> Index<R> {
    /// Checks the file that `reader` reads.
    ///
    /// # Errors
    /// [`IndexError::Shape`] and [`IndexError::Read`].
    pub async fn open(reader: R) -> Result<Self, IndexError> {
        let file = reader.file().clone();
        let shape = |what| Err(IndexError::Shape { file: Arc::clone(&file.path), what });
        let pages = file.len / PAGE_BYTES as u64;
        if pages < 2 || !file.len.is_multiple_of(PAGE_BYTES as u64) {
            return shape(format!("{} bytes are not two or more pages of {PAGE_BYTES}", file.len));
        }
        let mut head = [0; 16];
        let request = [ReadRequest::new(0, head.len() as u32)];
        let copy = |_, bytes: &[u8]| {
            head.copy_from_slice(bytes);
            std::ops::ControlFlow::Continue(())
        };
        reader.read_vectors(&request, &ReadControl::new(), copy).await?;
        let (magic, levels) = (&head[..8], number(&head[8..]));
        if magic != MAGIC || !(1..=LEVELS_MAX).contains(&levels) {
            return shape("it does not begin as an index".to_owned());
        }
        Ok(Self { reader, levels, root: pages - 1 })
    }

    /// The value of each key, in the order of `keys`. `None`: there is no such key.
    ///
    /// Each key is a walk from the root to a leaf. All walks go on at once, and none waits for another one.
    /// The reader's depth and byte budget limit the reads in flight.
    ///
    /// # Errors
    /// [`IndexError`]. The first error ends the search.
    ///
    /// # Cancel safety
    /// The future may be dropped at any point. Its reads in flight are drained, as the session's.
    pub async fn find(&self, keys: &[u64], control: ReadControl) -> Result<Vec<Option<u64>>, IndexError> {
        let mut values = vec![None; keys.len()];
        // For each walk, the levels below the page that it waits for.
        let mut below = vec![self.levels - 1; keys.len()];
        let mut walks = keys.len();
        let mut session = self.reader.session(control);
        for walk in 0..walks {
            // The tag comes back with the bytes. The session reads the root once, however many ask for it.
            session.submit(walk as u64, page(self.root));
        }
        while let Some(Completion { tag, bytes, .. }) = session.next().await {
            let walk = tag as usize;
            match last_pair(&bytes?, keys[walk]) {
                Some((_, child)) if below[walk] > 0 => {
                    if child == 0 || child >= self.root {
                        let what =
                            format!("a page names page {child}, and only 1 to {} can be", self.root - 1);
                        return Err(IndexError::Shape { file: self.file(), what });
                    }
                    below[walk] -= 1;
                    session.submit(tag, page(child));
                    continue;
                }
                Some((key, value)) if key == keys[walk] => values[walk] = Some(value),
                _ => {}
            }
            walks -= 1;
        }
        // A session also ends when its flag is raised, and this is no error of a read.
        if walks > 0 { Err(IndexError::Stopped { file: self.file() }) } else { Ok(values) }
    }

    /// Waits for all reads in flight, those of dropped searches too, and closes the file.
    ///
    /// # Errors
    /// The system's.
    pub async fn close(&self) -> io::Result<()> {
        self.reader.close().await
    }

    /// The reader.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    fn file(&self) -> Arc<Path> {
        Arc::clone(&self.reader.file().path)
    }
}

fn page(number: u64) -> ReadRequest {
    ReadRequest::new(number * PAGE_BYTES as u64, PAGE_BYTES as u32)
}

/// The last pair of a page whose key is not above `key`.
fn last_pair(page: &[u8], key: u64) -> Option<(u64, u64)> {
    let (pairs, _) = page.as_chunks::<PAIR_BYTES>();
    let not_above = pairs.partition_point(|pair| number(&pair[..8]) <= key);
    let pair = pairs[..not_above].last()?;
    Some((number(&pair[..8]), number(&pair[8..])))
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
}

/// The bytes of a file with these keys and values.
///
/// # Panics
/// If there are none, or if the keys do not ascend.
#[must_use]
pub fn build(entries: &[(u64, u64)]) -> Vec<u8> {
    assert!(!entries.is_empty(), "an index has at least one entry");
    assert!(entries.is_sorted_by(|a, b| a.0 < b.0), "the keys of an index ascend");
    let mut file = vec![0; PAGE_BYTES];
    let mut pairs = entries.to_vec();
    let mut levels = 0u64;
    while levels == 0 || pairs.len() > 1 {
        levels += 1;
        let pages = pairs.chunks(PAIRS).map(|pairs| {
            let number = file.len() / PAGE_BYTES;
            let fill = std::iter::repeat(&pairs[pairs.len() - 1]);
            for (key, value) in pairs.iter().chain(fill).take(PAIRS) {
                file.extend_from_slice(&key.to_le_bytes());
                file.extend_from_slice(&value.to_le_bytes());
            }
            (pairs[0].0, number as u64)
        });
        pairs = pages.collect();
    }
    file[..8].copy_from_slice(MAGIC);
    file[8..16].copy_from_slice(&levels.to_le_bytes());
    file
}
