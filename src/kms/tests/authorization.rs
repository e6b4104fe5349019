//! Who may do what: key policies, identity policies, grants and management types, on a real keystore.

use super::*;
use std::net::Ipv4Addr;

const ACCOUNT: &str = "000000000000";

/// What the key policy says of `kms:Encrypt` to the principal of an ARN.
#[derive(Debug, Clone, Copy)]
enum KeyPolicy {
    Names,
    Delegates,
    IsSilent,
    Denies,
}
use KeyPolicy::*;

/// What the identity policies say of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Own {
    None,
    Allow,
    Deny,
}

const OK: &str = "ok";
const NO_IDENTITY: &str = "because no identity-based policy allows the kms:Encrypt action";
const NO_RESOURCE: &str = "because no resource-based policy allows the kms:Encrypt action";
const DENIED_BY_IDENTITY: &str = "with an explicit deny in an identity-based policy";
const DENIED_BY_KEY: &str = "with an explicit deny in a resource-based policy";

/// The key policy, the identity policies, and the outcome without and with a grant.
const MATRIX: &[(KeyPolicy, Own, [&str; 2])] = &[
    (Names, Own::None, [OK, OK]),
    (Names, Own::Allow, [OK, OK]),
    (Names, Own::Deny, [DENIED_BY_IDENTITY, DENIED_BY_IDENTITY]),
    (Delegates, Own::None, [NO_IDENTITY, OK]),
    (Delegates, Own::Allow, [OK, OK]),
    (Delegates, Own::Deny, [DENIED_BY_IDENTITY, DENIED_BY_IDENTITY]),
    (IsSilent, Own::None, [NO_RESOURCE, OK]),
    (IsSilent, Own::Allow, [NO_RESOURCE, OK]),
    (IsSilent, Own::Deny, [DENIED_BY_IDENTITY, DENIED_BY_IDENTITY]),
    (Denies, Own::None, [DENIED_BY_KEY, DENIED_BY_KEY]),
    (Denies, Own::Allow, [DENIED_BY_KEY, DENIED_BY_KEY]),
    (Denies, Own::Deny, [DENIED_BY_KEY, DENIED_BY_KEY]),
];

/// A key policy that says this to the principal of `arn`, and keeps the root in charge.
fn key_policy(says: KeyPolicy, arn: &str) -> String {
    let root = format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "{ACCOUNT}"}}, "NotAction": "kms:Encrypt", "Resource": "*"}}"#
    );
    let (effect, who) = match says {
        Names => ("Allow", arn),
        Delegates => ("Allow", ACCOUNT),
        IsSilent => return policy(&[&root]),
        Denies => ("Deny", arn),
    };
    let statement = format!(
        r#"{{"Effect": "{effect}", "Principal": {{"AWS": "{who}"}}, "Action": "kms:Encrypt", "Resource": "*"}}"#
    );
    policy(&[&root, &statement])
}

/// The outcome of Encrypt: `ok`, or why not.
fn encrypt(kms: &Kms, call: &Call<'_>, key: &str) -> String {
    match kms.encrypt(call, key, SYMMETRIC, b"x", &context()) {
        Ok(_) => OK.into(),
        Err(Error::AccessDenied(message)) => message,
        Err(other) => other.name().into(),
    }
}

fn refusal(call: &Call<'_>, action: &str, arn: &str, why: &str) -> String {
    let Caller::Principal(principal) = &call.caller else { panic!("not a principal") };
    format!("User: {} is not authorized to perform: {action} on resource: {arn} {why}", principal.arn)
}

