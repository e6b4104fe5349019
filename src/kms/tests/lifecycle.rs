//! States, descriptions, tags, and that all of it is there after reopening.

use super::*;

/// Puts a key into a state by the operations that lead there.
fn bring_to(kms: &Kms, key: &str, state: KeyState) {
    match state {
        KeyState::Enabled => {}
        KeyState::Disabled => kms.disable_key(OPERATOR, key).unwrap(),
        KeyState::PendingDeletion => drop(kms.schedule_key_deletion(OPERATOR, key, 7).unwrap()),
        KeyState::PendingImport => unreachable!("only keys for imported material get there"),
    }
}

type Call<'a> = (&'static str, Box<dyn Fn(&str) -> &'static str + 'a>);

/// Every operation on a key, by its AWS name.
fn calls<'a>(kms: &'a Kms, blob: &'a dyn Fn(&str) -> Vec<u8>) -> Vec<Call<'a>> {
    fn call<'a>(name: &'static str, run: impl Fn(&str) -> &'static str + 'a) -> Call<'a> {
        (name, Box::new(run))
    }
    let tag = || vec![Tag { key: "a".into(), value: "b".into() }];
    vec![
        call("Encrypt", |k| name(kms.encrypt(OPERATOR, k, b"x", &context()))),
        call("Decrypt", |k| name(kms.decrypt(OPERATOR, None, &blob(k), &context()))),
        call("Decrypt with KeyId", |k| name(kms.decrypt(OPERATOR, Some(k), &blob(k), &context()))),
        call("GenerateDataKey", |k| name(kms.generate_data_key(OPERATOR, k, 32, &context()))),
        call("GenerateDataKeyWithoutPlaintext", |k| {
            name(kms.generate_data_key_without_plaintext(OPERATOR, k, 32, &context()))
        }),
        call("ReEncrypt", |k| {
            name(kms.re_encrypt(
                OPERATOR,
                &ReEncrypt {
                    blob: &blob(k),
                    source_key: None,
                    source_context: &context(),
                    destination_key: k,
                    destination_context: &context(),
                },
            ))
        }),
        call("RotateKeyOnDemand", |k| name(kms.rotate_key_on_demand(OPERATOR, k))),
        call("EnableKeyRotation", |k| name(kms.enable_key_rotation(OPERATOR, k, 90))),
        call("DisableKeyRotation", |k| name(kms.disable_key_rotation(OPERATOR, k))),
        call("GetKeyRotationStatus", |k| name(kms.key_rotation_status(OPERATOR, k))),
        call("ListKeyRotations", |k| name(kms.list_key_rotations(OPERATOR, k))),
        call("TagResource", move |k| name(kms.tag_resource(OPERATOR, k, tag()))),
        call("UntagResource", |k| name(kms.untag_resource(OPERATOR, k, &["a".into()]))),
        call("ListResourceTags", |k| name(kms.list_resource_tags(OPERATOR, k))),
        call("CreateAlias", |k| name(kms.create_alias(OPERATOR, &format!("alias/new-{k}"), k))),
        call("UpdateAlias", |k| name(kms.update_alias(OPERATOR, "alias/moving", k))),
        call("DeleteAlias", |k| name(kms.delete_alias(OPERATOR, &format!("alias/of-{k}")))),
        call("ListAliases", |k| name(kms.list_aliases(OPERATOR, Some(k)))),
        call("DescribeKey", |k| name(kms.describe_key(OPERATOR, k))),
        call("UpdateKeyDescription", |k| name(kms.update_key_description(OPERATOR, k, "new"))),
        call("EnableKey", |k| name(kms.enable_key(OPERATOR, k))),
        call("DisableKey", |k| name(kms.disable_key(OPERATOR, k))),
        call("ScheduleKeyDeletion", |k| name(kms.schedule_key_deletion(OPERATOR, k, 7))),
        call("CancelKeyDeletion", |k| name(kms.cancel_key_deletion(OPERATOR, k))),
    ]
}

#[test]
fn every_operation_in_every_state() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let moving = key(&kms);
    kms.create_alias(OPERATOR, "alias/moving", &moving).unwrap();
    let blobs = Mutex::new(BTreeMap::new());
    let blob = |key: &str| -> Vec<u8> { blobs.lock().get(key).cloned().unwrap() };
    for (operation, run) in calls(&kms, &blob) {
        for state in [KeyState::Enabled, KeyState::Disabled, KeyState::PendingDeletion] {
            let key = key(&kms);
            blobs.lock().insert(key.clone(), kms.encrypt(OPERATOR, &key, b"x", &context()).unwrap().blob);
            kms.create_alias(OPERATOR, &format!("alias/of-{key}"), &key).unwrap();
            bring_to(&kms, &key, state);
            let before = kms.generation();
            let outcome = run(&key);
            assert_eq!(outcome, expected(operation, state), "{operation} on a key that is {state:?}");
            if outcome != "ok" {
                assert_eq!(kms.generation(), before, "a refused {operation} changed the keystore");
            }
            kms.update_alias(OPERATOR, "alias/moving", &moving).unwrap();
        }
    }
}

