//! Shred secrets: made, had, destroyed, and gone.

use super::*;
use crate::kms::keystore::Error as KeystoreError;
use std::fs;
use std::path::Path;

fn make(kms: &Kms, key: &str, count: usize) -> Vec<(SecretId, Key)> {
    kms.create_secrets(FILESYSTEM, key, count, &context()).unwrap()
}

fn ids(made: &[(SecretId, Key)]) -> Vec<SecretId> {
    made.iter().map(|(id, _)| *id).collect()
}

#[test]
fn secrets_outlive_the_process_and_all_differ() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let made = make(&kms, &key(&kms), 70);
    drop(kms);
    let kms = scratch.open();
    let distinct: std::collections::HashSet<_> = made.iter().map(|(_, secret)| *secret.expose()).collect();
    assert_eq!(distinct.len(), 70);
    for (id, secret) in &made {
        assert_eq!(kms.get_secret(FILESYSTEM, *id, &context()).unwrap(), *secret);
    }
}

#[test]
fn a_destroyed_secret_is_gone_for_every_process_and_the_others_stay() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let made = make(&kms, &key(&kms), 5);
    let other = scratch.open();
    other.get_secret(FILESYSTEM, made[1].0, &context()).unwrap();
    let before = other.generation();
    assert_eq!(kms.destroy_secrets(FILESYSTEM, &[made[1].0, made[3].0, made[1].0]).unwrap(), 2);
    assert_eq!(kms.destroy_secrets(FILESYSTEM, &[made[1].0]).unwrap(), 0, "it is gone already");
    within_a_second("the other process notices", || other.generation() > before);
    for kms in [&kms, &other] {
        for (number, (id, secret)) in made.iter().enumerate() {
            let found = kms.get_secret(FILESYSTEM, *id, &context());
            match number {
                1 | 3 => assert_eq!(name(found), "NotFoundException"),
                _ => assert_eq!(found.unwrap(), *secret),
            }
        }
    }
    kms.destroy_secrets(FILESYSTEM, &ids(&made)).unwrap();
    drop((kms, other));
    let reopened = scratch.open();
    assert!(
        made.iter()
            .all(|(id, _)| name(reopened.get_secret(FILESYSTEM, *id, &context())) == "NotFoundException")
    );
}

#[test]
fn making_secrets_is_no_change_that_empties_caches() {
    let scratch = Scratch::new();
    let (kms, key) = {
        let kms = scratch.create();
        let key = key(&kms);
        (kms, key)
    };
    let before = kms.generation();
    let made = make(&kms, &key, 3);
    assert_eq!(kms.generation(), before);
    kms.destroy_secrets(FILESYSTEM, &[made[0].0]).unwrap();
    assert!(kms.generation() > before);
}

#[test]
fn a_secret_is_for_its_context_and_those_who_may_decrypt() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let id = key(&kms);
    let made = make(&kms, &id, 1)[0].0;
    let other = EncryptionContext::new().with("volume", "another");
    assert_eq!(name(kms.get_secret(FILESYSTEM, made, &other)), "InvalidCiphertextException");
    let unknown = SecretId::from_bytes([7; 16]);
    assert_eq!(name(kms.get_secret(FILESYSTEM, unknown, &context())), "NotFoundException");

    kms.disable_key(OPERATOR, &id).unwrap();
    assert_eq!(name(kms.get_secret(FILESYSTEM, made, &context())), "DisabledException");
    assert_eq!(name(kms.create_secrets(FILESYSTEM, &id, 1, &context())), "DisabledException");
    assert_eq!(kms.destroy_secrets(FILESYSTEM, &[made]).unwrap(), 1, "a disabled key keeps no secret alive");
}

#[test]
fn to_destroy_a_secret_takes_a_right_of_its_own() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let id = key(&kms);
    let made = make(&kms, &id, 2);
    let alice = call_of(&kms, &principal(&kms, "user/alice"));
    let allow = |actions: &str| {
        let statement = format!(
            r#"{{"Effect": "Allow", "Principal": {{"AWS": "arn:aws:iam::000000000000:user/alice"}}, "Action": {actions}, "Resource": "*"}}"#
        );
        kms.put_key_policy(OPERATOR, &id, None, &policy(&[&statement]), true).unwrap();
    };
    allow(r#""kms:*""#);
    kms.get_secret(&alice, made[0].0, &context()).unwrap();
    assert_eq!(name(kms.destroy_secrets(&alice, &[made[0].0])), "AccessDeniedException");
    allow(r#""kmsfs:DestroySecret""#);
    assert_eq!(name(kms.get_secret(&alice, made[0].0, &context())), "AccessDeniedException");
    assert_eq!(
        kms.destroy_secrets(&Call { dry_run: true, ..alice.clone() }, &[made[0].0]).unwrap_err().name(),
        "DryRunOperationException"
    );
    assert_eq!(kms.destroy_secrets(&alice, &[made[0].0]).unwrap(), 1);
}

#[test]
fn secrets_go_with_their_last_key_and_not_before() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (old, new) = (key(&kms), key(&kms));
    let (bound, alone) = (make(&kms, &old, 1)[0].0, make(&kms, &old, 1)[0].0);
    kms.bind_secrets(FILESYSTEM, &[bound], &new, &context()).unwrap();
    let own = [("KMSInvalidStateException", "ok"), ("NotFoundException", "KMSInvalidStateException")];
    for (id, (of_old, of_both)) in [&old, &new].into_iter().zip(own) {
        kms.schedule_key_deletion(OPERATOR, id, 7).unwrap();
        assert_eq!(name(kms.get_secret(FILESYSTEM, alone, &context())), of_old);
        assert_eq!(name(kms.get_secret(FILESYSTEM, bound, &context())), of_both);
        scratch.pass(8);
        kms.core.run_due().unwrap();
    }
    for id in [bound, alone] {
        assert_eq!(name(kms.get_secret(FILESYSTEM, id, &context())), "NotFoundException");
    }
}

