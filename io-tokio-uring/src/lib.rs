//! The tokio-uring backend of io-core
