//! Starts the service on a free port and uses it as clients do.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What a test waits for comes in far less. It fails then, and does not hang.
const HANGS: Duration = Duration::from_secs(100);

struct Service {
    process: Child,
    said: Receiver<String>,
    client: Client,
    _file: tempfile::NamedTempFile,
}

impl Service {
    /// Over an index of 50,000 even keys, whose values are half of them.
    fn start(options: &[&str]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pairs: Vec<_> = (0..50_000).map(|value| (value * 2, value)).collect();
        std::fs::write(file.path(), downstream::index::build(&pairs)).unwrap();
        let mut process = command()
            .arg(file.path())
            .args(["127.0.0.1:0", "--timeout-ms", "60000", "--grace-ms", "60000"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (line, said) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|said| line.send(said)));
        let line = wait_for(&said, "listening on ");
        let address = line.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { process, said, client: Client { address }, _file: file }
    }

    /// Sends it a signal.
    fn end(&self, signal: &str) {
        let sent =
            Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        wait_for(&self.said, "ending: no new requests");
    }

    fn ends_well(mut self) {
        wait_for(&self.said, "ended");
        // Its standard output closes when it ends.
        assert_eq!(self.said.recv_timeout(HANGS), Err(RecvTimeoutError::Disconnected));
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Clone, Copy)]
struct Client {
    address: SocketAddr,
}

impl Client {
    /// Sends a request on a new connection, in one piece. Its head announces `len` bytes of keys.
    fn send(&self, query: &str, len: usize, more: &str, keys: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(HANGS)).unwrap();
        let request = format!(
            "POST /find{query} HTTP/1.1\r\nHost: serve\r\nConnection: close\r\n{more}\
             Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n{keys}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Returns the status, and the body as JSON.
    fn ask(&self, query: &str, keys: &Value) -> (u16, Value) {
        let keys = keys.to_string();
        answer(self.send(query, keys.len(), "", &keys))
    }

    /// A request for [4, 5] that has a place, and whose keys have not been sent.
    fn hold(&self) -> TcpStream {
        let mut stream = self.send("", KEYS.len(), "Expect: 100-continue\r\n", "");
        // The service says so when it begins to read the keys.
        let mut line = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }
}

const KEYS: &[u8] = b"[4, 5]";

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_serve"))
}

/// Takes lines of the service, up to one that begins so.
fn wait_for(said: &Receiver<String>, start: &str) -> String {
    loop {
        let line = said.recv_timeout(HANGS).unwrap_or_else(|error| panic!("{start:?} did not come: {error}"));
        if line.starts_with(start) {
            return line;
        }
    }
}

fn answer(mut stream: TcpStream) -> (u16, Value) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Sends the keys of a request that was held.
fn go_on(mut stream: TcpStream) -> (u16, Value) {
    stream.write_all(KEYS).unwrap();
    answer(stream)
}

fn error_of((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}")).to_owned())
}

