//! Custodians come and go, and keystores with them: new root keys, backups, shares for who is elsewhere. From outside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kms_api/client.rs"]
#[allow(dead_code, reason = "the tests of the service itself use more of it")]
mod client;
mod common;
#[path = "common/hsm.rs"]
mod hsm;

use client::{Connection, Request};
use common::{
    tools::{bytes, ok, progress, tool},
    volume::{Volume, wait_until},
};
use hsm::{Hsm, json, message};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How soon a service notices what happened to its keystore.
const SOON: Duration = Duration::from_secs(10);

/// `kmsfs hsm rekey`, given shares of `from`, with new ones in `to`.
fn rekey(volume: &Volume, quorum: &str, from: &Path, to: &Path) -> Command {
    let mut rekey = volume.kmsfs("hsm");
    rekey.args(["rekey", "--quorum", quorum, "--shares-to"]).arg(to);
    for custodian in [1, 3] {
        rekey.arg("--share-file").arg(from.join(format!("share-{custodian}.txt")));
    }
    rekey
}

fn call(hsm: &Hsm, operation: &str, body: serde_json::Value) -> serde_json::Value {
    Connection::unix(&hsm.socket).send(&Request::new(operation, body.to_string())).ok()
}

fn make_keys(hsm: &Hsm, count: usize) {
    let mut connection = Connection::unix(&hsm.socket);
    for _ in 0..count {
        connection.send(&Request::new("CreateKey", "{}")).ok();
    }
}

#[test]
fn a_custodian_is_parted_with_while_a_mount_waits() {
    let mut volume = Volume::bare();
    let mut hsm = Hsm::start(&volume, "2/3");
    json(&hsm.unlock(&volume, 1));
    json(&hsm.unlock(&volume, 2));
    volume.init(&["--kms", &hsm.url()]);
    volume.option("--kms").option(&hsm.url());
    volume.mount();
    let file = volume.path("file");
    fs::write(&file, bytes(1, 50_000)).unwrap();
    volume.remount();
    let copy = volume.scratch("copy.db");
    let database = rusqlite::Connection::open(volume.keystore()).unwrap();
    database.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    drop(database);

    let fresh = volume.home().join("fresh");
    let said = rekey(&volume, "2/2", &hsm.shares, &fresh).output().unwrap();
    assert!(!said.status.success() && message(&said).contains("--all"), "{}", message(&said));
    let said = rekey(&volume, "2/4", &hsm.shares, &fresh).output().unwrap();
    assert!(said.status.success(), "{}", message(&said));
    assert!(message(&said).contains("Old shares still open backups"), "{}", message(&said));

    let sealed = wait_until(SOON, || hsm.status(&volume)["State"] == "Sealed");
    assert!(sealed, "the service goes on with a root key that is none");
    assert!(fs::read(&file).is_err(), "the file opens though the HSM is sealed");
    for custodian in 1..=3 {
        let refused = message(&hsm.unlock(&volume, custodian));
        assert!(refused.contains("old share"), "{refused}");
    }
    let old = std::mem::replace(&mut hsm.shares, fresh);
    json(&hsm.unlock(&volume, 4));
    json(&hsm.unlock(&volume, 2));
    let back = wait_until(SOON, || fs::read(&file).is_ok_and(|read| read == bytes(1, 50_000)));
    assert!(back, "the file does not open under the new root key");
    ok(volume.kmsfs("kms").args(["audit", "--operation", "Decrypt"]));

    // What the command says of copies is true.
    let mut on_copy = rekey(&volume, "2/3", &old, &volume.scratch("of-the-copy"));
    ok(on_copy.arg("--keystore").arg(&copy));
}

