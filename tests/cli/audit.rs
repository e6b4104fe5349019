//! `kmsfs kms audit` and `kmsfs kms usage`, on logs written as a service writes them.

use std::{fs, path::PathBuf};

use kmsfs::{
    crypto::SecretBytes,
    kms::{
        EncryptionContext, Kms, Options,
        audit::{self, AuditLog, CallRecord, Source},
        keystore::Unlock,
    },
};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::support::{Home, PASSPHRASE, text};

const ALICE: &str = "arn:aws:iam::000000000000:user/alice";
const BOB: &str = "arn:aws:iam::000000000000:role/bob";

fn directory(home: &Home) -> PathBuf {
    home.keystore().with_extension("audit")
}

/// A home whose service was called a few times in December 2026, and the id of a key.
fn called() -> (Home, String) {
    let home = Home::new();
    let key = home.key();
    home.ok(&["key", "alias", "create", "alias/work", &key]);
    append(&home, calls(&key));
    (home, key)
}

fn append(home: &Home, calls: impl IntoIterator<Item = CallRecord>) {
    let unlock = Unlock::Passphrase(SecretBytes::from(PASSPHRASE.to_owned()));
    let kms = Kms::open(home.keystore(), &unlock, Options::default()).unwrap();
    let log = AuditLog::open(&directory(home), kms.audit_key(), audit::Options::default()).unwrap();
    for call in calls {
        log.append(call).wait().unwrap();
    }
}

fn call(time: &str, principal: Option<&str>, operation: &'static str, key: Option<&str>) -> CallRecord {
    let time = OffsetDateTime::parse(time, &Rfc3339).unwrap();
    let mut record =
        CallRecord::new(time, Uuid::new_v4(), Source::Address("192.0.2.7".parse().unwrap()), operation);
    record.principal = principal.map(str::to_owned);
    record.key = key.map(|key| format!("arn:aws:kms:eu-west-1:000000000000:key/{key}"));
    record.spec = key.map(|_| "SYMMETRIC_DEFAULT".into());
    record
}

fn calls(key: &str) -> Vec<CallRecord> {
    let mut first = call("2026-12-01T10:00:00Z", Some(ALICE), "Encrypt", Some(key));
    first.context = EncryptionContext::new().with("purpose", "backup");
    let mut refused = call("2026-12-02T10:00:00Z", Some(BOB), "Decrypt", Some(key));
    refused.error = Some("AccessDeniedException".into());
    let mut stranger = call("2026-12-03T10:00:00Z", None, "Decr\u{1b}[31mypt", None);
    stranger.error = Some("UnknownOperationException".into());
    stranger.source = Source::User(1000);
    let last = call("2026-12-04T10:00:00.250Z", Some(BOB), "ListKeys", None);
    vec![first, refused, stranger, last]
}

/// Ids, in the order shown, of the calls that the filters leave: here, their day in December.
fn days(home: &Home, filters: &[&str]) -> Vec<u32> {
    let args = [&["kms", "audit"], filters].concat();
    let events = home.json(&args)["Events"].as_array().unwrap().clone();
    let calls = events.iter().filter(|event| event["event"] == "call");
    calls.map(|call| call["time"].as_str().unwrap()[8..10].parse().unwrap()).collect()
}

#[test]
fn the_log_is_shown_line_by_line() {
    let (home, key) = called();
    let shown = home.ok(&["kms", "audit"]);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 1 + 3 + 4, "{shown}");
    assert!(lines[0].starts_with("TIME (UTC)"));
    assert!(lines[1].contains("-- segment 1 begins"));
    let words: Vec<_> = lines[4].split_whitespace().collect();
    let expected =
        ["2026-12-02", "10:00:00.000", "Decrypt", "AccessDeniedException", &key, "role/bob", "192.0.2.7"];
    assert_eq!(words, expected);
    assert!(lines[5].contains("Decr\\u{1b}[31mypt") && lines[5].ends_with("uid:1000"), "{}", lines[5]);
    assert!(lines[6].contains("10:00:00.250") && lines[7].contains("-- it stopped"));
}

#[test]
fn showing_the_log_needs_no_passphrase() {
    let (home, _) = called();
    fs::remove_file(home.path("pw")).unwrap();
    home.ok(&["kms", "audit"]);
    home.fails(4, &["kms", "audit", "--verify"]);
}

