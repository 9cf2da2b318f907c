//! The glommio backend of io-core