#[test]
fn the_decision_matrix() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let key_arn = kms.describe_key(OPERATOR, &key).unwrap().arn;
    for name in ["user/alice", "role/backup"] {
        let name = principal(&kms, name);
        let arn = kms.describe_principal(OPERATOR, &name).unwrap().arn;
        let call = call_of(&kms, &name);
        for (says, own, outcomes) in MATRIX {
            kms.put_key_policy(OPERATOR, &key, None, &key_policy(*says, &arn), false).unwrap();
            let effect = if *own == Own::Deny { "Deny" } else { "Allow" };
            let statement =
                format!(r#"{{"Effect": "{effect}", "Action": "kms:Encrypt", "Resource": "{key_arn}"}}"#);
            if *own != Own::None {
                kms.put_identity_policy(OPERATOR, &name, "p", &policy(&[&statement])).unwrap();
            }
            for (granted, outcome) in [false, true].into_iter().zip(outcomes) {
                let grant = granted.then(|| grant(&kms, &key, &arn));
                let expected = match *outcome {
                    OK => OK.to_owned(),
                    why => refusal(&call, "kms:Encrypt", &key_arn, why),
                };
                assert_eq!(encrypt(&kms, &call, &key), expected, "{name} {says:?} {own:?} {granted}");
                if let Some(grant) = grant {
                    kms.revoke_grant(OPERATOR, &key, &grant).unwrap();
                }
            }
            if *own != Own::None {
                kms.delete_identity_policy(OPERATOR, &name, "p").unwrap();
            }
        }
    }
}

fn grant(kms: &Kms, key: &str, grantee: &str) -> String {
    let request = CreateGrant {
        key,
        grantee,
        retiring: None,
        operations: &[GrantOperation::Encrypt],
        constraints: GrantConstraints::default(),
        name: None,
    };
    kms.create_grant(OPERATOR, &request).unwrap().id.to_string()
}

#[test]
fn the_root_may_what_the_key_policy_leaves_to_the_account() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (key, root) = (key(&kms), call_of_root(&kms));
    let (key_arn, root_arn) =
        (kms.describe_key(OPERATOR, &key).unwrap().arn, format!("arn:aws:iam::{ACCOUNT}:root"));
    assert_eq!(encrypt(&kms, &root, &key), OK, "by the default policy");
    for (says, outcomes) in
        [(Delegates, [OK, OK]), (IsSilent, [NO_RESOURCE, OK]), (Denies, [DENIED_BY_KEY, DENIED_BY_KEY])]
    {
        kms.put_key_policy(OPERATOR, &key, None, &key_policy(says, ACCOUNT), false).unwrap();
        for (granted, outcome) in [false, true].into_iter().zip(outcomes) {
            let grant = granted.then(|| grant(&kms, &key, &root_arn));
            let expected = match outcome {
                OK => OK.to_owned(),
                why => refusal(&root, "kms:Encrypt", &key_arn, why),
            };
            assert_eq!(encrypt(&kms, &root, &key), expected, "{says:?} {granted}");
            if let Some(grant) = grant {
                kms.revoke_grant(OPERATOR, &key, &grant).unwrap();
            }
        }
    }
}

#[test]
fn what_is_about_no_key_is_for_identity_policies_to_allow() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let name = principal(&kms, "user/alice");
    let (alice, root) = (call_of(&kms, &name), call_of_root(&kms));
    let why = "because no identity-based policy allows the kms:CreateKey action";
    let refused = kms.create_key(&alice, CreateKey::default()).unwrap_err().to_string();
    assert_eq!(refused, refusal(&alice, "kms:CreateKey", "*", why));
    kms.create_key(&root, CreateKey::default()).unwrap();

    let allow = r#"{"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*"}"#;
    kms.put_identity_policy(OPERATOR, &name, "make", &policy(&[allow])).unwrap();
    kms.create_key(&alice, CreateKey::default()).unwrap();
    let tagged =
        || CreateKey { tags: vec![Tag { key: "a".into(), value: "b".into() }], ..CreateKey::default() };
    assert_eq!(self::name(kms.create_key(&alice, tagged())), "AccessDeniedException", "tags are more");
    let tag = r#"{"Effect": "Allow", "Action": "kms:TagResource", "Resource": "*"}"#;
    kms.put_identity_policy(OPERATOR, &name, "tag", &policy(&[tag])).unwrap();
    kms.create_key(&alice, tagged()).unwrap();
    let deny = r#"{"Effect": "Deny", "Action": "kms:CreateKey", "Resource": "*"}"#;
    kms.put_identity_policy(OPERATOR, &name, "stop", &policy(&[deny])).unwrap();
    let refused = kms.create_key(&alice, tagged()).unwrap_err().to_string();
    assert_eq!(refused, refusal(&alice, "kms:CreateKey", "*", DENIED_BY_IDENTITY));
}

