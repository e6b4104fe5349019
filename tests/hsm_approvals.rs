//! Operations that custodians approve, on the real service: each refusal, and what they are refused for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kms_api/client.rs"]
#[allow(dead_code, reason = "the tests of the service itself use more of it")]
mod client;
mod common;
#[path = "common/hsm.rs"]
mod hsm;

use client::{Connection, Credentials, Request, base64};
use common::{
    tools::ok,
    volume::{Volume, wait_until},
};
use hsm::{Hsm, message};
use kmsfs::{
    hsm::{
        Sealed,
        approval::{self, Approval, Signer, arguments::Arguments},
        text::Labelled,
    },
    kms,
};
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, path::PathBuf, process::Command};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dora", "mallory"];
/// Somebody with a key that no custodian has.
const MALLORY: usize = 4;
/// How soon the audit log has a line.
const SOON: std::time::Duration = std::time::Duration::from_secs(10);
const DELETE: &str = "ScheduleKeyDeletion";

/// An unlocked HSM, where alice, bob, carol and dora approve, and the key of everybody.
struct Office {
    hsm: Hsm,
    volume: Volume,
    address: SocketAddr,
    credentials: Credentials,
}

impl Office {
    fn open() -> Office {
        let volume = Volume::bare();
        let (hsm, address) = Hsm::start_listening(&volume, "2/3");
        let credentials = administrator(&volume, &hsm);
        for custodian in [1, 2] {
            hsm.unlock(&volume, custodian);
        }
        let office = Office { volume, hsm, address, credentials };
        for (at, name) in NAMES.iter().enumerate() {
            let public = ok(office.volume.kmsfs("hsm").args(["approver", "keygen"]).arg(office.key(at)));
            let file = office.file(&format!("{name}.pub"));
            fs::write(&file, public).unwrap();
            if at != MALLORY {
                ok(office.command(&["custodian", "add", name]).arg("--public-key").arg(&file));
            }
        }
        office
    }

    fn file(&self, name: &str) -> PathBuf {
        self.volume.scratch(name)
    }

    fn key(&self, who: usize) -> PathBuf {
        self.file(&format!("{}.pem", NAMES[who]))
    }

    /// `kmsfs hsm` and `args`, of this HSM.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.volume.kmsfs("hsm");
        command.args(args).arg("--socket").arg(&self.hsm.socket);
        command
    }

    fn require(&self, requirement: &str) {
        ok(&mut self.command(&["policy", "--require", requirement]));
    }

    /// The document of a call on the unix socket, by the account's root.
    fn call(&self, target: &str, body: &Value) -> Result<Value, String> {
        let reply = Connection::unix(&self.hsm.socket).send(&Request::to(target, body.to_string()));
        if reply.status == 200 { Ok(reply.json()) } else { Err(reply.error().1) }
    }

    /// The error of a call over TCP, as boto3 makes it.
    fn refused_over_tcp(&self, operation: &str, body: &Value) -> (String, String) {
        let request = Request::new(operation, body.to_string()).signed(&self.credentials);
        let (_, name, message) = Connection::tcp(self.address).send(&request).error();
        (name, message)
    }

    fn create_key(&self) -> String {
        let created = self.call("TrentService.CreateKey", &json!({})).unwrap();
        created["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    fn state(&self, key: &str) -> String {
        let described = self.call("TrentService.DescribeKey", &json!({ "KeyId": key })).unwrap();
        described["KeyMetadata"]["KeyState"].as_str().unwrap().to_owned()
    }

    fn id(&self) -> Uuid {
        let described = self.call("Kmsfs.HsmDescribeApprovals", &json!({})).unwrap();
        described["HsmId"].as_str().unwrap().parse().unwrap()
    }

    fn signer(&self, who: usize) -> Signer {
        let pem = fs::read_to_string(self.key(who)).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        use base64::Engine;
        let pkcs8 = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        Signer::from_pkcs8(&pkcs8).unwrap()
    }

    /// A request by `who`, good for `time`.
    fn request(&self, who: usize, operation: &str, arguments: &Value, time: Duration) -> approval::Request {
        let expires = OffsetDateTime::now_utc() + time;
        let arguments = Arguments::new(arguments).unwrap();
        approval::Request::new(&self.signer(who), self.id(), operation, arguments, expires).unwrap()
    }

    fn approvals(&self, request: &approval::Request, by: &[usize]) -> Vec<String> {
        by.iter().map(|who| Approval::new(&self.signer(*who), request).unwrap().encode()).collect()
    }

    /// The lines of the audit log.
    fn logged(&self) -> Vec<Value> {
        let files = fs::read_dir(self.volume.keystore().with_extension("audit")).unwrap();
        let texts = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok());
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
    }

    /// Has the service run a request; the name of the error, or "ok".
    fn run(&self, request: &str, approvals: &[String]) -> String {
        let approvals: Vec<_> = approvals.iter().map(|file| base64(file.as_bytes())).collect();
        let body = json!({ "Request": base64(request.as_bytes()), "Approvals": approvals });
        self.call("Kmsfs.HsmRun", &body).map_or_else(|name| name, |_| "ok".to_owned())
    }
}

