//! Writes an index: `write-index FILE ENTRIES`. The keys are the even numbers, and a value is half its key.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [file, entries] = args.as_slice() else { return Err("usage: write-index FILE ENTRIES".into()) };
    let entries: u64 = entries.parse().map_err(|error| format!("ENTRIES is {entries:?}: {error}"))?;
    if entries == 0 {
        return Err("ENTRIES is 0: an index has at least one entry".into());
    }
    let pairs: Vec<_> = (0..entries).map(|value| (value * 2, value)).collect();
    let bytes = downstream::index::build(&pairs);
    std::fs::write(file, &bytes).map_err(|error| format!("cannot write {file}: {error}"))?;
    println!("{file} has {entries} entries in {} bytes", bytes.len());
    Ok(())
}
