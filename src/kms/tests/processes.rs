//! Several KMSs on one keystore, in one process and in two.

use super::*;
use std::process::{Child, Command, Stdio};

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
    let made = there.encrypt(OPERATOR, &key, b"secret", &context()).unwrap();
    within_a_second("new material", || here.decrypt(OPERATOR, None, &made.blob, &context()).is_ok());
    within_a_second("the generation", || here.generation() == there.generation());
}

#[test]
fn a_change_builds_on_the_newest_state_even_if_it_was_not_seen_yet() {
    let scratch = Scratch::new();
    let slow = Options { poll: Duration::from_secs(60), ..scratch.options() };
    let here = Kms::create(&scratch.path(), &passphrase("right"), "", slow).unwrap();
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
    let slow = Options { poll: Duration::from_secs(60), ..scratch.options() };
    let here = Kms::create(&scratch.path(), &passphrase("right"), "", slow).unwrap();
    let key = key(&here);
    scratch.open().disable_key(OPERATOR, &key).unwrap();
    within_a_second("refusal", || {
        name(here.encrypt(OPERATOR, &key, b"x", &context())) == "DisabledException"
    });
}

#[test]
fn a_keystore_out_of_sight_is_one_outage_in_which_no_key_is_used() {
    let scratch = Scratch::new();
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
    assert_eq!(scratch.open().list_keys(OPERATOR).unwrap().len(), 1);
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
                    let tag = Tag { key: format!("{i}-{j}"), value: String::new() };
                    kms.tag_resource(OPERATOR, busy, vec![tag]).unwrap();
                    let made = kms.generate_data_key(FILESYSTEM, &mine, 32, &context()).unwrap();
                    kms.decrypt(FILESYSTEM, None, &made.encrypted.blob, &context()).unwrap();
                }
            });
        }
    });
    drop(all);
    let kms = scratch.open();
    assert_eq!(kms.list_keys(OPERATOR).unwrap().len(), 49);
    assert_eq!(kms.list_aliases(OPERATOR, None).unwrap().len(), 48);
    assert_eq!(kms.list_resource_tags(OPERATOR, &busy).unwrap().len(), 48);
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
    assert_eq!(scratch.open().list_keys(OPERATOR).unwrap().len(), 45);
}

/// Set in the second process: the keystore, and what to do.
const PATH: &str = "KMSFS_TEST_KEYSTORE";
const ACTION: &str = "KMSFS_TEST_ACTION";

/// Runs [`second_process`] in a process of its own.
fn spawn(scratch: &Scratch, action: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kms::tests::processes::second_process", "--ignored"])
        .env(PATH, scratch.path())
        .env(ACTION, action)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "is what other tests run as a second process"]
fn second_process() {
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    let options = Options { passphrase_cost: Some(cheap()), ..Options::default() };
    let kms = Kms::open(&path, &passphrase("right"), options).unwrap();
    let action = std::env::var(ACTION).unwrap();
    match action.split_once(' ') {
        Some(("disable", key)) => kms.disable_key(OPERATOR, key).unwrap(),
        Some(("enable", key)) => kms.enable_key(OPERATOR, key).unwrap(),
        Some(("change-for-ever", key)) => loop {
            kms.rotate_key_on_demand(OPERATOR, &self::key(&kms)).unwrap();
            kms.update_key_description(OPERATOR, key, "busy").unwrap();
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
        let mut child = spawn(&scratch, &format!("{action} {key}"));
        assert!(child.wait().unwrap().success());
        within_a_second(action, || outcome() == expected);
    }
}

#[test]
fn a_killed_process_leaves_a_sound_keystore() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    for round in 0..5 {
        let before = kms.generation();
        let mut child = spawn(&scratch, &format!("change-for-ever {key}"));
        while kms.generation() < before + 5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        kms.encrypt(OPERATOR, &key, b"x", &context()).unwrap();
        kms.tag_resource(OPERATOR, &key, vec![Tag { key: round.to_string(), value: "".into() }]).unwrap();
        scratch.open();
    }
}
