//! Batched reads under tokio's multi-thread runtime. Tasks on any thread share one reader, and the one ring
//! of the process.
//!
//! `cargo run -p io-ring --example tokio -- [FILE]`

#![expect(clippy::print_stdout, reason = "an example prints")]

use io_core::{FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader};
use io_ring::RingBackend;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let path =
        std::env::args_os().nth(1).map_or_else(std::env::current_exe, |path| Ok(PathBuf::from(path)))?;
    let reader = Arc::new(RingBackend::default().open(&path, &OpenOptions::default()).await?);
    println!("{}", reader.info());

    // Each task reads its own part of the file, 64 vectors of 512 bytes in one batch.
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let reader = Arc::clone(&reader);
            tokio::spawn(async move {
                let end = reader.file().len;
                let requests: Vec<_> = (0..64)
                    .map(|vector| (task * 64 + vector) * 512)
                    .filter(|offset| offset + 512 <= end)
                    .map(|offset| ReadRequest::new(offset, 512))
                    .collect();
                let mut sum = 0;
                let outcome = reader
                    .read_vectors(&requests, &ReadControl::default(), |_index, bytes| {
                        sum += bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                        ControlFlow::Continue(())
                    })
                    .await?;
                Ok::<_, io_core::ReadError>((outcome, sum))
            })
        })
        .collect();
    let (mut delivered, mut reads, mut sum) = (0, 0, 0);
    for task in tasks {
        let (outcome, of_task) = task.await??;
        delivered += outcome.delivered;
        reads += outcome.stats.reads;
        sum += of_task;
    }
    println!("{delivered} vectors in {reads} physical reads; their bytes add up to {sum}");
    reader.close().await?;
    Ok(())
}
