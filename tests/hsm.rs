//! The software HSM from outside: custodians unlock a service, and a mount follows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/hsm.rs"]
mod hsm;

use common::{
    tools::{bytes, ok},
    volume::{Volume, wait_until},
};
use hsm::{Hsm, json, message};
use rustix::io::Errno;
use std::{
    fs,
    io::{self, Write},
    process::Command,
    time::{Duration, Instant},
};

/// How long a cold file may take to fail while the HSM is sealed.
const BOUND: Duration = Duration::from_secs(11);

fn is_nokey<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::NOKEY.raw_os_error()))
}

#[test]
fn a_sealed_hsm_serves_nothing_and_a_quorum_opens_it() {
    let volume = Volume::bare();
    let mut hsm = Hsm::start(&volume, "2/3");
    let status = hsm.status(&volume);
    assert_eq!(
        (&status["State"], &status["Threshold"], &status["Custodians"]),
        (&"Sealed".into(), &2.into(), &3.into())
    );
    let library = status["Cryptography"].as_str().unwrap();
    assert!(
        library.starts_with(if cfg!(feature = "fips") { "AWS-LC FIPS module " } else { "AWS-LC " }),
        "{library}"
    );

    let init = || volume.kmsfs("init").args(["--kms", &hsm.url()]).arg(volume.lower()).output().unwrap();
    let refused = init();
    assert!(!refused.status.success() && message(&refused).contains("sealed"), "{}", message(&refused));

    assert_eq!(json(&hsm.unlock(&volume, 1))["Submitted"], serde_json::json!(["1"]));
    let again = json(&hsm.unlock(&volume, 1));
    assert_eq!((&again["State"], &again["Submitted"]), (&"Unsealing".into(), &serde_json::json!(["1"])));
    assert!(!init().status.success(), "one custodian is not enough, however often");
    assert_eq!(json(&hsm.unlock(&volume, 3))["State"], "Operational");
    let made = init();
    assert!(made.status.success(), "{}", message(&made));

    hsm.restart(&volume);
    assert_eq!(hsm.status(&volume)["State"], "Sealed", "nothing of the shares was kept");
}

#[test]
fn a_share_that_is_wrong_is_refused_in_words_that_do_not_repeat_it() {
    let volume = Volume::bare();
    let hsm = Hsm::start(&volume, "2/3");
    let good = fs::read_to_string(hsm.shares.join("share-1.txt")).unwrap();
    let mut words: Vec<&str> = good.split_whitespace().collect();
    words.swap(3, 20);
    let file = volume.scratch("share");
    for (text, reason) in [
        (words.join(" "), "do not fit together"),
        (words[1..].join(" "), "33 words; here are 32"),
        (good.replacen(words[0], "xyzzy", 1), "not in the list"),
    ] {
        fs::write(&file, &text).unwrap();
        let refused = hsm.command(&volume, "unlock").arg("--share-file").arg(&file).output().unwrap();
        let message = message(&refused);
        assert_eq!(refused.status.code(), Some(3), "a wrong secret: {message}");
        assert!(message.contains(reason), "{message}");
        assert!(!message.contains(words[10]), "{message}");
    }
    // A share of another HSM is well-formed, and told apart.
    let elsewhere = Volume::bare();
    let other = Hsm::start(&elsewhere, "2/3");
    fs::copy(other.shares.join("share-1.txt"), &file).unwrap();
    let refused = hsm.command(&volume, "unlock").arg("--share-file").arg(&file).output().unwrap();
    assert!(message(&refused).contains("another HSM"), "{}", message(&refused));
    assert_eq!(hsm.status(&volume)["State"], "Sealed");
}

#[test]
fn a_mount_waits_for_the_custodians_and_goes_on_without_remounting() {
    let mut volume = Volume::bare();
    let hsm = Hsm::start(&volume, "2/3");
    json(&hsm.unlock(&volume, 1));
    json(&hsm.unlock(&volume, 2));
    volume.init(&["--kms", &hsm.url()]);
    volume.option("--kms").option(&hsm.url());
    volume.mount();
    let (warm, cold) = (volume.path("warm"), volume.path("cold"));
    fs::write(&warm, bytes(1, 50_000)).unwrap();
    fs::write(&cold, bytes(2, 50_000)).unwrap();
    volume.remount();
    let mut open = fs::OpenOptions::new().append(true).open(&warm).unwrap();

    ok(&mut hsm.command(&volume, "lock"));
    let began = Instant::now();
    let refused = fs::read(&cold);
    assert!(is_nokey(&refused), "{refused:?}");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    open.write_all(b"acknowledged").unwrap();
    open.sync_all().unwrap();

    json(&hsm.unlock(&volume, 3));
    json(&hsm.unlock(&volume, 1));
    let back = wait_until(BOUND, || fs::read(&cold).is_ok_and(|read| read == bytes(2, 50_000)));
    assert!(back, "the cold file does not open though the HSM is operational");
    drop(open);
    volume.remount();
    let expected = [bytes(1, 50_000), b"acknowledged".to_vec()].concat();
    assert!(fs::read(&warm).unwrap() == expected, "what was acknowledged while sealed is there");
}

