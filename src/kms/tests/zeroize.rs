//! The end of a keystore.

use super::custodians::{create, open, quorum};
use super::*;
use keystore::Error as KeystoreError;

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