#[test]
fn answers_are_right_under_concurrent_requests_on_every_backend() {
    for backend in downstream::backends::send() {
        let name = io_core::FileSystem::name(&backend);
        let service = Service::start(&["--backend", name]);
        thread::scope(|scope| {
            for client in 0..8u64 {
                let asks = service.client;
                scope.spawn(move || {
                    for request in 0..5 {
                        let keys: Vec<u64> = (0..200)
                            .map(|at| (client * 7919 + request * 104_729 + at * 611) % 120_000)
                            .collect();
                        let is_there = |&key: &u64| (key % 2 == 0 && key < 100_000).then_some(key / 2);
                        let values: Vec<_> = keys.iter().map(is_there).collect();
                        assert_eq!(asks.ask("", &json!(keys)), (200, json!(values)), "{name}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_request_without_time_gets_504_and_others_go_on() {
    for backend in downstream::backends::send() {
        let service = Service::start(&["--backend", io_core::FileSystem::name(&backend)]);
        let (status, error) = error_of(service.client.ask("?timeout_ms=0", &json!([4])));
        assert_eq!(status, 504);
        assert!(error.ends_with("was not served before its deadline"), "{error}");
        assert_eq!(service.client.ask("", &json!([4])), (200, json!([2])));
    }
}

#[test]
fn a_client_that_sends_its_keys_late_gets_504() {
    let service = Service::start(&[]);
    let stream = service.client.send("?timeout_ms=1", KEYS.len(), "", "");
    assert_eq!(error_of(answer(stream)), (504, "the keys did not come in time".to_owned()));
}

#[test]
fn a_request_without_a_place_gets_503() {
    let service = Service::start(&["--places", "2"]);
    let held = [service.client.hold(), service.client.hold()];
    let busy = (503, "too many requests at once: try again later".to_owned());
    assert_eq!(error_of(service.client.ask("", &json!([4]))), busy);
    for stream in held {
        assert_eq!(go_on(stream), (200, json!([2, null])));
    }
    assert_eq!(service.client.ask("", &json!([4])), (200, json!([2])));
}

#[test]
fn clients_that_disconnect_free_their_places() {
    let service = Service::start(&["--places", "1", "--timeout-ms", "3600000"]);
    let (keys, values): (Vec<_>, Vec<_>) = (0..1000).map(|value| (value * 2, value)).unzip();
    let many = json!(keys).to_string();
    let tries_end = Instant::now() + HANGS;
    for _ in 0..20 {
        // One disconnects before the service has its keys, and one during the search.
        for (len, keys) in [(KEYS.len(), ""), (many.len(), many.as_str())] {
            drop(service.client.send("", len, "", keys));
            // The service learns of it in its own time.
            while service.client.ask("", &json!([4])).0 == 503 {
                assert!(Instant::now() < tries_end, "the place is still taken");
            }
        }
    }
    assert_eq!(service.client.ask("", &json!(keys)), (200, json!(values)));
    service.end("INT");
    service.ends_well();
}

#[test]
fn requests_in_flight_are_answered_after_sigterm() {
    let service = Service::start(&[]);
    let held = [service.client.hold(), service.client.hold(), service.client.hold()];
    service.end("TERM");
    // It says that it ends, and then closes its socket.
    while TcpStream::connect(service.client.address).is_ok() {
        thread::yield_now();
    }
    for stream in held {
        assert_eq!(go_on(stream), (200, json!([2, null])));
    }
    service.ends_well();
}

#[test]
fn searches_that_begin_after_the_grace_period_are_stopped() {
    let service = Service::start(&["--grace-ms", "0"]);
    let held = service.client.hold();
    service.end("TERM");
    wait_for(&service.said, "ending: searches are stopped");
    let (status, error) = error_of(go_on(held));
    assert_eq!(status, 503);
    assert!(error.ends_with("the search was stopped"), "{error}");
    service.ends_well();
}

#[test]
fn a_connection_without_a_request_does_not_hold_up_the_end() {
    let service = Service::start(&["--grace-ms", "0", "--timeout-ms", "0"]);
    let mut half = TcpStream::connect(service.client.address).unwrap();
    half.write_all(b"POST /find HTTP/1.1\r\n").unwrap();
    service.end("TERM");
    service.ends_well();
}

#[test]
fn bad_requests_get_400_or_more_and_a_reason() {
    let service = Service::start(&[]);
    let many = error_of(service.client.ask("", &json!(vec![4; 1001])));
    assert_eq!(many, (400, "1001 keys are too many: send at most 1000 in one request".to_owned()));
    assert_eq!(error_of(service.client.ask("?timeout=1", &json!([4]))).0, 400);
    assert_eq!(error_of(service.client.ask("", &json!([-4]))).0, 422);
}

#[test]
fn an_error_at_the_start_says_what_is_wrong_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    std::fs::write(&other, [1; 8192]).unwrap();
    let start = |file: &Path, more: &[&str]| {
        let output = command().arg(file).arg("127.0.0.1:0").args(more).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let none = dir.path().join("none");
    let said = start(&none, &[]);
    assert!(said.starts_with(&format!("serve: cannot open {}: ", none.display())), "{said}");
    assert!(said.ends_with("write-index FILE ENTRIES writes an index\n"), "{said}");
    let said = start(&other, &[]);
    assert!(
        said.contains("other: it does not begin as an index; this is no index, or it is damaged\n"),
        "{said}"
    );
    let said = start(&other, &["--backend", "tape"]);
    assert!(said.contains("'tape'") && said.contains("this build has mmap"), "{said}");
    assert!(start(&other, &["--places", "0"]).contains("--places"));
}
