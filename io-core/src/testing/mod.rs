//! Tools for testing readers.
