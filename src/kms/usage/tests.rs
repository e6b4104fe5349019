//! Sums and bills, against logs whose figures were reckoned by hand.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::crypto::secret::Key;
use crate::kms::audit::{AuditLog, CallRecord, ChainKey, Options, Source};
use crate::kms::clock::Clock;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const KEY: &str = "arn:aws:kms:local:000000000000:key/a";
const RSA: &str = "arn:aws:kms:local:000000000000:key/rsa";
const ALICE: &str = "arn:aws:iam::000000000000:user/alice";
const BOB: &str = "arn:aws:iam::000000000000:user/bob";

fn key() -> ChainKey {
    ChainKey::new(Key::from_bytes(&mut [7; 32]))
}

fn at(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("audit")
    }

    fn append(&self, calls: impl IntoIterator<Item = CallRecord>) {
        let options = Options { segment_bytes: 20_000, ..Options::default() };
        let log = AuditLog::open(&self.path(), key(), options).unwrap();
        for call in calls {
            log.append(call).wait().unwrap();
        }
    }

    fn ledger(&self) -> Ledger {
        Ledger::read(&self.path(), &key()).unwrap()
    }

    /// The sums of a month, in a fixed order.
    fn sums(&self, of: &str) -> Vec<(Group, Tally)> {
        let ledger = self.ledger();
        let mut sums: Vec<_> = ledger.month(month(of)).map(|(group, tally)| (group.clone(), tally)).collect();
        sums.sort_by(|a, b| a.0.cmp(&b.0));
        sums
    }
}

fn call(time: &str, who: &str, operation: &'static str, on: Option<(&str, &'static str)>) -> CallRecord {
    let mut record = CallRecord::new(at(time), Uuid::nil(), Source::User(0), operation);
    record.principal = Some(who.to_owned());
    record.key = on.map(|(key, _)| key.to_owned());
    record.spec = on.map(|(_, spec)| spec.into());
    record
}

fn failed(mut record: CallRecord) -> CallRecord {
    record.error = Some("AccessDeniedException".into());
    record
}

fn times(number: usize, record: CallRecord) -> Vec<CallRecord> {
    vec![record; number]
}

/// A December with every tariff, and a call on either side of it.
fn december() -> Vec<CallRecord> {
    let symmetric = Some((KEY, "SYMMETRIC_DEFAULT"));
    let rsa = Some((RSA, "RSA_2048"));
    [
        times(1, call("2026-11-30T23:59:59.999Z", ALICE, "Decrypt", symmetric)),
        times(300, call("2026-12-01T00:00:00Z", ALICE, "Decrypt", symmetric)),
        times(50, failed(call("2026-12-02T00:00:00Z", BOB, "Decrypt", symmetric))),
        times(200, call("2026-12-03T00:00:00Z", BOB, "Sign", rsa)),
        times(100, call("2026-12-03T00:00:00Z", BOB, "Sign", Some((RSA, "ECC_NIST_P256")))),
        times(10, call("2026-12-04T00:00:00Z", ALICE, "GenerateDataKeyPair", Some((KEY, "RSA_4096")))),
        times(20, call("2026-12-04T00:00:00Z", ALICE, "GenerateDataKeyPair", Some((KEY, "ECC_NIST_P256")))),
        times(40, call("2026-12-31T23:59:59.999Z", ALICE, "ListKeys", None)),
        times(1, call("2027-01-01T00:00:00Z", ALICE, "Decrypt", symmetric)),
    ]
    .concat()
}

fn bill(scratch: &Scratch, by: By, keys: &[KeyLife]) -> Bill {
    let now = at("2027-02-01T00:00:00Z");
    Bill::new(&scratch.ledger(), keys, month("2026-12"), by, &Prices::aws(), now)
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
}

#[test]
fn a_month_is_what_was_reckoned_by_hand() {
    let scratch = Scratch::new();
    scratch.append(december());
    // 340 symmetric calls at 3 cents for 10,000; 200 at 3; 100 at 15; 10 at 12 dollars; 20 at 10 cents.
    let symmetric = 300.0 * 0.03 / 10_000.0;
    let management = 40.0 * 0.03 / 10_000.0;
    let (rsa, ecc) = (200.0 * 0.03 / 10_000.0, 100.0 * 0.15 / 10_000.0);
    let pairs = 10.0 * 12.0 / 10_000.0 + 20.0 * 0.10 / 10_000.0;

    let by_key = bill(&scratch, By::Key, &[]);
    near(by_key.lines[&Some("a".to_owned())].requests, symmetric + pairs);
    near(by_key.lines[&Some("rsa".to_owned())].requests, rsa + ecc);
    near(by_key.lines[&None].requests, management);
    let key = &by_key.lines[&Some("a".to_owned())];
    assert_eq!((key.calls, key.failed), (330, 50));

    let by_principal = bill(&scratch, By::Principal, &[]);
    near(by_principal.lines[&Some(ALICE.to_owned())].requests, symmetric + management + pairs);
    let bob = &by_principal.lines[&Some(BOB.to_owned())];
    near(bob.requests, rsa + ecc);
    assert_eq!((bob.calls, bob.failed), (300, 50));

    let by_operation = bill(&scratch, By::Operation, &[]);
    assert_eq!(by_operation.lines[&Some("Decrypt".to_owned())].calls, 300);

    for bill in [by_key, by_principal, by_operation] {
        near(bill.free, symmetric + management);
        near(bill.total.requests, rsa + ecc + pairs);
        assert_eq!((bill.total.calls, bill.total.failed), (670, 50));
    }
}

