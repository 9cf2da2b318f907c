//! The monoio backend of io-core