#[test]
fn a_call_is_about_a_bounded_number_of_secrets() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let id = key(&kms);
    for count in [0, SECRETS_MAX + 1] {
        assert_eq!(name(kms.create_secrets(FILESYSTEM, &id, count, &context())), "ValidationException");
    }
    assert_eq!(make(&kms, &id, SECRETS_MAX).len(), SECRETS_MAX);
}

#[test]
fn a_destroyed_secret_that_is_put_back_stays_dead() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let made = make(&kms, &key(&kms), 3);
    scratch.sql(
        "CREATE TABLE old_secret AS SELECT * FROM secret; CREATE TABLE old_record AS SELECT * FROM record",
    );
    kms.destroy_secrets(FILESYSTEM, &[made[1].0]).unwrap();
    drop(kms);
    scratch.sql("DELETE FROM secret; INSERT INTO secret SELECT * FROM old_secret");
    let kms = scratch.open();
    assert_eq!(name(kms.get_secret(FILESYSTEM, made[1].0, &context())), "NotFoundException");
    kms.get_secret(FILESYSTEM, made[0].0, &context()).unwrap();
    drop(kms);
    scratch.sql("DELETE FROM record; INSERT INTO record SELECT * FROM old_record");
    assert!(matches!(scratch.try_open(), Err(KeystoreError::Tampered { .. })), "the batch's old record");
}

#[test]
fn a_secret_that_was_removed_or_exchanged_is_noticed_when_it_is_asked_for() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let made = make(&kms, &key(&kms), 2);
    scratch.sql("UPDATE secret SET sealed = (SELECT sealed FROM secret WHERE number = 1)");
    assert_eq!(name(kms.get_secret(FILESYSTEM, made[0].0, &context())), "KMSInternalException");
    kms.get_secret(FILESYSTEM, made[1].0, &context()).unwrap();
    scratch.sql("DELETE FROM secret");
    assert_eq!(name(kms.get_secret(FILESYSTEM, made[1].0, &context())), "KMSInternalException");
}

/// Whether any of the keystore's files holds `bytes`.
fn is_on_disk(path: &Path, bytes: &[u8]) -> bool {
    let files = fs::read_dir(path.parent().unwrap()).unwrap();
    files
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .any(|file| file.windows(bytes.len()).any(|w| w == bytes))
}

#[test]
fn destroyed_secrets_are_in_none_of_the_keystores_files() {
    let scratch = Scratch::file();
    let kms = scratch.create();
    let key = key(&kms);
    let made: Vec<_> = (0..6).flat_map(|_| make(&kms, &key, 100)).collect();
    let Location::File(path) = kms.location() else { panic!("a file was asked for") };
    let rows = || -> Vec<(Vec<u8>, Vec<u8>)> {
        let database = rusqlite::Connection::open(path).unwrap();
        let mut statement = database.prepare("SELECT batch, number, sealed FROM secret").unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            let (mut id, number, sealed): (Vec<u8>, u32, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            id.extend(number.to_be_bytes());
            Ok((id, sealed))
        };
        let rows = statement.query_map([], row).unwrap();
        rows.map(rusqlite::Result::unwrap).collect()
    };
    let before = rows();
    assert!(before.iter().all(|(_, sealed)| is_on_disk(path, sealed)));
    let doomed: Vec<SecretId> = made.iter().map(|(id, _)| *id).step_by(3).collect();
    assert_eq!(kms.destroy_secrets(FILESYSTEM, &doomed).unwrap(), doomed.len());
    for (id, sealed) in &before {
        let is_doomed = doomed.iter().any(|doomed| doomed.as_bytes()[..] == id[..]);
        // Half of it would be enough of a clue for nobody, and is not there either.
        assert_eq!(is_on_disk(path, &sealed[sealed.len() / 2..]), !is_doomed);
    }
    assert_eq!(rows().len(), before.len() - doomed.len());
}
