//! Every call has its line in the audit log, whatever becomes of it; quotas; figures.

use crate::client::{Connection, Request};
use crate::server::{Server, kmsfs};
use kmsfs::kms::EncryptionContext;
use kmsfs::kms::audit::{self, CallRecord, Event, Expectations, Source, Walk};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

fn log_of(server: &Server) -> PathBuf {
    server.dir.path().join("kmsfs/keystore.audit")
}

fn calls(directory: &Path) -> Vec<CallRecord> {
    let mut walk = Walk::new(directory).unwrap();
    let mut calls = Vec::new();
    while let Some(place) = walk.advance().unwrap() {
        if let Some(Event::Call(record)) = place.event() {
            calls.push(record);
        }
    }
    calls
}

/// The record of the call with this request id; it may take a moment until it is in the file.
fn record(directory: &Path, id: &str) -> CallRecord {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let found = calls(directory).into_iter().find(|record| record.request_id.to_string() == id);
        match found {
            Some(record) => return record,
            None if Instant::now() > end => panic!("no record of {id}"),
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Sends a request and gives the record of it.
fn recorded(server: &Server, connection: &mut Connection, request: &Request) -> (CallRecord, Value) {
    let reply = connection.send(request);
    let id = reply.header("x-amzn-requestid").unwrap().to_owned();
    (record(&log_of(server), &id), reply.json())
}

fn assert_whole(server: &Server, directory: &Path) {
    let report = audit::verify(directory, &server.keystore().audit_key(), &Expectations::default()).unwrap();
    assert_eq!(report.broken, None);
}

#[test]
fn a_call_is_recorded_with_who_where_what_and_what_became_of_it() {
    let server = Server::new();
    let alice = server.user("alice");
    server.allow_all("alice");
    let mut tcp = server.tcp();
    let (made, answer) = recorded(&server, &mut tcp, &Request::new("CreateKey", "{}").signed(&alice));
    let arn = answer["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    assert_eq!((made.key.as_ref(), made.read_only, made.error), (Some(&arn), false, None));

    let context = json!({ "purpose": "backup", "n": "1" });
    let body = json!({ "KeyId": arn, "Plaintext": "c2VjcmV0", "EncryptionContext": context });
    let request = Request::new("Encrypt", body.to_string()).header("user-agent", "Boto3/1.40").signed(&alice);
    let (call, answer) = recorded(&server, &mut tcp, &request);
    assert_eq!(call.operation, "Encrypt");
    assert_eq!(call.principal.as_deref(), Some("arn:aws:iam::000000000000:user/alice"));
    assert_eq!(call.access_key_id.as_deref(), Some(&*alice.id));
    assert_eq!(call.source, Source::Address("127.0.0.1".parse().unwrap()));
    assert_eq!(call.user_agent.as_deref(), Some("Boto3/1.40"));
    assert_eq!((call.key.as_deref(), call.spec.as_deref()), (Some(&*arn), Some("SYMMETRIC_DEFAULT")));
    assert_eq!(call.context, EncryptionContext::new().with("n", "1").with("purpose", "backup"));
    assert_eq!((call.error, call.read_only, call.dry_run, call.grant), (None, true, false, None));
    assert!(call.micros > 0);
    let line = std::fs::read_to_string(log_of(&server).join("audit-000001.jsonl")).unwrap();
    let blob = answer["CiphertextBlob"].as_str().unwrap();
    for secret in ["c2VjcmV0", blob, &alice.secret] {
        assert!(!line.contains(secret), "{secret}");
    }

    let id = arn.rsplit('/').next().unwrap(); // over the socket, requests have the keystore's region
    let dry = json!({ "KeyId": id, "Plaintext": "eA==", "DryRun": true });
    let (call, _) = recorded(&server, &mut server.unix(), &Request::new("Encrypt", dry.to_string()));
    assert_eq!((call.dry_run, call.error.as_deref()), (true, Some("DryRunOperationException")));
    assert_eq!(call.source, Source::User(rustix::process::geteuid().as_raw()));
    assert_eq!(call.access_key_id, None);
    assert_whole(&server, &log_of(&server));
}

#[test]
fn refused_calls_are_recorded_too_with_what_is_known_of_them() {
    let server = Server::new();
    let (alice, key) = (server.user("alice"), server.call("CreateKey", &json!({})).ok());
    let arn = key["KeyMetadata"]["KeyId"].as_str().unwrap();
    let body = json!({ "KeyId": arn, "Plaintext": "eA==", "EncryptionContext": { "a": "b" } }).to_string();
    let error = |record: &CallRecord| record.error.as_deref().unwrap_or("ok").to_owned();

    let (denied, _) = recorded(&server, &mut server.tcp(), &Request::new("Encrypt", &*body).signed(&alice));
    assert_eq!(error(&denied), "AccessDeniedException");
    assert!(denied.key.is_some_and(|key| key.ends_with(arn)) && denied.context.pairs().count() == 1);

    let mut forger = alice.clone();
    forger.secret = "x".repeat(40);
    let (forged, _) = recorded(&server, &mut server.tcp(), &Request::new("Encrypt", &*body).signed(&forger));
    assert_eq!((error(&forged).as_str(), forged.principal), ("InvalidSignatureException", None));
    assert_eq!(forged.access_key_id.as_deref(), Some(&*alice.id), "whose key it was said to be");
    let (unsigned, _) = recorded(&server, &mut server.tcp(), &Request::new("Encrypt", &*body));
    assert_eq!(error(&unsigned), "MissingAuthenticationTokenException");

    let (unknown, _) = recorded(&server, &mut server.unix(), &Request::new("DropTables", "{}"));
    assert_eq!((error(&unknown).as_str(), &*unknown.operation), ("UnknownOperationException", "DropTables"));
    let (malformed, _) = recorded(&server, &mut server.unix(), &Request::new("Encrypt", "{"));
    assert_eq!(error(&malformed), "SerializationException");
    let (none, _) = recorded(&server, &mut server.unix(), &Request::to("", "{}"));
    assert_eq!(none.operation, "none");
    assert_whole(&server, &log_of(&server));
}

#[test]
fn waiting_for_changes_is_no_call() {
    let server = Server::new();
    let reply = server.unix().send(&Request::to("Kmsfs.Status", "{}"));
    let id = reply.header("x-amzn-requestid").unwrap().to_owned();
    let after = server.call("ListKeys", &json!({}));
    record(&log_of(&server), after.header("x-amzn-requestid").unwrap());
    assert!(calls(&log_of(&server)).iter().all(|call| call.request_id.to_string() != id));
}

#[test]
fn a_client_that_goes_away_does_not_take_its_record_along() {
    let server = Server::new();
    for _ in 0..20 {
        let mut connection = server.unix();
        connection.send_raw(&Request::new("CreateKey", "{}").encode());
        drop(connection);
    }
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let listed = server.call("ListKeys", &json!({})).ok()["Keys"].as_array().unwrap().len();
        let made = calls(&log_of(&server)).into_iter().filter(|call| call.operation == "CreateKey");
        let made = made.filter(|call| call.error.is_none() && call.key.is_some()).count();
        // Those whose client had gone before they began have done nothing.
        if made == listed && (listed == 20 || Instant::now() > end - Duration::from_secs(15)) {
            break;
        }
        assert!(Instant::now() < end, "{listed} keys, {made} records");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn calls_above_their_quota_are_throttled() {
    let quotas = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&quotas, r#"{ "CreateKey": 0.001, "rsa": 0.001 }"#).unwrap();
    let server = Server::new_with(&["--quota", quotas.path().to_str().unwrap()]);
    let rsa = json!({ "KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT" });
    let key = server.call("CreateKey", &rsa).ok()["KeyMetadata"]["KeyId"].clone();
    let second = server.call("CreateKey", &json!({}));
    let (status, name, message) = second.error();
    assert_eq!((status, &*name), (400, "ThrottlingException"));
    assert_eq!(
        message,
        "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
    );
    let id = second.header("x-amzn-requestid").unwrap();
    assert_eq!(record(&log_of(&server), id).error.as_deref(), Some("ThrottlingException"));

    let body = json!({ "KeyId": key, "Plaintext": "eA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256" });
    server.call("Encrypt", &body).ok();
    assert_eq!(server.call("Encrypt", &body).error().1, "ThrottlingException", "the key's kind counts");
    for _ in 0..5 {
        server.call("ListKeys", &json!({})).ok();
    }
    std::fs::write(&quotas, r#"{ "CreateKeys": 1 }"#).unwrap();
    let refused = kmsfs(&server.dir).args(["kms", "serve", "--quota"]).arg(quotas.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no quota CreateKeys"));
}

#[test]
fn figures_are_served_on_a_port_of_their_own() {
    let server = Server::new_with(&["--metrics", "127.0.0.1:0"]);
    let get = |path: &str| {
        let mut stream = TcpStream::connect(server.metrics.unwrap()).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    server.call("ListKeys", &json!({})).ok();
    server.call("DescribeKey", &json!({ "KeyId": Uuid::nil() })).error();
    let last = server.call("ListKeys", &json!({}));
    record(&log_of(&server), last.header("x-amzn-requestid").unwrap());
    let text = get("/metrics");
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("text/plain; version=0.0.4"), "{text}");
    for line in [
        "kmsfs_calls_total{operation=\"ListKeys\",result=\"ok\"} 2",
        "kmsfs_calls_total{operation=\"DescribeKey\",result=\"NotFoundException\"} 1",
        "kmsfs_call_duration_seconds_count{operation=\"ListKeys\"} 2",
        "kmsfs_calls_in_flight 0",
        "kmsfs_audit_sequence 5",
        "kmsfs_audit_lost_total 0",
        "kmsfs_audit_failing 0",
        "kmsfs_keystore_current 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(text.contains("kmsfs_build_info{version=") && text.contains("kmsfs_signing_keys "));
    assert!(get("/").starts_with("HTTP/1.1 404"));
    let open = kmsfs(&server.dir).args(["kms", "serve", "--metrics", "0.0.0.0:0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&open.stderr).contains("no loopback address"));
}

#[test]
fn a_killed_server_has_recorded_every_call_that_it_answered() {
    let mut server = Server::new_with(&["--audit-durable"]);
    let directory = log_of(&server);
    let mut answered = HashSet::new();
    for _ in 0..3 {
        let seen = Mutex::new(HashSet::new());
        thread::scope(|scope| {
            for _ in 0..4 {
                let (mut connection, seen) = (server.unix(), &seen);
                scope.spawn(move || {
                    let request = Request::new("GenerateRandom", r#"{"NumberOfBytes":8}"#).encode();
                    while connection.try_send(&request).is_ok() {
                        let Some(reply) = connection.receive() else { return };
                        reply.ok();
                        seen.lock().unwrap().insert(reply.header("x-amzn-requestid").unwrap().to_owned());
                    }
                });
            }
            thread::sleep(Duration::from_millis(700));
            server.signal(Signal::KILL);
        });
        answered.extend(seen.into_inner().unwrap());
        let (_, dir) = server.wait(Duration::from_secs(20));
        let recorded: HashSet<_> = calls(&directory).iter().map(|call| call.request_id.to_string()).collect();
        let lost = answered.difference(&recorded).count();
        assert_eq!(lost, 0, "of {} calls that were answered", answered.len());
        server = Server::start(dir, &["--audit-durable"]);
        assert_whole(&server, &directory);
    }
    assert!(answered.len() > 50, "{} calls", answered.len());
}

#[test]
fn without_room_for_its_line_a_call_has_no_effect() {
    let place = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(place.path()).status();
    assert!(mounted.unwrap().success(), "this test needs to be root");
    let audit = place.path().join("audit");
    let server = Server::new_with(&["--audit-durable", "--audit", audit.to_str().unwrap()]);
    let key = server.call("CreateKey", &json!({})).ok()["KeyMetadata"]["KeyId"].clone();
    let ballast = place.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}

    let disable = json!({ "KeyId": key });
    let end = Instant::now() + Duration::from_secs(20);
    let refused = loop {
        // What is left of the last page may hold a few lines more.
        let reply = server.call("ListKeys", &json!({}));
        if reply.status == 500 {
            break reply;
        }
        assert!(Instant::now() < end);
    };
    assert_eq!(refused.error().1, "KMSInternalException");
    assert_eq!(server.call("DisableKey", &disable).status, 500);
    let state =
        |server: &Server| server.call("DescribeKey", &disable).ok()["KeyMetadata"]["KeyState"].clone();

    std::fs::remove_file(&ballast).unwrap();
    drop(file);
    let end = Instant::now() + Duration::from_secs(20);
    while server.call("ListKeys", &json!({})).status != 200 {
        assert!(Instant::now() < end, "there is room again");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(state(&server), "Enabled", "the call that was refused had no effect");
    let refused = refused.header("x-amzn-requestid").unwrap().to_owned();
    assert_eq!(record(&audit, &refused).operation, "ListKeys", "it is recorded all the same");
    assert_whole(&server, &audit);
    drop(server);
    let _ = Command::new("umount").arg("-l").arg(place.path()).status();
}

#[test]
fn what_was_called_is_listed_and_priced() {
    let server = Server::new();
    let key = server.call("CreateKey", &json!({})).ok()["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        server.call("GenerateDataKey", &json!({ "KeyId": key, "KeySpec": "AES_256" })).ok();
    }
    server.signal(Signal::TERM);
    let (code, dir) = server.wait(Duration::from_secs(20));
    assert_eq!(code, Some(0));
    let json = |args: &[&str]| -> Value {
        let output = kmsfs(&dir).args(args).arg("--json").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let events = json(&["kms", "audit", "--operation", "GenerateDataKey", "--key", &key]);
    assert_eq!(events["Events"].as_array().unwrap().len(), 3);
    let all = json(&["kms", "audit"]);
    assert_eq!(
        all["Events"].as_array().unwrap().last().unwrap()["event"],
        "stopped",
        "it ended in good order"
    );
    let usage = json(&["kms", "usage"]);
    let line = usage["Lines"].as_array().unwrap().iter().find(|line| line["Name"] == *key).unwrap().clone();
    assert_eq!(line["Calls"], 4);
    assert!(json(&["kms", "audit", "--verify"])["Verified"].as_bool().unwrap());
}