#[test]
fn a_rekey_that_is_killed_leaves_the_old_root_key_or_the_new_one() {
    const ROUNDS: u32 = 12;
    let volume = Volume::bare();
    let mut hsm = Hsm::start(&volume, "2/3");
    json(&hsm.unlock(&volume, 1));
    json(&hsm.unlock(&volume, 2));
    make_keys(&hsm, 400);
    let opens = |hsm: &mut Hsm, shares: &Path| {
        hsm.shares = shares.to_owned();
        hsm.restart(&volume);
        [2, 3].iter().all(|custodian| hsm.unlock(&volume, *custodian).status.success())
            && call(hsm, "ListKeys", json!({ "Limit": 1000 }))["Keys"].as_array().unwrap().len() == 400
    };
    let to = |round: u32| volume.home().join(format!("shares-{round}"));

    let began = Instant::now();
    ok(&mut rekey(&volume, "2/3", &hsm.shares, &to(0)));
    let takes = began.elapsed();
    let mut current: PathBuf = to(0);
    let mut changed = 0;
    for round in 1..=ROUNDS {
        let mut child = rekey(&volume, "2/3", &current, &to(round)).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(takes * 3 * round / (2 * ROUNDS));
        child.kill().unwrap();
        child.wait().unwrap();
        let (old, new) = (opens(&mut hsm, &current), to(round).exists() && opens(&mut hsm, &to(round)));
        assert!(old != new, "round {round}: old shares open it: {old}, new ones: {new}");
        if new {
            current = to(round);
            changed += 1;
        }
    }
    progress(format_args!("{changed} of {ROUNDS} came so far as to change the root key, in {takes:?}"));
}

fn key_state(hsm: &Hsm, key: &str) -> serde_json::Value {
    call(hsm, "DescribeKey", json!({ "KeyId": key }))["KeyMetadata"]["KeyState"].clone()
}

fn backup(volume: &Volume, file: &Path) -> String {
    let made = json(&volume.kmsfs("hsm").args(["backup", "--json"]).arg(file).output().unwrap());
    made["Counter"].as_str().unwrap().to_owned()
}

fn restore(volume: &Volume, file: &Path, args: &[&str]) -> Result<(), String> {
    let done = volume.kmsfs("hsm").arg("restore").arg(file).args(args).output().unwrap();
    if done.status.success() { Ok(()) } else { Err(message(&done)) }
}

fn unlock_all(volume: &Volume, hsm: &Hsm) {
    for custodian in [2, 3] {
        json(&hsm.unlock(volume, custodian));
    }
}

#[test]
fn a_backup_is_made_sealed_or_in_use_and_an_older_one_does_not_come_back_unnoticed() {
    let volume = Volume::bare();
    let hsm = Hsm::start(&volume, "2/3");
    let file = |name: &str| volume.scratch(name);
    let empty = backup(&volume, &file("sealed"));
    assert_eq!(hsm.status(&volume)["Counter"], empty.as_str());
    unlock_all(&volume, &hsm);
    let key = call(&hsm, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let enabled = backup(&volume, &file("enabled"));
    call(&hsm, "DisableKey", json!({ "KeyId": key }));
    let disabled = backup(&volume, &file("disabled"));
    assert_eq!(hsm.status(&volume)["Counter"], disabled.as_str());
    assert_eq!(backup(&volume, &file("again")), disabled, "nothing changed");
    let exists = refusal(volume.kmsfs("hsm").arg("backup").arg(file("again")));
    assert!(exists.contains("exists already"), "{exists}");

    // The key that was disabled would be enabled again.
    ok(&mut hsm.command(&volume, "lock"));
    for (name, args) in
        [("enabled", &[][..]), ("sealed", &[]), ("enabled", &["--older", "--expect", &disabled])]
    {
        let refused = restore(&volume, &file(name), args).unwrap_err();
        assert!(refused.contains("older") || refused.contains("or a later one"), "{name}: {refused}");
    }
    restore(&volume, &file("disabled"), &["--expect", &enabled]).unwrap();
    unlock_all(&volume, &hsm);
    assert_eq!(key_state(&hsm, &key), "Disabled");

    // Lost: what custodians noted tells an older copy, before any share is given.
    ok(&mut hsm.command(&volume, "lock"));
    fs::remove_file(volume.keystore()).unwrap();
    let refused = restore(&volume, &file("enabled"), &["--expect", &disabled]).unwrap_err();
    assert!(refused.contains(&disabled) && refused.contains(&enabled), "{refused}");
    assert!(!volume.keystore().exists());
    restore(&volume, &file("enabled"), &[]).unwrap();
    let mut unlock = hsm.command(&volume, "unlock");
    unlock.args(["--expect", &disabled, "--share-file"]).arg(hsm.shares.join("share-1.txt"));
    let refused = refusal(&mut unlock);
    assert!(refused.contains(&format!("this is {enabled}")), "{refused}");
    assert_eq!(hsm.status(&volume)["State"], "Sealed", "no share was given");
    unlock_all(&volume, &hsm);
    assert_eq!(key_state(&hsm, &key), "Enabled");

    // As many changes, and not the same: no later state of what was noted.
    call(&hsm, "UpdateKeyDescription", json!({ "KeyId": key, "Description": "elsewhere" }));
    ok(&mut hsm.command(&volume, "lock"));
    let refused = restore(&volume, &file("disabled"), &[]).unwrap_err();
    assert!(refused.contains("different changes"), "{refused}");
    restore(&volume, &file("disabled"), &["--older"]).unwrap();
    unlock_all(&volume, &hsm);
    assert_eq!(key_state(&hsm, &key), "Disabled");
}

/// What the first custodian was shown must be what the last one opens.
#[test]
fn a_keystore_that_is_swapped_for_an_older_copy_while_shares_wait_is_not_opened_with_them() {
    let volume = Volume::bare();
    let mut hsm = Hsm::start(&volume, "2/3");
    let (old, new) = (volume.scratch("old"), volume.scratch("new"));
    backup(&volume, &old);
    unlock_all(&volume, &hsm);
    make_keys(&hsm, 2);
    ok(&mut hsm.command(&volume, "lock"));
    backup(&volume, &new);
    hsm.restart(&volume);
    assert_eq!(json(&hsm.unlock(&volume, 1))["State"], "Unsealing");
    let swap = |from: &Path| {
        for side in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{side}", volume.keystore().display()));
        }
        fs::copy(from, volume.scratch("next")).unwrap();
        fs::rename(volume.scratch("next"), volume.keystore()).unwrap();
    };
    swap(&old);
    let said = json(&hsm.unlock(&volume, 2));
    assert_eq!(
        (&said["State"], &said["Submitted"]),
        (&"Unsealing".into(), &json!(["2"])),
        "share 1 is forgotten"
    );
    swap(&new);
    assert_eq!(json(&hsm.unlock(&volume, 3))["State"], "Operational", "to a later one they may go on");
    assert_eq!(call(&hsm, "ListKeys", json!({}))["Keys"].as_array().unwrap().len(), 2);
}

fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "it was done");
    message(&output)
}

#[test]
fn a_backup_of_another_hsm_or_with_an_altered_counter_is_of_no_use() {
    let (volume, elsewhere) = (Volume::bare(), Volume::bare());
    let (hsm, _other) = (Hsm::start(&volume, "2/3"), Hsm::start(&elsewhere, "2/3"));
    let file = volume.scratch("backup");
    backup(&elsewhere, &file);
    let refused = restore(&volume, &file, &["--older"]).unwrap_err();
    assert!(refused.contains("of the HSM"), "{refused}");

    let old = volume.scratch("old");
    backup(&volume, &old);
    unlock_all(&volume, &hsm);
    call(&hsm, "CreateKey", json!({}));
    ok(&mut hsm.command(&volume, "lock"));
    let database = rusqlite::Connection::open(&old).unwrap();
    database.execute("UPDATE keystore SET generation = generation + 100", []).unwrap();
    drop(database);
    restore(&volume, &old, &[]).unwrap();
    json(&hsm.unlock(&volume, 1));
    let refused = message(&hsm.unlock(&volume, 2));
    assert!(refused.contains("tampered"), "{refused}");
}

#[test]
fn a_zeroized_hsm_says_so_and_nothing_brings_its_keys_back() {
    let mut volume = Volume::bare();
    let hsm = Hsm::start(&volume, "2/3");
    unlock_all(&volume, &hsm);
    volume.init(&["--kms", &hsm.url()]);
    volume.option("--kms").option(&hsm.url());
    volume.mount();
    let file = volume.path("file");
    fs::write(&file, bytes(1, 50_000)).unwrap();
    volume.remount();
    let copy = volume.scratch("copy");
    backup(&volume, &copy);
    let done = volume.kmsfs("hsm").args(["zeroize", "--yes"]).output().unwrap();
    assert!(done.status.success() && message(&done).contains("backups"), "{}", message(&done));

    let noticed = wait_until(SOON, || hsm.status(&volume)["State"] == "Zeroized");
    assert!(noticed, "the service goes on with keys that are gone");
    assert!(fs::read(&file).is_err(), "the file opens");
    let refused = message(&hsm.unlock(&volume, 1));
    assert!(refused.contains("zeroized"), "{refused}");
    let refused = restore(&volume, &copy, &["--older"]).unwrap_err();
    assert!(refused.contains("zeroized"), "{refused}");
}

