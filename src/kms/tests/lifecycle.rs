//! Descriptions, tags, lists, and that all of it is there after reopening.

use super::*;

#[test]
fn a_key_is_there_after_reopening_with_all_that_was_said_about_it() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let tags =
        vec![Tag { key: "team".into(), value: "storage".into() }, Tag { key: "b".into(), value: "".into() }];
    let made = kms
        .create_key(
            OPERATOR,
            CreateKey { description: "for backups".into(), tags: tags.clone(), ..CreateKey::default() },
        )
        .unwrap();
    let key = made.id.to_string();
    kms.create_alias(OPERATOR, "alias/backup", &key).unwrap();
    let blob = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap().blob;
    kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
    kms.enable_key_rotation(OPERATOR, &key, 100).unwrap();
    let before = (
        kms.describe_key(OPERATOR, &key).unwrap(),
        kms.list_key_rotations(OPERATOR, &key, true, Page::whole()).unwrap().items,
    );
    drop(kms);

    let kms = scratch.open();
    let after = (
        kms.describe_key(OPERATOR, &key).unwrap(),
        kms.list_key_rotations(OPERATOR, &key, true, Page::whole()).unwrap().items,
    );
    assert_eq!(after, before);
    assert_eq!(after.0.description, "for backups");
    assert_eq!(after.0.arn, format!("arn:aws:kms:local:000000000000:key/{key}"));
    assert_eq!(after.0.created, start());
    let sorted = vec![tags[1].clone(), tags[0].clone()];
    assert_eq!(kms.list_resource_tags(OPERATOR, &key, Page::whole()).unwrap().items, sorted);
    assert_eq!(kms.key_rotation_status(OPERATOR, &key).unwrap().schedule.unwrap().period_days, 100);
    assert_eq!(
        kms.decrypt(OPERATOR, Some("alias/backup"), SYMMETRIC, &blob, &context()).unwrap().plaintext.expose(),
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
    let tagging = |tags: Vec<Tag>| name(kms.tag_resource(OPERATOR, &key, &tags));
    assert_eq!(tagging(vec![tag("", "x")]), "TagException");
    assert_eq!(tagging(vec![tag(&"k".repeat(129), "x")]), "TagException");
    assert_eq!(tagging(vec![tag("k", &"v".repeat(257))]), "TagException");
    assert_eq!(tagging(vec![tag("aws:k", "v")]), "TagException");
    assert_eq!(tagging(vec![tag("AWS:k", "v")]), "TagException");
    assert_eq!(tagging(vec![tag("k", "1"), tag("k", "2")]), "TagException");
    assert_eq!(tagging((0..51).map(|i| tag(&i.to_string(), "")).collect()), "TagException");
    assert_eq!(tagging((0..50).map(|i| tag(&i.to_string(), "")).collect()), "ok");
    assert_eq!(tagging(vec![tag("7", "changed")]), "ok");
    assert_eq!(tagging(vec![tag("one more", "")]), "LimitExceededException");
    assert!(
        kms.list_resource_tags(OPERATOR, &key, Page::whole()).unwrap().items.contains(&tag("7", "changed"))
    );
}

#[test]
fn a_description_has_a_longest_length() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let long = "x".repeat(8193);
    assert_eq!(name(kms.update_key_description(OPERATOR, &key, &long)), "ValidationException");
    assert_eq!(name(kms.update_key_description(OPERATOR, &key, &long[1..])), "ok");
    let request = CreateKey { description: long, ..CreateKey::default() };
    assert_eq!(name(kms.create_key(OPERATOR, request)), "ValidationException");
}

#[test]
fn keys_are_listed_in_the_order_of_their_ids() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    assert!(kms.list_keys(OPERATOR, Page::whole()).unwrap().items.is_empty());
    let mut made: Vec<_> = (0..5).map(|_| key(&kms)).collect();
    made.sort();
    assert_eq!(
        kms.list_keys(OPERATOR, Page::whole())
            .unwrap()
            .items
            .iter()
            .map(|key| key.id.to_string())
            .collect::<Vec<_>>(),
        made
    );
}

#[test]
fn unknown_keys_are_not_found() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let unknown = KeyId::from_bytes([1; 16]);
    for key in [unknown.to_string(), kms.key_arn(OPERATOR, unknown)] {
        assert_eq!(name(kms.describe_key(OPERATOR, &key)), "NotFoundException");
        assert_eq!(name(kms.disable_key(OPERATOR, &key)), "NotFoundException");
        assert_eq!(name(kms.list_resource_tags(OPERATOR, &key, Page::whole())), "NotFoundException");
    }
    assert_eq!(name(kms.disable_key(OPERATOR, "arn:aws:kms:eu-west-1:1:grant/x")), "InvalidArnException");
}
