//! Users, roles, access keys, temporary credentials, and who the users of the machine are.

use super::*;
use ::time::Duration as Span;

const ACCOUNT: &str = "000000000000";

fn named(text: &str) -> PrincipalName {
    text.parse().unwrap()
}

fn create(kms: &Kms, text: &str) -> PrincipalName {
    kms.create_principal(OPERATOR, &named(text)).unwrap();
    named(text)
}

/// The ARN of who signs with an access key, or why nobody does.
fn who(kms: &Kms, id: &str, token: Option<&str>) -> String {
    kms.lookup_access_key(id, token)
        .map_or_else(|error| format!("{error:?}"), |found| found.principal.arn.clone())
}

fn of_uid(kms: &Kms, uid: u32) -> Option<String> {
    kms.principal_for_uid(uid, 999).unwrap().map(|principal| principal.arn.clone())
}

#[test]
fn principals_are_made_listed_and_removed() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for text in ["user/bob", "role/backup", "user/alice", "role/alice"] {
        let made = kms.create_principal(OPERATOR, &named(text)).unwrap();
        assert_eq!(made.arn, format!("arn:aws:iam::{ACCOUNT}:{text}"));
        assert_eq!(kms.describe_principal(OPERATOR, &named(text)).unwrap(), made);
    }
    let listed = |kms: &Kms| -> Vec<String> {
        kms.list_principals(OPERATOR).unwrap().iter().map(|info| info.name.to_string()).collect()
    };
    assert_eq!(listed(&kms), ["user/alice", "user/bob", "role/alice", "role/backup"]);
    kms.delete_principal(OPERATOR, &named("user/alice")).unwrap();
    assert_eq!(name(kms.delete_principal(OPERATOR, &named("user/alice"))), "NotFoundException");
    drop(kms);
    assert_eq!(listed(&scratch.open()), ["user/bob", "role/alice", "role/backup"]);
}

#[test]
fn a_name_is_taken_in_any_case() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    create(&kms, "user/Alice");
    for text in ["user/Alice", "user/alice", "user/ALICE"] {
        assert_eq!(name(kms.create_principal(OPERATOR, &named(text))), "AlreadyExistsException", "{text}");
    }
    create(&kms, "role/alice");
}

#[test]
fn names_are_those_of_iam() {
    for text in ["user/a", "role/Backup_2026+=,.@-", &format!("user/{}", "x".repeat(64))] {
        assert_eq!(named(text).to_string(), *text);
    }
    for text in ["alice", "group/a", "user/", "user/a b", "user/a/b", "user/ä", "user/*", "User/a", ""] {
        assert_eq!(name(text.parse::<PrincipalName>()), "ValidationException", "{text}");
    }
    assert_eq!(name(format!("user/{}", "x".repeat(65)).parse::<PrincipalName>()), "ValidationException");
}

#[test]
fn an_access_key_looks_like_aws_s_and_leads_to_its_user() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let alice = create(&kms, "user/alice");
    let made = kms.create_access_key(OPERATOR, &alice).unwrap();
    assert!(made.id.starts_with("AKIA") && made.id.len() == 20, "{}", made.id);
    assert!(made.id.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)), "{}", made.id);
    assert_eq!(made.secret.len(), 40);
    for kms in [&kms, &scratch.open()] {
        let found = kms.lookup_access_key(&made.id, None).unwrap();
        assert_eq!(found.secret, made.secret);
        assert_eq!(found.principal.arn, format!("arn:aws:iam::{ACCOUNT}:user/alice"));
        assert_eq!(found.principal.account, ACCOUNT);
        assert!(!found.principal.is_root());
    }
    assert_eq!(who(&kms, "AKIAAAAAAAAAAAAAAAAA", None), "Invalid");
    assert!(!format!("{made:?}").contains(std::str::from_utf8(made.secret.expose()).unwrap()));
}

