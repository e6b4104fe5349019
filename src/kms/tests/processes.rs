//! Several KMSs on one keystore, in one process and in two.

use super::*;
use keystore::Location;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn one_sees_what_the_other_does_within_a_second() {
    let scratch = Scratch::new();
    let (here, there) = (scratch.create(), scratch.open());
    let key = key(&there);
    within_a_second("a new key", || here.describe_key(OPERATOR, &key).is_ok());
    there.create_alias(OPERATOR, "alias/x", &key).unwrap();
    within_a_second("a new alias", || here.describe_key(OPERATOR, "alias/x").is_ok());
    let other = super::key(&there);
    there.update_alias(OPERATOR, "alias/x", &other).unwrap();
    within_a_second("a moved alias", || {
        here.describe_key(OPERATOR, "alias/x").is_ok_and(|key| key.id.to_string() == other)
    });
    there.rotate_key_on_demand(OPERATOR, &key).unwrap();
    let made = there.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap();
    within_a_second("new material", || {
        here.decrypt(OPERATOR, None, SYMMETRIC, &made.blob, &context()).is_ok()
    });
    within_a_second("the generation", || here.generation() == there.generation());
}

#[test]
fn a_change_builds_on_the_newest_state_even_if_it_was_not_seen_yet() {
    let scratch = Scratch::new();
    let here = Kms::create(scratch.location(), &passphrase("right"), "", scratch.sleepy()).unwrap();
    let there = scratch.open();
    let key = key(&there);
    there.create_alias(OPERATOR, "alias/x", &key).unwrap();
    assert_eq!(name(here.create_alias(OPERATOR, "alias/x", &key)), "AlreadyExistsException");
    there.update_key_description(OPERATOR, &key, "kept").unwrap();
    here.disable_key(OPERATOR, &key).unwrap();
    let seen = scratch.open().describe_key(OPERATOR, &key).unwrap();
    assert_eq!((seen.description.as_str(), seen.state), ("kept", KeyState::Disabled));
}

#[test]
fn use_is_refused_within_a_second_even_if_the_watcher_sleeps() {
    let scratch = Scratch::new();
    let here = Kms::create(scratch.location(), &passphrase("right"), "", scratch.sleepy()).unwrap();
    let key = key(&here);
    scratch.open().disable_key(OPERATOR, &key).unwrap();
    within_a_second("refusal", || {
        name(here.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context())) == "DisabledException"
    });
}

#[test]
fn a_keystore_out_of_sight_is_one_outage_in_which_no_key_is_used() {
    let scratch = Scratch::file();
    let kms = scratch.create();
    let key = key(&kms);
    let aside = scratch.directory.path().join("aside");
    let outcome = || name(kms.generate_data_key(FILESYSTEM, &key, 32, &context()));
    for put_another in [false, true] {
        let before = kms.outages();
        std::fs::rename(scratch.path(), &aside).unwrap();
        if put_another {
            std::fs::copy(&aside, scratch.path()).unwrap();
        }
        within_a_second("the outage", || kms.outages() > before);
        assert_eq!(outcome(), "KeyUnavailableException", "whoever knows of the outage gets no key");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(outcome(), "KeyUnavailableException");
        assert_eq!(kms.outages(), before + 1, "an outage is counted once, however long it lasts");
        std::fs::rename(&aside, scratch.path()).unwrap();
        within_a_second("the return", || outcome() == "ok");
    }
}

#[test]
fn a_keystore_that_nobody_could_look_at_is_an_outage_too() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let before = kms.outages();
    let hung = kms.core.store.lock();
    within_a_second("the outage", || kms.outages() > before);
    drop(hung);
    assert_eq!(name(kms.generate_data_key(FILESYSTEM, &key, 32, &context())), "ok");
}

