//! Notes of many users in one collection. Each user searches and reads only their own, which lie together on
//! disk.
//!
//! `cargo run -p vecstore --example notes --features monoio -- monoio`

#![expect(clippy::print_stdout, reason = "an example prints")]

use serde_json::json;
use vecstore::backends::BackendKind;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, ScrollRequest, SearchRequest, Selection,
};
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::Point;
use vecstore::schema::Schema;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kind: BackendKind = match std::env::args().nth(1) {
        Some(name) => name.parse()?,
        None => BackendKind::all()[0],
    };
    let (dir, options) = (tempfile::tempdir()?, CollectionOptions::default());

    // The tenant's key is one line of the schema.
    let schema = Schema::new(4).tenant("user", FieldKind::Keyword).index("day", FieldKind::Integer);
    let notes = Collection::create(&kind.backend(), &dir.path().join("notes"), &schema, &options)?;

    // Stands in for a model that turns texts into vectors.
    let embed = |topic: u64| vec![1.0, topic as f32, (topic * topic) as f32, 0.5];
    let note = |id: u64| {
        let payload = json!({"user": format!("user{}", id % 10), "day": id / 100, "topic": id % 7});
        Point::new(id, embed(id % 7)).with_payload(payload)
    };
    notes.upsert((0..1000).map(note).collect(), Durability::Synced).wait()?;

    let of = |user: &str| Filter::must(Condition::matches("user", user));
    let found = notes.search(SearchRequest {
        filter: Some(of("user3")),
        limit: 3,
        with_payload: true,
        ..SearchRequest::new(embed(3))
    });
    for hit in found.wait()?.hits {
        println!("{:.3} topic {}", hit.score, hit.payload.unwrap_or_default()["topic"]);
    }
    let (filter, order_by) = (Some(of("user3")), Some("day".into()));
    let page = notes.scroll(ScrollRequest { filter, order_by, ..ScrollRequest::default() }).wait()?;
    println!("user3 has {} notes", page.records.len());

    notes.delete(Selection::Filter(of("user9")), Durability::Synced).wait()?;
    let sealed = notes.optimize(|_| {}).wait()?.sealed;
    println!("{sealed} points sealed, and each user's together: {:?}", notes.locality("user".into()).wait()?);

    let backup = dir.path().join("backup");
    notes.snapshot(&backup).wait()?;
    notes.close()?;
    let backup = Collection::open(&kind.backend(), &backup, &options)?;
    println!("the backup has {} notes, through {kind}", backup.count(None).wait()?);
    Ok(())
}
