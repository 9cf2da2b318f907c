//! The backend is a value, chosen at run time: `chosen FILE BACKEND`. Without BACKEND, it runs all compiled
//! ones in order.

use io_core::{DynBackend, Executor, FileSystem};
use std::error::Error;

fn backends() -> Vec<DynBackend> {
    vec![
        #[cfg(feature = "mmap")]
        DynBackend::new(io_mmap::MmapBackend::default()),
        #[cfg(feature = "tokio-uring")]
        DynBackend::new(io_tokio_uring::TokioUringBackend::default()),
        #[cfg(feature = "glommio")]
        DynBackend::new(io_glommio::GlommioBackend::default()),
        #[cfg(feature = "monoio")]
        DynBackend::new(io_monoio::MonoioBackend::default()),
        #[cfg(feature = "compio")]
        DynBackend::new(io_compio::CompioBackend::default()),
        #[cfg(feature = "ring")]
        DynBackend::new(io_ring::RingBackend::default()),
        #[cfg(feature = "threads")]
        DynBackend::new(io_threads::ThreadsBackend::default()),
        #[cfg(feature = "auto")]
        DynBackend::new(io_auto::AutoBackend::default()),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = std::env::args().nth(2);
    let mut chosen = backends();
    chosen.retain(|backend| wanted.as_deref().is_none_or(|wanted| backend.name() == wanted));
    if chosen.is_empty() {
        return Err("no such backend in this build".into());
    }
    for backend in chosen {
        println!("{}", downstream::checksum(&backend, &downstream::file_to_read()?, 3)?);
    }
    Ok(())
}
