//! `vecstore create`.

use crate::args::Create;
use crate::error::CliError;
use std::io::Write;
use vecstore::collection::{Collection, CollectionOptions};

pub(crate) fn run(args: &Create, out: &mut impl Write) -> Result<(), CliError> {
    let schema = args.schema()?;
    let (backend, dir) = (args.at.backend.backend(), &args.at.collection);
    Collection::create(&backend, dir, &schema, &CollectionOptions::default())?.close()?;
    writeln!(out, "created {}", dir.display())?;
    Ok(())
}
