//! Two engines that read through the contract, and know no runtime and no backend: [`checksum`] knows
//! beforehand what to read, and [`index`] learns it from what it has read.

pub mod backends;
pub mod index;

use io_core::{BackendFactory, OpenOptions, ReadControl, ReadRequest, VectorReader};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

/// The length of a record in bytes.
pub const RECORD_BYTES: u32 = 512;

/// Reads every `step`-th record of the file in one batch, and sums its bytes.
pub fn checksum<B: BackendFactory>(backend: &B, path: &Path, step: usize) -> Result<String, Box<dyn Error>> {
    backend.run(|| async {
        let reader = backend.open(path, &OpenOptions::default()).await?;
        let records = reader.file().len / u64::from(RECORD_BYTES);
        let requests: Vec<_> = (0..records)
            .step_by(step)
            .map(|record| ReadRequest::new(record * u64::from(RECORD_BYTES), RECORD_BYTES))
            .collect();
        let mut sum = 0u64;
        let outcome = reader
            .read_vectors(&requests, &ReadControl::default(), |_record, bytes| {
                sum += bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                ControlFlow::Continue(())
            })
            .await?;
        let info = reader.info().to_string();
        reader.close().await?;
        Ok(format!("{info}: {} records sum to {sum}", outcome.delivered))
    })?
}

/// The file named on the command line, or this program itself.
pub fn file_to_read() -> Result<std::path::PathBuf, std::io::Error> {
    std::env::args_os().nth(1).map_or_else(std::env::current_exe, |name| Ok(name.into()))
}
