//! Changes that kmsfs did not make: each is noticed, on opening and while the keystore is in use.

use super::*;
use keystore::Error;

/// A closed keystore with two keys of two versions each; the ids.
fn keystore() -> (Scratch, [String; 2]) {
    fill(Scratch::new())
}

/// The same in a file.
fn file() -> (Scratch, [String; 2]) {
    fill(Scratch::file())
}

fn fill(scratch: Scratch) -> (Scratch, [String; 2]) {
    let kms = scratch.create();
    let keys = [key(&kms), key(&kms)];
    for key in &keys {
        kms.rotate_key_on_demand(OPERATOR, key).unwrap();
    }
    kms.add_slot(&passphrase("second"), "second").unwrap();
    drop(kms);
    (scratch, keys)
}

fn assert_tampered(scratch: &Scratch, what: &str) {
    let before = scratch.content();
    let error = scratch.try_open().err().unwrap_or_else(|| panic!("{what}: it opened"));
    assert!(matches!(error, Error::Tampered { .. }), "{what}: {error}");
    assert!(scratch.content() == before, "{what}: the keystore was changed");
}

#[test]
fn altered_rows_are_noticed() {
    let attacks = [
        ("a key removed", "DELETE FROM record WHERE id = (SELECT min(id) FROM record)"),
        ("a key and its material removed", "DELETE FROM material; DELETE FROM record"),
        ("a version removed", "DELETE FROM material WHERE version = 1"),
        ("a version renumbered", "UPDATE material SET version = 3 WHERE version = 2"),
        (
            "material moved between keys",
            "UPDATE material SET cmk = (SELECT max(id) FROM record), version = 9 WHERE version = 2 AND cmk <> (SELECT max(id) FROM record)",
        ),
        ("records exchanged", "UPDATE record SET sealed = (SELECT max(sealed) FROM record)"),
        ("materials exchanged", "UPDATE material SET sealed = (SELECT max(sealed) FROM material)"),
        ("a record cut", "UPDATE record SET sealed = substr(sealed, 1, 20)"),
        ("a record emptied", "UPDATE record SET sealed = zeroblob(0)"),
        ("a record's kind", "UPDATE record SET kind = 3"),
        ("a record of an unknown kind", "UPDATE record SET kind = 99"),
        ("a record's generation", "UPDATE record SET changed = changed + 1"),
        ("the generation", "UPDATE keystore SET generation = generation + 1"),
        ("the manifest", "UPDATE keystore SET manifest = zeroblob(32)"),
        ("a short manifest", "UPDATE keystore SET manifest = zeroblob(1)"),
        ("the keystore's id", "UPDATE keystore SET id = zeroblob(16)"),
        ("no keystore row", "DELETE FROM keystore"),
        ("a slot removed", "DELETE FROM slot WHERE id = 2"),
        ("all slots removed", "DELETE FROM slot"),
        ("a slot's label", "UPDATE slot SET label = 'mine'"),
        ("a slot's cost", "UPDATE slot SET passes = 2"),
        ("a slot's sealed key", "UPDATE slot SET sealed = zeroblob(60)"),
        ("a slot's kind", "UPDATE slot SET kind = 9"),
        ("a table missing", "DROP TABLE material"),
        ("a column missing", "ALTER TABLE record RENAME COLUMN sealed TO plain"),
        ("no format", "PRAGMA user_version = 0"),
    ];
    for (what, sql) in attacks {
        let (scratch, _) = keystore();
        scratch.sql(sql);
        assert_tampered(&scratch, what);
    }
}

#[test]
fn an_old_record_put_back_is_noticed() {
    // Sealing alone does not notice it: the row was genuine once. A disabled key would come back to life.
    let (scratch, [key, _]) = keystore();
    scratch.sql("CREATE TABLE copy AS SELECT * FROM record");
    let kms = scratch.open();
    kms.disable_key(OPERATOR, &key).unwrap();
    drop(kms);
    scratch.sql("DELETE FROM record; INSERT INTO record SELECT * FROM copy");
    assert_tampered(&scratch, "an old record");
    scratch.sql("UPDATE keystore SET generation = generation - 1");
    assert_tampered(&scratch, "an old record and generation");
}

