//! The provider against a service that says what a test tells it to.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::keys::{ErrorKind, Purpose};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What to do with a request, by its target and body.
type Script = Box<dyn Fn(&str, &str) -> Reply + Send + Sync>;

#[derive(Clone)]
enum Reply {
    /// Answer with this status and body.
    With(u16, String),
    /// Answer so, and close the connection, unsaid.
    ThenClose(u16, String),
    /// Close the connection.
    Close,
    /// Never answer.
    Silence,
}

/// A service on a socket in a directory of its own.
struct Fake {
    _dir: tempfile::TempDir,
    place: Place,
}

impl Fake {
    /// Answers calls of the KMS with `answer`, given their target; whoever asks for changes waits for ever.
    fn new(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Fake {
        Fake::scripted(move |target, _| match target {
            "Kmsfs.Status" => Reply::With(200, r#"{"Generation":1}"#.into()),
            "Kmsfs.WaitForChange" => Reply::Silence,
            target => answer(target),
        })
    }

    /// Answers as a foreign service, which says `no` to what is ours alone.
    fn foreign(no: Reply, answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Fake {
        Fake::scripted(move |target, body| match target.starts_with("Kmsfs.") {
            true => no.clone(),
            false => answer(body),
        })
    }

    fn scripted(script: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("kms.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let script: Arc<Script> = Arc::new(Box::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, script) = (stream.unwrap(), Arc::clone(&script));
                thread::spawn(move || serve(stream, &script));
            }
        });
        Fake { _dir: dir, place: Place::Unix(socket) }
    }

    fn provider(&self) -> ServiceProvider {
        ServiceProvider::new(self.place.clone()).unwrap()
    }
}

fn serve(mut stream: UnixStream, script: &Script) {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let Ok(count @ 1..) = stream.read(&mut buffer) else { return };
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        if body.len() < header("content-length: ").parse().unwrap() {
            continue;
        }
        assert_eq!(header("x-kmsfs-via-service: "), "kmsfs");
        bytes.clear();
        let reply = script(header("x-amz-target: "), body);
        let mut send = |status: u16, body: &str| {
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).unwrap();
        };
        match reply {
            Reply::With(status, body) => send(status, &body),
            Reply::ThenClose(status, body) => return send(status, &body),
            Reply::Close => return,
            Reply::Silence => thread::sleep(Duration::from_secs(3600)),
        }
    }
}

const CMK: &str = "arn:aws:kms:local:000000000000:key/x";

fn error(name: &str) -> Reply {
    Reply::With(400, json!({"__type": name, "message": "why"}).to_string())
}

fn described(state: &str, spec: &str) -> String {
    let metadata = json!({
        "Arn": CMK, "KeyId": Uuid::nil().to_string(), "KeyState": state,
        "KeySpec": spec, "KeyUsage": "ENCRYPT_DECRYPT",
    });
    json!({ "KeyMetadata": metadata }).to_string()
}

