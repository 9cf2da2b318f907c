//! The counters of a collection in the text format of Prometheus. A program serves this text at `/metrics`.
//!
//! `cargo run -p vecstore --example prometheus`

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::fmt::Write;
use std::path::Path;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, SearchRequest};
use vecstore::point::Point;
use vecstore::schema::Schema;

fn metrics(name: &str, collection: &Collection) -> String {
    let counters = serde_json::to_value(collection.counters()).expect("numbers by their names");
    let mut text = String::new();
    for (counter, value) in counters.as_object().expect("numbers by their names") {
        let _ = writeln!(text, "# TYPE vecstore_{counter}_total counter");
        let _ = writeln!(text, "vecstore_{counter}_total{{collection=\"{name}\"}} {value}");
    }
    text
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    print!("{}", metrics("notes", &used(dir.path())?));
    Ok(())
}

/// A collection that was written to and searched.
fn used(dir: &Path) -> Result<Collection, Box<dyn std::error::Error>> {
    let (backend, options) = (BackendKind::all()[0].backend(), CollectionOptions::default());
    let collection = Collection::create(&backend, &dir.join("notes"), &Schema::new(2), &options)?;
    let points = (0..1000).map(|id| Point::new(id, vec![id as f32, 1.0])).collect();
    collection.upsert(points, Durability::Synced).wait()?;
    collection.optimize(|_| {}).wait()?;
    collection.search(SearchRequest::new(vec![10.0, 1.0])).wait()?;
    Ok(collection)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_counter_is_a_type_and_a_sample() {
        let dir = tempfile::tempdir().unwrap();
        let text = super::metrics("notes", &super::used(dir.path()).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks(2) {
            let name =
                pair[0].strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")).unwrap();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            let value = pair[1].strip_prefix(&format!("{name}{{collection=\"notes\"}} ")).unwrap();
            value.parse::<u64>().unwrap();
        }
        for (counter, value) in [("searches", 1), ("seals", 1), ("points_sealed", 1000)] {
            let sample = format!("vecstore_{counter}_total{{collection=\"notes\"}} {value}");
            assert!(lines.contains(&&*sample), "{sample} is not in\n{text}");
        }
    }
}