#[test]
fn a_user_has_two_access_keys_and_a_role_none() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (alice, role) = (create(&kms, "user/alice"), create(&kms, "role/backup"));
    let keys = [0, 1].map(|_| kms.create_access_key(OPERATOR, &alice).unwrap());
    assert_ne!((&keys[0].id, &keys[0].secret), (&keys[1].id, &keys[1].secret));
    assert_eq!(name(kms.create_access_key(OPERATOR, &alice)), "LimitExceededException");
    kms.delete_access_key(OPERATOR, &alice, &keys[0].id).unwrap();
    kms.create_access_key(OPERATOR, &alice).unwrap();
    assert_eq!(name(kms.create_access_key(OPERATOR, &role)), "ValidationException");
    assert_eq!(name(kms.create_access_key(OPERATOR, &named("user/carol"))), "NotFoundException");
}

#[test]
fn an_access_key_that_is_switched_off_or_removed_is_refused_at_once() {
    let scratch = Scratch::new();
    let (kms, there) = (scratch.create(), scratch.open());
    let alice = create(&kms, "user/alice");
    let key = kms.create_access_key(OPERATOR, &alice).unwrap();
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/alice");
    within_a_second("the new key", || who(&there, &key.id, None) == arn);
    for (active, expected) in [(false, "Invalid"), (true, &*arn), (false, "Invalid")] {
        let generation = kms.generation();
        kms.set_access_key_active(OPERATOR, &alice, &key.id, active).unwrap();
        assert!(kms.generation() > generation);
        assert_eq!(who(&kms, &key.id, None), expected);
        within_a_second("the switch", || who(&there, &key.id, None) == expected);
        let info = kms.describe_principal(OPERATOR, &alice).unwrap();
        assert_eq!((info.access_keys[0].id.as_str(), info.access_keys[0].active), (key.id.as_str(), active));
    }
    kms.delete_access_key(OPERATOR, &alice, &key.id).unwrap();
    assert_eq!(who(&kms, &key.id, None), "Invalid");
    assert_eq!(name(kms.set_access_key_active(OPERATOR, &alice, &key.id, true)), "NotFoundException");
    assert_eq!(name(kms.delete_access_key(OPERATOR, &alice, &key.id)), "NotFoundException");

    let key = kms.create_access_key(OPERATOR, &alice).unwrap();
    kms.delete_principal(OPERATOR, &alice).unwrap();
    assert_eq!(who(&kms, &key.id, None), "Invalid");
}

#[test]
fn temporary_credentials_work_with_all_their_parts_until_they_expire() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let role = create(&kms, "role/backup");
    let issued = kms.issue_session(OPERATOR, &role, "nightly", 3600).unwrap();
    let other = kms.issue_session(OPERATOR, &role, "other", 3600).unwrap();
    assert!(issued.access_key.starts_with("ASIA") && issued.access_key.len() == 20);
    assert_eq!(issued.expires, start() + Span::hours(1));
    let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/backup/nightly");
    let there = scratch.open();
    for kms in [&kms, &there] {
        let found = kms.lookup_access_key(&issued.access_key, Some(&issued.token)).unwrap();
        assert_eq!((&found.principal.arn, &found.secret), (&arn, &issued.secret));
    }
    assert_eq!(who(&kms, &issued.access_key, None), "Invalid", "without the token");
    assert_eq!(who(&kms, &issued.access_key, Some(&other.token)), "Invalid", "with another session's token");
    for token in ["", "x", "AAAA", &issued.token[1..], &issued.token.to_lowercase(), &"A".repeat(100_000)] {
        assert_eq!(who(&kms, &issued.access_key, Some(token)), "Invalid");
    }
    scratch.wait(Span::seconds(3599));
    assert_eq!(who(&there, &issued.access_key, Some(&issued.token)), arn);
    scratch.wait(Span::seconds(1));
    assert_eq!(who(&there, &issued.access_key, Some(&issued.token)), "Expired");
}

