//! A search service over HTTP: one collection, JSON in and JSON out.
//!
//! `service DIRECTORY ADDRESS [BACKEND]`, such as `service data 127.0.0.1:8080 ring`.
//! `docs/tutorial.md` explains each part.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use io_core::with_causes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, SearchRequest, Selection};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

/// Components of a vector: as many as your model gives.
const DIM: u32 = 3;

struct App {
    notes: Collection,
    backups: PathBuf,
}

fn open(dir: &std::path::Path, backend: BackendKind) -> Result<Collection, Error> {
    let (backend, options) = (backend.backend(), CollectionOptions::default());
    let schema = Schema::new(DIM).tenant("user", FieldKind::Keyword).index("day", FieldKind::Integer);
    match Collection::create(&backend, dir, &schema, &options) {
        Err(Error::Exists { .. }) => Collection::open(&backend, dir, &options),
        created => created,
    }
}

async fn upsert(State(app): State<Arc<App>>, Json(points): Json<Vec<Point>>) -> Result<Json<Value>, Failure> {
    let written = app.notes.upsert(points, Durability::Synced).await?;
    Ok(Json(json!({ "points": written.points, "seq": written.seq })))
}

async fn delete(State(app): State<Arc<App>>, Json(ids): Json<Vec<PointId>>) -> Result<Json<Value>, Failure> {
    let written = app.notes.delete(Selection::Ids(ids), Durability::Synced).await?;
    Ok(Json(json!({ "points": written.points, "seq": written.seq })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    user: String,
    vector: Vec<f32>,
    filter: Option<Filter>,
    #[serde(default = "ten")]
    limit: usize,
}

fn ten() -> usize {
    10
}

async fn search(State(app): State<Arc<App>>, Json(query): Json<Query>) -> Result<Json<Value>, Failure> {
    let mut filter = Filter::must(Condition::matches("user", query.user));
    filter.must.extend(query.filter.map(Condition::Filter));
    let request = SearchRequest {
        filter: Some(filter),
        limit: query.limit,
        with_payload: true,
        ..SearchRequest::new(query.vector)
    };
    let found = app.notes.search(request).await?;
    let hits = found.hits.into_iter();
    let hits = hits.map(|hit| json!({ "id": hit.id, "score": hit.score, "payload": hit.payload }));
    Ok(Json(hits.collect()))
}

async fn snapshot(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(StatusCode::BAD_REQUEST);
    }
    app.notes.snapshot(&app.backups.join(name)).await?;
    Ok(StatusCode::CREATED)
}

async fn health(State(app): State<Arc<App>>) -> Result<(StatusCode, Json<Value>), Failure> {
    let info =
        tokio::task::spawn_blocking(move || app.notes.info()).await.map_err(|_| Error::WorkerLost)??;
    let is_well = info.read_only.is_none() && info.background_error.is_none();
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let problems = json!({ "read_only": info.read_only, "background_error": info.background_error });
    Ok((status, Json(json!({ "points": info.points, "problems": problems }))))
}

struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0 {
            Error::Input(_) => StatusCode::BAD_REQUEST,
            Error::Exists { .. } => StatusCode::CONFLICT,
            Error::Full { .. } | Error::ReadOnly { .. } | Error::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "error": with_causes(&self.0).to_string() }))).into_response()
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/points", put(upsert).delete(delete))
        .route("/search", post(search))
        .route("/snapshots/{name}", post(snapshot))
        .route("/health", get(health))
        .with_state(app)
}

async fn serve(app: Arc<App>, address: &str) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    axum::serve(listener, router(app)).with_graceful_shutdown(stopped).await
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(address)) = (args.next(), args.next()) else {
        return Err("usage: service DIRECTORY ADDRESS [BACKEND]".into());
    };
    let backend = args.next().map_or(Ok(BackendKind::Mmap), |name| name.parse())?;
    let dir = PathBuf::from(dir);
    let backups = dir.join("backups");
    std::fs::create_dir_all(&backups)?;
    let notes = open(&dir.join("notes"), backend)?;
    let app = Arc::new(App { notes, backups });
    tokio::runtime::Runtime::new()?.block_on(serve(Arc::clone(&app), &address))?;
    match Arc::into_inner(app) {
        Some(app) => Ok(app.notes.close()?),
        None => Ok(()),
    }
}
