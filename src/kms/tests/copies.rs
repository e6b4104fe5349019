//! Copies of a keystore that stays locked, and their way back.

use super::custodians::{create, open, quorum};
use super::*;
use keystore::Error as KeystoreError;

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