/// A custodian with a key of age's, made by its own tool: the private file, and the public one.
fn custodian(volume: &Volume, name: &str) -> (PathBuf, PathBuf) {
    let (private, public) = (volume.scratch(name), volume.scratch(format!("{name}.pub")));
    ok(Command::new(tool("age-keygen")).arg("-o").arg(&private));
    fs::write(&public, ok(Command::new(tool("age-keygen")).arg("-y").arg(&private))).unwrap();
    (private, public)
}

fn decrypt(private: &Path, share: &Path) -> Command {
    let mut age = Command::new(tool("age"));
    age.args(["--decrypt", "--identity"]).arg(private).arg(share);
    age
}

#[test]
fn a_share_is_encrypted_to_its_custodian_who_alone_can_give_it() {
    let volume = Volume::bare();
    let people = ["alice", "bob", "carol"].map(|name| custodian(&volume, name));
    let args = |quorum: &str, to: &Path, publics: &[&PathBuf]| {
        let mut args =
            vec!["--quorum".into(), quorum.to_owned(), "--shares-to".into(), to.display().to_string()];
        for public in publics {
            args.extend(["--custodian".into(), public.display().to_string()]);
        }
        args
    };
    let [alice, bob, carol] = people.each_ref().map(|(_, public)| public);
    let to = volume.home().join("sealed");

    let ssh = volume.scratch("nonsense.pub");
    fs::write(&ssh, "not a key\n").unwrap();
    for (publics, why) in [
        (&[alice, bob][..], "as many --custodian"),
        (&[alice, bob, alice], "are the same key"),
        (&[alice, bob, &ssh], "age cannot encrypt to"),
        (&[alice, bob, &people[2].0], "age cannot encrypt to"),
        (&[alice, bob, &volume.scratch("nobody")], "cannot read"),
    ] {
        let refused = refusal(volume.kmsfs("hsm").arg("init").args(args("2/3", &to, publics)));
        assert!(refused.contains(why), "{why}: {refused}");
        assert!(!volume.keystore().exists(), "{why}");
    }
    let without =
        volume.kmsfs("hsm").arg("init").args(args("2/3", &to, &[alice, bob, carol])).env("PATH", "").output();
    assert!(message(&without.unwrap()).contains("package age"), "the program is missing");

    ok(volume.kmsfs("hsm").arg("init").args(args("2/3", &to, &[alice, bob, carol])));
    let files: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    let share = |to: &Path, number: usize| to.join(format!("share-{number}.age"));
    let wrong = decrypt(&people[0].0, &share(&to, 2)).output().unwrap();
    assert!(!wrong.status.success(), "alice reads bob's share");

    // One gives hers through a pipe, the other as a file.
    let hsm = Hsm::serve(&volume, to.clone());
    let alice_gives = |to: &Path| {
        let mut age = decrypt(&people[0].0, &share(to, 1)).stdout(Stdio::piped()).spawn().unwrap();
        let mut unlock = hsm.command(&volume, "unlock");
        let given = unlock.args(["--share-fd", "0"]).stdin(age.stdout.take().unwrap()).output().unwrap();
        assert!(age.wait().unwrap().success());
        json(&given)
    };
    let decrypted = |to: &Path, number: usize| {
        let file = volume.scratch(format!("share-{number}"));
        fs::write(&file, ok(&mut decrypt(&people[number - 1].0, &share(to, number)))).unwrap();
        file
    };
    assert_eq!(alice_gives(&to)["State"], "Unsealing");
    let mut unlock = hsm.command(&volume, "unlock");
    let given = unlock.arg("--share-file").arg(decrypted(&to, 3)).output().unwrap();
    assert_eq!(json(&given)["State"], "Operational");

    // Bob goes.
    let fresh = volume.home().join("fresh");
    let mut rekey = volume.kmsfs("hsm");
    rekey.arg("rekey").args(args("2/2", &fresh, &[alice, carol])).arg("--all");
    for number in [1, 3] {
        rekey.arg("--share-file").arg(decrypted(&to, number));
    }
    ok(&mut rekey);
    assert!(wait_until(SOON, || hsm.status(&volume)["State"] == "Sealed"));
    assert_eq!(alice_gives(&fresh)["Submitted"], json!(["1"]));
}
