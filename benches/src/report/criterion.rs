//! Tables of what criterion measured. It writes a directory for each function, with a file of its samples.

use super::{Cell, Report, Table};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The names of a function.
#[derive(Debug, Deserialize)]
struct Benchmark {
    group_id: String,
    /// Missing if a function has no group. The group's name is then its own.
    function_id: Option<String>,
}

/// Nanoseconds of some iterations, for each sample.
#[derive(Debug, Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// A table for each group, in the order in which they ran. A row is a function with the time of an iteration,
/// in nanoseconds: median, least and most of the samples.
///
/// # Errors
/// A file that cannot be read or understood, with its path; a directory without results.
pub fn report(scenario: &str, dir: &Path) -> Result<Report, Box<dyn Error + Send + Sync>> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let names = dir.join("new/benchmark.json");
        if names.exists() {
            let ended: SystemTime = fs::metadata(&names)?.modified()?;
            let sample: Sample = parsed(&dir.join("new/sample.json"))?;
            found.push((ended, parsed::<Benchmark>(&names)?, sample));
        }
        waiting.extend(directories(&dir)?);
    }
    found.sort_by_key(|(ended, ..)| *ended);
    let mut tables: Vec<Table> = Vec::new();
    for (_, Benchmark { group_id, function_id }, Sample { iters, times }) in found {
        let function_id = function_id.unwrap_or_else(|| group_id.clone());
        let title = format!("{group_id}, ns");
        let times: Vec<f64> = times.iter().zip(&iters).map(|(time, iterations)| time / iterations).collect();
        if times.is_empty() {
            return Err(format!("{group_id}, {function_id}: there are no samples").into());
        }
        let row = [function_id.as_str().into(), Cell::spread(times)];
        match tables.iter_mut().find(|table| table.title == title) {
            Some(table) => table.row(row),
            None => {
                let mut table = Table::new(title, &["what", "ns"]);
                table.row(row);
                tables.push(table);
            }
        }
    }
    if tables.is_empty() {
        return Err(format!("{}: criterion wrote no results", dir.display()).into());
    }
    Ok(Report { scenario: scenario.to_owned(), tables })
}

fn directories(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error + Send + Sync>> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

fn parsed<T: DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error + Send + Sync>> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_group_is_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let error = report("kernels", dir.path()).unwrap_err().to_string();
        assert!(error.contains("criterion wrote no results"), "{error}");
        for (second, function, times) in
            [(1, "plain, slow", [40.0, 10.0, 30.0]), (2, "quick", [2.0, 4.0, 3.0])]
        {
            let group = "sums";
            let new = dir.path().join(group).join(function).join("new");
            fs::create_dir_all(&new).unwrap();
            let sample =
                serde_json::json!({"iters": [10.0, 10.0, 10.0], "times": times.map(|time| time * 10.0)});
            fs::write(new.join("sample.json"), sample.to_string()).unwrap();
            let names = serde_json::json!({"group_id": group, "function_id": function, "value_str": null});
            fs::write(new.join("benchmark.json"), names.to_string()).unwrap();
            let file = fs::File::options().append(true).open(new.join("benchmark.json")).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        }
        // What criterion draws lies beside the functions.
        fs::create_dir_all(dir.path().join("sums/report")).unwrap();
        let mut expected = Table::new("sums, ns", &["what", "ns"]);
        expected.row(["plain, slow".into(), Cell::spread([30.0, 10.0, 40.0])]);
        expected.row(["quick".into(), Cell::spread([2.0, 3.0, 4.0])]);
        let found = report("kernels", dir.path()).unwrap();
        assert_eq!((found.scenario.as_str(), &found.tables[..]), ("kernels", &[expected][..]));

        let path = dir.path().join("sums/quick/new/sample.json");
        fs::write(&path, "{}").unwrap();
        let error = report("kernels", dir.path()).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "{error}");
    }
}