#[test]
fn every_altered_character_of_a_session_token_is_noticed() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let issued = kms.issue_session(OPERATOR, &create(&kms, "role/backup"), "nightly", 900).unwrap();
    for at in 0..issued.token.len() {
        let mut altered = issued.token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(who(&kms, &issued.access_key, Some(&altered)), "Invalid", "character {at}");
    }
}

#[test]
fn a_session_ends_with_its_principal_and_is_no_other_keystore_s() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let user = create(&kms, "user/alice");
    let issued = kms.issue_session(OPERATOR, &user, "laptop", 43_200).unwrap();
    let found = || who(&kms, &issued.access_key, Some(&issued.token));
    assert_eq!(found(), format!("arn:aws:iam::{ACCOUNT}:user/alice"), "a user stays the user");
    let elsewhere = Scratch::new();
    assert_eq!(who(&elsewhere.create(), &issued.access_key, Some(&issued.token)), "Invalid");
    kms.delete_principal(OPERATOR, &user).unwrap();
    create(&kms, "user/alice");
    assert_eq!(found(), "Invalid", "another user of that name");
}

#[test]
fn a_session_has_bounds() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let role = create(&kms, "role/backup");
    let issue = |session: &str, seconds| name(kms.issue_session(OPERATOR, &role, session, seconds));
    assert_eq!([issue("x", 900), issue(&"x".repeat(64), 43_200)], ["ok"; 2]);
    for (session, seconds) in [("x", 899), ("x", 43_201), ("x", 0), ("", 900), ("a/b", 900)] {
        assert_eq!(issue(session, seconds), "ValidationException", "{session} {seconds}");
    }
    assert_eq!(name(kms.issue_session(OPERATOR, &named("role/none"), "x", 900)), "NotFoundException");
}

#[test]
fn users_of_the_machine_are_nobody_until_they_are_mapped() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    assert_eq!([0, 999, 1000].map(|uid| of_uid(&kms, uid)), [Some(root.clone()), Some(root.clone()), None]);
    assert!(kms.principal_for_uid(0, 0).unwrap().unwrap().is_root());

    let (alice, backup) = (create(&kms, "user/alice"), create(&kms, "role/backup"));
    kms.map_uid(OPERATOR, &alice, 1000).unwrap();
    kms.map_uid(OPERATOR, &alice, 1000).unwrap();
    kms.map_uid(OPERATOR, &backup, 0).unwrap();
    let alice_arn = format!("arn:aws:iam::{ACCOUNT}:user/alice");
    let session = format!("arn:aws:sts::{ACCOUNT}:assumed-role/backup/uid-");
    assert_eq!(of_uid(&kms, 1000), Some(alice_arn));
    assert_eq!(of_uid(&kms, 0), Some(format!("{session}0")), "the superuser can be somebody else");
    assert_eq!(kms.describe_principal(OPERATOR, &alice).unwrap().unix_uids, [1000]);

    kms.map_uid(OPERATOR, &backup, 1000).unwrap();
    assert_eq!(of_uid(&kms, 1000), Some(format!("{session}1000")), "one user is one principal");
    assert!(kms.describe_principal(OPERATOR, &alice).unwrap().unix_uids.is_empty());
    kms.unmap_uid(OPERATOR, 1000).unwrap();
    kms.unmap_uid(OPERATOR, 0).unwrap();
    assert_eq!([0, 1000].map(|uid| of_uid(&kms, uid)), [Some(root), None]);
    assert_eq!(name(kms.unmap_uid(OPERATOR, 1000)), "NotFoundException");
    kms.map_uid(OPERATOR, &alice, 7).unwrap();
    kms.delete_principal(OPERATOR, &alice).unwrap();
    assert_eq!(of_uid(&kms, 7), None);
}

