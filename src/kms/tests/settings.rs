//! The keystore's account and region.

use super::*;

fn settings(account: &str, region: &str) -> Settings {
    Settings { account: account.into(), region: region.into() }
}

#[test]
fn account_and_region_are_in_every_arn_and_kept() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    assert_eq!(kms.settings().unwrap(), settings("000000000000", "local"));
    let key = key(&kms);
    let blob = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()).unwrap().blob;
    kms.change_settings(OPERATOR, Some("111122223333"), None).unwrap();
    kms.change_settings(OPERATOR, None, Some("eu-west-1")).unwrap();
    for kms in [&kms, &scratch.open()] {
        assert_eq!(kms.settings().unwrap(), settings("111122223333", "eu-west-1"));
        let arn = kms.describe_key(OPERATOR, &key).unwrap().arn;
        assert_eq!(arn, format!("arn:aws:kms:eu-west-1:111122223333:key/{key}"));
        kms.decrypt(OPERATOR, Some(&arn), SYMMETRIC, &blob, &context()).unwrap();
    }
    let root = kms.principal_for_uid(0, 0).unwrap().unwrap();
    assert_eq!(root.arn, "arn:aws:iam::111122223333:root");
    let policy = kms.get_key_policy(OPERATOR, &key, None).unwrap();
    assert!(policy.contains("arn:aws:iam::111122223333:root"));
    kms.encrypt(&Call::of(&root), &key, SYMMETRIC, b"x", &context()).unwrap();
}

#[test]
fn the_account_stays_once_something_names_it() {
    let everybody = policy(&[r#"{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}"#]);
    let names: [&dyn Fn(&Kms); 3] = [
        &|kms| drop(principal(kms, "user/alice")),
        &|kms| kms.put_key_policy(OPERATOR, &key(kms), None, &everybody, false).unwrap(),
        &|kms| {
            let request = CreateGrant {
                key: &key(kms),
                grantee: "arn:aws:iam::000000000000:root",
                retiring: None,
                operations: &[GrantOperation::Encrypt],
                constraints: GrantConstraints::default(),
                name: None,
            };
            kms.create_grant(OPERATOR, &request).unwrap();
        },
    ];
    for name_it in names {
        let scratch = Scratch::new();
        let kms = scratch.create();
        name_it(&kms);
        let change = |account| name(kms.change_settings(OPERATOR, Some(account), Some("x")));
        assert_eq!(change("111122223333"), "ConflictException");
        assert_eq!(kms.settings().unwrap().region, "local", "all of it or nothing");
        assert_eq!(change("000000000000"), "ok", "it is the same");
    }
}

#[test]
fn settings_have_forms_and_are_the_operators_and_the_root_s() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let change = |account, region| name(kms.change_settings(OPERATOR, account, region));
    for account in ["", "1", "1111222233334", "11112222333a"] {
        assert_eq!(change(Some(account), None), "ValidationException", "{account}");
    }
    for region in ["", "EU", "eu west", "eu:west", &"x".repeat(33)] {
        assert_eq!(change(None, Some(region)), "ValidationException", "{region}");
    }
    let alice = call_of(&kms, &principal(&kms, "user/alice"));
    assert_eq!(name(kms.change_settings(&alice, None, Some("x"))), "AccessDeniedException");
    assert_eq!(name(kms.change_settings(&call_of_root(&kms), None, Some("x"))), "ok");
}