/// A user who may do everything, as far as policies go, over TCP. Custodians open the keystore for that.
fn administrator(volume: &Volume, hsm: &Hsm) -> Credentials {
    let sealed = Sealed::find(&volume.keystore().into()).unwrap();
    let shares = [1, 2].map(|index| {
        let words = fs::read_to_string(hsm.shares.join(format!("share-{index}.txt"))).unwrap();
        Labelled::from_words(words.trim()).unwrap()
    });
    let secret = sealed.quorum().combine(&shares.each_ref().map(|labelled| &labelled.share)).unwrap();
    let kms = sealed.open(&secret, kms::Options::default()).unwrap();
    let (call, name) = (kms::Call::operator(), "user/admin".parse().unwrap());
    kms.create_principal(&call, &name).unwrap();
    let all = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "kms:*", "Resource": "*" }] });
    kms.put_identity_policy(&call, &name, "all", &all.to_string()).unwrap();
    let key = kms.create_access_key(&call, &name).unwrap();
    let secret = String::from_utf8(key.secret.expose().to_vec()).unwrap();
    Credentials { id: key.id, secret, token: None, region: "local".to_owned() }
}

#[test]
fn a_key_is_deleted_when_two_custodians_approve_what_a_third_requests() {
    let office = Office::open();
    office.require("delete-key=2");
    let key = office.create_key();
    let body = json!({ "KeyId": key, "PendingWindowInDays": 7 });
    let refused = office.call("TrentService.ScheduleKeyDeletion", &body);
    assert_eq!(refused, Err("AccessDeniedException".to_owned()), "the account's root cannot");
    let (name, text) = office.refused_over_tcp(DELETE, &body);
    assert_eq!(name, "AccessDeniedException");
    assert!(text.contains("approval of 2 other custodians"), "{text}");
    assert_eq!(office.state(&key), "Enabled");

    let (request, out) = (office.file("request.json"), |name: &str| office.file(name));
    let mut ask = office.command(&["request", DELETE, &body.to_string()]);
    ok(ask.arg("--key").arg(office.key(0)).arg("--out").arg(&request));
    for who in [2, 1] {
        // No --socket, no keystore: another machine.
        let mut approve = office.volume.kmsfs("hsm");
        approve
            .arg("approve")
            .arg(&request)
            .arg("--key")
            .arg(office.key(who))
            .arg("--out")
            .arg(out(NAMES[who]));
        let asked = approve.output().unwrap();
        assert!(message(&asked).contains("nobody to ask"), "{}", message(&asked));
        let said = ok(approve.arg("--yes"));
        assert!(said.contains(&format!("Delete the key {key}")) && said.contains("after 7 days"), "{said}");
    }
    let mut own = office.volume.kmsfs("hsm");
    own.args(["approve", "--yes"]).arg(&request).arg("--key").arg(office.key(0)).arg("--out").arg(out("own"));
    assert!(message(&own.output().unwrap()).contains("cannot approve it too"));

    let run = |approvals: &[&str]| {
        let mut run = office.command(&["run", "--json"]);
        run.arg(&request);
        run.args(approvals.iter().flat_map(|name| ["--approval".into(), out(name)]));
        run.output().unwrap()
    };
    let early = run(&["bob"]);
    assert_eq!(early.status.code(), Some(10), "{}", message(&early));
    assert!(message(&early).contains("1 of the 2 approvals"), "{}", message(&early));
    let done: Value = hsm::json(&run(&["bob", "carol"]));
    assert_eq!((&done["KeyState"], &done["PendingWindowInDays"]), (&"PendingDeletion".into(), &7.into()));
    assert_eq!(office.state(&key), "PendingDeletion");
    office.call("TrentService.CancelKeyDeletion", &json!({ "KeyId": key })).unwrap();
    assert!(message(&run(&["carol", "bob"])).contains("ApprovalReplayException"), "in another order, too");
    assert_eq!(office.state(&key), "Disabled");

    // The log has what was done, under its own name, and by whom.
    let logged = wait_until(SOON, || {
        office.logged().iter().any(|line| {
            line["operation"] == DELETE
                && line["requestedBy"] == "alice"
                && line["approvedBy"] == json!(["bob", "carol"])
                && line["key"].as_str().is_some_and(|arn| arn.ends_with(&key))
                && line["readOnly"] == false
        })
    });
    assert!(logged, "{:#?}", office.logged());
}

