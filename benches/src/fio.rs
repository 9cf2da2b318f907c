//! fio, where it is installed: what a disk does when nothing else is asked of it.

use std::error::Error;
use std::path::Path;
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Whether `fio` can be run.
#[must_use]
pub fn is_there() -> bool {
    Command::new("fio").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Writes `mib` MiB from front to back, 1 MiB at a time, and syncs; MiB a second.
///
/// # Errors
/// fio's failure, with what it said.
pub fn sequential_write(dir: &Path, mib: usize, direct: bool) -> Result<f64> {
    let path = dir.join("fio");
    let engine: &[&str] =
        if direct { &["--ioengine=io_uring", "--iodepth=8", "--direct=1"] } else { &["--ioengine=psync"] };
    let output = Command::new("fio")
        .args(["--name=write", "--rw=write", "--bs=1M", "--end_fsync=1", "--output-format=json"])
        .args(engine)
        .arg(format!("--size={mib}M"))
        .arg(format!("--filename={}", path.display()))
        .output()?;
    let _ = std::fs::remove_file(&path);
    if !output.status.success() {
        return Err(format!("fio: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let bytes = report["jobs"][0]["write"]["bw_bytes"].as_f64().ok_or("fio told no bandwidth")?;
    Ok(bytes / f64::from(1 << 20))
}
