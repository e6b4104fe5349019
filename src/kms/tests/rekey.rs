//! A new root key: everything stays, who has it open notices, and nothing that was tampered with is sealed anew.

use super::custodians::{create, open, quorum};
use super::*;
use keystore::Error as KeystoreError;

#[test]
fn every_kind_of_row_survives() {
    let scratch = Scratch::new();
    let kms = create(&scratch);
    let key = key(&kms);
    let blob = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap().blob;
    kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
    let pair = key_of(&kms, KeySpec::P256, KeyUsage::SignVerify);
    let alice = principal(&kms, "user/alice");
    kms.change_settings(OPERATOR, None, Some("eu-west-1")).unwrap();
    let secrets = kms.create_secrets(FILESYSTEM, &key, 5, &context()).unwrap();
    kms.destroy_secrets(FILESYSTEM, &[secrets[2].0]).unwrap();
    let generation = kms.generation();
    let audit_key = format!("{:?}", kms.derived_audit_key().expose());

    for set in 1..3 {
        open(&scratch, set - 1).unwrap().rekey(OPERATOR, quorum(set)).unwrap();
        assert!(matches!(open(&scratch, set - 1), Err(KeystoreError::WrongShares(_))));
        let kms = open(&scratch, set).unwrap();
        assert!(kms.generation() > generation);
        let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &context()).unwrap();
        assert_eq!(opened.plaintext.expose(), b"secret");
        kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
        kms.describe_key(OPERATOR, &pair).unwrap();
        assert!(kms.list_principals(OPERATOR).unwrap().iter().any(|found| found.name == alice));
        assert_eq!(kms.settings().unwrap().region, "eu-west-1");
        for (number, (id, secret)) in secrets.iter().enumerate() {
            match kms.get_secret(FILESYSTEM, *id, &context()) {
                Ok(found) => assert_eq!(found, *secret),
                Err(error) => assert_eq!((number, error.name()), (2, "NotFoundException")),
            }
        }
        let kept = kms.core.recent().settings().and_then(|settings| settings.audit_key.clone()).unwrap();
        assert_eq!(format!("{:?}", kept.expose()), audit_key, "the audit log goes on");
    }
}

#[test]
fn who_has_it_open_notices_and_can_neither_use_nor_write_it() {
    let scratch = Scratch::new();
    let kms = create(&scratch);
    let key = key(&kms);
    let sleepy = Kms::open(scratch.location(), &Unlock::Quorum(quorum(0)), scratch.sleepy()).unwrap();
    open(&scratch, 0).unwrap().rekey(OPERATOR, quorum(1)).unwrap();
    within_a_second("the new root key", || kms.is_superseded());
    assert_eq!(name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context())), "KeyUnavailableException");
    for stale in [&kms, &sleepy] {
        let refused = stale.update_key_description(OPERATOR, &key, "late").unwrap_err();
        assert!(refused.to_string().contains("another root key"), "{refused}");
        assert!(matches!(stale.slots(), Err(KeystoreError::Rekeyed(_))));
    }
    drop((kms, sleepy));
    assert_eq!(open(&scratch, 1).unwrap().describe_key(OPERATOR, &key).unwrap().description, "");
}

#[test]
fn nothing_that_was_tampered_with_is_sealed_anew() {
    let attacks = [
        "UPDATE record SET sealed = zeroblob(60) WHERE id = (SELECT max(id) FROM record WHERE kind = 1)",
        "DELETE FROM material WHERE version = 2",
        "UPDATE material SET version = 3 WHERE version = 2",
        "UPDATE secret SET sealed = (SELECT max(sealed) FROM secret)",
        "UPDATE keystore SET generation = generation + 1",
    ];
    for attack in attacks {
        let scratch = Scratch::new();
        let kms = create(&scratch);
        let key = key(&kms);
        kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
        kms.create_secrets(FILESYSTEM, &key, 3, &context()).unwrap();
        // Its settings are written once, so that what follows is about the attack alone.
        let sleepy = Kms::open(scratch.location(), &Unlock::Quorum(quorum(0)), scratch.sleepy()).unwrap();
        drop(kms);
        scratch.sql(attack);
        let before = scratch.bytes("SELECT sealed FROM slot");
        let refused = sleepy.rekey(OPERATOR, quorum(1)).unwrap_err();
        assert!(refused.to_string().contains("tampered"), "{attack}: {refused}");
        assert_eq!(scratch.bytes("SELECT sealed FROM slot"), before, "{attack}");
    }
}

#[test]
fn a_set_of_shares_that_is_not_the_next_one_is_refused() {
    let scratch = Scratch::new();
    drop(create(&scratch));
    for set in [0, 2] {
        let refused = open(&scratch, 0).unwrap().rekey(OPERATOR, quorum(set)).unwrap_err();
        assert!(refused.to_string().contains("at the same time"), "{refused}");
        let refused = open(&scratch, 0).unwrap().change_quorum(OPERATOR, quorum(set)).unwrap_err();
        assert!(matches!(refused, Error::Keystore(KeystoreError::Conflict(_))));
    }
    open(&scratch, 0).unwrap().change_quorum(OPERATOR, quorum(1)).unwrap();
    open(&scratch, 1).unwrap().rekey(OPERATOR, quorum(2)).unwrap();
    drop(open(&scratch, 2).unwrap());
}

/// Who adds a table has to say how its rows get another root key ([`keystore`]'s `rekey`) and into copies (`copy`).
#[test]
fn all_tables_are_known_to_what_seals_rows_anew_and_to_what_copies_them() {
    let scratch = Scratch::file();
    drop(create(&scratch));
    let columns = scratch.bytes(
        "SELECT CAST(t.name || ':' || group_concat(c.name, ' ') AS BLOB) \
         FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' GROUP BY t.name ORDER BY t.name",
    );
    let columns: Vec<String> = columns.into_iter().map(|row| String::from_utf8(row).unwrap()).collect();
    let known = [
        "keystore:one id created generation manifest",
        "material:cmk version sealed",
        "quorum:slot verifier",
        "record:kind id changed sealed",
        "removed:kind id changed",
        "secret:batch number sealed",
        "slot:id kind label created salt memory_kib passes lanes sealed checksum",
    ];
    assert_eq!(columns, known);
}

#[test]
fn a_file_keeps_nothing_of_what_was_sealed_under_the_old_root_key() {
    let scratch = Scratch::file();
    let kms = create(&scratch);
    key(&kms);
    drop(kms);
    let old = scratch
        .bytes("SELECT sealed FROM material UNION SELECT sealed FROM record UNION SELECT sealed FROM slot");
    assert_eq!(old.len(), 3);
    open(&scratch, 0).unwrap().rekey(OPERATOR, quorum(1)).unwrap();
    let left = scratch.content();
    for sealed in &old {
        let has = |content: &Vec<u8>| content.windows(32).any(|window| window == &sealed[..32]);
        assert!(!left.values().any(has), "a row as it was is still there");
    }
}
