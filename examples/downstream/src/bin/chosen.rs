//! The backend is a value, chosen at run time: `chosen FILE BACKEND`. Without BACKEND, it runs all compiled
//! ones in order.

use io_core::FileSystem;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = std::env::args().nth(2);
    let mut chosen = downstream::backends::all();
    chosen.retain(|backend| wanted.as_deref().is_none_or(|wanted| backend.name() == wanted));
    if chosen.is_empty() {
        return Err("no such backend in this build".into());
    }
    for backend in chosen {
        println!("{}", downstream::checksum(&backend, &downstream::file_to_read()?, 3)?);
    }
    Ok(())
}