#[test]
fn errors_of_the_service_keep_their_meaning() {
    for (name, kind) in [
        ("AccessDeniedException", ErrorKind::Denied),
        ("com.amazon.x#InvalidSignatureException", ErrorKind::Denied),
        ("DisabledException", ErrorKind::Disabled),
        ("KMSInvalidStateException", ErrorKind::Disabled),
        ("NotFoundException", ErrorKind::NotFound),
        ("InvalidCiphertextException", ErrorKind::Invalid),
        ("InvalidKeyUsageException", ErrorKind::Unsuitable),
        ("KMSInternalException", ErrorKind::Unavailable),
        ("SomethingNew", ErrorKind::Unavailable),
    ] {
        let fake = Fake::new(move |_| error(name));
        let refused = fake.provider().resolve("k").unwrap_err();
        assert_eq!(refused.kind(), kind, "{name}");
        assert!(refused.to_string().ends_with(": why"), "{refused}");
    }
    for body in ["", "{", "[]", "<html>"] {
        let fake = Fake::new(move |_| Reply::With(500, body.into()));
        assert_eq!(fake.provider().resolve("k").unwrap_err().kind(), ErrorKind::Unavailable);
        let fake = Fake::new(move |_| Reply::With(200, body.into()));
        assert_eq!(fake.provider().resolve("k").unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn a_key_that_cannot_be_used_now_says_why() {
    for (state, spec, kind) in [
        ("Disabled", "SYMMETRIC_DEFAULT", ErrorKind::Disabled),
        ("PendingDeletion", "SYMMETRIC_DEFAULT", ErrorKind::Disabled),
        ("PendingImport", "SYMMETRIC_DEFAULT", ErrorKind::Disabled),
        ("Enabled", "SM2", ErrorKind::Unsuitable),
    ] {
        let fake = Fake::new(move |_| Reply::With(200, described(state, spec)));
        assert_eq!(fake.provider().resolve("k").unwrap_err().kind(), kind, "{state}, {spec}");
    }
    let fake = Fake::new(|_| Reply::With(200, described("Enabled", "SYMMETRIC_DEFAULT")));
    assert_eq!(fake.provider().resolve("k").unwrap().arn, CMK);
}

#[test]
fn a_throttled_call_is_made_again() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let fake = Fake::new(move |_| match counted.fetch_add(1, Ordering::Relaxed) {
        0..3 => error("ThrottlingException"),
        _ => Reply::With(200, described("Enabled", "SYMMETRIC_DEFAULT")),
    });
    fake.provider().resolve("k").unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[test]
fn a_call_that_failed_by_chance_is_made_again_and_no_other_is() {
    let usable = || Reply::With(200, described("Enabled", "SYMMETRIC_DEFAULT"));
    let internal = || Reply::With(500, json!({"__type": "KMSInternalException"}).to_string());
    let gateway = || Reply::With(503, "<html>".into());
    let unlucky: [(Reply, u64); 5] = [
        (internal(), 4),
        (gateway(), 4),
        (Reply::Close, 5),
        (error("DisabledException"), 1),
        (error("New"), 1),
    ];
    for (reply, attempts) in unlucky {
        for luck in [2, u64::MAX] {
            let calls = Arc::new(AtomicU64::new(0));
            let (counted, reply) = (Arc::clone(&calls), reply.clone());
            let fake = Fake::new(move |_| match counted.fetch_add(1, Ordering::Relaxed) {
                before if before < luck => reply.clone(),
                _ => usable(),
            });
            let succeeded = fake.provider().resolve("k").is_ok();
            assert_eq!(succeeded, attempts > luck);
            assert_eq!(calls.load(Ordering::Relaxed), attempts.min(luck.saturating_add(1)));
        }
    }
}

#[test]
fn a_connection_that_the_service_has_closed_is_replaced() {
    let fake = Fake::new(|_| Reply::ThenClose(200, described("Enabled", "SYMMETRIC_DEFAULT")));
    let provider = fake.provider();
    for _ in 0..5 {
        provider.resolve("k").unwrap();
        thread::sleep(Duration::from_millis(10)); // now the kept connection is closed, and nobody knows
    }
    let fake = Fake::new(|_| Reply::Close);
    let refused = fake.provider().resolve("k").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
}

#[test]
fn an_answer_is_not_waited_for_without_end() {
    let fake = Fake::new(|_| Reply::Silence);
    let provider = fake.provider();
    let began = Instant::now();
    assert_eq!(provider.resolve("k").unwrap_err().kind(), ErrorKind::Unavailable);
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(60)).contains(&took), "{took:?}");
    let began = Instant::now();
    assert_eq!(provider.resolve("k").unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(5), "the next caller waited {:?}", began.elapsed());
}

#[test]
fn what_the_service_unwraps_must_be_a_data_key() {
    let context = Context { volume: [1; 16], zone: None, purpose: Purpose::File([2; 16]) };
    for (plaintext, good) in [([7; 32].as_slice(), true), (&[7; 31], false), (&[7; 33], false), (&[], false)]
    {
        let body = json!({ "Plaintext": STANDARD.encode(plaintext) }).to_string();
        let fake = Fake::new(move |_| Reply::With(200, body.clone()));
        let mut blob = vec![1, 1];
        blob.resize(160, 0); // the head of a blob, of the key and material that are all zeros
        let wrapped = WrappedKey { key_id: [0; 16], material: 0, blob };
        let opened = fake.provider().unwrap_key(CMK, &wrapped, &context);
        assert_eq!(opened.is_ok(), good, "{} bytes", plaintext.len());
        let other = WrappedKey { key_id: [9; 16], ..wrapped };
        assert_eq!(fake.provider().unwrap_key(CMK, &other, &context).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_service_that_is_not_there_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let refused = ServiceProvider::new(Place::Unix(dir.path().join("none.sock"))).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
}

/// Whatever a service says that does not know what is ours.
fn refusals() -> Vec<Reply> {
    vec![
        error("UnknownOperationException"),
        error("AccessDeniedException"),
        Reply::With(501, json!({"__type": "InternalFailure"}).to_string()),
        Reply::With(500, "<!doctype html>".into()), // moto 5
        Reply::With(404, String::new()),
    ]
}

#[test]
fn a_foreign_service_serves_without_telling_of_changes() {
    let context = Context { volume: [1; 16], zone: None, purpose: Purpose::File([2; 16]) };
    let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
    let arn = format!("arn:aws:kms:us-east-1:111122223333:key/{id}");
    for no in refusals() {
        let (cmk, answered) = (arn.clone(), arn.clone());
        let fake = Fake::foreign(no, move |body| {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["KeyId"], cmk, "every call names the CMK");
            assert_eq!(body["EncryptionContext"]["kmsfs:volume"], "01".repeat(16));
            let answer = json!({
                "Plaintext": STANDARD.encode([7; 32]), "CiphertextBlob": STANDARD.encode("opaque"), "KeyId": answered,
            });
            Reply::With(200, answer.to_string())
        });
        let provider = fake.provider();
        let (key, wrapped) = provider.generate(&arn, &context).unwrap();
        assert_eq!(wrapped.key_id, Uuid::try_parse(id).unwrap().into_bytes());
        assert_eq!((wrapped.material, &*wrapped.blob), (0, &b"opaque"[..]));
        assert_eq!(provider.wrap(&arn, &key, &context).unwrap(), wrapped);
        assert_eq!(provider.unwrap_key(&arn, &wrapped, &context).unwrap(), key);
        assert_eq!(provider.generation(), 0);
    }
}

#[test]
fn another_key_of_a_foreign_service_does_not_answer() {
    let context = Context { volume: [1; 16], zone: None, purpose: Purpose::Volume };
    let wrapped = WrappedKey { key_id: [3; 16], material: 0, blob: b"opaque".to_vec() };
    let same = Uuid::from_bytes([3; 16]).to_string();
    for (answered, kind) in [
        (Some(same.as_str()), None),
        (Some("1234abcd-12ab-34cd-56ef-1234567890ab"), Some(ErrorKind::Invalid)),
        (Some("nonsense"), Some(ErrorKind::Unavailable)),
        (None, Some(ErrorKind::Unavailable)),
    ] {
        let mut answer = json!({ "Plaintext": STANDARD.encode([7; 32]) });
        if let Some(id) = answered {
            answer["KeyId"] = format!("arn:aws:kms:us-east-1:111122223333:key/{id}").into();
        }
        let body = answer.to_string();
        let fake = Fake::foreign(error("UnknownOperationException"), move |_| Reply::With(200, body.clone()));
        let opened = fake.provider().unwrap_key(CMK, &wrapped, &context);
        assert_eq!(opened.err().map(|error| error.kind()), kind, "{answered:?}");
    }
}

#[test]
fn a_service_behind_a_gateway_that_is_away_is_not_taken_for_a_foreign_one() {
    for status in [502, 503, 504] {
        let fake = Fake::foreign(Reply::With(status, "<html>".into()), |_| Reply::Close);
        let refused = ServiceProvider::new(fake.place.clone()).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{status}");
    }
}