#[test]
fn a_trigger_in_the_schema_does_not_run() {
    let (scratch, [key, _]) = file();
    scratch.sql("CREATE TRIGGER evil AFTER UPDATE ON keystore BEGIN DELETE FROM record; END");
    let kms = scratch.open();
    kms.disable_key(OPERATOR, &key).unwrap();
    drop(kms);
    assert_eq!(scratch.open().list_keys(OPERATOR, Page::whole()).unwrap().items.len(), 2);
}

#[test]
fn tampering_while_in_use_stops_the_use_of_keys_within_a_second() {
    let (scratch, [key, _]) = file();
    scratch.sql("CREATE TABLE copy AS SELECT * FROM record");
    let kms = scratch.open();
    kms.disable_key(OPERATOR, &key).unwrap();
    scratch.sql("DELETE FROM record; INSERT INTO record SELECT * FROM copy");
    let outcome = || name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()));
    assert_eq!(outcome(), "DisabledException", "never did it come back to life");
    within_a_second("refusal", || outcome() == "KeyUnavailableException");
    assert_eq!(name(kms.enable_key(OPERATOR, &key)), "KMSInternalException", "nor can it be changed");
}

#[test]
fn a_keystore_that_goes_back_in_time_while_in_use_is_refused() {
    let (scratch, [key, _]) = keystore();
    scratch
        .sql("CREATE TABLE old_record AS SELECT * FROM record; CREATE TABLE old AS SELECT * FROM keystore");
    let kms = scratch.open();
    kms.disable_key(OPERATOR, &key).unwrap();
    // A restore in place.
    scratch.sql(
        "BEGIN; DELETE FROM record; INSERT INTO record SELECT * FROM old_record; DELETE FROM keystore; \
         INSERT INTO keystore SELECT * FROM old; COMMIT;",
    );
    within_a_second("refusal", || {
        name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context())) == "KeyUnavailableException"
    });
}

#[test]
fn a_keystore_that_is_replaced_or_removed_while_in_use_is_refused() {
    let (scratch, [key, _]) = file();
    let kms = scratch.open();
    let outcome = || name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()));
    let aside = scratch.directory.path().join("aside");
    std::fs::rename(scratch.path(), &aside).unwrap();
    within_a_second("refusal", || outcome() == "KeyUnavailableException");
    std::fs::rename(&aside, scratch.path()).unwrap();
    assert_eq!(outcome(), "ok", "the same file is back");
    std::fs::copy(scratch.path(), &aside).unwrap();
    std::fs::rename(&aside, scratch.path()).unwrap();
    within_a_second("refusal", || outcome() == "KeyUnavailableException");
}

#[test]
fn no_flipped_bit_gives_other_keys_or_a_panic() {
    let (scratch, _) = file();
    let expected = scratch.open().list_keys(OPERATOR, Page::whole()).unwrap().items;
    let whole = std::fs::read(scratch.path()).unwrap();
    // Every byte of the headers, a sample of the rest.
    let places = (0..150).chain((150..whole.len()).step_by(61));
    for at in places {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        std::fs::write(scratch.path(), &damaged).unwrap();
        match scratch.try_open() {
            // Unused space, statistics and the like.
            Ok(kms) => {
                assert_eq!(kms.list_keys(OPERATOR, Page::whole()).unwrap().items, expected, "byte {at}")
            }
            Err(_) => {
                assert!(std::fs::read(scratch.path()).unwrap() == damaged, "byte {at}: the file was changed");
            }
        }
        for rest in ["-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(format!("{}{rest}", scratch.path().display()));
        }
    }
}
