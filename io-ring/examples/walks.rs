//! 64 walks over a file at once: `cargo run --release -p io-ring --example walks`.
//!
//! Each page names four others. A walk reads these four, and goes on with the one that arrives last. No walk
//! waits for another one, so the disk always has something to do.

#![cfg_attr(not(target_os = "linux"), allow(unused))]

use io_core::{
    Completion, Executor, FileSession, FileSystem, OpenOptions, ReadControl, ReadError, ReadRequest,
    VectorReader,
};
use std::error::Error;
use std::io::Write;

const PAGE_BYTES: u64 = 4096;
const PAGES: u64 = 4096;
const WALKS: u64 = 64;
const STEPS: u64 = 16;

/// The pages that a page names, at its beginning.
fn named(page: u64) -> [u64; 4] {
    [1, 2, 3, 4].map(|at| (page * 4 + at).wrapping_mul(2_654_435_761) % PAGES)
}

struct Walk {
    steps_left: u64,
    /// Pages of this step that have not arrived.
    missing: usize,
}

/// Does all walks. Returns the number of pages that arrived.
async fn walk<R: VectorReader>(reader: &R) -> Result<u64, ReadError> {
    let mut session = reader.session(ReadControl::default());
    let mut walks: Vec<_> = (0..WALKS).map(|_| Walk { steps_left: STEPS, missing: 1 }).collect();
    for walk in 0..WALKS {
        // The tag comes back with the bytes. Here it is the number of the walk.
        session.submit(walk, ReadRequest::new(walk * PAGE_BYTES, PAGE_BYTES as u32));
    }
    let mut arrived = 0;
    while let Some(Completion { tag, bytes, .. }) = session.next().await {
        let page = bytes?;
        arrived += 1;
        let walk = &mut walks[tag as usize];
        walk.missing -= 1;
        if walk.missing == 0 && walk.steps_left > 0 {
            *walk = Walk { steps_left: walk.steps_left - 1, missing: 4 };
            for name in page[..32].chunks_exact(8) {
                let next = u64::from_le_bytes(name.try_into().expect("8 bytes"));
                session.submit(tag, ReadRequest::new(next * PAGE_BYTES, PAGE_BYTES as u32));
            }
        }
    }
    Ok(arrived)
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut file = tempfile::NamedTempFile::new()?;
    for page in 0..PAGES {
        let mut bytes: Vec<u8> = named(page).iter().flat_map(|next| next.to_le_bytes()).collect();
        bytes.resize(PAGE_BYTES as usize, 0);
        file.write_all(&bytes)?;
    }
    let backend = io_ring::RingBackend::default();
    let options = OpenOptions::default().with_queue_depth(WALKS as u32);
    let arrived = backend.run(|| async {
        let reader = backend.open(file.path(), &options).await?;
        let arrived = walk(&reader).await?;
        reader.close().await?;
        Ok::<_, Box<dyn Error>>(arrived)
    })??;
    assert_eq!(arrived, WALKS * (1 + 4 * STEPS));
    writeln!(std::io::stdout(), "{WALKS} walks of {STEPS} steps read {arrived} pages")?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {}