#[test]
fn only_the_root_and_the_operator_manage_principals() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let alice = create(&kms, "user/alice");
    let key = kms.create_access_key(OPERATOR, &alice).unwrap();
    let as_root = Call::of(&kms.principal_for_uid(0, 0).unwrap().unwrap());
    let as_alice = Call::of(&kms.lookup_access_key(&key.id, None).unwrap().principal);
    let attempts = |call: &Call<'_>, new: &str| {
        [
            name(kms.create_principal(call, &named(new))),
            name(kms.describe_principal(call, &alice)),
            name(kms.list_principals(call)),
            name(kms.create_access_key(call, &named(new))),
            name(kms.set_access_key_active(call, &alice, &key.id, true)),
            name(kms.issue_session(call, &alice, "x", 900)),
            name(kms.map_uid(call, &alice, 5)),
            name(kms.unmap_uid(call, 5)),
            name(kms.delete_access_key(call, &alice, &key.id)),
            name(kms.delete_principal(call, &named(new))),
        ]
    };
    assert_eq!(attempts(&as_alice, "user/new"), ["AccessDeniedException"; 10]);
    assert_eq!(attempts(FILESYSTEM, "user/new"), ["AccessDeniedException"; 10]);
    assert_eq!(attempts(&as_root, "user/new"), ["ok"; 10]);
    let refused = kms.create_principal(&as_alice, &named("user/new")).unwrap_err();
    assert!(refused.to_string().starts_with(&format!(
        "User: arn:aws:iam::{ACCOUNT}:user/alice is not authorized to perform: iam:CreateUser"
    )));
}

#[test]
fn identity_policies_hang_on_a_principal_by_name() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let alice = create(&kms, "user/alice");
    let allow = policy(&[r#"{"Effect": "Allow", "Action": "kms:List*", "Resource": "*"}"#]);
    let deny = policy(&[r#"{"Effect": "Deny", "Action": "kms:List*", "Resource": "*"}"#]);
    let call = call_of(&kms, &alice);
    let outcome = || name(kms.list_keys(&call, Page::whole()));
    for (policy, text, expected) in
        [("b", &allow, "ok"), ("a", &deny, "AccessDeniedException"), ("a", &allow, "ok")]
    {
        kms.put_identity_policy(OPERATOR, &alice, policy, text).unwrap();
        assert_eq!(kms.identity_policy(OPERATOR, &alice, policy).unwrap(), *text);
        assert_eq!(outcome(), expected);
    }
    assert_eq!(scratch.open().describe_principal(OPERATOR, &alice).unwrap().policies, ["a", "b"]);
    for policy in ["a", "b"] {
        assert_eq!(outcome(), "ok");
        kms.delete_identity_policy(OPERATOR, &alice, policy).unwrap();
        assert_eq!(name(kms.identity_policy(OPERATOR, &alice, policy)), "NotFoundException");
        assert_eq!(name(kms.delete_identity_policy(OPERATOR, &alice, policy)), "NotFoundException");
    }
    assert_eq!(outcome(), "AccessDeniedException");
}

#[test]
fn an_identity_policy_is_a_policy_under_a_name_and_there_are_twenty_at_most() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let alice = create(&kms, "user/alice");
    let allow = policy(&[r#"{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}"#]);
    let to_everybody =
        policy(&[r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}"#]);
    for (policy, text, expected) in [
        ("", &*allow, "ValidationException"),
        ("a/b", &allow, "ValidationException"),
        ("a", "", "MalformedPolicyDocumentException"),
        ("a", "{}", "MalformedPolicyDocumentException"),
        ("a", &to_everybody, "MalformedPolicyDocumentException"),
    ] {
        assert_eq!(
            name(kms.put_identity_policy(OPERATOR, &alice, policy, text)),
            expected,
            "{policy} {text}"
        );
    }
    for i in 0..20 {
        kms.put_identity_policy(OPERATOR, &alice, &i.to_string(), &allow).unwrap();
    }
    assert_eq!(name(kms.put_identity_policy(OPERATOR, &alice, "more", &allow)), "LimitExceededException");
    assert_eq!(name(kms.put_identity_policy(OPERATOR, &alice, "7", &allow)), "ok");
    assert_eq!(name(kms.put_identity_policy(OPERATOR, &named("user/bob"), "p", &allow)), "NotFoundException");
}
