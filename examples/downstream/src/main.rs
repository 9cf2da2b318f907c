//! The backend is a type, chosen by a feature of this crate. The compiler can inline across it.

// The first enabled feature decides, so any set of features compiles.
#[cfg(feature = "tokio-uring")]
type Backend = io_tokio_uring::TokioUringBackend;
#[cfg(all(feature = "glommio", not(feature = "tokio-uring")))]
type Backend = io_glommio::GlommioBackend;
#[cfg(all(feature = "monoio", not(any(feature = "tokio-uring", feature = "glommio"))))]
type Backend = io_monoio::MonoioBackend;
#[cfg(all(feature = "compio", not(any(feature = "tokio-uring", feature = "glommio", feature = "monoio"))))]
type Backend = io_compio::CompioBackend;
#[cfg(all(
    feature = "ring",
    not(any(feature = "tokio-uring", feature = "glommio", feature = "monoio", feature = "compio"))
))]
type Backend = io_ring::RingBackend;
#[cfg(all(
    feature = "threads",
    not(any(
        feature = "tokio-uring",
        feature = "glommio",
        feature = "monoio",
        feature = "compio",
        feature = "ring"
    ))
))]
type Backend = io_threads::ThreadsBackend;
#[cfg(all(
    feature = "auto",
    not(any(
        feature = "tokio-uring",
        feature = "glommio",
        feature = "monoio",
        feature = "compio",
        feature = "ring",
        feature = "threads"
    ))
))]
type Backend = io_auto::AutoBackend;
#[cfg(all(
    feature = "mmap",
    not(any(
        feature = "tokio-uring",
        feature = "glommio",
        feature = "monoio",
        feature = "compio",
        feature = "ring",
        feature = "threads",
        feature = "auto"
    ))
))]
type Backend = io_mmap::MmapBackend;

#[cfg(any(
    feature = "mmap",
    feature = "tokio-uring",
    feature = "glommio",
    feature = "monoio",
    feature = "compio",
    feature = "ring",
    feature = "threads",
    feature = "auto"
))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", downstream::checksum(&Backend::default(), &downstream::file_to_read()?, 3)?);
    Ok(())
}

#[cfg(not(any(
    feature = "mmap",
    feature = "tokio-uring",
    feature = "glommio",
    feature = "monoio",
    feature = "compio",
    feature = "ring",
    feature = "threads",
    feature = "auto"
)))]
fn main() {
    println!(
        "no backend: enable one of the features mmap, tokio-uring, glommio, monoio, compio, ring, threads, auto"
    );
}