#[test]
fn each_way_to_be_refused_has_a_name_of_its_own_and_uses_nothing_up() {
    let office = Office::open();
    office.require("delete-key=2");
    let key = office.create_key();
    let (arguments, hour) = (json!({ "KeyId": key, "PendingWindowInDays": 7 }), Duration::hours(1));
    let request = office.request(0, DELETE, &arguments, hour);
    let (file, good) = (request.encode(), office.approvals(&request, &[1, 2]));
    let with = |by: &[usize]| office.run(&file, &office.approvals(&request, by));

    assert_eq!(with(&[]), "ApprovalNotEnoughException");
    assert_eq!(with(&[3]), "ApprovalNotEnoughException");
    assert_eq!(with(&[1, 1]), "ApprovalDuplicateException");
    assert_eq!(with(&[1, 0]), "ApprovalSelfException");
    assert_eq!(with(&[1, MALLORY]), "ApprovalUnknownCustodianException");
    let strangers = office.request(MALLORY, DELETE, &arguments, hour);
    assert_eq!(office.run(&strangers.encode(), &good), "ApprovalUnknownCustodianException");

    let altered = file.replace("\"PendingWindowInDays\": 7", "\"PendingWindowInDays\": 30");
    assert_ne!(altered, file);
    assert_eq!(office.run(&altered, &good), "ApprovalRequestAlteredException");
    let signed_anew = office.request(0, DELETE, &json!({ "KeyId": key, "PendingWindowInDays": 30 }), hour);
    assert_eq!(office.run(&signed_anew.encode(), &good), "ApprovalOtherRequestException");
    let mut as_carol = Approval::new(&office.signer(1), &request).unwrap();
    as_carol.approver = *office.signer(2).public();
    assert_eq!(office.run(&file, &[good[0].clone(), as_carol.encode()]), "ApprovalForgedException");

    let late = office.request(0, DELETE, &arguments, Duration::seconds(-1));
    assert_eq!(office.run(&late.encode(), &office.approvals(&late, &[1, 2])), "ApprovalExpiredException");
    let long = office.request(0, DELETE, &arguments, Duration::days(31));
    assert_eq!(office.run(&long.encode(), &office.approvals(&long, &[1, 2])), "ApprovalTooLongException");
    let elsewhere = Arguments::new(&arguments).unwrap();
    let expires = OffsetDateTime::now_utc() + hour;
    let foreign = approval::Request::new(&office.signer(0), Uuid::nil(), DELETE, elsewhere, expires).unwrap();
    assert_eq!(
        office.run(&foreign.encode(), &office.approvals(&foreign, &[1, 2])),
        "ApprovalForeignException"
    );
    assert_eq!(office.run("{}", &good), "ApprovalMalformedException");
    assert_eq!(office.run(&file, &["{}".to_owned()]), "ApprovalMalformedException");

    // What approvers thought would count must count, and what cannot be approved cannot be run so.
    let mistyped = office.request(0, DELETE, &json!({ "KeyId": key, "PendingWindowInDay": 30 }), hour);
    assert_eq!(office.run(&mistyped.encode(), &office.approvals(&mistyped, &[1, 2])), "ValidationException");
    for operation in ["DisableKey", "HsmRun", "HsmRefresh", "Nothing"] {
        let other = office.request(0, operation, &json!({ "KeyId": key }), hour);
        assert_eq!(office.run(&other.encode(), &office.approvals(&other, &[1, 2])), "ValidationException");
    }

    assert_eq!(office.state(&key), "Enabled");
    assert_eq!(office.run(&file, &good), "ok");
    office.call("TrentService.CancelKeyDeletion", &json!({ "KeyId": key })).unwrap();
    assert_eq!(office.run(&file, &good), "ApprovalReplayException");
}

