//! An embedded vector store for data larger than memory, over any [`io_core`] backend.
//!
//! A [`Collection`](collection::Collection) holds points: an id, a vector and a payload. Writes go to a log and to memory;
//! what grows old is sealed into immutable segments on disk, with codes and a graph to find candidates by, and the vectors
//! themselves read in one batch to rank them. Nothing acknowledged is lost, whenever the power fails.
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
//! let notes = Collection::create(&backend, &temp.path().join("notes"), &schema, &CollectionOptions::default())?;
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
//! | [`schema`], [`point`], [`filter`], [`field`] | what a collection is, what is in it, and which of it is meant |
//! | [`backends`] | the backends of this build, by name |
//! | [`input`], [`dataset`] | vectors from files, and made-up ones |

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

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
