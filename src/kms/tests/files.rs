//! The keystore as a file: what is refused, how, and that it stays as it was.

use super::*;
use keystore::Error;
use std::os::unix::fs::PermissionsExt;

/// A closed keystore with some keys.
fn keystore() -> Scratch {
    let scratch = Scratch::file();
    let kms = scratch.create();
    for i in 0..20 {
        kms.create_alias(OPERATOR, &format!("alias/{i}"), &key(&kms)).unwrap();
    }
    drop(kms);
    scratch
}

/// Opens, and checks that no file changed, came or went.
fn refused(scratch: &Scratch) -> Error {
    let before = scratch.content();
    let error = scratch.try_open().expect_err("it opened");
    assert!(scratch.content() == before, "{error}: but the files changed");
    error
}

#[test]
fn a_keystore_is_one_private_file() {
    let scratch = keystore();
    assert_eq!(scratch.content().len(), 1, "no log, no temporary file is left");
    let mode = std::fs::metadata(scratch.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kms = scratch.open();
    key(&kms);
    for path in scratch.content().keys() {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_keystore_is_made_once_with_its_directories() {
    let scratch = keystore();
    let before = scratch.content();
    let again = Kms::create(scratch.path(), &passphrase("other"), "", scratch.options());
    assert!(matches!(again, Err(Error::Exists(_))));
    assert!(scratch.content() == before);

    let deep = scratch.directory.path().join("a/b/keystore.db");
    Kms::create(&deep, &passphrase("x"), "", scratch.options()).unwrap();
    let mode = std::fs::metadata(deep.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_wrong_secret_changes_nothing() {
    let scratch = keystore();
    let before = scratch.content();
    let wrong = Kms::open(scratch.path(), &passphrase("wrong"), scratch.options());
    assert!(matches!(wrong, Err(Error::WrongPassphrase(_))));
    let wrong = Kms::open(scratch.path(), &Unlock::KeyFile(SecretBytes::zeroed(32)), scratch.options());
    assert!(matches!(wrong, Err(Error::WrongKeyFile(_))));
    assert!(scratch.content() == before);
}

#[test]
fn a_wrong_secret_leaves_the_log_of_a_killed_process_alone() {
    let scratch = keystore();
    let copy = Scratch::file();
    let kms = scratch.open();
    let key = key(&kms);
    for (path, content) in scratch.content() {
        if !path.to_string_lossy().ends_with("-shm") {
            std::fs::write(copy.directory.path().join(path.file_name().unwrap()), content).unwrap();
        }
    }
    let before = copy.content();
    assert_eq!(before.len(), 2, "the keystore and its log, as a crash leaves them");
    let wrong = Kms::open(copy.path(), &passphrase("wrong"), copy.options());
    assert!(matches!(wrong, Err(Error::WrongPassphrase(_))));
    let after = copy.content();
    assert!(before.iter().all(|(path, content)| after.get(path) == Some(content)));
    copy.open().describe_key(OPERATOR, &key).expect("what was committed is there after the crash");
}

#[test]
fn a_missing_keystore_stays_missing() {
    let scratch = Scratch::file();
    assert!(matches!(refused(&scratch), Error::Missing(_)));
    assert!(scratch.content().is_empty());
}

#[test]
fn a_truncated_keystore_is_told_from_a_foreign_one() {
    let scratch = keystore();
    let whole = std::fs::read(scratch.path()).unwrap();
    for length in [0, 1, 15, 16, 99, 100, 101, 4095, 4096, 4097, 8192, whole.len() - 4096, whole.len() - 1] {
        std::fs::write(scratch.path(), &whole[..length]).unwrap();
        assert!(matches!(refused(&scratch), Error::Truncated(_)), "cut to {length} bytes");
    }
    std::fs::write(scratch.path(), &whole).unwrap();
    scratch.open();
}

#[test]
fn a_foreign_file_is_recognised() {
    let scratch = Scratch::file();
    let png = b"\x89PNG\r\n\x1a\n".repeat(100);
    for content in [b"hello".as_slice(), &png, &[0; 8192], b"S", b"SQLite format 4\0"] {
        std::fs::write(scratch.path(), content).unwrap();
        let error = refused(&scratch);
        let could_be_cut = b"SQLite format 3\0".starts_with(content);
        assert!(matches!(error, Error::Truncated(_)) == could_be_cut, "{content:?}: {error}");
        assert!(matches!(error, Error::Foreign(_)) != could_be_cut, "{content:?}: {error}");
    }
    std::fs::remove_file(scratch.path()).unwrap();
    scratch.sql("CREATE TABLE bookmarks (url TEXT)");
    assert!(matches!(refused(&scratch), Error::Foreign(_)), "another program's database");
    let directory = Kms::open(scratch.directory.path(), &passphrase("x"), scratch.options());
    assert!(matches!(directory, Err(Error::Foreign(_))));
}

#[test]
fn a_newer_keystore_says_so() {
    let scratch = keystore();
    scratch.sql("PRAGMA user_version = 7");
    let error = refused(&scratch);
    assert!(matches!(error, Error::Newer { found: 7, known: 1..7, .. }));
    assert!(error.to_string().contains("format 7"), "{error}");
}

#[test]
fn a_truncated_keystore_with_a_log_is_refused_too() {
    let scratch = keystore();
    let copy = Scratch::file();
    let kms = scratch.open();
    kms.update_key_description(
        OPERATOR,
        &kms.list_keys(OPERATOR, Page::whole()).unwrap().items[0].id.to_string(),
        "new",
    )
    .unwrap();
    for (path, content) in scratch.content() {
        if !path.to_string_lossy().ends_with("-shm") {
            std::fs::write(copy.directory.path().join(path.file_name().unwrap()), content).unwrap();
        }
    }
    let whole = std::fs::read(copy.path()).unwrap();
    std::fs::write(copy.path(), &whole[..8192]).unwrap();
    let error = copy.try_open().expect_err("it opened");
    assert!(matches!(error, Error::Tampered { .. } | Error::Truncated(_)), "{error}");
    assert_eq!(std::fs::read(copy.path()).unwrap(), &whole[..8192]);
}