#[test]
fn approvals_are_good_for_what_was_done_before_a_restart_too() {
    let mut office = Office::open();
    office.require("delete-key=1");
    let key = office.create_key();
    let request = office.request(0, DELETE, &json!({ "KeyId": key }), Duration::hours(1));
    let approvals = office.approvals(&request, &[3]);
    assert_eq!(office.run(&request.encode(), &approvals), "ok");
    office.hsm.restart(&office.volume);
    for custodian in [2, 3] {
        office.hsm.unlock(&office.volume, custodian);
    }
    office.call("TrentService.CancelKeyDeletion", &json!({ "KeyId": key })).unwrap();
    assert_eq!(office.run(&request.encode(), &approvals), "ApprovalReplayException");
}

#[test]
fn key_policies_and_imports_are_approved_as_they_are() {
    let office = Office::open();
    ok(&mut office.command(&[
        "policy",
        "--require",
        "key-policy=1",
        "--require",
        "import-key=2",
        "--require",
        "delete-key=1",
    ]));
    let key = office.create_key();
    let policy =
        office.call("TrentService.GetKeyPolicy", &json!({ "KeyId": key })).unwrap()["Policy"].clone();
    let arguments = json!({ "KeyId": key, "Policy": policy });
    assert_eq!(office.refused_over_tcp("PutKeyPolicy", &arguments).0, "AccessDeniedException");
    let request = office.request(0, "PutKeyPolicy", &arguments, Duration::hours(1));
    assert_eq!(office.run(&request.encode(), &office.approvals(&request, &[1])), "ok");

    let created = office.call("TrentService.CreateKey", &json!({ "Origin": "EXTERNAL" })).unwrap();
    let key = created["KeyMetadata"]["KeyId"].as_str().unwrap();
    let body =
        json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048" });
    let parameters = office.call("TrentService.GetParametersForImport", &body).unwrap();
    let wrap = kmsfs::crypto::asymmetric::PublicKey::from_spki(
        kmsfs::crypto::asymmetric::KeyType::Rsa2048,
        &decode(&parameters["PublicKey"]),
    );
    let sealed = wrap.unwrap().encrypt_oaep(kmsfs::crypto::asymmetric::OaepHash::Sha256, &[7; 32]).unwrap();
    let arguments = json!({
        "KeyId": key, "ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": base64(&sealed),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    });
    assert_eq!(office.refused_over_tcp("ImportKeyMaterial", &arguments).0, "AccessDeniedException");
    let request = office.request(0, "ImportKeyMaterial", &arguments, Duration::hours(1));
    assert_eq!(
        office.run(&request.encode(), &office.approvals(&request, &[1])),
        "ApprovalNotEnoughException"
    );
    assert_eq!(office.run(&request.encode(), &office.approvals(&request, &[3, 1])), "ok");
    assert_eq!(office.state(key), "Enabled");
    let refused = office.refused_over_tcp("DeleteImportedKeyMaterial", &json!({ "KeyId": key }));
    assert_eq!(refused.0, "AccessDeniedException");
    assert_eq!(office.state(key), "Enabled");
}

