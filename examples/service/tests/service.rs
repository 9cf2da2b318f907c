//! Starts the service on a free port and uses it as a client does.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Service {
    process: Child,
    address: SocketAddr,
}

impl Service {
    fn start(dir: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_service"))
            .args([dir.as_os_str(), "127.0.0.1:0".as_ref(), "mmap".as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { process, address }
    }

    /// Sends one request on a new connection. Returns the status, and the body as JSON.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn ids_found(&self, query: &Value) -> Vec<u64> {
        let (status, hits) = self.ask("POST", "/search", query);
        assert_eq!(status, 200, "{hits}");
        hits.as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn points() -> Value {
    json!([
        {"id": 1, "vector": [1.0, 0.0, 0.0], "payload": {"user": "ann", "day": 1}},
        {"id": 2, "vector": [0.9, 0.1, 0.0], "payload": {"user": "bob", "day": 2}},
        {"id": 3, "vector": [0.8, 0.2, 0.0], "payload": {"user": "ann", "day": 3}},
    ])
}

#[test]
fn a_user_finds_its_own_points_only() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    assert_eq!(service.ask("PUT", "/points", &points()).1["points"], 3);
    let of_ann = json!({"user": "ann", "vector": [1.0, 0.0, 0.0]});
    assert_eq!(service.ids_found(&of_ann), [1, 3]);
    let mut late = of_ann.clone();
    late["filter"] = json!({"should": [{"key": "day", "range": {"gte": 2}}]});
    assert_eq!(service.ids_found(&late), [3]);
    let mut one = of_ann.clone();
    one["limit"] = json!(1);
    assert_eq!(service.ids_found(&one), [1]);
    assert_eq!(service.ask("DELETE", "/points", &json!([1, 9])).1["points"], 1);
    assert_eq!(service.ids_found(&of_ann), [3]);
}

#[test]
fn acknowledged_points_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path());
    assert_eq!(service.ask("PUT", "/points", &points()).0, 200);
    service.process.kill().unwrap();
    service.process.wait().unwrap();
    let service = Service::start(dir.path());
    assert_eq!(service.ids_found(&json!({"user": "bob", "vector": [0.0, 1.0, 0.0]})), [2]);
    assert_eq!(service.ask("GET", "/health", &Value::Null).1["points"], 3);
}

#[test]
fn it_ends_cleanly_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path());
    assert_eq!(service.ask("PUT", "/points", &points()).0, 200);
    let sent = Command::new("kill").arg(service.process.id().to_string()).status().unwrap();
    assert!(sent.success());
    assert!(service.process.wait().unwrap().success());
}

#[test]
fn errors_have_a_status_and_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let (status, answer) = service.ask("PUT", "/points", &json!([{"id": 7, "vector": [1.0]}]));
    let error = "point 7: a vector of 1 components; the collection's dimension is 3";
    assert_eq!((status, &answer["error"]), (400, &json!(error)));
    let filter = json!({"must": [{"key": "colour", "match": {"value": "red"}}]});
    let query = json!({"user": "ann", "vector": [1.0, 0.0, 0.0], "filter": filter});
    assert_eq!(service.ask("POST", "/search", &query).0, 400);
    assert_eq!(service.ask("POST", "/snapshots/monday", &Value::Null).0, 201);
    assert!(dir.path().join("backups/monday/MANIFEST").is_file());
    assert_eq!(service.ask("POST", "/snapshots/monday", &Value::Null).0, 409);
    assert_eq!(service.ask("POST", "/snapshots/..", &Value::Null).0, 400);
}

#[test]
fn an_error_at_the_start_is_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("notes")).unwrap();
    std::fs::write(dir.path().join("notes/other"), "").unwrap();
    let start = |args: &[&std::ffi::OsStr]| {
        let output = Command::new(env!("CARGO_BIN_EXE_service")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(start(&[]), "service: usage: service DIRECTORY ADDRESS [BACKEND]\n");
    let said = start(&[dir.path().as_ref(), "127.0.0.1:0".as_ref()]);
    assert!(
        said.starts_with("service: /")
            && said.ends_with("notes is no collection: there is no file MANIFEST in it\n"),
        "{said}"
    );
}
