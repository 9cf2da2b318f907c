//! An embedded vector store for data larger than memory, over any [`io_core`] backend.
//!
//! A [`Collection`](collection::Collection) holds points. A point has an id, a vector and a payload. Writes
//! go to a log and to memory. Older points are sealed into immutable segments on disk. A segment has codes
//! and a graph, which find candidates. A search ranks these by their vectors, which it reads in one batch. A
//! synced write survives a power cut once it is acknowledged.
//!
//! ```
//! use serde_json::json;
//! use vecstore::backends::BackendKind;
//! use vecstore::collection::{Collection, CollectionOptions, Durability, SearchRequest};
//! use vecstore::field::FieldKind;
//! use vecstore::filter::{Condition, Filter};
//! use vecstore::point::Point;
//! use vecstore::schema::Schema;
//!
//! let temp = tempfile::tempdir()?;
//! let backend = BackendKind::all()[0].backend();
//! let schema = Schema::new(3).tenant("user", FieldKind::Keyword);
//! let (dir, options) = (temp.path().join("notes"), CollectionOptions::default());
//! let notes = Collection::create(&backend, &dir, &schema, &options)?;
//! notes
//!     .upsert(
//!         vec![
//!             Point::new(1, vec![1.0, 0.0, 0.0]).with_payload(json!({"user": "ann"})),
//!             Point::new(2, vec![0.9, 0.1, 0.0]).with_payload(json!({"user": "bob"})),
//!         ],
//!         Durability::Synced,
//!     )
//!     .wait()?;
//! let of_bob = Filter::must(Condition::matches("user", "bob"));
//! let request = SearchRequest { filter: Some(of_bob), ..SearchRequest::new(vec![1.0, 0.0, 0.0]) };
//! let found = notes.search(request).wait()?;
//! assert_eq!(found.hits.len(), 1);
//! notes.close()?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | concern |
//! |---|---|
//! | [`collection`] | creating, opening, writing, reading, optimizing, snapshots, verifying, repairing |
//! | [`schema`], [`point`], [`filter`], [`field`] | kind and content of a collection, and conditions on it |
//! | [`backends`] | the backends of this build, by name |
//! | [`input`], [`dataset`] | vectors from files, and synthetic ones |

#![deny(unsafe_code)]

pub mod backends;
mod background;
mod build;
pub mod collection;
pub mod dataset;
mod element;
pub mod error;
pub mod field;
pub mod filter;
mod filtering;
mod immutable;
pub mod input;
#[cfg(feature = "internals")]
pub mod internals;
mod mutable;
pub mod point;
pub mod schema;
mod threads;

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
