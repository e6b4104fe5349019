//! Who is served: signatures over TCP, users over the unix socket.

use crate::client::{Credentials, Reply, Request};
use crate::server::Server;
use kmsfs::kms::Call;
use serde_json::json;
use std::time::{Duration, SystemTime};

const BODY: &str = r#"{"NumberOfBytes":8}"#;

fn call() -> Request {
    Request::new("GenerateRandom", BODY)
}

fn tcp(server: &Server, request: &Request) -> Reply {
    server.tcp().send(request)
}

/// Asserts that the request is refused with this name and a message that has these words.
fn refused(server: &Server, request: &Request, name: &str, words: &str) {
    let (status, given, message) = tcp(server, request).error();
    assert_eq!((status, given.as_str()), (400, name), "{message}");
    assert!(message.contains(words), "{message}");
}

#[test]
fn a_signed_request_is_served_and_an_unsigned_one_is_not() {
    let server = Server::new();
    let alice = server.user("alice");
    server.allow_all("alice");
    let reply = tcp(&server, &call().signed(&alice));
    reply.ok();
    assert_eq!(reply.header("content-type"), Some("application/x-amz-json-1.1"));
    let id = reply.header("x-amzn-requestid").unwrap();
    assert_eq!((id.len(), id.matches('-').count()), (36, 4));
    assert!(reply.header("cache-control").unwrap().contains("no-store"));
    refused(&server, &call(), "MissingAuthenticationTokenException", "Missing Authentication Token");
}

#[test]
fn a_request_may_come_again_within_five_minutes_and_not_after() {
    let server = Server::new();
    let alice = server.user("alice");
    server.allow_all("alice");
    let request = call().signed(&alice);
    for _ in 0..3 {
        tcp(&server, &request).ok();
    }
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let (now, expired) = (SystemTime::now(), "InvalidSignatureException");
    tcp(&server, &call().signed_at(&alice, now - minutes(4))).ok();
    refused(&server, &call().signed_at(&alice, now - minutes(6)), expired, "Signature expired: ");
    refused(&server, &call().signed_at(&alice, now + minutes(6)), expired, "Signature not yet current: ");
}

#[test]
fn altered_requests_are_refused() {
    const NAME: &str = "InvalidSignatureException";
    const WORDS: &str = "does not match the signature you provided";
    let server = Server::new();
    let alice = server.user("alice");
    server.allow_all("alice");
    let signed = || call().signed(&alice);
    refused(&server, &signed().header("x-amz-target", "TrentService.ListKeys"), NAME, WORDS);
    refused(&server, &signed().header("host", "elsewhere"), NAME, WORDS);
    refused(&server, &Request { body: BODY.replace('8', "9").into(), ..signed() }, NAME, WORDS);
    refused(&server, &Request { line: "POST /?a=b HTTP/1.1".into(), ..signed() }, NAME, WORDS);
    refused(&server, &signed().header("x-amz-meta", "added"), NAME, "'x-amz-meta' must be a 'SignedHeader'");
    refused(&server, &signed().header("x-kmsfs-via-service", "kmsfs"), NAME, "must be a 'SignedHeader'");
    let wrong = Credentials { secret: alice.secret.replace(char::is_alphanumeric, "x"), ..alice.clone() };
    refused(&server, &call().signed(&wrong), NAME, WORDS);
    let s3 = signed();
    let header =
        s3.headers.iter().find(|(name, _)| name == "authorization").unwrap().1.replace("/kms/", "/s3/");
    refused(&server, &s3.header("authorization", &header), NAME, "correct service: 'kms'");
    tcp(&server, &signed()).ok();
}

#[test]
fn incomplete_signatures_say_what_is_missing() {
    const NAME: &str = "IncompleteSignatureException";
    let server = Server::new();
    let alice = server.user("alice");
    let signed = || call().signed(&alice);
    refused(&server, &signed().without("x-amz-date"), NAME, "'X-Amz-Date'");
    refused(&server, &signed().header("authorization", "AWS4-HMAC-SHA256 x"), NAME, "missing equal-sign");
    refused(&server, &signed().header("authorization", "Bearer x"), NAME, "Unsupported AWS 'algorithm'");
    let line = "POST /?X-Amz-Signature=00 HTTP/1.1".into();
    refused(&server, &Request { line, ..signed() }, NAME, "in the query are not served");
}

