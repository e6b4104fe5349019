//! Documents that are no policies.

use super::*;

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
        (format!(r#"{{"Statement": {{{STATEMENT}, "Condition": {{"BinaryEquals": {{"kms:ValidTo": "AAEC"}}}}}}}}"#), "BinaryEquals"),
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
