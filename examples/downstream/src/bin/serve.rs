//! The index as a service over HTTP: `serve FILE ADDRESS`. `serve --help` tells the rest.
//!
//! `POST /find` takes keys and answers with their values, or `null` where there is none:
//!
//! ```sh
//! curl -H Content-Type:application/json -d "[4, 8, 15]" "127.0.0.1:8081/find?timeout_ms=50" # [2,4,null]
//! ```
//!
//! The contract has a means for each event that ends a request early:
//!
//! | event | what happens |
//! |---|---|
//! | the time of a request is over | the deadline of its [`ReadControl`] ends its reads: 504 |
//! | all places are taken | it is refused before it costs anything: 503 |
//! | the client disconnects | axum drops the future, and the session drains its reads |
//! | SIGTERM or Ctrl-C | requests go on for a while, then the [`StopFlag`] ends their reads: 503 |

use axum::extract::{FromRequest, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use clap::Parser;
use downstream::backends;
use downstream::index::{Index, IndexError};
use io_core::{
    FileSystem, OpenOptions, ReadControl, ReadError, SendBackend, SendVectorReader, StopFlag, VectorReader,
    with_causes,
};
use serde::Deserialize;
use serde_json::json;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout_at};

/// A search of a map, or of pages in the page cache, does not wait. It holds its thread, so it must be short.
const KEYS_MAX: usize = 1000;

#[derive(Parser)]
#[command(about = "Answers searches of an index over HTTP", args_override_self = true)]
struct Args {
    /// A file that write-index has written
    file: PathBuf,
    /// Where to listen, such as 127.0.0.1:8081
    address: SocketAddr,
    /// mmap suits files that fit into memory: it blocks a thread while the disk reads
    #[arg(long, default_value = "auto", value_parser = backend)]
    backend: SendBackend,
    /// Requests at once. Others get 503
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    places: u16,
    /// The longest time for a request. A request may ask for less
    #[arg(long, default_value_t = 1000)]
    timeout_ms: u32,
    /// How long requests go on after SIGTERM or Ctrl-C
    #[arg(long, default_value_t = 500)]
    grace_ms: u32,
}

fn backend(name: &str) -> Result<SendBackend, String> {
    let names: Vec<_> = backends::send().iter().map(FileSystem::name).collect();
    let found = backends::send().into_iter().find(|backend| backend.name() == name);
    found.ok_or_else(|| format!("this build has {}", names.join(", ")))
}

/// The engine over a reader that was chosen at run time. It is shared by the threads of the runtime.
type Shared = Index<Box<dyn SendVectorReader>>;

async fn open(args: &Args) -> Result<Shared, Box<dyn Error>> {
    let reader = args.backend.open(&args.file, &OpenOptions::default()).await?;
    Ok(Index::open(reader).await?)
}

struct App {
    index: Shared,
    places: Semaphore,
    timeout: Duration,
    stop: StopFlag,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    timeout_ms: Option<u64>,
}

async fn find(State(app): State<Arc<App>>, request: Request) -> Result<Json<Vec<Option<u64>>>, Failure> {
    // The place is free again when this future ends or is dropped.
    let _place = app.places.try_acquire().map_err(|_| Failure::busy())?;
    let Query(terms) = Query::<Terms>::try_from_uri(request.uri())
        .map_err(|error| Failure::new(error.status(), error.body_text()))?;
    let asked = terms.timeout_ms.map_or(app.timeout, Duration::from_millis);
    let deadline = Instant::now() + asked.min(app.timeout);

    // The client may be slow, and its time runs.
    let body = timeout_at(deadline.into(), Json::<Vec<u64>>::from_request(request, &()));
    let Json(keys) = body
        .await
        .map_err(|_| Failure::new(StatusCode::GATEWAY_TIMEOUT, "the keys did not come in time".into()))?
        .map_err(|error| Failure::new(error.status(), error.body_text()))?;
    if keys.len() > KEYS_MAX {
        let what = format!("{} keys are too many: send at most {KEYS_MAX} in one request", keys.len());
        return Err(Failure::new(StatusCode::BAD_REQUEST, what));
    }
    let control = ReadControl::new().with_deadline(deadline).with_stop(app.stop.clone());
    Ok(Json(app.index.find(&keys, control).await?))
}

struct Failure {
    status: StatusCode,
    what: String,
}

impl Failure {
    fn new(status: StatusCode, what: String) -> Self {
        Self { status, what }
    }

    fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once: try again later".into())
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        let status = match error {
            IndexError::Read(ReadError::Deadline { .. }) => StatusCode::GATEWAY_TIMEOUT,
            IndexError::Stopped { .. } | IndexError::Read(ReadError::Closed { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, with_causes(&error).to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.what }))).into_response()
    }
}

/// Answers requests until a signal comes and the requests in flight have ended.
async fn serve(app: &Arc<App>, address: SocketAddr, grace: Duration) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);

    let (signalled, was_signalled) = oneshot::channel();
    let signals = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        println!("ending: no new requests");
        // The other side is there as long as this future.
        let _ = signalled.send(());
    };
    let router = Router::new().route("/find", post(find)).with_state(Arc::clone(app));
    let serving = axum::serve(listener, router).with_graceful_shutdown(signals);
    let overdue = async {
        let _ = was_signalled.await;
        sleep(grace).await;
        app.stop.stop();
        println!("ending: searches are stopped");
        // No request has more time than this. What is left are connections without one.
        sleep(app.timeout).await;
    };
    tokio::select! {
        served = serving => served?,
        () = overdue => {}
    }
    Ok(())
}

#[tokio::main]
async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let index = open(args)
        .await
        .map_err(|error| format!("{}\nwrite-index FILE ENTRIES writes an index", with_causes(&*error)))?;
    println!("{}", index.reader().info());
    let app = Arc::new(App {
        index,
        places: Semaphore::new(args.places.into()),
        timeout: Duration::from_millis(args.timeout_ms.into()),
        stop: StopFlag::new(),
    });
    serve(&app, args.address, Duration::from_millis(args.grace_ms.into())).await?;
    // Dropped searches may still have reads in flight.
    app.index.close().await?;
    println!("ended");
    Ok(())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serve: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}
