//! A new root key, and copies: everything stays, who has it open notices, and nothing that was tampered with is sealed anew.

use super::*;
use keystore::{Error as KeystoreError, QuorumKey, QuorumShape};

/// What custodians make of their shares of a set.
fn quorum(set: u8) -> QuorumKey {
    let key = Key::from_bytes(&mut [set; 32]);
    QuorumKey { key, shape: QuorumShape { set, threshold: 2, custodians: 3 }, verifier: vec![set; 66] }
}

fn create(scratch: &Scratch) -> Kms {
    Kms::create(scratch.location(), &Unlock::Quorum(quorum(0)), "", scratch.options()).unwrap()
}

fn open(scratch: &Scratch, set: u8) -> keystore::Result<Kms> {
    Kms::open(scratch.location(), &Unlock::Quorum(quorum(set)), scratch.options())
}

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

/// A PostgreSQL database and a file hold the same rows.
#[test]
fn a_copy_goes_from_any_database_into_any() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let kms = create(&scratch);
    let key = key(&kms);
    let secrets = kms.create_secrets(FILESYSTEM, &key, 5, &context()).unwrap();
    let alice = principal(&kms, "user/alice");
    kms.delete_principal(OPERATOR, &alice).unwrap();
    let copy = scratch.directory.path().join("copy.db");
    Kms::back_up(&scratch.location(), &copy).unwrap();
    assert!(matches!(Kms::back_up(&scratch.location(), &copy), Err(KeystoreError::Exists(_))));
    let counter = Kms::inspect(&copy).unwrap().counter;
    assert_eq!(counter, Kms::inspect(scratch.location()).unwrap().counter);
    kms.update_key_description(OPERATOR, &key, "later").unwrap();
    drop(kms);
    let later = Kms::inspect(scratch.location()).unwrap().counter;
    assert_eq!(later.seen_from(counter), keystore::Age::Newer);

    assert!(matches!(Kms::restore(&copy, &scratch.location(), None), Err(KeystoreError::Exists(_))));
    let refused = Kms::restore(&copy, &scratch.location(), Some(counter));
    assert!(matches!(refused, Err(KeystoreError::Conflict(_))), "it changed meanwhile");
    Kms::restore(&copy, &scratch.location(), Some(later)).unwrap();
    Kms::restore(&copy, &other.location(), None).unwrap();
    for place in [scratch.location(), other.location(), copy.clone().into()] {
        assert_eq!(Kms::inspect(place.clone()).unwrap().counter, counter, "{place}");
        let kms = Kms::open(place, &Unlock::Quorum(quorum(0)), scratch.options()).unwrap();
        assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().description, "");
        for (id, secret) in &secrets {
            assert_eq!(kms.get_secret(FILESYSTEM, *id, &context()).unwrap(), *secret);
        }
    }
}

#[test]
fn a_zeroized_keystore_is_that_for_everybody_and_holds_no_row() {
    let scratch = Scratch::new();
    let kms = create(&scratch);
    let key = key(&kms);
    kms.create_secrets(FILESYSTEM, &key, 5, &context()).unwrap();
    let id = Kms::inspect(scratch.location()).unwrap().id;
    for refused in [Kms::zeroize(&scratch.location(), &[7; 16]), Kms::finish_zeroizing(&scratch.location())] {
        assert!(matches!(refused, Err(KeystoreError::Replaced(_))), "it is another one, and whole");
    }
    kms.describe_key(OPERATOR, &key).unwrap();

    let is_file = matches!(scratch.location(), Location::File(_));
    assert_eq!(Kms::zeroize(&scratch.location(), &id).unwrap(), is_file, "files are overwritten");
    within_a_second("the end", || kms.is_superseded());
    assert_eq!(name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context())), "KeyUnavailableException");
    let refused = kms.update_key_description(OPERATOR, &key, "late").unwrap_err();
    assert!(refused.to_string().contains("zeroized"), "{refused}");
    drop(kms);
    for outcome in [open(&scratch, 0).map(drop), Kms::inspect(scratch.location()).map(drop)] {
        assert!(matches!(outcome, Err(KeystoreError::Zeroized(_))), "{outcome:?}");
    }
    assert_eq!(Kms::finish_zeroizing(&scratch.location()).unwrap(), is_file);
    for table in ["slot", "quorum", "record", "material", "secret", "removed"] {
        assert!(scratch.bytes(&format!("SELECT '\\x00' FROM {table}")).is_empty(), "{table}");
    }
}

#[test]
fn a_zeroized_file_and_its_log_hold_nothing_of_the_rows() {
    let scratch = Scratch::file();
    let kms = create(&scratch);
    // Old slots and records in the log, and a log that stays.
    for set in 1..3 {
        key(&kms);
        kms.change_quorum(OPERATOR, quorum(set)).unwrap();
    }
    let sealed = "SELECT sealed FROM material UNION SELECT sealed FROM record UNION SELECT sealed FROM slot";
    let rows = scratch.bytes(sealed);
    assert_eq!(rows.len(), 5);
    let blocks = |name: &str| std::fs::File::open(scratch.path().with_extension(name)).unwrap();
    let (database, log) = (blocks("db"), blocks("db-wal"));
    let length = log.metadata().unwrap().len();
    let id = Kms::inspect(scratch.location()).unwrap().id;
    let has = |content: &[u8]| rows.iter().any(|row| content.windows(32).any(|window| window == &row[..32]));
    let read = |mut file: &std::fs::File| {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut content).unwrap();
        content
    };
    assert!(length > 0 && has(&read(&log)));
    assert!(Kms::zeroize(&scratch.location(), &id).unwrap());
    assert!(!has(&read(&database)));
    assert!(scratch.content().values().all(|content| !has(content)));
    drop(kms);
    assert!(scratch.content().values().all(|content| !has(content)));
}

#[test]
fn the_log_of_a_lost_file_is_not_taken_for_that_of_the_next_one() {
    let scratch = Scratch::file();
    let kms = create(&scratch);
    let copy = scratch.directory.path().join("copy.db");
    Kms::back_up(&scratch.location(), &copy).unwrap();
    let key = key(&kms);
    let log = scratch.path().with_extension("db-wal");
    let left = std::fs::read(&log).unwrap();
    assert!(!left.is_empty());
    drop(kms);
    std::fs::remove_file(scratch.path()).unwrap();
    std::fs::write(&log, left).unwrap();
    Kms::restore(&copy, &scratch.location(), None).unwrap();
    let kms = open(&scratch, 0).unwrap();
    assert_eq!(name(kms.describe_key(OPERATOR, &key)), "NotFoundException");
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
