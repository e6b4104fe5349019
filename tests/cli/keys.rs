//! Managing keys: states, aliases, labels, rotation; and two processes on one keystore.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use crate::support::{Home, failed};

#[test]
fn a_new_key_is_described_as_aws_kms_does() {
    let home = Home::new();
    let made =
        home.json(&["key", "create", "--description", "payroll", "--alias", "alias/pay", "--tag", "team=hr"]);
    let id = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    let key = home.json(&["key", "describe", "alias/pay"]);
    let metadata = &key["KeyMetadata"];
    assert_eq!(metadata["KeyId"], id);
    assert_eq!(metadata["Arn"], format!("arn:aws:kms:local:000000000000:key/{id}"));
    for (field, value) in [
        ("Description", "payroll"),
        ("KeyState", "Enabled"),
        ("KeySpec", "SYMMETRIC_DEFAULT"),
        ("KeyUsage", "ENCRYPT_DECRYPT"),
        ("KeyManager", "CUSTOMER"),
    ] {
        assert_eq!(metadata[field], value, "{field}");
    }
    assert_eq!(metadata["Enabled"], true);
    assert_eq!(key["Tags"][0]["TagKey"], "team");
    assert_eq!(key["Aliases"][0]["AliasName"], "alias/pay");
    assert_eq!(home.json(&["key", "list"])["Keys"][0]["KeyId"], id);
}

