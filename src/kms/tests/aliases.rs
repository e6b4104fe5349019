//! Aliases.

use super::*;

#[test]
fn an_alias_names_one_key_at_a_time() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (a, b) = (key(&kms), key(&kms));
    kms.create_alias(OPERATOR, "alias/x", &a).unwrap();
    assert_eq!(name(kms.create_alias(OPERATOR, "alias/x", &b)), "AlreadyExistsException");
    assert_eq!(kms.describe_key(OPERATOR, "alias/x").unwrap().id.to_string(), a);

    scratch.pass(1);
    kms.update_alias(OPERATOR, "alias/x", &b).unwrap();
    assert_eq!(kms.describe_key(OPERATOR, "alias/x").unwrap().id.to_string(), b);
    assert!(kms.list_aliases(OPERATOR, Some(&a), Page::whole()).unwrap().items.is_empty());
    let [alias] = kms.list_aliases(OPERATOR, Some(&b), Page::whole()).unwrap().items.try_into().unwrap();
    assert_eq!(alias.arn, "arn:aws:kms:local:000000000000:alias/x");
    assert_eq!((alias.updated - alias.created).whole_days(), 1);

    kms.delete_alias(OPERATOR, "alias/x").unwrap();
    assert_eq!(name(kms.describe_key(OPERATOR, "alias/x")), "NotFoundException");
    assert_eq!(name(kms.delete_alias(OPERATOR, "alias/x")), "NotFoundException");
    assert_eq!(name(kms.update_alias(OPERATOR, "alias/x", &a)), "NotFoundException");
    assert_eq!(name(kms.delete_alias(OPERATOR, &a)), "ValidationException");
}

#[test]
fn aliases_are_listed_by_name_and_seen_after_reopening() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (a, b) = (key(&kms), key(&kms));
    for (alias, target) in [("alias/c", &a), ("alias/a", &b), ("alias/b", &a)] {
        kms.create_alias(OPERATOR, alias, target).unwrap();
    }
    kms.update_alias(OPERATOR, "alias/c", &b).unwrap();
    let names = |kms: &Kms| {
        let aliases = kms.list_aliases(OPERATOR, None, Page::whole()).unwrap().items;
        aliases.into_iter().map(|alias| (alias.name, alias.target.to_string())).collect::<Vec<_>>()
    };
    let expected =
        [("alias/a", &b), ("alias/b", &a), ("alias/c", &b)].map(|(n, k)| (n.to_owned(), k.clone()));
    assert_eq!(names(&kms), expected);
    assert_eq!(names(&scratch.open()), expected);
}

#[test]
fn management_takes_no_alias() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    kms.create_alias(OPERATOR, "alias/x", &key(&kms)).unwrap();
    for alias in ["alias/x", "arn:aws:kms:local:000000000000:alias/x"] {
        assert_eq!(name(kms.disable_key(OPERATOR, alias)), "NotFoundException");
        assert_eq!(name(kms.schedule_key_deletion(OPERATOR, alias, 7)), "NotFoundException");
        assert_eq!(name(kms.list_resource_tags(OPERATOR, alias, Page::whole())), "NotFoundException");
        assert_eq!(name(kms.create_alias(OPERATOR, "alias/y", alias)), "ValidationException");
        assert_eq!(name(kms.encrypt(OPERATOR, alias, SYMMETRIC, b"x", &context())), "ok");
    }
}

#[test]
fn a_key_has_at_most_fifty_aliases() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (full, other) = (key(&kms), key(&kms));
    for i in 0..50 {
        kms.create_alias(OPERATOR, &format!("alias/{i}"), &full).unwrap();
    }
    assert_eq!(name(kms.create_alias(OPERATOR, "alias/over", &full)), "LimitExceededException");
    kms.create_alias(OPERATOR, "alias/over", &other).unwrap();
    assert_eq!(name(kms.update_alias(OPERATOR, "alias/over", &full)), "LimitExceededException");
    assert_eq!(kms.describe_key(OPERATOR, "alias/over").unwrap().id.to_string(), other);
}

#[test]
fn an_alias_may_leave_a_key_that_is_to_be_deleted_but_not_go_there() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (dying, other) = (key(&kms), key(&kms));
    kms.create_alias(OPERATOR, "alias/x", &dying).unwrap();
    kms.create_alias(OPERATOR, "alias/y", &other).unwrap();
    kms.schedule_key_deletion(OPERATOR, &dying, 7).unwrap();
    assert_eq!(name(kms.update_alias(OPERATOR, "alias/y", &dying)), "KMSInvalidStateException");
    assert_eq!(name(kms.update_alias(OPERATOR, "alias/x", &other)), "ok");
}