#[test]
fn filters_leave_what_they_name() {
    let (home, key) = called();
    assert_eq!(days(&home, &[]), [1, 2, 3, 4]);
    assert_eq!(days(&home, &["--key", &key]), [1, 2]);
    assert_eq!(days(&home, &["--key", &format!("arn:aws:kms:local:000000000000:key/{key}")]), [1, 2]);
    assert_eq!(days(&home, &["--principal", BOB]), [2, 4]);
    assert_eq!(days(&home, &["--principal", "role/bob", "--operation", "ListKeys"]), [4]);
    assert_eq!(days(&home, &["--principal", "bob"]), Vec::<u32>::new(), "part of a name is another name");
    assert_eq!(days(&home, &["--failed"]), [2, 3]);
    assert_eq!(days(&home, &["--since", "2026-12-02", "--until", "2026-12-04T10:00:00.25Z"]), [2, 3]);
    assert_eq!(
        home.json(&["kms", "audit", "--operation", "Encrypt"])["Events"][0]["context"]["purpose"],
        "backup"
    );
    home.fails(2, &["kms", "audit", "--since", "soon"]);
}

#[test]
fn a_whole_log_verifies_and_a_noted_end_is_found_again() {
    let (home, key) = called();
    let report = home.json(&["kms", "audit", "--verify"]);
    assert_eq!(
        (&report["Verified"], &report["Calls"], &report["Broken"]),
        (&true.into(), &4.into(), &Value::Null)
    );
    let end = report["End"].as_str().unwrap().to_owned();
    append(&home, calls(&key));
    let shown = home.ok(&["kms", "audit", "--verify", "--expect", &end]);
    assert!(shown.contains("Calls       8"), "{shown}");
    let (number, chain) = end.split_once(':').unwrap();
    let other = format!("{number}:{}", chain.chars().rev().collect::<String>());
    let output = home.run(&["kms", "audit", "--verify", "--expect", &other]);
    assert_eq!(output.status.code(), Some(14));
}

#[test]
fn the_first_damaged_line_is_named() {
    let (home, _) = called();
    let file = directory(&home).join("audit-000001.jsonl");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replacen("role/bob", "role/eve", 1)).unwrap();
    let output = home.run(&["kms", "audit", "--verify"]);
    assert_eq!(output.status.code(), Some(14));
    let named = format!("{}, line 4, was altered", file.display());
    assert!(text(&output.stderr).contains(&named), "{}", text(&output.stderr));
    let output = home.run(&["kms", "audit", "--verify", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["Verified"], &report["Broken"]["Line"]), (&false.into(), &4.into()));
}

/// The public key of checkpoints and a checkpoint, as files.
fn kept(home: &Home) -> (String, String) {
    let key = home.secret_file("audit.pem", &home.ok(&["kms", "checkpoint", "key"]));
    (key, home.secret_file("checkpoint", &home.ok(&["kms", "checkpoint", "make"])))
}

#[test]
fn a_checkpoint_is_verified_without_a_secret_and_finds_a_log_that_was_rewritten() {
    let (home, key) = called();
    let (public, checkpoint) = kept(&home);
    append(&home, calls(&key));
    fs::remove_file(home.path("pw")).unwrap();
    let verify = ["kms", "checkpoint", "verify", "--public-key", &public, &checkpoint];
    let found = home.json(&verify);
    assert_eq!((&found[0]["Broken"], &found[0]["Segments"]), (&Value::Null, &1.into()), "{found}");
    assert!(found[0]["BytesSince"].as_u64().unwrap() > 1000, "{found}");
    assert!(home.ok(&verify).contains("as it was"));

    // By one who has all keys.
    home.secret_file("pw", PASSPHRASE);
    fs::remove_dir_all(directory(&home)).unwrap();
    append(&home, calls(&key));
    home.ok(&["kms", "audit", "--verify"]);
    let finds = |what: &str| {
        let output = home.run(&verify);
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(output.status.code() == Some(14) && said.contains(what), "{said}");
    };
    finds("audit-000001.jsonl was altered");
    fs::remove_dir_all(directory(&home)).unwrap();
    fs::create_dir(directory(&home)).unwrap();
    finds("audit-000001.jsonl is missing");
}

