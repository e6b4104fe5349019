//! Statements: whom, what and which keys they are about.

use super::*;

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