#[test]
fn tables_are_for_people() {
    let home = Home::new();
    home.ok(&["key", "create", "--alias", "alias/pay", "--description", "two\nlines \x1b[2J"]);
    let table = home.ok(&["key", "list"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "a description cannot break the table: {table}");
    assert!(lines[0].starts_with("KEY ") && lines[1].contains("alias/pay"), "{table}");
    assert!(!table.contains('\x1b'), "nor steer the terminal");
}

#[test]
fn a_disabled_key_does_nothing_until_it_is_enabled() {
    let home = Home::new();
    let key = home.key();
    home.ok(&["key", "disable", &key]);
    assert_eq!(home.json(&["key", "describe", &key])["KeyMetadata"]["KeyState"], "Disabled");
    let encrypt = ["key", "encrypt", key.as_str()];
    let err = failed(home.feed(&encrypt, b"x"), 9, &encrypt);
    assert!(err.contains("DisabledException") && err.contains("kmsfs key enable"), "{err}");
    home.ok(&["key", "enable", &key]);
    home.ok_fed(&encrypt, b"x");
}

#[test]
fn errors_are_json_too_where_asked() {
    let home = Home::new();
    let err = home.fails(9, &["key", "describe", "alias/none", "--json"]);
    let err: serde_json::Value = serde_json::from_str(&err).expect("one JSON document on standard error");
    assert_eq!((err["name"].as_str(), err["exit_code"].as_u64()), (Some("NotFoundException"), Some(9)));
}

#[test]
fn a_malformed_alias_makes_no_key() {
    let home = Home::new();
    for (alias, error) in [
        ("work", "ValidationException"),
        ("alias/a b", "ValidationException"),
        ("alias/kmsfs/mine", "NotAuthorizedException"),
    ] {
        let err = home.fails(10, &["key", "create", "--alias", alias]);
        assert!(err.contains(error), "{err}");
    }
    assert_eq!(home.json(&["key", "list"])["Keys"], serde_json::json!([]));
}

#[test]
fn every_change_of_a_key_has_a_json_result() {
    let home = Home::new();
    let key = home.key();
    let arn = &home.json(&["key", "describe", &key])["KeyMetadata"]["Arn"];
    let key = key.as_str();
    for (args, state) in [
        (&["key", "update-description", key, "new words"][..], "Enabled"),
        (&["key", "tag", key, "a=1"], "Enabled"),
        (&["key", "untag", key, "a"], "Enabled"),
        (&["key", "rotation", "enable", key], "Enabled"),
        (&["key", "rotation", "disable", key], "Enabled"),
        (&["key", "disable", key], "Disabled"),
        (&["key", "enable", key], "Enabled"),
    ] {
        let result = home.json(args);
        assert_eq!((&result["KeyId"], &result["KeyState"]), (arn, &state.into()), "{args:?}");
    }
    for (args, target) in [
        (&["key", "alias", "create", "alias/a", key][..], Some(key)),
        (&["key", "alias", "update", "alias/a", key], Some(key)),
        (&["key", "alias", "delete", "alias/a"], None),
    ] {
        let result = home.json(args);
        assert_eq!((result["AliasName"].as_str(), result["TargetKeyId"].as_str()), (Some("alias/a"), target));
    }
    assert!(home.json(&["completions", "bash"])["script"].as_str().unwrap().contains("complete"));
}

#[test]
fn deletion_waits_and_can_be_cancelled() {
    let home = Home::new();
    let key = home.key();
    home.fails(10, &["key", "schedule-deletion", &key, "--days", "6"]);
    let pending = home.json(&["key", "schedule-deletion", &key, "--days", "7"]);
    assert_eq!(
        (&pending["KeyState"], &pending["PendingWindowInDays"]),
        (&"PendingDeletion".into(), &7.into())
    );
    let encrypt = ["key", "encrypt", key.as_str()];
    let err = failed(home.feed(&encrypt, b"x"), 9, &encrypt);
    assert!(err.contains("KMSInvalidStateException"), "{err}");
    home.fails(9, &["key", "enable", &key]);
    home.ok(&["key", "cancel-deletion", &key]);
    assert_eq!(home.json(&["key", "describe", &key])["KeyMetadata"]["KeyState"], "Disabled");
}

#[test]
fn aliases_name_one_key_and_can_move() {
    let home = Home::new();
    let (one, two) = (home.key(), home.key());
    home.ok(&["key", "alias", "create", "alias/work", &one]);
    let err = home.fails(10, &["key", "alias", "create", "alias/work", &two]);
    assert!(err.contains("AlreadyExistsException"), "{err}");
    home.fails(10, &["key", "create", "--alias", "alias/work"]);
    assert_eq!(home.json(&["key", "list"])["Keys"].as_array().unwrap().len(), 2, "no key without its alias");
    home.ok(&["key", "alias", "update", "alias/work", &two]);
    assert_eq!(home.json(&["key", "describe", "alias/work"])["KeyMetadata"]["KeyId"], two.as_str());
    assert_eq!(home.json(&["key", "alias", "list", &one])["Aliases"].as_array().unwrap().len(), 0);
    home.ok(&["key", "disable", "alias/work"]);
    assert_eq!(home.json(&["key", "describe", &two])["KeyMetadata"]["KeyState"], "Disabled");
    home.ok(&["key", "alias", "delete", "alias/work"]);
    home.fails(9, &["key", "describe", "alias/work"]);
    home.fails(10, &["key", "alias", "create", "work", &one]);
    home.fails(10, &["key", "alias", "create", "alias/kmsfs/mine", &one]);
}

#[test]
fn labels_and_descriptions_change() {
    let home = Home::new();
    let key = home.key();
    home.ok(&["key", "tag", &key, "a=1", "b=x=y"]);
    home.ok(&["key", "untag", &key, "a"]);
    home.ok(&["key", "update-description", &key, "new words"]);
    let described = home.json(&["key", "describe", &key]);
    assert_eq!(described["Tags"], serde_json::json!([{ "TagKey": "b", "TagValue": "x=y" }]));
    assert_eq!(described["KeyMetadata"]["Description"], "new words");
    home.fails(2, &["key", "tag", &key, "no-value"]);
}

#[test]
fn keys_rotate_on_demand_and_by_the_calendar() {
    let home = Home::new();
    let key = home.key();
    let before = home.ok_fed(&["key", "encrypt", &key], b"old");
    home.ok(&["key", "rotate", &key]);
    assert_eq!(home.ok_fed(&["key", "decrypt"], &before), b"old");
    home.fails(10, &["key", "rotation", "enable", &key, "--period", "89"]);
    home.ok(&["key", "rotation", "enable", &key, "--period", "90"]);
    let status = home.json(&["key", "rotation", "status", &key]);
    assert_eq!((&status["KeyRotationEnabled"], &status["RotationPeriodInDays"]), (&true.into(), &90.into()));
    let types: Vec<_> =
        status["Rotations"].as_array().unwrap().iter().map(|r| r["RotationType"].as_str().unwrap()).collect();
    assert!(types.contains(&"ON_DEMAND"), "{status}");
    home.ok(&["key", "rotation", "disable", &key]);
    assert_eq!(home.json(&["key", "rotation", "status", &key])["KeyRotationEnabled"], false);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    let mut child =
        home.command(&["key", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        errors.push_str(&line.unwrap());
    }
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn two_processes_see_each_others_changes() {
    let home = Home::new();
    let key = home.key();
    let blob = home.ok_fed(&["key", "encrypt", &key], b"shared");
    // Opens the keystore at once, then waits for its input.
    let mut waiting = home
        .command(&["key", "decrypt"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    home.ok(&["key", "disable", &key]);
    let disabled = Instant::now();
    while disabled.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::io::Write::write_all(&mut waiting.stdin.take().unwrap(), &blob).unwrap();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9), "the other process still decrypted");
    assert!(String::from_utf8_lossy(&output.stderr).contains("DisabledException"));
}

#[test]
fn parallel_writers_lose_nothing() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| drop(home.key())));
        }
    });
    assert_eq!(home.json(&["key", "list"])["Keys"].as_array().unwrap().len(), 20);
}

#[test]
fn the_owned_key_serves_volumes_and_is_not_listed() {
    let home = Home::new();
    let made = home.json(&["init", "--key", "alias/kmsfs/owned", &home.arg("volume")]);
    home.ok(&["check", &home.arg("volume")]);
    assert_eq!(home.json(&["key", "list"])["Keys"].as_array().unwrap().len(), 0);
    assert_eq!(home.json(&["key", "alias", "list"])["Aliases"].as_array().unwrap().len(), 0);
    let arn = made["cmk"].as_str().unwrap();
    assert_eq!(home.json(&["key", "describe", arn])["KeyMetadata"]["KeyManager"], "AWS");
    home.fails(9, &["key", "disable", arn]);
}
