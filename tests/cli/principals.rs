//! `kmsfs kms principal`, `access-key`, `session`, `map-uid`, `settings`.

use crate::support::Home;

const PRINCIPAL: &[&str] = &["kms", "principal"];
const ACCESS_KEY: &[&str] = &["kms", "access-key"];

fn args<'a>(group: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [group, rest].concat()
}

#[test]
fn principals_are_made_listed_shown_and_deleted() {
    let home = Home::new();
    let arn = home.ok(&args(PRINCIPAL, &["create", "user/alice"]));
    assert_eq!(arn, "arn:aws:iam::000000000000:user/alice\n");
    home.ok(&args(PRINCIPAL, &["create", "role/backup"]));
    let refused = home.fails(10, &args(PRINCIPAL, &["create", "user/Alice"]));
    assert!(refused.contains("AlreadyExistsException"), "{refused}");

    let listed = home.json(&args(PRINCIPAL, &["list"]));
    let names: Vec<_> =
        listed["Principals"].as_array().unwrap().iter().map(|one| &one["Principal"]).collect();
    assert_eq!(names, ["user/alice", "role/backup"]);
    assert!(home.ok(&args(PRINCIPAL, &["list"])).lines().nth(1).unwrap().starts_with("user/alice"));

    home.ok(&["kms", "map-uid", "user/alice", "4711"]);
    home.ok(&["kms", "map-uid", "role/backup", "4711"]);
    let shown = home.json(&args(PRINCIPAL, &["show", "role/backup"]));
    assert_eq!(
        (&shown["Principal"]["Arn"], &shown["Principal"]["Uids"]),
        (&"arn:aws:iam::000000000000:role/backup".into(), &serde_json::json!([4711]))
    );
    assert!(!home.ok(&args(PRINCIPAL, &["show", "user/alice"])).contains("4711"), "one user, one principal");
    home.ok(&["kms", "unmap-uid", "4711"]);
    home.fails(10, &["kms", "unmap-uid", "4711"]);

    home.ok(&args(PRINCIPAL, &["delete", "user/alice"]));
    let gone = home.fails(10, &args(PRINCIPAL, &["show", "user/alice"]));
    assert!(gone.contains("NotFoundException") && gone.contains("kms principal list"), "{gone}");
    for bad in ["alice", "group/x", "user/", "user/a b"] {
        home.fails(2, &args(PRINCIPAL, &["create", bad]));
    }
}

#[test]
fn the_secret_of_an_access_key_is_shown_once() {
    let home = Home::new();
    home.ok(&args(PRINCIPAL, &["create", "user/alice"]));
    let made = home.json(&args(ACCESS_KEY, &["create", "user/alice"]))["AccessKey"].clone();
    let (id, secret) = (made["AccessKeyId"].as_str().unwrap(), made["SecretAccessKey"].as_str().unwrap());
    assert!(id.starts_with("AKIA") && id.len() == 20 && secret.len() == 40, "{made}");
    assert_eq!((&made["UserName"], &made["Status"]), (&"alice".into(), &"Active".into()));
    for shown in [
        home.ok(&args(ACCESS_KEY, &["list", "user/alice"])),
        home.ok(&args(ACCESS_KEY, &["list", "user/alice", "--json"])),
        home.ok(&args(PRINCIPAL, &["show", "user/alice", "--json"])),
        home.ok(&args(PRINCIPAL, &["list", "--json", "-vv"])),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let text = home.ok(&args(ACCESS_KEY, &["create", "user/alice"]));
    assert!(text.starts_with("Access key id      AKIA") && text.contains("\nSecret access key  "), "{text}");
    let third = home.fails(10, &args(ACCESS_KEY, &["create", "user/alice"]));
    assert!(third.contains("LimitExceededException"), "{third}");
}

#[test]
fn access_keys_are_switched_and_deleted_by_their_id() {
    let home = Home::new();
    home.ok(&args(PRINCIPAL, &["create", "user/alice"]));
    home.ok(&args(PRINCIPAL, &["create", "user/bob"]));
    let exported = home.ok(&args(ACCESS_KEY, &["create", "--export", "user/bob"]));
    let id = exported.split('\'').nth(1).unwrap();
    assert!(
        exported.starts_with("export AWS_ACCESS_KEY_ID='AKIA")
            && exported.ends_with("\nunset AWS_SESSION_TOKEN\n")
    );
    let status =
        || home.json(&args(ACCESS_KEY, &["list", "user/bob"]))["AccessKeyMetadata"][0]["Status"].clone();
    assert_eq!(status(), "Active");
    home.ok(&args(ACCESS_KEY, &["disable", id]));
    assert_eq!(status(), "Inactive");
    home.ok(&args(ACCESS_KEY, &["enable", id]));
    assert_eq!(status(), "Active");
    home.ok(&args(ACCESS_KEY, &["delete", id]));
    assert!(home.fails(10, &args(ACCESS_KEY, &["delete", id])).contains("there is no access key AKIA"));
    home.ok(&args(PRINCIPAL, &["create", "role/backup"]));
    assert!(home.fails(10, &args(ACCESS_KEY, &["create", "role/backup"])).contains("temporary credentials"));
}

#[test]
fn sessions_end_by_themselves() {
    let home = Home::new();
    home.ok(&args(PRINCIPAL, &["create", "role/backup"]));
    let issued = home.json(&["kms", "session", "--hours", "0.25", "role/backup"])["Credentials"].clone();
    assert!(issued["AccessKeyId"].as_str().unwrap().starts_with("ASIA"));
    assert!(issued["SessionToken"].as_str().unwrap().len() > 100 && issued["Expiration"].is_string());
    let exported = home.ok(&["kms", "session", "--export", "role/backup"]);
    assert_eq!(exported.matches("export AWS_").count(), 3);
    for hours in ["0.2", "12.1", "0", "NaN", "1e30"] {
        let refused = home.fails(10, &["kms", "session", "--hours", hours, "role/backup"]);
        assert!(refused.contains("ValidationException"), "{hours}: {refused}");
    }
    home.fails(10, &["kms", "session", "user/nobody"]);
}

#[test]
fn account_and_region_are_set_until_something_names_the_account() {
    let home = Home::new();
    assert_eq!(home.ok(&["kms", "settings"]), "account  000000000000\nregion   local\n");
    let set = home.ok(&["kms", "settings", "--account", "111122223333", "--region", "eu-central-1"]);
    assert_eq!(set, "account  111122223333\nregion   eu-central-1\n");
    let arn = home.ok(&args(PRINCIPAL, &["create", "user/alice"]));
    assert_eq!(arn, "arn:aws:iam::111122223333:user/alice\n");
    let refused = home.fails(10, &["kms", "settings", "--account", "000000000000"]);
    assert!(refused.contains("ConflictException"), "{refused}");
    home.fails(10, &["kms", "settings", "--account", "1"]);
    let json = home.json(&["kms", "settings", "--region", "local"]);
    assert_eq!(json, serde_json::json!({ "Account": "111122223333", "Region": "local" }));
}