/// AWS KMS's key-state table.
fn expected(operation: &str, state: KeyState) -> &'static str {
    let (disabled, pending) = match operation {
        "Encrypt"
        | "Decrypt"
        | "Decrypt with KeyId"
        | "GenerateDataKey"
        | "GenerateDataKeyWithoutPlaintext"
        | "ReEncrypt"
        | "RotateKeyOnDemand"
        | "EnableKeyRotation"
        | "DisableKeyRotation" => ("DisabledException", "KMSInvalidStateException"),
        "CancelKeyDeletion" => ("KMSInvalidStateException", "ok"),
        "GetKeyRotationStatus"
        | "ListKeyRotations"
        | "ListResourceTags"
        | "DeleteAlias"
        | "ListAliases"
        | "DescribeKey" => ("ok", "ok"),
        _ => ("ok", "KMSInvalidStateException"),
    };
    match state {
        KeyState::Enabled if operation == "CancelKeyDeletion" => "KMSInvalidStateException",
        KeyState::Enabled => "ok",
        KeyState::Disabled => disabled,
        KeyState::PendingDeletion => pending,
        KeyState::PendingImport => unreachable!("only keys for imported material get there"),
    }
}

#[test]
fn a_key_is_there_after_reopening_with_all_that_was_said_about_it() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let tags =
        vec![Tag { key: "team".into(), value: "storage".into() }, Tag { key: "b".into(), value: "".into() }];
    let made = kms
        .create_key(OPERATOR, CreateKey { description: "for backups".into(), tags: tags.clone() })
        .unwrap();
    let key = made.id.to_string();
    kms.create_alias(OPERATOR, "alias/backup", &key).unwrap();
    let blob = kms.encrypt(OPERATOR, &key, b"secret", &context()).unwrap().blob;
    kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
    kms.enable_key_rotation(OPERATOR, &key, 100).unwrap();
    let generation = kms.generation();
    let before = (kms.describe_key(OPERATOR, &key).unwrap(), kms.list_key_rotations(OPERATOR, &key).unwrap());
    drop(kms);

    let kms = scratch.open();
    assert_eq!(kms.generation(), generation);
    let after = (kms.describe_key(OPERATOR, &key).unwrap(), kms.list_key_rotations(OPERATOR, &key).unwrap());
    assert_eq!(after, before);
    assert_eq!(after.0.description, "for backups");
    assert_eq!(after.0.arn, format!("arn:aws:kms:local:000000000000:key/{key}"));
    assert_eq!(after.0.created, start());
    let sorted = vec![tags[1].clone(), tags[0].clone()];
    assert_eq!(kms.list_resource_tags(OPERATOR, &key).unwrap(), sorted);
    assert_eq!(kms.key_rotation_status(OPERATOR, &key).unwrap().schedule.unwrap().period_days, 100);
    assert_eq!(
        kms.decrypt(OPERATOR, Some("alias/backup"), &blob, &context()).unwrap().plaintext.expose(),
        b"secret"
    );
}

#[test]
fn only_real_changes_count() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let generation = kms.generation();
    kms.enable_key(OPERATOR, &key).unwrap();
    kms.untag_resource(OPERATOR, &key, &["none".into()]).unwrap();
    assert_eq!(kms.generation(), generation, "nothing changed, so nobody's cache need be emptied");
    kms.disable_key(OPERATOR, &key).unwrap();
    assert_eq!(kms.generation(), generation + 1);
}

#[test]
fn tags_are_checked() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
    let tagging = |tags| name(kms.tag_resource(OPERATOR, &key, tags));
    assert_eq!(tagging(vec![tag("", "x")]), "TagException");
    assert_eq!(tagging(vec![tag(&"k".repeat(129), "x")]), "TagException");
    assert_eq!(tagging(vec![tag("k", &"v".repeat(257))]), "TagException");
    assert_eq!(tagging(vec![tag("aws:k", "v")]), "TagException");
    assert_eq!(tagging(vec![tag("k", "1"), tag("k", "2")]), "TagException");
    assert_eq!(tagging((0..51).map(|i| tag(&i.to_string(), "")).collect()), "LimitExceededException");
    assert_eq!(tagging((0..50).map(|i| tag(&i.to_string(), "")).collect()), "ok");
    assert_eq!(tagging(vec![tag("7", "changed")]), "ok");
    assert_eq!(tagging(vec![tag("one more", "")]), "LimitExceededException");
    assert!(kms.list_resource_tags(OPERATOR, &key).unwrap().contains(&tag("7", "changed")));
}

#[test]
fn a_description_has_a_longest_length() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let long = "x".repeat(8193);
    assert_eq!(name(kms.update_key_description(OPERATOR, &key, &long)), "ValidationException");
    assert_eq!(name(kms.update_key_description(OPERATOR, &key, &long[1..])), "ok");
    let request = CreateKey { description: long, tags: Vec::new() };
    assert_eq!(name(kms.create_key(OPERATOR, request)), "ValidationException");
}

#[test]
fn keys_are_listed_in_the_order_of_their_ids() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    assert!(kms.list_keys(OPERATOR).unwrap().is_empty());
    let mut made: Vec<_> = (0..5).map(|_| key(&kms)).collect();
    made.sort();
    assert_eq!(
        kms.list_keys(OPERATOR).unwrap().iter().map(|key| key.id.to_string()).collect::<Vec<_>>(),
        made
    );
}

#[test]
fn unknown_keys_are_not_found() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let unknown = KeyId::from_bytes([1; 16]);
    for key in [unknown.to_string(), unknown.arn()] {
        assert_eq!(name(kms.describe_key(OPERATOR, &key)), "NotFoundException");
        assert_eq!(name(kms.disable_key(OPERATOR, &key)), "NotFoundException");
        assert_eq!(name(kms.list_resource_tags(OPERATOR, &key)), "NotFoundException");
    }
    assert_eq!(name(kms.disable_key(OPERATOR, "arn:aws:kms:eu-west-1:1:key/x")), "InvalidArnException");
}