#[test]
fn custodians_administer_the_keystore_and_its_service_follows() {
    let volume = Volume::bare();
    let hsm = Hsm::start(&volume, "2/3");
    let share = |number: u8| hsm.shares.join(format!("share-{number}.txt"));
    let with = |command: &mut Command, shares: &[u8]| {
        for number in shares {
            command.arg("--share-file").arg(share(*number));
        }
        command.output().unwrap()
    };
    let create = ["create", "--alias", "alias/work"];
    let few = with(volume.kmsfs("key").args(create), &[1]);
    assert!(!few.status.success(), "one share is not enough");
    let twice = with(volume.kmsfs("key").args(create), &[2, 2]);
    assert!(!twice.status.success(), "nor is the same one twice");
    let done = with(volume.kmsfs("key").args(create), &[1, 3]);
    assert!(done.status.success(), "{}", message(&done));

    // Through the service that custodians unlock meanwhile, too.
    json(&hsm.unlock(&volume, 1));
    json(&hsm.unlock(&volume, 2));
    for args in [&["principal", "create", "user/alice"][..], &["map-uid", "user/alice", "65534"]] {
        let done = with(volume.kmsfs("kms").args(args), &[2, 3]);
        assert!(done.status.success(), "{}", message(&done));
    }
    let init =
        volume.kmsfs("init").args(["--kms", &hsm.url(), "--key", "alias/work"]).arg(volume.lower()).output();
    assert!(init.unwrap().status.success(), "the service knows the key");
    let list = with(volume.kmsfs("kms").args(["principal", "list", "--json"]), &[1, 2]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("alice"));
}

#[test]
fn an_hsms_service_signs_checkpoints_of_its_log_that_others_verify() {
    let volume = Volume::bare();
    let hsm = Hsm::start(&volume, "2/3");
    let checkpoint = |args: &[&str]| {
        let mut command = volume.kmsfs("kms");
        command.arg("checkpoint").args(args);
        command
    };
    let (make, key) = (["make", "--socket"], ["key", "--socket"]);
    let refused = checkpoint(&make).arg(&hsm.socket).output().unwrap();
    assert!(message(&refused).contains("sealed"), "{}", message(&refused));
    json(&hsm.unlock(&volume, 1));
    json(&hsm.unlock(&volume, 2));
    let (kept, public) = (volume.scratch("checkpoint"), volume.scratch("audit.pem"));
    fs::write(&kept, ok(checkpoint(&make).arg(&hsm.socket))).unwrap();
    fs::write(&public, ok(checkpoint(&key).arg(&hsm.socket))).unwrap();
    ok(&mut hsm.command(&volume, "lock"));
    let verify = || checkpoint(&["verify", "--public-key"]).arg(&public).arg(&kept).output().unwrap();
    assert!(verify().status.success(), "{}", message(&verify()));
    let log = volume.keystore().with_extension("audit").join("audit-000001.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("started", "stopped", 1)).unwrap();
    assert_eq!(verify().status.code(), Some(14), "{}", message(&verify()));
}

#[test]
fn no_passphrase_opens_the_keystore_of_an_hsm() {
    let volume = Volume::bare();
    ok(volume
        .kmsfs("hsm")
        .args(["init", "--quorum", "2/2", "--all", "--shares-to"])
        .arg(volume.home().join("shares")));
    for command in [&["key", "list"][..], &["keystore", "slot", "list"], &["keystore", "slot", "add"]] {
        let refused = volume.kmsfs(command[0]).args(&command[1..]).output().unwrap();
        let message = message(&refused);
        assert!(!refused.status.success() && message.contains("custodians alone"), "{command:?}: {message}");
    }
}

#[test]
fn shares_go_to_a_terminal_or_into_files_and_into_no_pipe() {
    let volume = Volume::bare();
    let refused = volume.kmsfs("hsm").args(["init", "--quorum", "2/3"]).output().unwrap();
    assert!(!refused.status.success() && message(&refused).contains("--shares-to"), "{}", message(&refused));
    assert!(refused.stdout.is_empty() && !volume.keystore().exists());
}

#[test]
fn a_quorum_that_protects_nothing_is_refused_and_nothing_is_made() {
    let volume = Volume::bare();
    for (quorum, reason) in [("1/3", "at least 2"), ("4/3", "at least 2"), ("3/3", "--all"), ("x", "2/3")] {
        let mut init = volume.kmsfs("hsm");
        init.args(["init", "--quorum", quorum, "--shares-to"]).arg(volume.scratch("shares"));
        let refused = init.output().unwrap();
        assert!(
            !refused.status.success() && message(&refused).contains(reason),
            "{quorum}: {}",
            message(&refused)
        );
        assert!(!volume.keystore().exists());
    }
}

#[test]
fn new_shares_take_the_place_of_old_ones_while_the_service_runs() {
    let volume = Volume::bare();
    let hsm = Hsm::start(&volume, "2/3");
    json(&hsm.unlock(&volume, 1));
    json(&hsm.unlock(&volume, 2));
    let fresh = volume.home().join("fresh");
    let mut refresh = volume.kmsfs("hsm");
    refresh.args(["refresh", "--quorum", "3/5", "--shares-to"]).arg(&fresh);
    for custodian in [1, 3] {
        refresh.arg("--share-file").arg(hsm.shares.join(format!("share-{custodian}.txt")));
    }
    ok(&mut refresh);
    assert_eq!(hsm.status(&volume)["State"], "Operational");
    ok(&mut hsm.command(&volume, "lock"));
    let refused = hsm.unlock(&volume, 1);
    assert!(message(&refused).contains("old share"), "{}", message(&refused));
    for custodian in [5, 2, 4] {
        let share = fresh.join(format!("share-{custodian}.txt"));
        ok(hsm.command(&volume, "unlock").arg("--share-file").arg(share));
    }
    assert_eq!(hsm.status(&volume)["State"], "Operational");
}
