//! Runs fio, if it is installed, to measure the disk alone.

use crate::rounds::Round;
use serde_json::Value;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Whether `fio` can be run.
#[must_use]
pub fn is_there() -> bool {
    Command::new("fio").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs one job on a file. Returns the job's part of fio's report.
fn run(path: &Path, args: &[String]) -> Result<Value> {
    let output = Command::new("fio")
        .args(["--name=job", "--output-format=json"])
        .arg(format!("--filename={}", path.display()))
        .args(args)
        .output()?;
    if !output.status.success() {
        return Err(format!("fio: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let mut report: Value = serde_json::from_slice(&output.stdout)?;
    Ok(report["jobs"][0].take())
}

fn number(of: &Value, path: &str) -> Result<f64> {
    of.pointer(path).and_then(Value::as_f64).ok_or_else(|| format!("fio's report has no {path}").into())
}

/// Writes `mib` MiB from front to back, 1 MiB at a time, and syncs. Returns MiB a second.
///
/// # Errors
/// fio's failure, with its message.
pub fn sequential_write(dir: &Path, mib: usize, direct: bool) -> Result<f64> {
    let path = dir.join("fio");
    let engine = if direct { "--ioengine=io_uring --iodepth=8 --direct=1" } else { "--ioengine=psync" };
    let args = format!("--rw=write --bs=1M --end_fsync=1 --size={mib}M {engine}");
    let job = run(&path, &args.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let _ = std::fs::remove_file(&path);
    Ok(number(&job?, "/write/bw_bytes")? / f64::from(1 << 20))
}

/// Reads pieces of `len` bytes of a file in random order through an io_uring, for `time`. No piece is read
/// twice. Returns reads a second, CPU us for each read, and the 50th and 99th percentile of a read's time in
/// us.
///
/// # Errors
/// fio's failure, with its message.
pub fn random_reads(
    path: &Path,
    len: u32,
    depth: usize,
    direct: bool,
    time: Duration,
    seed: u64,
) -> Result<Round> {
    let args = format!(
        "--rw=randread --readonly --ioengine=io_uring --bs={len} --iodepth={depth} --direct={} --invalidate=0 --runtime={}ms \
         --randseed={} --lat_percentiles=1 --clat_percentiles=0 --percentile_list=50:99",
        u8::from(direct),
        time.as_millis(),
        seed,
    );
    let job = run(path, &args.split_whitespace().map(str::to_owned).collect::<Vec<_>>())?;
    let (reads, cpu) =
        (number(&job, "/read/total_ios")?, number(&job, "/usr_cpu")? + number(&job, "/sys_cpu")?);
    let cpu_us = cpu / 100.0 * number(&job, "/job_runtime")? * 1000.0;
    let percentile = |at: &str| {
        Ok::<_, Box<dyn Error + Send + Sync>>(number(&job["read"]["lat_ns"]["percentile"], at)? / 1000.0)
    };
    Ok(Round::new(number(&job, "/read/iops")?)
        .with(cpu_us / reads)
        .with(percentile("/50.000000")?)
        .with(percentile("/99.000000")?))
}
