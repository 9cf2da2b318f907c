//! The command line.
//!
//! | module | concern |
//! |---|---|
//! | `collection` | the collection and the backend |
//! | `schema` | the schema of a collection |
//! | `write`, `read`, `search`, `maintain`, `measure` | the commands, by what they do |
//! | `vectors` | the format of a file of vectors |
//! | `parse` | values that several commands take |

mod collection;
mod maintain;
mod measure;
mod parse;
mod read;
mod schema;
mod search;
mod vectors;
mod write;

use clap::{Parser, Subcommand};

pub(crate) use collection::CollectionArgs;
pub(crate) use maintain::{FromTo, Maintain, Optimize, Repair};
pub(crate) use measure::{Advise, Demo};
pub(crate) use read::{Count, Export, Facet, Get, Scroll};
pub(crate) use schema::{Create, read_schema};
pub(crate) use search::Search;
pub(crate) use vectors::{FormatArgs, FormatName};
pub(crate) use write::{Delete, Import, Upsert};

/// An embedded vector store for data larger than memory: points with payloads, filters and durable writes,
/// read in batches through a backend of your choice.
#[derive(Parser)]
#[command(name = "vecstore", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 backends disagree (demo), 4 damage found (verify), or something is or may be lost (repair), 5 no damage found, but not everything could be read (verify), 130 interrupted";

const FILTERS: &str = "Filters are JSON, or @FILE:\n  '{\"must\": [{\"key\": \"section\", \"match\": {\"value\": \"utils\"}}]}'\n  \
'{\"must\": [{\"key\": \"size\", \"range\": {\"gte\": 10, \"lt\": 20}}], \"must_not\": [{\"has_id\": [1, 2]}]}'";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Search the same collection through every backend, and compare them
    #[command(
        after_help = "Examples:\n  vecstore demo\n  vecstore demo --backend monoio --direct --cores 1\n  \
        vecstore demo --vectors base.fvecs --queries query.fvecs --truth groundtruth.npy"
    )]
    Demo(Demo),
    /// Measure a disk through every backend, and say which to take, how, and why
    #[command(after_help = "Examples:\n  vecstore advise --path /data\n  \
        vecstore advise --path . --data-gib 200 --memory-gib 32 --vector-bytes 1536")]
    Advise(Advise),
    /// Create an empty collection
    #[command(after_help = "Examples:\n  vecstore create notes --dim 384 --tenant user:keyword\n  \
        vecstore create packages --dim 384 --element f16 --index section:keyword --index installed_size:integer\n  \
        vecstore create packages --schema schema.json")]
    Create(Create),
    /// Put vectors of a file, and payloads of another one, into a collection
    #[command(
        after_help = "Examples:\n  vecstore import packages debian.npy --payload debian.jsonl --id-field id\n  \
        vecstore import glove glove.npy\n  vecstore import copy points.npy --payload points.jsonl --points"
    )]
    Import(Import),
    /// Write points, given as JSON lines of id, vector and payload
    #[command(
        after_help = "Example:\n  echo '{\"id\": 1, \"vector\": [0.1, 0.2], \"payload\": {\"user\": \"ann\"}}' | vecstore upsert notes"
    )]
    Upsert(Upsert),
    /// Delete points
    #[command(after_help = FILTERS)]
    Delete(Delete),
    /// Search a collection, and print the hits
    #[command(after_help = FILTERS)]
    Search(Search),
    /// Print points by their ids
    Get(Get),
    /// Print points in order, as JSON lines
    #[command(after_help = FILTERS)]
    Scroll(Scroll),
    /// Count points
    #[command(after_help = FILTERS)]
    Count(Count),
    /// Print the most frequent values of an indexed field
    #[command(after_help = FILTERS)]
    Facet(Facet),
    /// Seal points in memory, merge segments and leave out deleted points
    Optimize(Optimize),
    /// Optimize, and show how well the points of each tenant lie together before and after
    Defragment(Optimize),
    /// Copy a collection as it is now; files are shared by hard links where possible
    Snapshot(FromTo),
    /// Make a collection from a snapshot, which stays
    Restore(FromTo),
    /// Read every byte of a collection and check it
    Verify(Maintain),
    /// Save the intact parts of a damaged collection to a new one, and say what is lost
    Repair(Repair),
    /// Write all points as vectors (.npy) and JSON lines, or as one Parquet file
    #[command(
        after_help = "Examples:\n  vecstore export notes notes.npy notes.jsonl\n  vecstore export notes notes.parquet"
    )]
    Export(Export),
    /// Show what a collection holds, and how much memory and disk it takes
    Info(Maintain),
}
