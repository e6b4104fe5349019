//! The protocol: targets, answers, errors, and what is asked of the service itself.

use crate::client::{Request, base64};
use crate::server::Server;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn error(server: &Server, operation: &str, body: Value) -> (u16, String, String) {
    server.call(operation, &body).error()
}

#[test]
fn targets_are_found_refused_by_name_or_unknown() {
    let server = Server::new();
    let status = |request: &Request| {
        let (status, name, message) = server.unix().send(request).error();
        (status, name, message.contains("CreateCustomKeyStore"))
    };
    let unsupported = (400, "UnsupportedOperationException".to_owned(), true);
    assert_eq!(status(&Request::new("CreateCustomKeyStore", "{}")), unsupported);
    let unknown = (400, "UnknownOperationException".to_owned(), false);
    for request in [
        Request::new("NoSuchOperation", "{}"),
        Request::new("", "{}"),
        Request::to("Other.ListKeys", "{}"),
        Request::to("ListKeys", "{}"),
        Request::to("Kmsfs.ListKeys", "{}"),
        Request::to("", "{}"),
        Request::new("ListKeys", "{}").without("x-amz-target"),
        Request::new("ListKeys", "{}").header("content-type", "application/json"),
        Request::new("ListKeys", "{}").without("content-type"),
        Request { line: "GET / HTTP/1.1".into(), ..Request::new("ListKeys", "") },
    ] {
        assert_eq!(status(&request), unknown, "{request:?}");
    }
    let other =
        Request::new("ListKeys", "{}").header("content-type", "Application/X-Amz-Json-1.1; charset=utf-8");
    server.unix().send(&other).ok();
}

#[test]
fn a_key_lives_its_life_over_the_wire() {
    let server = Server::new();
    let ok = |operation: &str, body: Value| server.call(operation, &body).ok();
    let created = ok("CreateKey", json!({"Description": "mine", "Tags": [{"TagKey": "a", "TagValue": "b"}]}));
    let key = created["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let arn = created["KeyMetadata"]["Arn"].clone();
    assert_eq!(created["KeyMetadata"]["KeyState"], "Enabled");
    assert_eq!(created["KeyMetadata"]["EncryptionAlgorithms"], json!(["SYMMETRIC_DEFAULT"]));
    assert!(created["KeyMetadata"]["CreationDate"].is_number());
    ok("CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key}));
    let context = json!({"tenant": "ä", "purpose": "test"});
    let sealed = ok(
        "Encrypt",
        json!({"KeyId": "alias/a", "Plaintext": base64(b"secret"), "EncryptionContext": context}),
    );
    assert_eq!((&sealed["KeyId"], &sealed["EncryptionAlgorithm"]), (&arn, &json!("SYMMETRIC_DEFAULT")));
    let open = json!({"CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": context});
    let opened = ok("Decrypt", open.clone());
    assert_eq!((&opened["Plaintext"], &opened["KeyId"]), (&json!(base64(b"secret")), &arn));
    let (status, name, message) =
        error(&server, "Decrypt", json!({"CiphertextBlob": sealed["CiphertextBlob"]}));
    assert_eq!((status, name.as_str(), message.as_str()), (400, "InvalidCiphertextException", ""));
    assert!(server.call("DisableKey", &json!({"KeyId": key})).body.is_empty());
    let (status, name, message) = error(&server, "Decrypt", open);
    assert_eq!((status, name.as_str()), (400, "DisabledException"));
    assert_eq!(message, format!("{} is disabled.", arn.as_str().unwrap()));
    let scheduled = ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7}));
    assert_eq!((&scheduled["KeyState"], &scheduled["KeyId"]), (&json!("PendingDeletion"), &arn));
    let (_, name, _) = error(&server, "EnableKey", json!({"KeyId": key}));
    assert_eq!(name, "KMSInvalidStateException");
}

