//! Keystores: making, unlocking, slots, and every way one can be unusable.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::{CHEAP, Home, PASSPHRASE, chmod, failed, text};

#[test]
fn a_keystore_is_made_for_its_owner_alone_and_never_overwritten() {
    let home = Home::new();
    assert_eq!(fs::metadata(home.keystore()).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(home.keystore()).unwrap();
    let err = home.fails(10, &["keystore", "create", "--argon2", CHEAP]);
    assert!(err.contains("exists already"), "{err}");
    assert_eq!(fs::read(home.keystore()).unwrap(), before);
}

#[test]
fn no_keystore_is_an_error_that_says_how_to_make_one() {
    let home = Home::empty();
    let err = home.fails(5, &["key", "list"]);
    assert!(err.contains("kmsfs/keystore.db") && err.contains("kmsfs keystore create"), "{err}");
    assert!(!home.keystore().exists());
}

#[test]
fn the_place_of_the_keystore_can_be_chosen() {
    let home = Home::empty();
    let (here, there) = (home.arg("here.db"), home.arg("there.db"));
    home.ok(&["--keystore", &here, "keystore", "create", "--argon2", CHEAP]);
    home.ok(&["key", "create", "--keystore", &here]);
    let by_environment =
        home.command(&["key", "list", "--json"]).env("KMSFS_KEYSTORE", &here).output().unwrap();
    assert_eq!(text(&by_environment.stdout).matches("KeyArn").count(), 1);
    home.fails(5, &["key", "list", "--keystore", &there]);
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_changes_nothing() {
    let home = Home::new();
    let wrong = home.secret_file("wrong", "incorrect horse");
    let before = fs::read(home.keystore()).unwrap();
    let err = home.fails(3, &["key", "list", "--passphrase-file", &wrong]);
    assert!(err.contains("wrong passphrase"), "{err}");
    assert!(!err.contains("incorrect horse"), "a passphrase never shows");
    assert_eq!(fs::read(home.keystore()).unwrap(), before);
}

#[test]
fn unusable_files_are_told_apart_and_left_alone() {
    let home = Home::new();
    home.key();
    let good = fs::read(home.keystore()).unwrap();
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&99u32.to_be_bytes()); // SQLite's user_version
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("foreign", b"SQLite format 3? no, a shopping list".repeat(200), "not a kmsfs keystore"),
        ("empty", Vec::new(), ""),
        ("truncated", good[..good.len() / 2].to_vec(), "truncated"),
        ("newer", newer, "format 99"),
    ];
    for (name, bytes, says) in cases {
        let path = home.arg(name);
        fs::write(&path, &bytes).unwrap();
        let err = home.fails(6, &["key", "list", "--keystore", &path]);
        assert!(err.contains(says) && err.contains(&path), "{name}: {err}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name} was changed");
    }
}

#[test]
fn any_slot_opens_and_a_removed_one_does_not() {
    let home = Home::new();
    let second = home.secret_file("second", "another passphrase");
    let key_file = home.arg("key-file");
    home.ok(&[
        "keystore",
        "slot",
        "add",
        "--new-passphrase-file",
        &second,
        "--label",
        "laptop",
        "--argon2",
        CHEAP,
    ]);
    home.ok(&["keystore", "slot", "add", "--new-key-file", &key_file]);
    assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);

    let slots = home.json(&["keystore", "slot", "list"]);
    let kinds: Vec<_> =
        slots["Slots"].as_array().unwrap().iter().map(|s| s["Kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["passphrase", "passphrase", "key-file"]);
    assert_eq!(slots["Slots"][1]["Label"], "laptop");
    assert_eq!(slots["Slots"][1]["Argon2id"]["MemoryKiB"], 64);

    for (number, option, file) in [(2, "--passphrase-file", &second), (3, "--key-file", &key_file)] {
        let opened = home.json(&["keystore", "slot", "test", option, file]);
        assert_eq!(opened["Slot"], number);
    }
    home.ok(&["keystore", "slot", "remove", "2"]);
    home.fails(3, &["keystore", "slot", "test", "--passphrase-file", &second]);
    home.ok(&["keystore", "slot", "remove", "1"]);
    home.fails(3, &["keystore", "slot", "test"]);
    let err = home.fails(10, &["keystore", "slot", "remove", "3", "--key-file", &key_file]);
    assert!(err.contains("only one"), "{err}");
}

#[test]
fn a_changed_slot_opens_with_the_new_secret_only() {
    let home = Home::new();
    let key = home.key();
    let new = home.secret_file("new", "a better passphrase");
    home.ok(&["keystore", "slot", "change", "1", "--new-passphrase-file", &new, "--argon2", CHEAP]);
    home.fails(3, &["key", "list"]);
    assert!(home.ok(&["key", "list", "--passphrase-file", &new]).contains(&key), "keys stay as they are");
    let err = home
        .fails(10, &["keystore", "slot", "change", "7", "--passphrase-file", &new, "--new-key-file", "/x"]);
    assert!(err.contains("no slot 7"), "{err}");
}

#[test]
fn a_passphrase_comes_from_a_descriptor() {
    let home = Home::new();
    let args = ["key", "list", "--passphrase-fd", "0"];
    assert!(home.feed(&args, PASSPHRASE.as_bytes()).status.success(), "without a line break");
    assert!(home.feed(&args, format!("{PASSPHRASE}\n").as_bytes()).status.success(), "with one");
    failed(home.feed(&args, format!("{PASSPHRASE}\n\n").as_bytes()), 3, &args);
    failed(home.feed(&args, b""), 4, &args);
    home.fails(4, &["key", "list", "--passphrase-fd", "77"]);
}

#[test]
fn without_a_terminal_there_is_no_prompt() {
    let home = Home::new();
    let mut command = home.command(&["key", "list"]);
    command.env_remove("KMSFS_PASSPHRASE_FILE");
    // A session of its own has no terminal, wherever the test runs.
    let output = std::process::Command::new("setsid")
        .arg("--wait")
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .env("XDG_DATA_HOME", home.path(""))
        .output()
        .unwrap();
    let err = failed(output, 4, &["key", "list"]);
    assert!(err.contains("--passphrase-file"), "{err}");
}

#[test]
fn a_passphrase_file_that_all_can_read_is_warned_about() {
    let home = Home::new();
    chmod(&home.path("pw"), 0o644);
    let output = home.run(&["key", "list"]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("chmod 600"), "{}", text(&output.stderr));
    chmod(&home.path("pw"), 0o600);
    assert_eq!(text(&home.run(&["key", "list"]).stderr), "");
}

#[test]
fn the_cost_of_a_guess_has_bounds() {
    let home = Home::empty();
    home.fails(2, &["keystore", "create", "--argon2", "much"]);
    home.fails(1, &["keystore", "create", "--argon2", "4294967295,1,1"]);
    assert!(!home.keystore().exists());
}

#[test]
fn a_password_in_a_url_is_refused_and_repeated_nowhere() {
    let home = Home::empty();
    let url = "postgres://me:hunter2@localhost/kmsfs";
    for args in [["--keystore", url, "key", "list"], ["keystore", "info", "--store", url]] {
        let err = home.fails(2, &args);
        assert!(err.contains("PGPASSFILE") && !err.contains("hunter2"), "{err}");
    }
}