#[test]
fn keys_that_do_not_exist_or_are_switched_off_are_not_recognised() {
    const NAME: &str = "UnrecognizedClientException";
    const WORDS: &str = "The security token included in the request is invalid.";
    let server = Server::new();
    let alice = server.user("alice");
    server.allow_all("alice");
    let stranger = Credentials { id: "AKIAAAAAAAAAAAAAAAAA".into(), ..alice.clone() };
    refused(&server, &call().signed(&stranger), NAME, WORDS);
    let with_token = Credentials { token: Some("made up".into()), ..alice.clone() };
    refused(&server, &call().signed(&with_token), NAME, WORDS);
    tcp(&server, &call().signed(&alice)).ok();
    let kms = server.keystore();
    let name = "user/alice".parse().unwrap();
    kms.set_access_key_active(&Call::operator(), &name, &alice.id, false).unwrap();
    server.catch_up(&kms);
    refused(&server, &call().signed(&alice), NAME, WORDS);
}

#[test]
fn temporary_credentials_need_their_token() {
    let server = Server::new();
    server.user("alice");
    server.allow_all("alice");
    let issued = server.keystore().issue_session(&Call::operator(), &"user/alice".parse().unwrap(), "s", 900);
    let issued = issued.unwrap();
    let session = Credentials {
        id: issued.access_key,
        secret: String::from_utf8(issued.secret.expose().to_vec()).unwrap(),
        token: Some(issued.token.clone()),
        region: "eu-central-7".into(),
    };
    tcp(&server, &call().signed(&session)).ok();
    let (name, words) = ("UnrecognizedClientException", "security token included in the request is invalid");
    refused(&server, &call().signed(&Credentials { token: None, ..session.clone() }), name, words);
    let altered = Some(issued.token.replace('A', "B"));
    refused(&server, &call().signed(&Credentials { token: altered, ..session }), name, words);
}

#[test]
fn answers_name_keys_in_the_region_of_the_signature() {
    let server = Server::new();
    let alice = server.user("alice");
    server.allow_all("alice");
    let created = tcp(&server, &Request::new("CreateKey", "{}").signed(&alice)).ok();
    let arn = created["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    assert!(arn.starts_with("arn:aws:kms:eu-central-7:000000000000:key/"), "{arn}");
    let describe = Request::new("DescribeKey", json!({"KeyId": arn}).to_string());
    tcp(&server, &describe.clone().signed(&alice)).ok();
    let elsewhere = Credentials { region: "us-east-1".into(), ..alice };
    refused(&server, &describe.signed(&elsewhere), "NotFoundException", "Invalid arn eu-central-7");
    // On the unix socket there is no region but the keystore's own.
    let arn = server.call("CreateKey", &json!({})).ok()["KeyMetadata"]["Arn"].to_string();
    assert!(arn.contains("arn:aws:kms:local:"), "{arn}");
}

#[test]
fn a_signature_counts_on_the_unix_socket_too() {
    let server = Server::new();
    let bob = server.user("bob"); // who may do nothing
    let mut connection = server.unix();
    connection.send(&call()).ok();
    let (_, name, message) = connection.send(&Request::new("ListKeys", "{}").signed(&bob)).error();
    assert_eq!(name, "AccessDeniedException");
    assert!(message.contains("user/bob"), "{message}");
}

#[test]
fn policies_see_where_a_request_comes_from() {
    let server = Server::new();
    let alice = server.user("alice");
    let kms = server.keystore();
    for (condition, by_tcp, by_socket) in [
        (json!({ "Bool": { "aws:SecureTransport": "true" } }), false, true),
        (json!({ "Bool": { "aws:SecureTransport": "false" } }), true, false),
        (json!({ "IpAddress": { "aws:SourceIp": "127.0.0.0/8" } }), true, false),
        (json!({ "StringEquals": { "aws:RequestedRegion": alice.region } }), true, true),
    ] {
        let document = json!({
            "Statement": { "Effect": "Allow", "Action": "kms:*", "Resource": "*", "Condition": condition },
        });
        kms.put_identity_policy(
            &Call::operator(),
            &"user/alice".parse().unwrap(),
            "p",
            &document.to_string(),
        )
        .unwrap();
        server.catch_up(&kms);
        let request = call().signed(&alice);
        assert_eq!(tcp(&server, &request).status == 200, by_tcp, "{condition}");
        assert_eq!(server.unix().send(&request).status == 200, by_socket, "{condition}");
    }
}