#[test]
fn free_calls_end_at_their_number() {
    let scratch = Scratch::new();
    scratch
        .append(times(70, call("2026-12-01T00:00:00Z", ALICE, "Encrypt", Some((KEY, "SYMMETRIC_DEFAULT")))));
    let prices = Prices { free_requests: 20, ..Prices::aws() };
    let bill =
        Bill::new(&scratch.ledger(), &[], month("2026-12"), By::Key, &prices, at("2027-02-01T00:00:00Z"));
    near(bill.total.requests, 50.0 * 0.03 / 10_000.0);
}

#[test]
fn a_key_costs_by_the_hour_and_its_first_two_rotations_as_much() {
    let scratch = Scratch::new();
    scratch.append([
        call(
            "2026-12-11T00:00:00Z",
            ALICE,
            "ScheduleKeyDeletion",
            Some(("arn:aws:kms:local:000000000000:key/deleted", "SYMMETRIC_DEFAULT")),
        ),
        call(
            "2026-12-02T00:00:00Z",
            ALICE,
            "ScheduleKeyDeletion",
            Some(("arn:aws:kms:local:000000000000:key/kept", "SYMMETRIC_DEFAULT")),
        ),
        call(
            "2026-12-05T00:00:00Z",
            ALICE,
            "CancelKeyDeletion",
            Some(("arn:aws:kms:local:000000000000:key/kept", "SYMMETRIC_DEFAULT")),
        ),
        failed(call(
            "2026-12-02T00:00:00Z",
            BOB,
            "ScheduleKeyDeletion",
            Some(("arn:aws:kms:local:000000000000:key/old", "SYMMETRIC_DEFAULT")),
        )),
    ]);
    let life = |id: &str, created: &str| KeyLife {
        id: id.to_owned(),
        created: at(created),
        rotations: Vec::new(),
        deletion: None,
    };
    let keys = [
        life("old", "2020-01-01T00:00:00Z"),
        life("new", "2026-12-31T12:00:00Z"),
        life("next", "2027-01-01T00:00:00Z"),
        life("kept", "2020-01-01T00:00:00Z"),
        KeyLife {
            rotations: vec![
                at("2025-01-01T00:00:00Z"),
                at("2026-12-30T00:00:00Z"),
                at("2026-12-30T00:00:00Z"),
            ],
            ..life("rotated", "2020-01-01T00:00:00Z")
        },
        KeyLife { deletion: Some(at("2027-01-10T00:00:00Z")), ..life("deleted", "2020-01-01T00:00:00Z") },
        KeyLife { deletion: Some(at("2026-12-21T00:00:00Z")), ..life("unlogged", "2020-01-01T00:00:00Z") },
    ];
    let bill = bill(&scratch, By::Key, &keys);
    let hours = |id: &str| bill.lines.get(&Some(id.to_owned())).map_or(0.0, |line| line.keys * 744.0);
    near(hours("old"), 744.0);
    near(hours("new"), 12.0);
    near(hours("next"), 0.0);
    near(hours("kept"), 744.0);
    near(hours("rotated"), 744.0 + 744.0 + 48.0);
    near(hours("deleted"), 240.0);
    near(hours("unlogged"), 480.0);
    near(bill.keys * 744.0, 744.0 + 12.0 + 744.0 + 1536.0 + 240.0 + 480.0);
    near(bill.total.keys, bill.keys);
}

#[test]
fn a_month_that_is_not_over_is_charged_up_to_now() {
    let key = KeyLife {
        id: "key".to_owned(),
        created: at("2020-01-01T00:00:00Z"),
        rotations: Vec::new(),
        deletion: None,
    };
    let at_noon = |month: Month| {
        let now = at("2026-12-01T12:10:00Z");
        Bill::new(&Ledger::default(), std::slice::from_ref(&key), month, By::Key, &Prices::aws(), now).keys
    };
    near(at_noon(month("2026-12")) * 744.0, 13.0);
    near(at_noon(month("2027-01")), 0.0);
    near(at_noon(month("2026-02")), 1.0);
}

