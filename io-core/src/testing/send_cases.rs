//! Files, futures and sessions that move between threads while they are in use.

use super::battery::{Case, Subject, byte_at};
use super::cases::{check_bytes, scattered};
use crate::{
    Completion, FileSession, FileSystem, PageWriter, ReadControl, SendBackend, SendSink, SendVectorReader,
    SendWrites, VectorReader, WriteBehind,
};
use std::ops::ControlFlow;
use std::task::{Context, Waker};
use std::thread;

pub(super) fn send_cases() -> Vec<Case<SendBackend>> {
    vec![
        ("readers are shared by threads", shared_readers),
        ("a batch that has begun on one thread ends on another", batch_moves),
        ("a session that has begun on one thread ends on another", session_moves),
        ("a writer behind its caller moves between threads", writer_moves),
    ]
}

fn open(subject: &Subject<SendBackend>) -> Box<dyn SendVectorReader> {
    pollster::block_on(subject.backend.open(&subject.file(), &subject.options)).expect("opens")
}

/// Reads all requests, and checks their bytes, without the wrapper for sinks that are not `Send`.
async fn read(reader: &dyn SendVectorReader, seed: u64) {
    let requests = scattered(seed, 100);
    let control = ReadControl::new();
    let mut delivered = 0;
    let mut sink = |index: usize, bytes: &[u8]| {
        check_bytes(requests[index], bytes);
        delivered += 1;
        ControlFlow::Continue(())
    };
    let sink: &mut SendSink<'_> = &mut sink;
    let outcome = reader.read_vectors_send(&requests, &control, sink).await.expect("a good batch");
    assert_eq!((outcome.delivered, delivered), (requests.len(), requests.len()));
}

fn shared_readers(subject: &Subject<SendBackend>) {
    let reader = open(subject);
    thread::scope(|scope| {
        for seed in 0..4 {
            let reader = &reader;
            scope.spawn(move || pollster::block_on(read(&**reader, seed)));
        }
    });
    pollster::block_on(reader.close()).expect("closes");
}

fn batch_moves(subject: &Subject<SendBackend>) {
    let reader = open(subject);
    for seed in 0..20 {
        let mut batch = Box::pin(read(&*reader, seed));
        if batch.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            thread::scope(|scope| scope.spawn(move || pollster::block_on(batch)).join()).expect("reads");
        }
    }
}

fn session_moves(subject: &Subject<SendBackend>) {
    let reader = open(subject);
    for seed in 0..20 {
        let requests = scattered(seed, 100);
        let mut session = reader.session_send(ReadControl::new());
        for (tag, &request) in (0..).zip(&requests) {
            session.submit(tag, request);
        }
        let first = pollster::block_on(session.next()).expect("reads are pending");
        check_bytes(requests[first.tag as usize], &first.bytes.expect("a good read"));
        let rest = thread::scope(|scope| {
            let elsewhere = scope.spawn(move || {
                let mut completed = 0;
                while let Some(Completion { tag, bytes }) = pollster::block_on(session.next()) {
                    check_bytes(requests[tag as usize], &bytes.expect("a good read"));
                    completed += 1;
                }
                completed
            });
            elsewhere.join().expect("reads")
        });
        assert_eq!(rest, 99);
    }
}

fn writer_moves(subject: &Subject<SendBackend>) {
    const PART: usize = 64 << 10;
    let path = subject.new_path();
    let writer = pollster::block_on(subject.backend.create(&path, &subject.options)).expect("creates");
    let mut behind = WriteBehind::<_, SendWrites>::new_send(writer);
    for part in 0..20 {
        let offset = (part * PART) as u64;
        let mut bytes: Vec<u8> = (offset..offset + PART as u64).map(byte_at).collect();
        behind = thread::scope(|scope| {
            let elsewhere = scope.spawn(move || {
                pollster::block_on(behind.write(offset, &mut bytes, PART)).expect("writes");
                behind
            });
            elsewhere.join().expect("writes")
        });
    }
    pollster::block_on(behind.settled()).expect("writes");
    pollster::block_on(behind.writer().close()).expect("closes");
    let found = std::fs::read(&path).expect("is there");
    assert!(found.iter().copied().eq((0..20 * PART as u64).map(byte_at)), "other bytes");
}
