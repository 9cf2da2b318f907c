//! Writing and reading under smol. Each record of a journal is durable before the next one is written. One
//! batch then reads all records.
//!
//! `cargo run -p io-ring --example smol`

#![expect(clippy::print_stdout, reason = "an example prints")]

use io_core::{
    FileSystem, OpenOptions, PageWrite, PageWriter, ReadControl, ReadRequest, SyncKind, VectorReader,
};
use io_ring::RingBackend;
use std::error::Error;
use std::ops::ControlFlow;

const RECORD: usize = 256;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("journal");
    let backend = RingBackend::default();
    // `spawn` moves the future to smol's own threads. All of it is `Send`.
    smol::block_on(smol::spawn(async move {
        let journal = backend.create(&path, &OpenOptions::default()).await?;
        for record in 0..32u8 {
            let bytes = [record; RECORD];
            let offset = u64::from(record) * RECORD as u64;
            journal.write_pages(&[PageWrite { offset, bytes: &bytes }]).await?;
            journal.sync(SyncKind::Data).await?;
        }
        journal.close().await?;

        let reader = backend.open(&path, &OpenOptions::default()).await?;
        let requests: Vec<_> =
            (0..32).map(|record| ReadRequest::new(record * RECORD as u64, RECORD as u32)).collect();
        let mut good = 0;
        let control = ReadControl::default();
        reader
            .read_vectors(&requests, &control, |record, bytes| {
                good += usize::from(bytes.iter().all(|&byte| usize::from(byte) == record));
                ControlFlow::Continue(())
            })
            .await?;
        println!("{good} of {} records are as they were written", requests.len());
        reader.close().await?;
        Ok(())
    }))
}