#[test]
fn validation_errors_are_in_aws_words() {
    let server = Server::new();
    const FAILED: &str = "failed to satisfy constraint: Member must";
    for (operation, body, message) in [
        (
            "GenerateRandom",
            json!({"NumberOfBytes": 1025}),
            format!(
                "1 validation error detected: Value '1025' at 'numberOfBytes' {FAILED} have value less than or \
                 equal to 1024"
            ),
        ),
        (
            "Encrypt",
            json!({"KeyId": ""}),
            format!(
                "2 validation errors detected: Value '' at 'keyId' {FAILED} have length greater than or equal \
                 to 1; Value null at 'plaintext' {FAILED} not be null"
            ),
        ),
        (
            "Encrypt",
            json!({"KeyId": "k", "Plaintext": base64(&[0; 4097])}),
            format!(
                "1 validation error detected: Value at 'plaintext' {FAILED} have length less than or equal to \
                 4096"
            ),
        ),
    ] {
        let expected = (400, "ValidationException".to_owned(), message);
        assert_eq!(error(&server, operation, body), expected);
    }
}

#[test]
fn long_lists_come_in_parts() {
    let server = Server::new();
    let made: Vec<String> = (0..7)
        .map(|_| {
            server.call("CreateKey", &json!({})).ok()["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
        })
        .collect();
    let (mut seen, mut marker) = (Vec::new(), None);
    loop {
        let mut body = json!({"Limit": 3});
        if let Some(marker) = marker {
            body["Marker"] = marker;
        }
        let part = server.call("ListKeys", &body).ok();
        let keys = part["Keys"].as_array().unwrap();
        assert!(keys.len() <= 3);
        seen.extend(keys.iter().map(|key| key["KeyId"].as_str().unwrap().to_owned()));
        match part["Truncated"].as_bool().unwrap() {
            true => marker = Some(part["NextMarker"].clone()),
            false => break,
        }
    }
    seen.sort();
    let mut made = made;
    made.sort();
    assert_eq!(seen, made);
    let (_, name, _) = error(&server, "ListKeys", json!({"Marker": "made up"}));
    assert_eq!(name, "InvalidMarkerException");
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let server = Server::new();
    let mut connection = server.unix();
    for length in 1..20 {
        let body = json!({"NumberOfBytes": length}).to_string();
        connection.send(&Request::new("GenerateRandom", body)).ok();
        let (status, _, _) = connection.send(&Request::new("Encrypt", "{}")).error();
        assert_eq!(status, 400, "an error ends nothing");
    }
    // Two at once: answers come in the order of the requests.
    let both = [
        Request::new("Encrypt", "{}").encode(),
        Request::new("GenerateRandom", r#"{"NumberOfBytes":1}"#).encode(),
    ];
    connection.send_raw(&both.concat());
    let replies = connection.receive_many(2);
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [400, 200]);
}

#[test]
fn whoever_waits_learns_of_a_change_at_once() {
    let server = Server::new();
    let own = |operation: &str, body: Value| Request::to(&format!("Kmsfs.{operation}"), body.to_string());
    let status = server.unix().send(&own("Status", json!({}))).ok();
    assert_eq!(status["Version"], env!("CARGO_PKG_VERSION"));
    assert!(status["UptimeSeconds"].is_number());
    let generation = status["Generation"].as_i64().unwrap();

    let nothing =
        server.unix().send(&own("WaitForChange", json!({"Generation": generation, "TimeoutSeconds": 0})));
    assert_eq!(nothing.ok()["Generation"], generation);
    let mut waiting = server.unix();
    waiting.send_raw(&own("WaitForChange", json!({"Generation": generation, "TimeoutSeconds": 60})).encode());
    server.call("CreateKey", &json!({})).ok();
    let changed = Instant::now();
    assert_eq!(waiting.receive().unwrap().ok()["Generation"], generation + 1);
    assert!(changed.elapsed() < Duration::from_secs(10), "long before the time is over");
    let missed =
        server.unix().send(&own("WaitForChange", json!({"Generation": generation, "TimeoutSeconds": 60})));
    assert_eq!(missed.ok()["Generation"], generation + 1);
}
