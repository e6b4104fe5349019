//! Policies as a table: what a statement says to a request. Each row is one fact.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::Verdict::{Allowed, Delegated, Denied, Silent};
use super::*;
use proptest::prelude::*;

const ALICE: &str = "arn:aws:iam::000000000000:user/alice";
const KEY: &str = "arn:aws:kms:local:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The condition keys of a request: name and values.
type Keys = &'static [(&'static str, &'static [&'static str])];

struct Given(&'static str, Keys);

impl Attributes for Given {
    fn resource(&self) -> Cow<'_, str> {
        self.0.into()
    }

    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        let (_, values) = self.1.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        Some(values.iter().map(|value| Cow::Borrowed(*value)).collect())
    }
}

fn ask(policy: &Policy, principal: &str, action: &str, resource: &'static str, keys: Keys) -> Verdict {
    let account = principal.split(':').nth(4).unwrap();
    policy.evaluate(&Request {
        principal,
        session: None,
        account,
        action,
        attributes: &Given(resource, keys),
    })
}

/// A key policy of one statement whose members are `members`.
fn key_policy(members: &str) -> Policy {
    Policy::parse(Kind::Key, &format!(r#"{{"Version": "2012-10-17", "Statement": [{{{members}}}]}}"#))
        .unwrap()
}

#[test]
fn a_statement_is_about_the_principals_it_names() {
    const ROOT: &str = "arn:aws:iam::000000000000:root";
    const BOB: &str = "arn:aws:iam::000000000000:user/bob";
    const ROLE: &str = "arn:aws:iam::000000000000:role/alice";
    const OTHER: &str = "arn:aws:iam::111122223333:user/alice";
    for (principal, who, expected) in [
        (r#""Principal": "*""#, ALICE, Allowed),
        (r#""Principal": "*""#, OTHER, Allowed),
        (r#""Principal": {"AWS": "*"}"#, ALICE, Allowed),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}"#, ALICE, Allowed),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}"#, BOB, Silent),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}"#, ROLE, Silent),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}"#, OTHER, Silent),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:user/ALICE"}"#, ALICE, Silent),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:role/alice"}"#, ROLE, Allowed),
        (
            r#""Principal": {"AWS": ["arn:aws:iam::000000000000:user/bob", "arn:aws:iam::000000000000:user/alice"]}"#,
            ALICE,
            Allowed,
        ),
        (r#""Principal": {"AWS": ["arn:aws:iam::000000000000:user/bob"]}"#, ALICE, Silent),
        (r#""Principal": {"AWS": "000000000000"}"#, ALICE, Delegated),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:root"}"#, ALICE, Delegated),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:root"}"#, ROOT, Delegated),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:root"}"#, OTHER, Silent),
        (r#""Principal": {"AWS": "111122223333"}"#, OTHER, Delegated),
        (r#""Principal": {"AWS": ["000000000000", "arn:aws:iam::000000000000:user/alice"]}"#, ALICE, Allowed),
        (r#""Principal": {"Service": "kms.amazonaws.com"}"#, ALICE, Silent),
        (r#""Principal": {"Service": ["a", "b"], "AWS": "*"}"#, ALICE, Allowed),
        (r#""Principal": {"Federated": "cognito-identity.amazonaws.com"}"#, ALICE, Silent),
    ] {
        let policy =
            key_policy(&format!(r#""Effect": "Allow", {principal}, "Action": "kms:*", "Resource": "*""#));
        assert_eq!(ask(&policy, who, "kms:Decrypt", KEY, &[]), expected, "{principal} asked by {who}");
    }
}

#[test]
fn a_denial_to_all_but_a_few_spares_those_alone() {
    const ROOT: &str = "arn:aws:iam::000000000000:root";
    const BOB: &str = "arn:aws:iam::000000000000:user/bob";
    for (spared, who, expected) in [
        (r#"{"AWS": "arn:aws:iam::000000000000:user/bob"}"#, ALICE, Denied),
        (r#"{"AWS": "arn:aws:iam::000000000000:user/bob"}"#, ROOT, Denied),
        (r#"{"AWS": "arn:aws:iam::000000000000:user/bob"}"#, BOB, Silent),
        (r#"{"AWS": ["arn:aws:iam::000000000000:user/bob", "000000000000"]}"#, BOB, Silent),
        (r#"{"AWS": "000000000000"}"#, ROOT, Silent),
        (r#"{"AWS": "arn:aws:iam::000000000000:root"}"#, ROOT, Silent),
        (r#"{"AWS": "000000000000"}"#, ALICE, Denied),
        (r#"{"Service": "kms.amazonaws.com"}"#, ALICE, Denied),
        (r#""*""#, ALICE, Silent),
    ] {
        let policy = key_policy(&format!(
            r#""Effect": "Deny", "NotPrincipal": {spared}, "Action": "kms:*", "Resource": "*""#
        ));
        assert_eq!(ask(&policy, who, "kms:Decrypt", KEY, &[]), expected, "all but {spared} asked by {who}");
    }
}

#[test]
fn a_role_is_named_by_its_own_arn_or_by_its_session_s() {
    let role = "arn:aws:iam::000000000000:role/backup";
    let session = "arn:aws:sts::000000000000:assumed-role/backup/nightly";
    for (named, expected) in [
        (role, true),
        (session, true),
        ("arn:aws:sts::000000000000:assumed-role/backup/weekly", false),
        ("arn:aws:iam::000000000000:role/nightly", false),
    ] {
        for (members, yes, no) in [
            (r#""Effect": "Allow", "Principal""#, Allowed, Silent),
            (r#""Effect": "Deny", "Principal""#, Denied, Silent),
            (r#""Effect": "Deny", "NotPrincipal""#, Silent, Denied),
        ] {
            let policy =
                key_policy(&format!(r#"{members}: {{"AWS": "{named}"}}, "Action": "*", "Resource": "*""#));
            let request = Request {
                principal: role,
                session: Some(session),
                account: "000000000000",
                action: "kms:Decrypt",
                attributes: &Given(KEY, &[]),
            };
            let expected = if expected { yes } else { no };
            assert_eq!(policy.evaluate(&request), expected, "{members} {named}");
        }
    }
}

#[test]
fn a_policy_tells_whom_it_names() {
    let policy = Policy::parse(
        Kind::Key,
        r#"{"Statement": [
            {"Effect": "Allow", "Principal": {"AWS": ["000000000000", "arn:aws:iam::000000000000:user/a"]},
             "Action": "*", "Resource": "*"},
            {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::000000000000:role/b", "Service": "c.d"},
             "Action": "*", "Resource": "*"}]}"#,
    );
    let named: Vec<String> = policy.unwrap().named().map(str::to_owned).collect();
    assert_eq!(named, ["arn:aws:iam::000000000000:user/a", "arn:aws:iam::000000000000:role/b"]);
}

#[test]
fn a_text_that_is_not_understood_any_more_denies_everything() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Record(#[serde(deserialize_with = "Written::identity_policy")] Written);
    let read = |text: &str| serde_json::from_value::<Record>(serde_json::Value::from(text)).unwrap();
    let allowing = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;
    let newer =
        r#"{"Version": "2030-01-01", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;
    for (text, expected) in [(allowing, Allowed), (newer, Denied), ("", Denied)] {
        let Record(written) = read(text);
        assert_eq!(written.text(), text);
        assert_eq!(ask(written.policy(), ALICE, "kms:Decrypt", KEY, &[]), expected, "{text}");
        assert_eq!(serde_json::to_value(Record(written)).unwrap(), serde_json::Value::from(text));
    }
}

#[test]
fn a_denial_to_an_account_is_about_everybody_in_it() {
    let policy = key_policy(
        r#""Effect": "Deny", "Principal": {"AWS": "000000000000"}, "Action": "*", "Resource": "*""#,
    );
    assert_eq!(ask(&policy, ALICE, "kms:Decrypt", KEY, &[]), Denied);
    assert_eq!(ask(&policy, "arn:aws:iam::111122223333:user/a", "kms:Decrypt", KEY, &[]), Silent);
}

#[test]
fn a_statement_is_about_the_actions_it_lists() {
    for (actions, action, expected) in [
        (r#""Action": "kms:Decrypt""#, "kms:Decrypt", Allowed),
        (r#""Action": "kms:Decrypt""#, "kms:Encrypt", Silent),
        (r#""Action": "KMS:dEcRyPt""#, "kms:Decrypt", Allowed),
        (r#""Action": "kms:*""#, "kms:PutKeyPolicy", Allowed),
        (r#""Action": "*""#, "kms:PutKeyPolicy", Allowed),
        (r#""Action": "s3:*""#, "kms:Decrypt", Silent),
        (r#""Action": "kms:Generate*""#, "kms:GenerateDataKey", Allowed),
        (r#""Action": "kms:generate*""#, "kms:GenerateMac", Allowed),
        (r#""Action": "kms:Generate*""#, "kms:Decrypt", Silent),
        (r#""Action": "kms:*Key""#, "kms:GenerateDataKey", Allowed),
        (r#""Action": "kms:*Key""#, "kms:GenerateDataKeyPair", Silent),
        (r#""Action": "kms:ReEncrypt*""#, "kms:ReEncryptFrom", Allowed),
        (r#""Action": "kms:?ncrypt""#, "kms:Encrypt", Allowed),
        (r#""Action": "kms:?crypt""#, "kms:Encrypt", Silent),
        (r#""Action": ["kms:Encrypt", "kms:Decrypt"]"#, "kms:Decrypt", Allowed),
        (r#""Action": ["kms:Encrypt", "kms:Sign"]"#, "kms:Decrypt", Silent),
        (r#""NotAction": "kms:Decrypt""#, "kms:Decrypt", Silent),
        (r#""NotAction": "kms:Decrypt""#, "kms:Encrypt", Allowed),
        (r#""NotAction": ["kms:Put*", "kms:Schedule*"]"#, "kms:PutKeyPolicy", Silent),
        (r#""NotAction": ["kms:Put*", "kms:Schedule*"]"#, "kms:GetKeyPolicy", Allowed),
    ] {
        let policy =
            key_policy(&format!(r#""Effect": "Allow", "Principal": "*", {actions}, "Resource": "*""#));
        assert_eq!(ask(&policy, ALICE, action, KEY, &[]), expected, "{actions} asked {action}");
    }
}

#[test]
fn an_identity_policy_is_about_the_resources_it_lists() {
    const NAMED: Keys = &[("aws:username", &["alice"])];
    for (resources, resource, keys, expected) in [
        (r#""Resource": "*""#, KEY, NAMED, Allowed),
        (r#""Resource": "*""#, "*", NAMED, Allowed),
        (
            r#""Resource": "arn:aws:kms:local:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab""#,
            KEY,
            NAMED,
            Allowed,
        ),
        (
            r#""Resource": "arn:aws:kms:local:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ac""#,
            KEY,
            NAMED,
            Silent,
        ),
        (r#""Resource": "arn:aws:kms:local:000000000000:key/*""#, KEY, NAMED, Allowed),
        (r#""Resource": "arn:aws:kms:*:*:key/*""#, KEY, NAMED, Allowed),
        (r#""Resource": "arn:aws:kms:eu-west-1:*:key/*""#, KEY, NAMED, Allowed),
        (r#""Resource": "arn:aws:kms:${aws:RequestedRegion}:*:key/*""#, KEY, &[], Allowed),
        (r#""Resource": "arn:aws:kms:eu-west-1:111122223333:key/*""#, KEY, NAMED, Silent),
        (r#""Resource": "arn:aws:kms:eu-west-1:*""#, KEY, NAMED, Allowed),
        (r#""Resource": "arn:*:kms:eu-west-1:*:key/*""#, KEY, NAMED, Allowed),
        (r#""Resource": "arn:aws:*:eu-west-1:*:key/*""#, KEY, NAMED, Allowed),
        (r#""Resource": "arn:aws:s3:eu-west-1:*:key/*""#, KEY, NAMED, Silent),
        (r#""Resource": "arn:aws:*""#, KEY, NAMED, Allowed),
        (
            r#""Resource": "arn:aws:kms:eu-west-1:${aws:PrincipalAccount}:key/*""#,
            KEY,
            &[("aws:PrincipalAccount", &["000000000000"])],
            Allowed,
        ),
        (
            r#""Resource": "arn:aws:kms:eu-west-1:${aws:PrincipalAccount}:key/*""#,
            KEY,
            &[("aws:PrincipalAccount", &["111122223333"])],
            Silent,
        ),
        (r#""Resource": "arn:aws:kms:local:000000000000:alias/*""#, KEY, NAMED, Silent),
        (
            r#""Resource": "arn:aws:kms:local:000000000000:alias/*""#,
            "arn:aws:kms:local:000000000000:alias/a/b",
            NAMED,
            Allowed,
        ),
        (r#""Resource": "arn:aws:KMS:*""#, KEY, NAMED, Silent),
        (r#""Resource": ["arn:aws:s3:::x", "arn:aws:kms:*"]"#, KEY, NAMED, Allowed),
        (r#""Resource": "arn:aws:kms:*"  "#, "*", NAMED, Silent),
        (r#""NotResource": "arn:aws:kms:*:*:key/1234*""#, KEY, NAMED, Silent),
        (r#""NotResource": "arn:aws:kms:*:*:key/9*""#, KEY, NAMED, Allowed),
        (
            r#""Resource": "arn:aws:kms:local:000000000000:alias/${aws:username}/*""#,
            "arn:aws:kms:local:000000000000:alias/alice/x",
            NAMED,
            Allowed,
        ),
        (
            r#""Resource": "arn:aws:kms:local:000000000000:alias/${aws:username}/*""#,
            "arn:aws:kms:local:000000000000:alias/bob/x",
            NAMED,
            Silent,
        ),
        (
            r#""Resource": "arn:aws:kms:local:000000000000:alias/${aws:username}/*""#,
            "arn:aws:kms:local:000000000000:alias//x",
            &[],
            Silent,
        ),
        (
            r#""Resource": "arn:aws:kms:local:000000000000:alias/${aws:username, 'team'}/*""#,
            "arn:aws:kms:local:000000000000:alias/team/x",
            &[],
            Allowed,
        ),
        (
            r#""Resource": "arn:aws:kms:local:000000000000:alias/${*}""#,
            "arn:aws:kms:local:000000000000:alias/x",
            NAMED,
            Silent,
        ),
    ] {
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Action": "kms:*", {resources}}}}}"#
        );
        let policy = Policy::parse(Kind::Identity, &text).unwrap();
        assert_eq!(
            ask(&policy, ALICE, "kms:Decrypt", resource, keys),
            expected,
            "{resources} asked {resource}"
        );
    }
}

#[test]
fn the_old_version_takes_variables_for_text() {
    let text = r#"{"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*",
                   "Condition": {"StringEquals": {"kms:RequestAlias": "${aws:username}"}}}}"#;
    let policy = Policy::parse(Kind::Identity, text).unwrap();
    let asked = |keys| ask(&policy, ALICE, "kms:Decrypt", KEY, keys);
    assert_eq!(asked(&[("aws:username", &["a"]), ("kms:RequestAlias", &["a"])]), Silent);
    assert_eq!(asked(&[("aws:username", &["a"]), ("kms:RequestAlias", &["${aws:username}"])]), Allowed);
}

const HOLDS: Verdict = Allowed;
const FAILS: Verdict = Silent;

/// Conditions, what the request has, and whether they hold.
const CONDITIONS: &[(&str, Keys, Verdict)] = &[
    (r#"{"StringEquals": {"kms:KeySpec": "RSA_2048"}}"#, &[("kms:KeySpec", &["RSA_2048"])], HOLDS),
    (r#"{"StringEquals": {"kms:KeySpec": "RSA_2048"}}"#, &[("kms:KeySpec", &["RSA_4096"])], FAILS),
    (r#"{"StringEquals": {"kms:KeySpec": "RSA_2048"}}"#, &[], FAILS),
    (r#"{"StringEquals": {"KMS:keyspec": "RSA_2048"}}"#, &[("kms:KeySpec", &["RSA_2048"])], HOLDS),
    (r#"{"StringEquals": {"kms:KeySpec": "rsa_2048"}}"#, &[("kms:KeySpec", &["RSA_2048"])], FAILS),
    (r#"{"StringEquals": {"kms:KeySpec": "RSA_*"}}"#, &[("kms:KeySpec", &["RSA_2048"])], FAILS),
    (r#"{"StringEquals": {"kms:KeySpec": "RSA_*"}}"#, &[("kms:KeySpec", &["RSA_*"])], HOLDS),
    (
        r#"{"StringEquals": {"kms:KeySpec": ["RSA_2048", "RSA_4096"]}}"#,
        &[("kms:KeySpec", &["RSA_4096"])],
        HOLDS,
    ),
    (
        r#"{"StringEquals": {"kms:EncryptionContext:AppName": "pay"}}"#,
        &[("kms:EncryptionContext:AppName", &["pay"])],
        HOLDS,
    ),
    (
        r#"{"StringEquals": {"kms:EncryptionContext:AppName": "pay"}}"#,
        &[("kms:EncryptionContext:AppName", &["Pay"])],
        FAILS,
    ),
    (
        r#"{"StringEquals": {"kms:EncryptionContext:appname": "pay"}}"#,
        &[("kms:EncryptionContext:AppName", &["pay"])],
        HOLDS,
    ),
    (
        r#"{"StringEquals": {"aws:username": "${aws:PrincipalTag/x, 'alice'}"}}"#,
        &[("aws:username", &["alice"])],
        HOLDS,
    ),
    (
        r#"{"StringEquals": {"kms:RequestAlias": "alias/${aws:username}"}}"#,
        &[("aws:username", &["a"]), ("kms:RequestAlias", &["alias/a"])],
        HOLDS,
    ),
    (
        r#"{"StringEquals": {"kms:RequestAlias": "alias/${aws:username}"}}"#,
        &[("kms:RequestAlias", &["alias/a"])],
        FAILS,
    ),
    (r#"{"StringEqualsIfExists": {"kms:KeySpec": "RSA_2048"}}"#, &[], HOLDS),
    (r#"{"StringEqualsIfExists": {"kms:KeySpec": "RSA_2048"}}"#, &[("kms:KeySpec", &["RSA_4096"])], FAILS),
    (r#"{"StringEqualsIfExists": {"kms:KeySpec": "RSA_2048"}}"#, &[("kms:KeySpec", &["RSA_2048"])], HOLDS),
    (r#"{"StringNotEquals": {"kms:KeySpec": "RSA_2048"}}"#, &[("kms:KeySpec", &["RSA_4096"])], HOLDS),
    (r#"{"StringNotEquals": {"kms:KeySpec": "RSA_2048"}}"#, &[("kms:KeySpec", &["RSA_2048"])], FAILS),
    (r#"{"StringNotEquals": {"kms:KeySpec": "RSA_2048"}}"#, &[], HOLDS),
    (
        r#"{"StringNotEquals": {"kms:KeySpec": ["RSA_2048", "RSA_4096"]}}"#,
        &[("kms:KeySpec", &["RSA_4096"])],
        FAILS,
    ),
    (
        r#"{"StringNotEquals": {"kms:KeySpec": ["RSA_2048", "RSA_4096"]}}"#,
        &[("kms:KeySpec", &["RSA_3072"])],
        HOLDS,
    ),
    (r#"{"StringNotEqualsIfExists": {"kms:KeySpec": "RSA_2048"}}"#, &[], HOLDS),
    (r#"{"StringEqualsIgnoreCase": {"kms:KeySpec": "rsa_2048"}}"#, &[("kms:KeySpec", &["RSA_2048"])], HOLDS),
    (r#"{"StringEqualsIgnoreCase": {"kms:KeySpec": "rsa*"}}"#, &[("kms:KeySpec", &["RSA_2048"])], FAILS),
    (
        r#"{"StringNotEqualsIgnoreCase": {"kms:KeySpec": "rsa_2048"}}"#,
        &[("kms:KeySpec", &["RSA_2048"])],
        FAILS,
    ),
    (
        r#"{"StringLike": {"kms:RequestAlias": "alias/pay-*"}}"#,
        &[("kms:RequestAlias", &["alias/pay-1"])],
        HOLDS,
    ),
    (
        r#"{"StringLike": {"kms:RequestAlias": "alias/pay-*"}}"#,
        &[("kms:RequestAlias", &["alias/PAY-1"])],
        FAILS,
    ),
    (
        r#"{"StringLike": {"kms:RequestAlias": "alias/pay-?"}}"#,
        &[("kms:RequestAlias", &["alias/pay-12"])],
        FAILS,
    ),
    (r#"{"StringLike": {"kms:RequestAlias": "alias/*"}}"#, &[], FAILS),
    (r#"{"StringLike": {"kms:RequestAlias": "${*}"}}"#, &[("kms:RequestAlias", &["alias/x"])], FAILS),
    (r#"{"StringLikeIfExists": {"kms:RequestAlias": "alias/*"}}"#, &[], HOLDS),
    (
        r#"{"StringNotLike": {"kms:RequestAlias": "alias/pay-*"}}"#,
        &[("kms:RequestAlias", &["alias/pay-1"])],
        FAILS,
    ),
    (
        r#"{"StringNotLike": {"kms:RequestAlias": "alias/pay-*"}}"#,
        &[("kms:RequestAlias", &["alias/x"])],
        HOLDS,
    ),
    (r#"{"StringNotLike": {"kms:RequestAlias": "alias/pay-*"}}"#, &[], HOLDS),
    (r#"{"Bool": {"kms:GrantIsForAWSResource": true}}"#, &[("kms:GrantIsForAWSResource", &["true"])], HOLDS),
    (
        r#"{"Bool": {"kms:GrantIsForAWSResource": "true"}}"#,
        &[("kms:GrantIsForAWSResource", &["false"])],
        FAILS,
    ),
    (
        r#"{"Bool": {"kms:GrantIsForAWSResource": "false"}}"#,
        &[("kms:GrantIsForAWSResource", &["false"])],
        HOLDS,
    ),
    (
        r#"{"Bool": {"kms:GrantIsForAWSResource": "TRUE"}}"#,
        &[("kms:GrantIsForAWSResource", &["true"])],
        HOLDS,
    ),
    (r#"{"Bool": {"kms:GrantIsForAWSResource": "true"}}"#, &[], FAILS),
    (r#"{"BoolIfExists": {"aws:SecureTransport": "true"}}"#, &[], HOLDS),
    (r#"{"Bool": {"aws:SecureTransport": "true"}}"#, &[("aws:SecureTransport", &["yes"])], FAILS),
    (
        r#"{"NumericEquals": {"kms:RotationPeriodInDays": 90}}"#,
        &[("kms:RotationPeriodInDays", &["90"])],
        HOLDS,
    ),
    (
        r#"{"NumericEquals": {"kms:RotationPeriodInDays": "90.0"}}"#,
        &[("kms:RotationPeriodInDays", &["90"])],
        HOLDS,
    ),
    (
        r#"{"NumericNotEquals": {"kms:RotationPeriodInDays": 90}}"#,
        &[("kms:RotationPeriodInDays", &["90"])],
        FAILS,
    ),
    (r#"{"NumericNotEquals": {"kms:RotationPeriodInDays": 90}}"#, &[], HOLDS),
    (
        r#"{"NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": 10}}"#,
        &[("kms:ScheduleKeyDeletionPendingWindowInDays", &["9"])],
        HOLDS,
    ),
    (
        r#"{"NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": 10}}"#,
        &[("kms:ScheduleKeyDeletionPendingWindowInDays", &["10"])],
        FAILS,
    ),
    (
        r#"{"NumericLessThanEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": 10}}"#,
        &[("kms:ScheduleKeyDeletionPendingWindowInDays", &["10"])],
        HOLDS,
    ),
    (
        r#"{"NumericLessThanEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": 10}}"#,
        &[("kms:ScheduleKeyDeletionPendingWindowInDays", &["11"])],
        FAILS,
    ),
    (
        r#"{"NumericGreaterThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": 10}}"#,
        &[("kms:ScheduleKeyDeletionPendingWindowInDays", &["11"])],
        HOLDS,
    ),
    (
        r#"{"NumericGreaterThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": 10}}"#,
        &[("kms:ScheduleKeyDeletionPendingWindowInDays", &["10"])],
        FAILS,
    ),
    (
        r#"{"NumericGreaterThanEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": 10}}"#,
        &[("kms:ScheduleKeyDeletionPendingWindowInDays", &["10"])],
        HOLDS,
    ),
    (
        r#"{"NumericGreaterThanEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": 9}}"#,
        &[("kms:ScheduleKeyDeletionPendingWindowInDays", &["many"])],
        FAILS,
    ),
    (r#"{"NumericGreaterThanEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": 9}}"#, &[], FAILS),
    (r#"{"NumericLessThanIfExists": {"kms:ScheduleKeyDeletionPendingWindowInDays": 9}}"#, &[], HOLDS),
    (
        r#"{"DateLessThan": {"aws:CurrentTime": "2026-12-01T00:00:00Z"}}"#,
        &[("aws:CurrentTime", &["2026-11-25T02:00:00Z"])],
        HOLDS,
    ),
    (
        r#"{"DateLessThan": {"aws:CurrentTime": "2026-11-25"}}"#,
        &[("aws:CurrentTime", &["2026-11-25T02:00:00Z"])],
        FAILS,
    ),
    (
        r#"{"DateGreaterThan": {"aws:CurrentTime": "2026-11-25"}}"#,
        &[("aws:CurrentTime", &["2026-11-25T02:00:00Z"])],
        HOLDS,
    ),
    (
        r#"{"DateGreaterThan": {"aws:CurrentTime": "2026-11-25T03:00:00+02:00"}}"#,
        &[("aws:CurrentTime", &["2026-11-25T02:00:00Z"])],
        HOLDS,
    ),
    (
        r#"{"DateEquals": {"aws:CurrentTime": "2026-11-25T02:00:00Z"}}"#,
        &[("aws:CurrentTime", &["2026-11-25T02:00:00Z"])],
        HOLDS,
    ),
    (
        r#"{"DateNotEquals": {"aws:CurrentTime": "2026-11-25T02:00:00Z"}}"#,
        &[("aws:CurrentTime", &["2026-11-25T02:00:00Z"])],
        FAILS,
    ),
    (
        r#"{"DateLessThanEquals": {"aws:EpochTime": "1764036000"}}"#,
        &[("aws:EpochTime", &["1764036000"])],
        HOLDS,
    ),
    (r#"{"DateGreaterThanEquals": {"kms:ValidTo": 1764036000}}"#, &[("kms:ValidTo", &["1764036001"])], HOLDS),
    (r#"{"DateGreaterThan": {"aws:CurrentTime": "2026-11-25"}}"#, &[], FAILS),
    (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &[("aws:SourceIp", &["10.1.2.3"])], HOLDS),
    (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &[("aws:SourceIp", &["11.1.2.3"])], FAILS),
    (r#"{"IpAddress": {"aws:SourceIp": "127.0.0.1"}}"#, &[("aws:SourceIp", &["127.0.0.1"])], HOLDS),
    (r#"{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}"#, &[("aws:SourceIp", &["8.8.8.8"])], HOLDS),
    (r#"{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}"#, &[("aws:SourceIp", &["::1"])], FAILS),
    (r#"{"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}"#, &[("aws:SourceIp", &["2001:db8:1::1"])], HOLDS),
    (
        r#"{"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]}}"#,
        &[("aws:SourceIp", &["192.168.1.1"])],
        HOLDS,
    ),
    (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &[], FAILS),
    (r#"{"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &[("aws:SourceIp", &["10.1.2.3"])], FAILS),
    (r#"{"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &[("aws:SourceIp", &["11.1.2.3"])], HOLDS),
    (r#"{"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, &[], HOLDS),
    (
        r#"{"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:user/alice"}}"#,
        &[("aws:PrincipalArn", &[ALICE])],
        HOLDS,
    ),
    (
        r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}}"#,
        &[("aws:PrincipalArn", &[ALICE])],
        HOLDS,
    ),
    (
        r#"{"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}}"#,
        &[("aws:PrincipalArn", &[ALICE])],
        HOLDS,
    ),
    (
        r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}"#,
        &[("aws:PrincipalArn", &[ALICE])],
        FAILS,
    ),
    (r#"{"ArnLike": {"aws:PrincipalArn": "arn:*alice"}}"#, &[("aws:PrincipalArn", &[ALICE])], FAILS),
    (
        r#"{"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:user/alice"}}"#,
        &[("aws:PrincipalArn", &[ALICE])],
        FAILS,
    ),
    (
        r#"{"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}"#,
        &[("aws:PrincipalArn", &[ALICE])],
        HOLDS,
    ),
    (r#"{"Null": {"kms:ViaService": "true"}}"#, &[], HOLDS),
    (r#"{"Null": {"kms:ViaService": true}}"#, &[("kms:ViaService", &["kmsfs"])], FAILS),
    (r#"{"Null": {"kms:ViaService": "false"}}"#, &[("kms:ViaService", &["kmsfs"])], HOLDS),
    (r#"{"Null": {"kms:ViaService": "false"}}"#, &[], FAILS),
    (
        r#"{"BinaryEquals": {"kms:RecipientAttestation:x": "AAEC"}}"#,
        &[("kms:RecipientAttestation:x", &["AAEC"])],
        HOLDS,
    ),
    (
        r#"{"BinaryEquals": {"kms:RecipientAttestation:x": "AAEC"}}"#,
        &[("kms:RecipientAttestation:x", &["AAED"])],
        FAILS,
    ),
    (
        r#"{"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["App", "Dept"]}}"#,
        &[("kms:EncryptionContextKeys", &["App"])],
        HOLDS,
    ),
    (
        r#"{"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["App", "Dept"]}}"#,
        &[("kms:EncryptionContextKeys", &["App", "Dept"])],
        HOLDS,
    ),
    (
        r#"{"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["App", "Dept"]}}"#,
        &[("kms:EncryptionContextKeys", &["App", "X"])],
        FAILS,
    ),
    (
        r#"{"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": "App"}}"#,
        &[("kms:EncryptionContextKeys", &["app"])],
        FAILS,
    ),
    (r#"{"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": "App"}}"#, &[], HOLDS),
    (
        r#"{"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": "App"}}"#,
        &[("kms:EncryptionContextKeys", &[])],
        HOLDS,
    ),
    (
        r#"{"ForAllValues:StringNotEquals": {"kms:EncryptionContextKeys": "App"}}"#,
        &[("kms:EncryptionContextKeys", &["X", "Y"])],
        HOLDS,
    ),
    (
        r#"{"ForAllValues:StringNotEquals": {"kms:EncryptionContextKeys": "App"}}"#,
        &[("kms:EncryptionContextKeys", &["X", "App"])],
        FAILS,
    ),
    (
        r#"{"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "App"}}"#,
        &[("kms:EncryptionContextKeys", &["X", "App"])],
        HOLDS,
    ),
    (
        r#"{"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": ["App", "Dept"]}}"#,
        &[("kms:EncryptionContextKeys", &["X"])],
        FAILS,
    ),
    (r#"{"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "App"}}"#, &[], FAILS),
    (
        r#"{"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "App"}}"#,
        &[("kms:EncryptionContextKeys", &[])],
        FAILS,
    ),
    (
        r#"{"ForAnyValue:StringNotEquals": {"kms:EncryptionContextKeys": "App"}}"#,
        &[("kms:EncryptionContextKeys", &["X", "App"])],
        HOLDS,
    ),
    (
        r#"{"ForAnyValue:StringNotEquals": {"kms:EncryptionContextKeys": "App"}}"#,
        &[("kms:EncryptionContextKeys", &["App"])],
        FAILS,
    ),
    (
        r#"{"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/pay*"}}"#,
        &[("kms:ResourceAliases", &["alias/x", "alias/pay-1"])],
        HOLDS,
    ),
    (r#"{"ForAnyValue:StringLikeIfExists": {"kms:ResourceAliases": "alias/pay*"}}"#, &[], FAILS),
    (
        r#"{"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "Decrypt"]}}"#,
        &[("kms:GrantOperations", &["Decrypt", "CreateGrant"])],
        FAILS,
    ),
    (
        r#"{"StringEquals": {"kms:ResourceAliases": "alias/a"}}"#,
        &[("kms:ResourceAliases", &["alias/b", "alias/a"])],
        HOLDS,
    ),
    (
        r#"{"StringNotEquals": {"kms:ResourceAliases": "alias/a"}}"#,
        &[("kms:ResourceAliases", &["alias/b", "alias/a"])],
        FAILS,
    ),
    (
        r#"{"StringEquals": {"kms:KeySpec": "RSA_2048", "kms:KeyUsage": "SIGN_VERIFY"}}"#,
        &[("kms:KeySpec", &["RSA_2048"]), ("kms:KeyUsage", &["SIGN_VERIFY"])],
        HOLDS,
    ),
    (
        r#"{"StringEquals": {"kms:KeySpec": "RSA_2048", "kms:KeyUsage": "SIGN_VERIFY"}}"#,
        &[("kms:KeySpec", &["RSA_2048"])],
        FAILS,
    ),
    (
        r#"{"StringEquals": {"kms:KeySpec": "RSA_2048"}, "Bool": {"kms:MultiRegion": false}}"#,
        &[("kms:KeySpec", &["RSA_2048"]), ("kms:MultiRegion", &["false"])],
        HOLDS,
    ),
    (
        r#"{"StringEquals": {"kms:KeySpec": "RSA_2048"}, "Bool": {"kms:MultiRegion": true}}"#,
        &[("kms:KeySpec", &["RSA_2048"]), ("kms:MultiRegion", &["false"])],
        FAILS,
    ),
    ("{}", &[], HOLDS),
];

#[test]
fn conditions_hold_or_not() {
    for (condition, keys, expected) in CONDITIONS {
        let policy = key_policy(&format!(
            r#""Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*", "Condition": {condition}"#
        ));
        assert_eq!(ask(&policy, ALICE, "kms:Decrypt", KEY, keys), *expected, "{condition} of {keys:?}");
    }
}

#[test]
fn a_denial_wins_wherever_it_stands() {
    const ALLOW: &str = r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}"#;
    const DENY: &str = r#"{"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}"#;
    const DELEGATE: &str =
        r#"{"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "kms:*", "Resource": "*"}"#;
    for (statements, action, expected) in [
        (vec![ALLOW, DENY], "kms:Decrypt", Denied),
        (vec![DENY, ALLOW], "kms:Decrypt", Denied),
        (vec![DENY, DELEGATE], "kms:Decrypt", Denied),
        (vec![DENY, ALLOW], "kms:Encrypt", Allowed),
        (vec![DELEGATE, ALLOW], "kms:Encrypt", Allowed),
        (vec![ALLOW, DELEGATE], "kms:Encrypt", Allowed),
        (vec![DELEGATE, DENY], "kms:Encrypt", Delegated),
        (vec![DENY], "kms:Encrypt", Silent),
    ] {
        let policy =
            Policy::parse(Kind::Key, &format!(r#"{{"Statement": [{}]}}"#, statements.join(","))).unwrap();
        assert_eq!(ask(&policy, ALICE, action, KEY, &[]), expected, "{statements:?} asked {action}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    const STATEMENT: &str = r#""Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*""#;
    for (text, word) in [
        (String::new(), "no JSON"),
        ("{".into(), "no JSON"),
        ("[]".into(), "object"),
        ("{}".into(), "Statement"),
        (r#"{"Statement": []}"#.into(), "Statement"),
        (r#"{"Statement": ["x"]}"#.into(), "object"),
        (r#"{"Statement": "x"}"#.into(), "Statement"),
        (format!(r#"{{"Version": "2020-01-01", "Statement": {{{STATEMENT}}}}}"#), "Version"),
        (format!(r#"{{"Version": 2012, "Statement": {{{STATEMENT}}}}}"#), "Version"),
        (format!(r#"{{"Id": 7, "Statement": {{{STATEMENT}}}}}"#), "Id"),
        (format!(r#"{{"Statements": {{{STATEMENT}}}}}"#), "'Statements'"),
        (format!(r#"{{"Statement": {{{STATEMENT}}}, "Statement": {{{STATEMENT}}}}}"#), "twice"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Effect": "Deny"}}}}"#), "twice"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Conditions": {{}}}}}}"#), "'Conditions'"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Sid": 1}}}}"#), "Sid"),
        (format!(r#"{{"Statement": [{{{STATEMENT}, "Sid": "a"}}, {{{STATEMENT}, "Sid": "a"}}]}}"#), "'a'"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "NotAction": "kms:Sign"}}}}"#), "Action"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "NotResource": "*"}}}}"#), "Resource"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "NotPrincipal": "*"}}}}"#), "Principal"),
        (r#"{"Statement": {"Effect": "Allow", "NotPrincipal": "*", "Action": "kms:*", "Resource": "*"}}"#.into(), "NotPrincipal"),
        (r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "1234abcd"}}"#.into(), "'1234abcd'"),
        (r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "NotResource": "alias/a"}}"#.into(), "'alias/a'"),
        (r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "arn:aws:kms:eu-*key/a"}}"#.into(), "whole ARN"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"StringEquals": {{"kms:ViaServices": "y"}}}}}}}}"#), "'kms:ViaServices'"),
        (r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "arn:${aws:usernam}"}}"#.into(), "aws:usernam"),
        (r#"{"Statement": {"Effect": "allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}}"#.into(), "Effect"),
        (r#"{"Statement": {"Principal": "*", "Action": "kms:*", "Resource": "*"}}"#.into(), "Effect"),
        (r#"{"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}"#.into(), "Principal"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Resource": "*"}}"#.into(), "Action"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*"}}"#.into(), "Resource"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": [], "Resource": "*"}}"#.into(), "Action"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "Decrypt", "Resource": "*"}}"#.into(), "'Decrypt'"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:", "Resource": "*"}}"#.into(), "'kms:'"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": 1}}"#.into(), "Resource"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": "alice", "Action": "kms:*", "Resource": "*"}}"#.into(), "Principal"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": {}, "Action": "kms:*", "Resource": "*"}}"#.into(), "Principal"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": {"User": "x"}, "Action": "kms:*", "Resource": "*"}}"#.into(), "'User'"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "alice"}, "Action": "kms:*", "Resource": "*"}}"#.into(), "'alice'"),
        (r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/*"}, "Action": "kms:*", "Resource": "*"}}"#.into(), "principal"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": []}}}}"#), "Condition"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"StringMatches": {{"kms:ValidTo": "y"}}}}}}}}"#), "'StringMatches'"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"ForSome:StringEquals": {{"kms:ValidTo": "y"}}}}}}}}"#), "ForSome"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"StringEquals": {{"x": "y"}}}}}}}}"#), "'x'"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"StringEquals": {{"kms:ValidTo": []}}}}}}}}"#), "no value"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"StringEquals": {{"kms:ValidTo": null}}}}}}}}"#), "kms:ValidTo"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"Bool": {{"kms:ValidTo": "yes"}}}}}}}}"#), "boolean"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"NumericEquals": {{"kms:ValidTo": "ten"}}}}}}}}"#), "number"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"DateEquals": {{"kms:ValidTo": "tomorrow"}}}}}}}}"#), "date"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"IpAddress": {{"aws:SourceIp": "10.0.0.0/33"}}}}}}}}"#), "IP"),
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"Null": {{"kms:ValidTo": ["true", "false"]}}}}}}}}"#), "Null"),
        (format!(r#"{{"Statement": {{{STATEMENT}}}, "Id": "{}"}}"#, "x".repeat(DOCUMENT_MAX)), "longer"),
        (format!(r#"{{"Statement": {}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000)), "no JSON"),
    ] {
        let error = Policy::parse(Kind::Key, &text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
    let with_principal = format!(r#"{{"Statement": {{{STATEMENT}}}}}"#);
    assert!(Policy::parse(Kind::Identity, &with_principal).unwrap_err().to_string().contains("Principal"));
}

/// Statements that are about some of the requests below, some by a condition.
fn any_statement() -> impl Strategy<Value = String> {
    let effect = prop_oneof![Just("Allow"), Just("Deny")];
    let principal = prop_oneof![
        Just(r#""*""#.to_owned()),
        Just(r#"{"AWS": "000000000000"}"#.to_owned()),
        Just(format!(r#"{{"AWS": "{ALICE}"}}"#)),
        Just(r#"{"AWS": "arn:aws:iam::000000000000:user/bob"}"#.to_owned()),
    ];
    let action = prop_oneof![Just("kms:*"), Just("kms:Decrypt"), Just("kms:Enc*"), Just("kms:Sign")];
    let condition = prop_oneof![
        Just("{}"),
        Just(r#"{"StringEquals": {"kms:KeySpec": "RSA_2048"}}"#),
        Just(r#"{"StringNotEquals": {"kms:KeySpec": "RSA_2048"}}"#),
        Just(r#"{"Null": {"kms:ViaService": "true"}}"#),
    ];
    (effect, principal, action, condition).prop_map(|(effect, principal, action, condition)| {
        format!(
            r#"{{"Effect": "{effect}", "Principal": {principal}, "Action": "{action}", "Resource": "*", "Condition": {condition}}}"#
        )
    })
}

fn verdict_of(statements: &[String], action: &str) -> Verdict {
    let policy =
        Policy::parse(Kind::Key, &format!(r#"{{"Statement": [{}]}}"#, statements.join(","))).unwrap();
    ask(&policy, ALICE, action, KEY, &[("kms:KeySpec", &["RSA_2048"])])
}

/// How much a verdict gives.
fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Denied => 0,
        Silent => 1,
        Delegated => 2,
        Allowed => 3,
    }
}

proptest! {
    #[test]
    fn adding_a_denial_never_allows_more_and_adding_an_allowance_never_denies(
        statements in proptest::collection::vec(any_statement(), 1..6),
        added in any_statement(),
        action in prop_oneof![Just("kms:Decrypt"), Just("kms:Encrypt"), Just("kms:Sign"), Just("kms:Verify")],
    ) {
        let before = verdict_of(&statements, action);
        let mut more = statements.clone();
        more.push(added.clone());
        let after = verdict_of(&more, action);
        if added.contains(r#""Deny""#) {
            prop_assert!(after == before || after == Denied);
        } else {
            prop_assert!(rank(after) >= rank(before));
        }
    }

    #[test]
    fn the_order_of_statements_does_not_matter(
        statements in proptest::collection::vec(any_statement(), 1..6),
        turn in 0usize..6,
    ) {
        let mut turned = statements.clone();
        turned.rotate_left(turn % statements.len());
        prop_assert_eq!(verdict_of(&statements, "kms:Decrypt"), verdict_of(&turned, "kms:Decrypt"));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}", inside in "[\\[\\]{}\",:a-zA-Z*$ ]{0,80}") {
        let _ = Policy::parse(Kind::Key, &text);
        let statement = format!(r#"{{"Statement": {{"Effect": "Allow", "Principal": "*", {inside}}}}}"#);
        let _ = Policy::parse(Kind::Key, &statement);
    }
}
