//! `vecstore create`.

use crate::args::Create;
use crate::error::CliError;
use crate::paths;
use std::io::Write;
use vecstore::collection::{Collection, CollectionOptions};
use vecstore::error::Error;

pub(crate) fn run(args: &Create, out: &mut impl Write) -> Result<(), CliError> {
    let schema = args.schema()?;
    let (backend, dir) = (args.at.backend.backend(), &args.at.collection);
    paths::check_parent(dir)?;
    if dir.is_file() {
        return Err(Error::Exists { path: dir.clone() }.into());
    }
    Collection::create(&backend, dir, &schema, &CollectionOptions::default())?.close()?;
    writeln!(out, "created {}", dir.display())?;
    Ok(())
}