#[test]
fn the_service_managed_key_is_made_once() {
    let scratch = Scratch::new();
    let all: Vec<_> = std::iter::once(scratch.create()).chain((0..3).map(|_| scratch.open())).collect();
    let make =
        |kms: &Kms| kms.generate_data_key(FILESYSTEM, DEFAULT_ALIAS, 32, &context()).unwrap().encrypted.key;
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = all.iter().map(|kms| scope.spawn(|| make(kms))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(scratch.open().list_keys(OPERATOR, Page::whole()).unwrap().items.len(), 1);
}

#[test]
fn many_threads_and_keystores_lose_no_change() {
    let scratch = Scratch::new();
    let all: Vec<_> = std::iter::once(scratch.create()).chain((0..2).map(|_| scratch.open())).collect();
    let busy = key(&all[0]);
    std::thread::scope(|scope| {
        for (i, kms) in all.iter().cycle().take(6).enumerate() {
            let busy = &busy;
            scope.spawn(move || {
                for j in 0..8 {
                    let mine = key(kms);
                    kms.create_alias(OPERATOR, &format!("alias/{i}-{j}"), &mine).unwrap();
                    let tag = [Tag { key: format!("{i}-{j}"), value: String::new() }];
                    kms.tag_resource(OPERATOR, busy, &tag).unwrap();
                    let made = kms.generate_data_key(FILESYSTEM, &mine, 32, &context()).unwrap();
                    kms.decrypt(FILESYSTEM, None, SYMMETRIC, &made.encrypted.blob, &context()).unwrap();
                }
            });
        }
    });
    drop(all);
    let kms = scratch.open();
    assert_eq!(kms.list_keys(OPERATOR, Page::whole()).unwrap().items.len(), 49);
    assert_eq!(kms.list_aliases(OPERATOR, None, Page::whole()).unwrap().items.len(), 48);
    assert_eq!(kms.list_resource_tags(OPERATOR, &busy, Page::whole()).unwrap().items.len(), 48);
}

#[test]
fn opening_while_others_write_and_close_never_looks_like_damage() {
    let scratch = Scratch::new();
    drop(scratch.create());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..15 {
                    let kms = scratch.open();
                    kms.update_key_description(OPERATOR, &key(&kms), &"x".repeat(8000)).unwrap();
                }
            });
        }
    });
    assert_eq!(scratch.open().list_keys(OPERATOR, Page::whole()).unwrap().items.len(), 45);
}

/// Set in the second process: the keystore, and what to do.
const PLACE: &str = "KMSFS_TEST_KEYSTORE";
const ACTION: &str = "KMSFS_TEST_ACTION";

/// Runs [`second_process`] in a process of its own.
pub(super) fn second_process_with(place: &Location, action: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kms::tests::processes::second_process", "--ignored"])
        .env(PLACE, place.to_string())
        .env(ACTION, action)
        .stdout(Stdio::piped());
    command
}

#[test]
#[ignore = "is what other tests run as a second process"]
fn second_process() {
    let location = Location::parse(std::env::var_os(PLACE).unwrap()).unwrap();
    let options = Options { passphrase_cost: Some(cheap()), ..Options::default() };
    let kms = Kms::open(location, &passphrase("right"), options).unwrap();
    let action = std::env::var(ACTION).unwrap();
    match action.split_once(' ') {
        Some(("disable", key)) => kms.disable_key(OPERATOR, key).unwrap(),
        Some(("enable", key)) => kms.enable_key(OPERATOR, key).unwrap(),
        Some(("change-for-ever", key)) => loop {
            let made = self::key(&kms);
            kms.rotate_key_on_demand(OPERATOR, &made).unwrap();
            kms.update_key_description(OPERATOR, key, &made).unwrap();
            // Not by println, whose output the test runner keeps to itself.
            writeln!(std::io::stdout(), "{ACKNOWLEDGED}{made}").unwrap();
        },
        _ => panic!("unknown action {action}"),
    }
}

#[test]
fn another_process_disables_a_key_in_use() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let outcome = || name(kms.generate_data_key(FILESYSTEM, &key, 32, &context()));
    for (action, expected) in [("disable", "DisabledException"), ("enable", "ok")] {
        let mut child = second_process_with(&scratch.location(), &format!("{action} {key}"));
        assert!(child.output().unwrap().status.success());
        within_a_second(action, || outcome() == expected);
    }
}

/// What stands before a key of which the second process knows that it is there for good.
const ACKNOWLEDGED: &str = "acknowledged ";

#[test]
fn a_killed_process_leaves_a_sound_keystore_with_all_that_it_knew_was_done() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    for round in 0..5 {
        let before = kms.generation();
        let mut child =
            second_process_with(&scratch.location(), &format!("change-for-ever {key}")).spawn().unwrap();
        while kms.generation() < before + 5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round * 3));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap().stdout;
        let output = String::from_utf8(output).unwrap();
        let acknowledged: Vec<_> =
            output.split_inclusive('\n').filter_map(|line| line.split(ACKNOWLEDGED).nth(1)).collect();
        assert!(!acknowledged.is_empty());
        kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()).unwrap();
        kms.tag_resource(OPERATOR, &key, &[Tag { key: round.to_string(), value: "".into() }]).unwrap();
        for kms in [&kms, &scratch.open()] {
            for made in acknowledged.iter().filter_map(|line| line.strip_suffix('\n')) {
                assert_eq!(kms.describe_key(OPERATOR, made).unwrap().current_material, 2);
            }
        }
    }
}
