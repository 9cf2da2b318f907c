//! The command from the view of a user: its output, its exit status, and the files it leaves.

mod advise;
mod choice;
mod collection;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod demo;
mod import;
mod input;
mod mistakes;
mod packages;
mod recovery;
mod system;