fn decode(value: &Value) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn who_approves_and_what_is_lowered_only_as_custodians_approve() {
    let office = Office::open();
    let refused = office.command(&["policy", "--require", "delete-key=4"]).output().unwrap();
    assert!(message(&refused).contains("4 custodians, one of whom requests"), "{}", message(&refused));
    office.require("delete-key=2");
    let mallory = office.file("mallory.pub");
    for args in [
        &["policy", "--require", "delete-key=0"][..],
        &["policy", "--require", "delete-key=1"],
        &["custodian", "remove", "dora"],
        &["custodian", "add", "mallory", "--public-key", mallory.to_str().unwrap()],
    ] {
        let refused = office.command(args).output().unwrap();
        assert_eq!(refused.status.code(), Some(10), "{args:?}: {}", message(&refused));
        assert!(message(&refused).contains("approval of 2 other custodians"), "{}", message(&refused));
    }
    let request = office.file("lower.json");
    let mut lower = office.command(&["policy", "--require", "delete-key=1"]);
    let said = ok(lower.arg("--key").arg(office.key(0)).arg("--request").arg(&request));
    assert!(said.contains("and no others: 1 for delete-key."), "{said}");
    let mut run = office.command(&["run"]);
    run.arg(&request);
    for who in [1, 3] {
        let out = office.file(&format!("lower-{who}"));
        let mut approve = office.volume.kmsfs("hsm");
        ok(approve
            .args(["approve", "--yes"])
            .arg(&request)
            .arg("--key")
            .arg(office.key(who))
            .arg("--out")
            .arg(&out));
        run.arg("--approval").arg(out);
    }
    ok(&mut run);
    let shown = ok(&mut office.command(&["policy"]));
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["delete-key", "1"])), "{shown}");
    let listed = ok(&mut office.command(&["custodian", "list"]));
    assert_eq!(listed.lines().count(), 5, "{listed}");
}

#[test]
fn new_shares_are_handed_out_only_as_custodians_approve() {
    let office = Office::open();
    office.require("refresh=1");
    let shares = office.file("fresh");
    let refresh = || {
        let mut refresh = office.volume.kmsfs("hsm");
        refresh.args(["refresh", "--quorum", "2/4", "--shares-to"]).arg(&shares);
        for custodian in [1, 3] {
            refresh.arg("--share-file").arg(office.hsm.shares.join(format!("share-{custodian}.txt")));
        }
        refresh
    };
    let refused = refresh().output().unwrap();
    assert!(message(&refused).contains("approval of another custodian"), "{}", message(&refused));
    assert!(fs::read_dir(&shares).unwrap().next().is_none(), "nobody was given a share");
    let (request, approval) = (office.file("refresh.json"), office.file("refresh.approval"));
    let made =
        office.request(0, "HsmRefresh", &json!({ "Threshold": 2, "Custodians": 4 }), Duration::hours(1));
    fs::write(&request, made.encode()).unwrap();
    fs::write(&approval, &office.approvals(&made, &[2])[0]).unwrap();
    ok(refresh().arg("--request").arg(&request).arg("--approval").arg(&approval));
    assert_eq!(fs::read_dir(&shares).unwrap().count(), 4);
}