#[test]
fn sums_are_the_same_however_often_they_are_taken_and_without_their_file() {
    let scratch = Scratch::new();
    let calls = december();
    let whole = Scratch::new();
    whole.append(calls.clone());
    for part in calls.chunks(97) {
        scratch.append(part.to_vec());
        scratch.ledger();
    }
    let kept = scratch.path().join("usage.json");
    assert!(kept.exists());
    let expected = whole.sums("2026-12");
    assert_eq!(scratch.sums("2026-12"), expected);
    fs::remove_file(&kept).unwrap();
    assert_eq!(scratch.sums("2026-12"), expected);
    // An altered file is not believed.
    let mut text = fs::read_to_string(&kept).unwrap();
    text = text.replacen("\"calls\":300", "\"calls\":301", 1);
    fs::write(&kept, &text).unwrap();
    assert_eq!(scratch.sums("2026-12"), expected);
    assert_ne!(fs::read_to_string(&kept).unwrap(), text);
}

#[test]
fn what_was_summed_up_is_not_read_again() {
    let scratch = Scratch::new();
    scratch.append(december());
    let expected = scratch.sums("2026-12");
    // Archived segments do not matter any more...
    let mut segments: Vec<_> = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    segments.sort();
    assert!(segments.len() > 3);
    for old in &segments[..segments.len() - 1] {
        fs::remove_file(old).unwrap();
    }
    assert_eq!(scratch.sums("2026-12"), expected);
    // ...and what comes after them is added.
    scratch.append([call("2026-12-24T00:00:00Z", BOB, "Verify", Some((RSA, "RSA_2048")))]);
    assert_eq!(scratch.sums("2026-12").len(), expected.len() + 1);
}

#[test]
fn another_log_in_its_place_is_summed_up_anew() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    scratch.append(december());
    scratch.ledger();
    other.append([call("2026-12-24T00:00:00Z", BOB, "Verify", Some((RSA, "RSA_2048")))]);
    fs::copy(scratch.path().join("usage.json"), other.path().join("usage.json")).unwrap();
    assert_eq!(other.sums("2026-12").len(), 1);
}

#[test]
fn lines_that_do_not_verify_are_not_counted() {
    let scratch = Scratch::new();
    scratch.append(times(5, call("2026-12-24T00:00:00Z", BOB, "Verify", Some((RSA, "RSA_2048")))));
    let path = scratch.path().join("audit-000001.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let altered: Vec<_> = text.lines().collect();
    let forged = altered[3].replace("user/bob", "user/eve");
    let lines: Vec<_> =
        altered.iter().enumerate().map(|(n, line)| if n == 3 { &*forged } else { line }).collect();
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let sums = scratch.sums("2026-12");
    assert_eq!((sums.len(), sums[0].1.calls), (1, 4));
    assert_eq!(scratch.ledger().unverified(), 1);
}

#[test]
fn price_tables_are_checked() {
    let good = serde_json::to_string(&Prices::aws()).unwrap();
    assert_eq!(Prices::parse(&good).unwrap(), Prices::aws());
    for (old, new) in [
        ("\"key_month\":1.0", "\"key_month\":-1.0"),
        ("\"rsa_2048\":0.03,", ""),
        ("\"asymmetric\":0.15", "\"asymmetric\":-0.15"),
        ("\"currency\"", "\"coin\""),
        ("\"symmetric\":0.03", "\"symmetric\":\"free\""),
    ] {
        let bad = good.replacen(old, new, 1);
        assert_ne!(bad, good, "{old}");
        assert!(Prices::parse(&bad).is_err(), "{new}");
    }
}

#[test]
fn months_are_those_of_the_calendar_in_utc() {
    assert_eq!(Month::of(at("2026-12-31T23:30:00-01:00")).to_string(), "2027-01");
    assert_eq!(month("2024-02").end() - month("2024-02").begin(), Duration::days(29));
    assert_eq!(month("2026-12").end(), at("2027-01-01T00:00:00Z"));
    for bad in ["2026", "2026-13", "2026-1", "26-01", "2026-01-01", "+026-01"] {
        assert!(bad.parse::<Month>().is_err(), "{bad}");
    }
}

#[test]
fn a_ledger_goes_by_the_time_of_the_call_and_not_of_the_log() {
    struct Later;
    impl Clock for Later {
        fn now(&self) -> OffsetDateTime {
            at("2030-01-01T00:00:00Z")
        }
    }
    let scratch = Scratch::new();
    let options = Options { clock: Arc::new(Later), ..Options::default() };
    let log = AuditLog::open(&scratch.path(), key(), options).unwrap();
    log.append(call("2026-12-01T00:00:00Z", ALICE, "Decrypt", None)).wait().unwrap();
    drop(log);
    assert_eq!(scratch.sums("2026-12").len(), 1);
}
