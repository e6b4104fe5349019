//! GetKeyPolicy, PutKeyPolicy, ListKeyPolicies.

use super::*;

const ROOT: &str =
    r#"{"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "kms:*", "Resource": "*"}"#;

fn allow_to(arn: &str, action: &str) -> String {
    format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "{arn}"}}, "Action": "{action}", "Resource": "*"}}"#
    )
}

#[test]
fn a_key_policy_is_kept_as_it_was_written() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    assert_eq!(kms.list_key_policies(OPERATOR, &key).unwrap(), ["default"]);
    let text = format!("{{\n\t\"Statement\" :  [{ROOT}] }}\n");
    kms.put_key_policy(OPERATOR, &key, Some("default"), &text, false).unwrap();
    for kms in [&kms, &scratch.open()] {
        assert_eq!(kms.get_key_policy(OPERATOR, &key, Some("default")).unwrap(), text);
        assert_eq!(kms.get_key_policy(OPERATOR, &key, None).unwrap(), text);
    }
}

#[test]
fn the_default_policy_leaves_everything_to_the_account() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let text = kms.get_key_policy(OPERATOR, &key(&kms), None).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "Version": "2012-10-17",
            "Id": "key-default-1",
            "Statement": [{
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
                "Action": "kms:*",
                "Resource": "*"
            }]
        })
    );
}

#[test]
fn there_is_one_policy_and_its_name_is_default() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    assert_eq!(name(kms.get_key_policy(OPERATOR, &key, Some("other"))), "NotFoundException");
    let put = kms.put_key_policy(OPERATOR, &key, Some("other"), &policy(&[ROOT]), false);
    assert_eq!(name(put), "NotFoundException");
    kms.create_alias(OPERATOR, "alias/x", &key).unwrap();
    assert_eq!(name(kms.get_key_policy(OPERATOR, "alias/x", None)), "NotFoundException");
    assert_eq!(name(kms.list_key_policies(OPERATOR, "alias/x")), "NotFoundException");
}