#[test]
fn a_checkpoint_is_its_keystores_and_of_a_log_that_verifies() {
    let (home, _) = called();
    let (public, checkpoint) = kept(&home);
    let (other, _) = called();
    let (foreign, _) = kept(&other);
    let verify =
        |key: &str| home.fails(14, &["kms", "checkpoint", "verify", "--public-key", key, &checkpoint]);
    assert!(verify(&foreign).contains("another keystore's key signed it"));
    let text = fs::read_to_string(&checkpoint).unwrap();
    fs::write(&checkpoint, text.replace("\"segment\":1", "\"segment\":2")).unwrap();
    assert!(verify(&public).contains("was altered"));
    let file = directory(&home).join("audit-000001.jsonl");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replacen("role/bob", "role/eve", 1)).unwrap();
    assert!(home.fails(14, &["kms", "checkpoint", "make"]).contains("does not verify"));
}

#[test]
fn openssl_verifies_a_checkpoints_signature_and_sha256sum_its_digest() {
    let (home, _) = called();
    let (public, checkpoint) = kept(&home);
    let text = fs::read_to_string(checkpoint).unwrap();
    let (body, signature) = text.trim_end().split_once(",\"signature\":\"").unwrap();
    let body = home.secret_file("body", body);
    fs::write(home.path("signature"), hex::decode(signature.trim_end_matches("\"}")).unwrap()).unwrap();
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", &public, "-in", &body, "-sigfile"]);
    let output = openssl.arg(home.path("signature")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = directory(&home).join("audit-000001.jsonl");
    let output = std::process::Command::new("sha256sum").arg(log).output().unwrap();
    let digest = text.split_once("\"sha256\":\"").unwrap().1;
    assert_eq!(digest[..64], self::text(&output.stdout)[..64]);
}

#[test]
fn there_may_be_no_log_or_another_keystores() {
    let home = Home::new();
    assert!(home.fails(10, &["kms", "audit"]).contains("no audit log"));
    home.fails(10, &["kms", "audit", "--verify"]);
    home.fails(10, &["kms", "usage"]);
    let (other, _) = called();
    let place = directory(&other).to_str().unwrap().to_owned();
    let output = home.run(&["kms", "audit", "--verify", "--audit", &place]);
    assert_eq!(output.status.code(), Some(14));
    assert!(text(&output.stderr).contains("line 1"));
}

#[test]
fn a_month_is_added_up_and_priced() {
    let (home, key) = called();
    let prices = home.json(&["kms", "usage", "--show-prices"]);
    assert_eq!((&prices["key_month"], &prices["free_requests"]), (&1.0.into(), &20_000.into()));
    let mut dear = prices;
    dear["free_requests"] = 1.into();
    dear["per_10000_requests"]["symmetric"] = 10_000.0.into();
    let file = home.secret_file("prices.json", &dear.to_string());

    let usage = home.json(&["kms", "usage", "--month", "2026-12", "--prices", &file]);
    let lines = usage["Lines"].as_array().unwrap();
    let line = |name: Value| lines.iter().find(|line| line["Name"] == name).unwrap().clone();
    let of_key = line(key.clone().into());
    assert_eq!(
        (&of_key["Calls"], &of_key["Failed"], &of_key["ForCalls"]),
        (&1.into(), &1.into(), &1.0.into())
    );
    assert_eq!(line(Value::Null)["ForCalls"], 1.0);
    assert_eq!(usage["FreeCalls"], 1.0);
    assert_eq!(usage["Total"]["ForCalls"], 1.0);

    let shown = home.ok(&["kms", "usage", "--month", "2026-12", "--by", "principal", "--prices", &file]);
    let row = |name: &str| {
        shown.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(row(ALICE)[1..4], ["1", "0", "1.000000"]);
    assert_eq!(row(BOB)[1..4], ["1", "1", "1.000000"]);
    assert!(home.ok(&["kms", "usage", "--month", "2026-12"]).contains(&format!("{key} (alias/work)")));
    assert!(home.fails(1, &["kms", "usage", "--prices", &home.arg("pw")]).contains("not a price table"));
    home.fails(2, &["kms", "usage", "--month", "December"]);
}
