//! Policies as a table: what a statement says to a request. Each row is one fact.

#![allow(clippy::unwrap_used, reason = "tests")]

mod conditions;
mod refusals;
mod statements;

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
