//! Peers that mean no good: each gets an error of AWS's shape or a closed connection, and the service goes on.

use crate::client::{Connection, Reply, Request};
use crate::server::Server;
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

/// The service still does its work.
fn serves(server: &Server) {
    server.call("GenerateRandom", &json!({"NumberOfBytes": 8})).ok();
}

fn sent(server: &Server, body: impl Into<Vec<u8>>) -> Reply {
    server.unix().send(&Request::new("Encrypt", body))
}

#[test]
fn bodies_that_cannot_be_read_are_serialization_errors() {
    let server = Server::new();
    let nested = |open: &str| open.repeat(10_000).into_bytes();
    for body in [
        b"{\"KeyId\":".to_vec(),
        b"not json".to_vec(),
        b"[]".to_vec(),
        b"{} {}".to_vec(),
        b"{\"KeyId\":\"\xff\"}".to_vec(),
        b"{\"KeyId\":7,\"Plaintext\":\"QQ==\"}".to_vec(),
        b"{\"KeyId\":\"k\",\"Plaintext\":\"Q\"}".to_vec(),
        b"{\"KeyId\":\"k\",\"Plaintext\":{}}".to_vec(),
        b"{\"KeyId\":\"k\",\"Plaintext\":\"QQ==\",\"KeyId\":\"l\"}".to_vec(),
        nested("["),
        nested("{\"KeyId\":"),
        [b"{\"Unknown\":".to_vec(), nested("[")].concat(),
    ] {
        let (status, name, _) = sent(&server, body.clone()).error();
        assert_eq!(
            (status, name.as_str()),
            (400, "SerializationException"),
            "{}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        );
    }
    serves(&server);
}

#[test]
fn a_body_has_a_largest_size() {
    let server = Server::new();
    let padded = |size: usize| {
        let frame = r#"{"KeyId":"k","Plaintext":"QQ==","Padding":""}"#;
        frame.replace("\"\"}", &format!("\"{}\"}}", "x".repeat(size - frame.len())))
    };
    let (status, name, _) = sent(&server, padded(1 << 20)).error();
    assert_eq!((status, name.as_str()), (400, "NotFoundException"), "this one was read");
    let request = Request::new("Encrypt", "").header("content-length", &((1 << 20) + 1).to_string());
    let mut connection = server.unix();
    let head = String::from_utf8(request.encode()).unwrap().replace("content-length: 0\r\n", "");
    connection.send_raw(head.as_bytes());
    let (status, name, _) = connection.receive().unwrap().error();
    assert_eq!((status, name.as_str()), (413, "RequestEntityTooLargeException"));
    // The same without saying how long it is.
    let head = head.replace("content-length: 1048577", "transfer-encoding: chunked");
    let mut connection = server.unix();
    connection.send_raw(head.as_bytes());
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        connection.send_raw(chunk.as_bytes());
    }
    let (status, name, _) = connection.receive().unwrap().error();
    assert_eq!((status, name.as_str()), (413, "RequestEntityTooLargeException"));
    serves(&server);
}

#[test]
fn what_is_not_http_is_not_served() {
    let server = Server::new();
    for bytes in [
        &b"GET\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"status\n\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let mut connection = server.tcp();
        connection.send_raw(bytes);
        if let Some(reply) = connection.receive() {
            assert_eq!((reply.status, reply.body.len()), (400, 0), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
    let mut connection = server.tcp();
    connection.send_raw(b"POST / HTTP/1.1\r\n");
    connection.send_raw(&b"x-filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(1000));
    assert_eq!(connection.receive().unwrap().status, 431);
    serves(&server);
}

#[test]
fn a_head_that_drips_in_is_given_up() {
    let server = Server::new();
    let began = Instant::now();
    let mut slow = server.tcp();
    let dripping = std::thread::spawn(move || {
        for byte in b"POST / HTTP/1.1\r\nhost: localhost\r\nx-filler: aaaaaaaaaaaaaaaaaaaa".iter().cycle() {
            if slow.try_send(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    dripping.join().unwrap();
    // Half a minute is what a head may take.
    assert!(began.elapsed() < Duration::from_secs(50));
    serves(&server);
}

#[test]
fn a_body_that_stops_is_given_up() {
    let server = Server::new();
    let whole = Request::new("GenerateRandom", r#"{"NumberOfBytes":1}"#).encode();
    let mut stopped = server.unix();
    stopped.send_raw(&whole[..whole.len() - 1]);
    // Ten seconds is what a body may take.
    let (status, name, message) = stopped.receive().unwrap().error();
    assert_eq!((status, name.as_str()), (400, "SerializationException"));
    assert!(message.contains("too long"), "{message}");
    assert!(stopped.receive().is_none(), "the connection is closed, since nobody knows where it stands");
    serves(&server);
}

#[test]
fn a_peer_that_takes_no_answer_is_given_up() {
    let server = Server::new();
    let request = Request::new("GenerateRandom", r#"{"NumberOfBytes":1024}"#).encode();
    let mut deaf = server.unix();
    // Until the service stops reading because nobody takes its answers, and then closes the connection.
    let end = Instant::now() + Duration::from_secs(60);
    while deaf.try_send(&request).is_ok() {
        assert!(Instant::now() < end, "a peer can have answers pile up");
    }
    serves(&server);
}

#[test]
fn a_thousand_idle_connections_cost_little_and_stop_nobody() {
    let server = Server::new();
    serves(&server);
    let before = server.resident();
    let idle: Vec<Connection> = (0..1000)
        .map(|at| {
            let mut connection = if at % 2 == 0 { server.tcp() } else { server.unix() };
            connection.send_raw(b"POST / HTTP/1.1\r\nhost: "); // memory for a head is taken already
            connection
        })
        .collect();
    serves(&server);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 48 << 20, "{} KiB for 1000 connections", grown >> 10);
    drop(idle);
    serves(&server);
}

#[test]
fn a_request_in_progress_is_finished_at_the_end() {
    let server = Server::new();
    let generation = server.unix().send(&Request::to("Kmsfs.Status", "{}")).ok()["Generation"].clone();
    let mut waiting = server.unix();
    let wait = json!({"Generation": generation, "TimeoutSeconds": 60});
    waiting.send_raw(&Request::to("Kmsfs.WaitForChange", wait.to_string()).encode());
    let mut idle = server.unix();
    idle.send(&Request::new("GenerateRandom", r#"{"NumberOfBytes":1}"#)).ok();
    let socket = server.socket.clone();
    server.signal(Signal::TERM);
    assert_eq!(waiting.receive().expect("an answer").ok()["Generation"], generation);
    assert!(idle.receive().is_none());
    let (code, _dir) = server.wait(Duration::from_secs(20));
    assert_eq!(code, Some(0));
    assert!(!socket.exists());
}
