//! `vecstore build`.

use crate::args::Build;
use crate::error::CliError;
use crate::progress::BuildBars;
use crate::vectors;
use io_core::StopFlag;
use std::io::Write;
use std::time::Instant;
use vecstore::segment::build_segment;

pub(crate) fn run(args: &Build, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let mut input = vectors::open(&args.input, &args.format)?;
    let bars = BuildBars::default();
    let started = Instant::now();
    let manifest = build_segment(
        &args.backend.backend(),
        &mut input,
        &args.segment,
        &args.graph.params(args.direct),
        &|progress| bars.report(progress),
        stop,
    )?;
    drop(bars);
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        let built = serde_json::json!({
            "segment": args.segment,
            "count": manifest.count,
            "dim": manifest.dim,
            "element": manifest.element.to_string(),
            "distance": manifest.distance.to_string(),
            "seconds": seconds,
        });
        writeln!(out, "{built}")?;
    } else {
        writeln!(
            out,
            "built {}: {} vectors of {} x {}, {}, in {seconds:.1} s",
            args.segment.display(),
            manifest.count,
            manifest.dim,
            manifest.element,
            manifest.distance,
        )?;
    }
    Ok(())
}
