//! Ways to unlock.

use super::*;
use keystore::{Error, SlotKind};

#[test]
fn any_slot_opens_and_a_removed_one_does_not() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let file = scratch.directory.path().join("key");
    let key_file = Unlock::create_key_file(&file).unwrap();
    assert_eq!(kms.unlocked_by(), 1);
    assert_eq!(kms.add_slot(&key_file, "vault").unwrap(), 2);
    assert_eq!(kms.add_slot(&passphrase("second"), "").unwrap(), 3);
    let key = key(&kms);
    drop(kms);

    for (unlock, slot) in
        [(passphrase("right"), 1), (Unlock::read_key_file(&file).unwrap(), 2), (passphrase("second"), 3)]
    {
        assert_eq!(Kms::test(scratch.location(), &unlock).unwrap(), slot);
        let kms = Kms::open(scratch.location(), &unlock, scratch.options()).unwrap();
        assert_eq!(kms.unlocked_by(), slot);
        kms.describe_key(OPERATOR, &key).unwrap();
    }
    let kms = scratch.open();
    kms.remove_slot(1).unwrap();
    assert!(matches!(Kms::test(scratch.location(), &passphrase("right")), Err(Error::WrongPassphrase(_))));
    assert!(kms.describe_key(OPERATOR, &key).is_ok(), "who is in stays in");
    assert_eq!(kms.add_slot(&passphrase("third"), "").unwrap(), 1, "the number is free again");
}

#[test]
fn slots_tell_what_they_are_and_no_more() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key_file = Unlock::create_key_file(&scratch.directory.path().join("key")).unwrap();
    kms.add_slot(&key_file, "on the stick").unwrap();
    let [first, second] = kms.slots().unwrap().try_into().unwrap();
    assert_eq!((first.id, first.kind, first.label.as_str()), (1, SlotKind::Passphrase(cheap()), "first"));
    assert_eq!((second.id, second.kind, second.label.as_str()), (2, SlotKind::KeyFile, "on the stick"));
    assert_eq!(first.created, start());
}

#[test]
fn changing_a_slot_changes_nothing_else() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let blob = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap().blob;
    kms.add_slot(&passphrase("other"), "other").unwrap();
    kms.change_slot(1, &passphrase("new")).unwrap();
    drop(kms);
    assert!(matches!(scratch.try_open(), Err(Error::WrongPassphrase(_))));
    for (unlock, slot) in [(passphrase("new"), 1), (passphrase("other"), 2)] {
        let kms = Kms::open(scratch.location(), &unlock, scratch.options()).unwrap();
        assert_eq!(kms.unlocked_by(), slot);
        assert_eq!(kms.slots().unwrap()[0].label, "first");
        kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &context()).unwrap();
    }
}

#[test]
fn a_passphrase_slot_can_become_a_key_file_slot() {
    let scratch = Scratch::new();
    let key_file = Unlock::create_key_file(&scratch.directory.path().join("key")).unwrap();
    scratch.create().change_slot(1, &key_file).unwrap();
    assert_eq!(Kms::test(scratch.location(), &key_file).unwrap(), 1);
    assert!(matches!(scratch.try_open(), Err(Error::WrongPassphrase(_))));
}

#[test]
fn nobody_locks_themselves_out() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    assert!(matches!(kms.remove_slot(1), Err(Error::LastSlot(1))));
    assert!(matches!(kms.remove_slot(2), Err(Error::NoSuchSlot(2))));
    assert!(matches!(kms.change_slot(2, &passphrase("x")), Err(Error::NoSuchSlot(2))));
    scratch.open();
}

#[test]
fn secrets_that_protect_nothing_are_refused() {
    let scratch = Scratch::new();
    let empty = Kms::create(scratch.location(), &passphrase(""), "", scratch.options());
    assert!(matches!(empty, Err(Error::WeakSecret(_))));
    assert!(!scratch.location().exists().unwrap());
    let kms = scratch.create();
    assert!(matches!(kms.add_slot(&passphrase(""), ""), Err(Error::WeakSecret(_))));
    let short = Unlock::KeyFile(SecretBytes::zeroed(31));
    assert!(matches!(kms.add_slot(&short, ""), Err(Error::WeakSecret(_))));
    let file = scratch.directory.path().join("short");
    std::fs::write(&file, [1; 31]).unwrap();
    assert!(matches!(Unlock::read_key_file(&file), Err(Error::WeakSecret(_))));
    assert!(matches!(Unlock::read_key_file(&file.join("x")), Err(Error::Io { .. })));
    assert_eq!(kms.slots().unwrap().len(), 1);
}

#[test]
fn a_key_file_is_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.directory.path().join("key");
    Unlock::create_key_file(&path).unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o600, 32));
    let content = std::fs::read(&path).unwrap();
    assert!(matches!(Unlock::create_key_file(&path), Err(Error::Io { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), content);
}

#[test]
fn the_passphrase_costs_what_its_slot_says() {
    let scratch = Scratch::new();
    let options = Options { passphrase_cost: None, ..scratch.options() };
    let kms = Kms::create(scratch.location(), &passphrase("right"), "", options).unwrap();
    let SlotKind::Passphrase(cost) = kms.slots().unwrap()[0].kind else { panic!("not a passphrase slot") };
    assert!(cost.m_kib >= 64 * 1024 && cost.t >= 3, "{cost:?} is less than RFC 9106 asks for");
    scratch.open();
}