#[test]
fn a_policy_that_is_not_understood_or_names_nobody_is_refused() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    principal(&kms, "user/alice");
    principal(&kms, "role/backup");
    let put = |text: &str| name(kms.put_key_policy(OPERATOR, &key, None, text, false));
    for arn in [
        "arn:aws:iam::000000000000:user/alice",
        "arn:aws:iam::000000000000:role/backup",
        "arn:aws:sts::000000000000:assumed-role/backup/nightly",
        "arn:aws:iam::000000000000:root",
        "arn:aws:iam::111122223333:user/stranger",
    ] {
        assert_eq!(put(&policy(&[ROOT, &allow_to(arn, "kms:Decrypt")])), "ok", "{arn}");
    }
    for arn in [
        "arn:aws:iam::000000000000:user/bob",
        "arn:aws:iam::000000000000:user/Alice",
        "arn:aws:iam::000000000000:role/alice",
        "arn:aws:iam::000000000000:group/alice",
        "arn:aws:sts::000000000000:assumed-role/alice/x",
        "alice",
    ] {
        let text = policy(&[ROOT, &allow_to(arn, "kms:Decrypt")]);
        assert_eq!(put(&text), "MalformedPolicyDocumentException", "{arn}");
    }
    for text in ["", "{}", "my policy", &policy(&[]), &policy(&[r#"{"Effect": "Allow"}"#])] {
        assert_eq!(put(text), "MalformedPolicyDocumentException", "{text}");
    }
}

#[test]
fn nobody_locks_themselves_out_unless_they_say_so() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let alice_name = principal(&kms, "user/alice");
    let bob = principal(&kms, "user/bob");
    let (alice, root) = (call_of(&kms, &alice_name), call_of_root(&kms));
    let arn = |name: &PrincipalName| kms.describe_principal(OPERATOR, name).unwrap().arn;
    let (alice_arn, bob_arn) = (arn(&alice_name), arn(&bob));
    let ok = "ok";
    let locked = "The new key policy will not allow you to update the key policy in the future.";
    let open = policy(&[ROOT, &allow_to(&alice_arn, "kms:PutKeyPolicy")]);
    for (call, statements, outcome) in [
        (&alice, vec![allow_to(&alice_arn, "kms:PutKeyPolicy")], ok),
        (&alice, vec![allow_to(&alice_arn, "kms:*")], ok),
        (&alice, vec![allow_to("*", "kms:Put*")], ok),
        (&alice, vec![allow_to(&alice_arn, "kms:Decrypt")], locked),
        (&alice, vec![allow_to(&bob_arn, "kms:*")], locked),
        (&alice, vec![ROOT.to_owned()], locked), // no identity policy lets her
        (&root, vec![ROOT.to_owned()], ok),
        (&root, vec![allow_to(&bob_arn, "kms:*")], locked),
        (&root, vec![ROOT.to_owned(), allow_to("*", "kms:PutKeyPolicy").replace("Allow", "Deny")], locked),
        (OPERATOR, vec![allow_to(&bob_arn, "kms:*")], ok),
    ] {
        kms.put_key_policy(OPERATOR, &key, None, &open, false).unwrap();
        let text = policy(&statements.iter().map(String::as_str).collect::<Vec<_>>());
        let put = kms.put_key_policy(call, &key, None, &text, false);
        assert_eq!(put.map_or_else(|e| e.to_string(), |()| ok.into()), outcome, "{text}");
        let kept = if outcome == ok { &text } else { &open };
        assert_eq!(kms.get_key_policy(OPERATOR, &key, None).unwrap(), *kept);
    }
    kms.put_key_policy(OPERATOR, &key, None, &open, false).unwrap();
    let own = policy(&[r#"{"Effect": "Allow", "Action": "kms:PutKeyPolicy", "Resource": "*"}"#]);
    kms.put_identity_policy(OPERATOR, &alice_name, "own", &own).unwrap();
    kms.put_key_policy(&alice, &key, None, &policy(&[ROOT]), false).unwrap();
    kms.put_key_policy(&alice, &key, None, &policy(&[&allow_to(&bob_arn, "kms:*")]), true).unwrap();
    assert_eq!(name(kms.put_key_policy(&alice, &key, None, &open, false)), "AccessDeniedException");
    assert_eq!(name(kms.put_key_policy(&root, &key, None, &open, false)), "AccessDeniedException");
    kms.put_key_policy(OPERATOR, &key, None, &open, false).unwrap();
}

#[test]
fn the_bypass_of_the_check_can_be_denied() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (key, root) = (key(&kms), call_of_root(&kms));
    let deny = r#"{"Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*",
                   "Condition": {"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}}"#;
    let text = policy(&[ROOT, deny]);
    kms.put_key_policy(&root, &key, None, &text, false).unwrap();
    assert_eq!(name(kms.put_key_policy(&root, &key, None, &text, true)), "AccessDeniedException");
    assert_eq!(name(kms.put_key_policy(&root, &key, None, &text, false)), "ok");
}

#[test]
fn a_principal_that_a_key_policy_names_is_not_removed() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (key, alice, role) = (key(&kms), principal(&kms, "user/alice"), principal(&kms, "role/backup"));
    for (arn, named) in [
        ("arn:aws:iam::000000000000:user/alice", &alice),
        ("arn:aws:iam::000000000000:role/backup", &role),
        ("arn:aws:sts::000000000000:assumed-role/backup/nightly", &role),
    ] {
        let text = policy(&[ROOT, &allow_to(arn, "kms:Decrypt")]);
        kms.put_key_policy(OPERATOR, &key, None, &text, false).unwrap();
        let refused = kms.delete_principal(OPERATOR, named).unwrap_err();
        assert_eq!(refused.name(), "ConflictException");
        assert!(refused.to_string().contains(&key));
    }
    kms.put_key_policy(OPERATOR, &key, None, &policy(&[ROOT]), false).unwrap();
    kms.delete_principal(OPERATOR, &alice).unwrap();
    kms.delete_principal(OPERATOR, &role).unwrap();
}

#[test]
fn a_key_is_made_with_a_policy_that_its_maker_could_change() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let alice_name = principal(&kms, "user/alice");
    let alice = call_of(&kms, &alice_name);
    let own = policy(&[r#"{"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*"}"#]);
    kms.put_identity_policy(OPERATOR, &alice_name, "make", &own).unwrap();
    let make = |text: &str, bypass: bool| {
        let request = CreateKey {
            policy: Some(text.into()),
            bypass_policy_lockout_safety_check: bypass,
            ..CreateKey::default()
        };
        kms.create_key(&alice, request)
    };
    let hers = policy(&[&allow_to("arn:aws:iam::000000000000:user/alice", "kms:*")]);
    let made = make(&hers, false).unwrap().id.to_string();
    assert_eq!(kms.get_key_policy(&alice, &made, None).unwrap(), hers);
    kms.encrypt(&alice, &made, SYMMETRIC, b"x", &context()).unwrap();
    assert_eq!(
        name(make(&policy(&[ROOT]), false)),
        "MalformedPolicyDocumentException",
        "she is not the root"
    );
    assert_eq!(name(make(&policy(&[ROOT]), true)), "ok");
    assert_eq!(name(make("{}", true)), "MalformedPolicyDocumentException");
    assert_eq!(
        kms.list_keys(OPERATOR, Page::whole()).unwrap().items.len(),
        2,
        "what is refused makes no key"
    );
    let guard = policy(&[
        r#"{"Effect": "Deny", "Action": "kms:CreateKey", "Resource": "*",
            "Condition": {"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}}"#,
        r#"{"Effect": "Deny", "Action": "kms:CreateKey", "Resource": "*",
            "Condition": {"StringEquals": {"kms:KeySpec": "HMAC_256"}}}"#,
    ]);
    kms.put_identity_policy(OPERATOR, &alice_name, "guard", &guard).unwrap();
    assert_eq!(name(make(&hers, true)), "AccessDeniedException");
    let hmac = CreateKey {
        spec: KeySpec::Hmac256,
        usage: Some(KeyUsage::GenerateVerifyMac),
        ..CreateKey::default()
    };
    assert_eq!(name(kms.create_key(&alice, hmac)), "AccessDeniedException");
}