#[test]
fn to_manage_an_alias_takes_leave_on_the_key_and_on_the_alias() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let name = principal(&kms, "user/alice");
    let (alice, key) = (call_of(&kms, &name), key(&kms));
    let arn = kms.describe_key(OPERATOR, &key).unwrap().arn;
    let create = |alias: &str| self::name(kms.create_alias(&alice, alias, &key));
    for (resource, expected) in [
        (arn.clone(), "AccessDeniedException"),
        (format!("arn:aws:kms:*:{ACCOUNT}:alias/alice/*"), "AccessDeniedException"),
        (format!(r#"{arn}", "arn:aws:kms:*:{ACCOUNT}:alias/alice/*"#), "ok"),
    ] {
        let allow = format!(r#"{{"Effect": "Allow", "Action": "kms:*Alias", "Resource": ["{resource}"]}}"#);
        kms.put_identity_policy(OPERATOR, &name, "p", &policy(&[&allow])).unwrap();
        assert_eq!(create("alias/alice/x"), expected, "{resource}");
    }
    assert_eq!(create("alias/bob/x"), "AccessDeniedException");
    kms.create_alias(OPERATOR, "alias/bob/x", &key).unwrap();
    assert_eq!(self::name(kms.delete_alias(&alice, "alias/bob/x")), "AccessDeniedException");
    kms.delete_alias(&alice, "alias/alice/x").unwrap();
    assert_eq!(self::name(kms.delete_alias(&call_of_root(&kms), "alias/bob/x")), "ok");
}

#[test]
fn conditions_see_the_call_the_key_and_the_caller() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let name = principal(&kms, "user/alice");
    let key = kms.create_key(OPERATOR, CreateKey::default()).unwrap().id.to_string();
    kms.create_alias(OPERATOR, "alias/pay", &key).unwrap();
    let tag = Tag { key: "Team".into(), value: "blue".into() };
    kms.tag_resource(OPERATOR, &key, &[tag]).unwrap();
    let alice = call_of(&kms, &name);
    let from = |address: [u8; 4]| Call { source_ip: Some(Ipv4Addr::from(address).into()), ..alice.clone() };
    for (condition, call, named, expected) in [
        (r#"{"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"kms:KeyUsage": "SIGN_VERIFY"}}"#, &alice, &*key, false),
        (r#"{"StringEquals": {"kms:KeyOrigin": "AWS_KMS"}}"#, &alice, &*key, true),
        (r#"{"Bool": {"kms:MultiRegion": "false"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"kms:CallerAccount": "000000000000"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"kms:EncryptionContext:Volume": "v"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"kms:EncryptionContext:volume": "V"}}"#, &alice, &*key, false),
        (r#"{"StringEquals": {"kms:EncryptionContext:other": "v"}}"#, &alice, &*key, false),
        (
            r#"{"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["volume", "file"]}}"#,
            &alice,
            &*key,
            true,
        ),
        (r#"{"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["volume"]}}"#, &alice, &*key, false),
        (r#"{"StringEquals": {"kms:RequestAlias": "alias/pay"}}"#, &alice, "alias/pay", true),
        (
            r#"{"StringEquals": {"kms:RequestAlias": "alias/pay"}}"#,
            &alice,
            "arn:aws:kms:local:000000000000:alias/pay",
            true,
        ),
        (r#"{"StringEquals": {"kms:RequestAlias": "alias/pay"}}"#, &alice, &*key, false),
        (r#"{"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/p*"}}"#, &alice, &*key, true),
        (r#"{"Null": {"kms:ViaService": "true"}}"#, &alice, &*key, true),
        (
            r#"{"StringEquals": {"kms:ViaService": "kmsfs"}}"#,
            &Call { via_service: Some("kmsfs"), ..alice.clone() },
            &*key,
            true,
        ),
        (r#"{"StringEquals": {"aws:ResourceTag/Team": "blue"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"aws:ResourceTag/team": "red"}}"#, &alice, &*key, false),
        (r#"{"StringEquals": {"aws:username": "alice"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"aws:PrincipalType": "User"}}"#, &alice, &*key, true),
        (r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/al*"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"aws:PrincipalAccount": "000000000000"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"aws:ResourceAccount": "000000000000"}}"#, &alice, &*key, true),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &from([10, 1, 2, 3]), &*key, true),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &from([11, 1, 2, 3]), &*key, false),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &alice, &*key, false),
        (r#"{"Bool": {"aws:SecureTransport": "true"}}"#, &alice, &*key, true),
        (
            r#"{"Bool": {"aws:SecureTransport": "true"}}"#,
            &Call { is_private: false, ..alice.clone() },
            &*key,
            false,
        ),
        (r#"{"DateLessThan": {"aws:CurrentTime": "2026-01-01T12:00:01Z"}}"#, &alice, &*key, true),
        (r#"{"DateLessThan": {"aws:CurrentTime": "2026-01-01T12:00:00Z"}}"#, &alice, &*key, false),
        (r#"{"NumericEquals": {"aws:EpochTime": "1767268800"}}"#, &alice, &*key, true),
        (r#"{"DateGreaterThan": {"aws:TokenIssueTime": "2026-01-01T00:00:00Z"}}"#, &alice, &*key, true),
        (r#"{"StringEquals": {"aws:RequestedRegion": "local"}}"#, &alice, &*key, true),
        (
            r#"{"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}"#,
            &Call { region: Some("eu-west-1"), ..alice.clone() },
            &*key,
            true,
        ),
        (r#"{"Bool": {"aws:ViaAWSService": "false"}}"#, &alice, &*key, true),
        (r#"{"Null": {"kms:PolicyName": "true"}}"#, &alice, &*key, true),
    ] {
        let allow = format!(
            r#"{{"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*", "Condition": {condition}}}"#
        );
        kms.put_identity_policy(OPERATOR, &name, "p", &policy(&[&allow])).unwrap();
        assert_eq!(encrypt(&kms, call, named) == OK, expected, "{condition} {named}");
    }
}

#[test]
fn a_role_is_known_to_conditions_by_the_role_and_has_no_user_name() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let name = principal(&kms, "role/backup");
    let (call, key) = (call_of(&kms, &name), key(&kms));
    for (condition, expected) in [
        (r#"{"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:role/backup"}}"#, true),
        (r#"{"StringEquals": {"aws:PrincipalType": "AssumedRole"}}"#, true),
        (r#"{"Null": {"aws:username": "true"}}"#, true),
        (r#"{"StringEquals": {"kms:EncryptionContext:file": "${aws:username}"}}"#, false),
    ] {
        let allow =
            format!(r#"{{"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Condition": {condition}}}"#);
        kms.put_identity_policy(OPERATOR, &name, "p", &policy(&[&allow])).unwrap();
        assert_eq!(encrypt(&kms, &call, &key) == OK, expected, "{condition}");
    }
}

#[test]
fn a_key_can_be_kept_to_one_session_of_a_role() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (name, key) = (principal(&kms, "role/backup"), key(&kms));
    let in_session = |session: &str| {
        let issued = kms.issue_session(OPERATOR, &name, session, 900).unwrap();
        Call::of(&kms.lookup_access_key(&issued.access_key, Some(&issued.token)).unwrap().principal)
    };
    let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/backup/nightly");
    kms.put_key_policy(OPERATOR, &key, None, &key_policy(Names, &arn), false).unwrap();
    assert_eq!(encrypt(&kms, &in_session("nightly"), &key), OK);
    assert_ne!(encrypt(&kms, &in_session("weekly"), &key), OK);
}

#[test]
fn re_encrypt_takes_leave_on_both_keys() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let name = principal(&kms, "user/alice");
    let (alice, from, to) = (call_of(&kms, &name), key(&kms), key(&kms));
    let arn = |key: &str| kms.describe_key(OPERATOR, key).unwrap().arn;
    let (from_arn, to_arn) = (arn(&from), arn(&to));
    let blob = kms.encrypt(OPERATOR, &from, SYMMETRIC, b"x", &context()).unwrap().blob;
    let outcome = || {
        let request = ReEncrypt {
            blob: &blob,
            source_key: None,
            source_context: &context(),
            source_algorithm: SYMMETRIC,
            destination_key: &to,
            destination_context: &context(),
            destination_algorithm: SYMMETRIC,
        };
        kms.re_encrypt(&alice, &request).map_or_else(|e| e.to_string(), |_| OK.into())
    };
    let read = format!(r#"{{"Effect": "Allow", "Action": "kms:ReEncryptFrom", "Resource": "{from_arn}"}}"#);
    let write = format!(r#"{{"Effect": "Allow", "Action": "kms:ReEncryptTo", "Resource": "{to_arn}"}}"#);
    let both = r#"{"Effect": "Allow", "Action": "kms:ReEncrypt*", "Resource": "*"}"#;
    for (statements, expected) in [
        (vec![&*read], "kms:ReEncryptTo"),
        (vec![&*write], "kms:ReEncryptFrom"),
        (vec![&*read, &*write], OK),
        (vec![both], OK),
    ] {
        kms.put_identity_policy(OPERATOR, &name, "p", &policy(&statements)).unwrap();
        let outcome = outcome();
        assert!(outcome == expected || outcome.contains(&format!("perform: {expected} on")), "{outcome}");
    }
}

#[test]
fn the_region_of_a_call_steps_around_no_denial() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let name = principal(&kms, "user/alice");
    let (alice, key) = (call_of(&kms, &name), key(&kms));
    let allow = r#"{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}"#;
    let deny = format!(
        r#"{{"Effect": "Deny", "Action": "kms:Encrypt", "Resource": "arn:aws:kms:eu-west-1:{ACCOUNT}:key/{key}"}}"#
    );
    kms.put_identity_policy(OPERATOR, &name, "p", &policy(&[allow, &deny])).unwrap();
    for region in [None, Some("eu-west-1"), Some("us-east-1")] {
        let call = Call { region, ..alice.clone() };
        assert!(encrypt(&kms, &call, &key).contains(DENIED_BY_IDENTITY), "{region:?}");
    }
}

#[test]
fn whoever_was_removed_may_nothing_any_more() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (name, key) = (principal(&kms, "user/alice"), key(&kms));
    let alice = call_of(&kms, &name);
    let everybody = r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}"#;
    kms.put_key_policy(OPERATOR, &key, None, &policy(&[everybody]), false).unwrap();
    assert_eq!(encrypt(&kms, &alice, &key), OK);
    kms.delete_principal(OPERATOR, &name).unwrap();
    assert!(encrypt(&kms, &alice, &key).ends_with("because it does not exist any more"));
    principal(&kms, "user/alice");
    assert!(encrypt(&kms, &alice, &key).ends_with("because it does not exist any more"), "it is another");
}

#[test]
fn every_change_of_rights_is_a_change_of_generation_and_seen_by_others_within_a_second() {
    let scratch = Scratch::new();
    let (kms, there) = (scratch.create(), scratch.open());
    let (name, key) = (principal(&kms, "user/alice"), key(&kms));
    let alice = call_of(&kms, &name);
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/alice");
    let allow = policy(&[r#"{"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}"#]);
    let default = kms.get_key_policy(OPERATOR, &key, None).unwrap();
    let granted = std::cell::OnceCell::new();
    let changes: [(&dyn Fn(), bool); 6] = [
        (&|| kms.put_identity_policy(OPERATOR, &name, "p", &allow).unwrap(), true),
        (&|| kms.put_key_policy(OPERATOR, &key, None, &key_policy(Denies, &arn), false).unwrap(), false),
        (&|| kms.put_key_policy(OPERATOR, &key, None, &default, false).unwrap(), true),
        (&|| kms.delete_identity_policy(OPERATOR, &name, "p").unwrap(), false),
        (&|| drop(granted.set(grant(&kms, &key, &arn))), true),
        (&|| kms.revoke_grant(OPERATOR, &key, granted.get().unwrap()).unwrap(), false),
    ];
    for (at, (change, allowed)) in changes.into_iter().enumerate() {
        let generation = kms.generation();
        change();
        assert!(kms.generation() > generation, "change {at}");
        assert_eq!(encrypt(&kms, &alice, &key) == OK, allowed, "change {at}");
        within_a_second("the change", || (encrypt(&there, &alice, &key) == OK) == allowed);
    }
}

#[test]
fn the_service_managed_key_is_used_through_the_filesystem_and_seen_otherwise() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let name = principal(&kms, "user/alice");
    let (alice, root) = (call_of(&kms, &name), call_of_root(&kms));
    let id = kms.service_key().unwrap().to_string();
    let via = |service, call: &Call<'static>| Call { via_service: Some(service), ..call.clone() };
    let outcome = |call: &Call<'_>| self::name(kms.generate_data_key(call, DEFAULT_ALIAS, 32, &context()));
    let denied = "AccessDeniedException";

    assert_eq!(
        outcome(&via(FILESYSTEM_SERVICE, &alice)),
        denied,
        "to say that one is a volume gives no right"
    );
    assert_eq!(self::name(kms.describe_key(&alice, &id)), denied);
    let all = r#"{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}"#;
    kms.put_identity_policy(OPERATOR, &name, "all", &policy(&[all])).unwrap();
    for call in [&alice, &root] {
        let volume = via(FILESYSTEM_SERVICE, call);
        assert_eq!(outcome(&volume), "ok");
        for other in [call, &via("s3.eu-west-1.amazonaws.com", call), &via("KMSFS", call), &via("", call)] {
            assert_eq!(outcome(other), denied, "{:?}", other.via_service);
        }
        assert_eq!(self::name(kms.describe_key(call, &id)), "ok");
        assert_eq!(self::name(kms.get_key_policy(call, &id, None)), "ok");
        for managed in [
            self::name(kms.disable_key(call, &id)),
            self::name(kms.schedule_key_deletion(&volume, &id, 7)),
            self::name(kms.put_key_policy(call, &id, None, &policy(&[]), true)),
            self::name(kms.create_alias(call, "alias/mine", &id)),
        ] {
            assert_eq!(managed, denied);
        }
    }
}

#[test]
fn an_owned_key_does_not_exist_for_principals() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (owned, root) = (kms.owned_key().unwrap().to_string(), call_of_root(&kms));
    let volume = Call { via_service: Some(FILESYSTEM_SERVICE), ..root.clone() };
    assert_eq!(encrypt(&kms, &volume, &owned), OK);
    for outcome in [
        name(kms.describe_key(&root, &owned)),
        name(kms.encrypt(&root, &owned, SYMMETRIC, b"x", &context())),
        name(kms.disable_key(&root, &owned)),
        name(kms.get_key_policy(&root, &owned, None)),
    ] {
        assert_eq!(outcome, "NotFoundException");
    }
}

#[test]
fn a_malformed_grant_token_is_refused_and_a_true_one_adds_nothing() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (name, key) = (principal(&kms, "user/alice"), key(&kms));
    let alice = call_of(&kms, &name);
    let request = CreateGrant {
        key: &key,
        grantee: &format!("arn:aws:iam::{ACCOUNT}:root"),
        retiring: None,
        operations: &[GrantOperation::Encrypt],
        constraints: GrantConstraints::default(),
        name: None,
    };
    let token = kms.create_grant(OPERATOR, &request).unwrap().token;
    let with = |token: &str| {
        let tokens = [token.to_owned()];
        encrypt(&kms, &Call { grant_tokens: &tokens, ..alice.clone() }, &key)
    };
    assert!(with(&token).contains(NO_IDENTITY), "another's grant");
    for bad in ["", "x", &token[1..], &format!("{token}AAAA")] {
        assert_eq!(with(bad), "InvalidGrantTokenException", "{bad}");
    }
}

#[test]
fn a_grant_token_serves_at_once_through_another_server() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let there = Kms::open(scratch.location(), &passphrase("right"), scratch.sleepy()).unwrap();
    let (name, key) = (principal(&kms, "user/alice"), key(&kms));
    let alice = call_of(&kms, &name);
    within_a_second("the key", || there.describe_key(OPERATOR, &key).is_ok());
    for _ in 0..20 {
        let request = CreateGrant {
            key: &key,
            grantee: &format!("arn:aws:iam::{ACCOUNT}:user/alice"),
            retiring: None,
            operations: &[GrantOperation::Encrypt],
            constraints: GrantConstraints::default(),
            name: None,
        };
        let made = kms.create_grant(OPERATOR, &request).unwrap();
        let tokens = [made.token];
        let call = Call { grant_tokens: &tokens, ..alice.clone() };
        assert_eq!(encrypt(&there, &call, &key), OK);
        kms.revoke_grant(OPERATOR, &key, &made.id.to_string()).unwrap();
        within_a_second("the end of it", || encrypt(&there, &call, &key) != OK);
    }
}
