//! An HSM keystore from its making to its opening.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::unsealing::{PATIENCE, Refused, Taken, Unsealing};
use super::*;
use crate::crypto::SecretBytes;
use crate::kms::keystore::Error as KeystoreError;
use crate::kms::{Call, CreateKey};
use std::time::{Duration, Instant};

const OPERATOR: &Call<'static> = &Call::operator();

fn location(directory: &tempfile::TempDir) -> Location {
    directory.path().join("keystore.db").into()
}

fn create(threshold: u8, custodians: u8) -> (tempfile::TempDir, Sealed, Vec<Labelled>) {
    let directory = tempfile::tempdir().unwrap();
    let (sealed, shares) =
        Sealed::create(&location(&directory), threshold, custodians, kms::Options::default()).unwrap();
    (directory, sealed, shares)
}

/// The same share, typed again.
fn typed(labelled: &Labelled) -> Labelled {
    let words = labelled.to_words();
    Labelled::from_words(std::str::from_utf8(words.expose()).unwrap()).unwrap()
}

fn unseal(sealed: &Sealed, shares: &[&Labelled]) -> Option<Secret> {
    let (mut unsealing, now) = (Unsealing::default(), Instant::now());
    shares.iter().find_map(|labelled| match unsealing.submit(sealed, typed(labelled), now).unwrap() {
        Taken::Complete(secret) => Some(secret),
        Taken::More { .. } => None,
    })
}

#[test]
fn custodians_open_what_was_made_for_them_and_find_their_keys() {
    let (_directory, sealed, shares) = create(2, 3);
    let secret = unseal(&sealed, &[&shares[2], &shares[0]]).unwrap();
    let kms = sealed.open(&secret, kms::Options::default()).unwrap();
    let key = kms.create_key(OPERATOR, CreateKey::default()).unwrap();
    drop(kms);
    let secret = unseal(&sealed, &[&shares[0], &shares[1]]).unwrap();
    let kms = sealed.open(&secret, kms::Options::default()).unwrap();
    assert_eq!(kms.describe_key(OPERATOR, &key.id.to_string()).unwrap().id, key.id);
    assert!(unseal(&sealed, &[&shares[0], &shares[0]]).is_none(), "one custodian twice");
}

#[test]
fn nothing_else_opens_it_and_nothing_else_can_be_made_to() {
    let (directory, sealed, shares) = create(2, 2);
    let passphrase = Unlock::Passphrase(SecretBytes::from("passphrase".to_owned()));
    let opened = Kms::open(location(&directory), &passphrase, kms::Options::default());
    assert!(matches!(opened, Err(KeystoreError::QuorumOnly(_))));
    let other = unlock_of(&Secret::random(), &sealed);
    let opened = Kms::open(location(&directory), &other, kms::Options::default());
    assert!(matches!(opened, Err(KeystoreError::WrongShares(_))));

    let secret = unseal(&sealed, &[&shares[0], &shares[1]]).unwrap();
    let kms = sealed.open(&secret, kms::Options::default()).unwrap();
    assert!(matches!(kms.add_slot(&passphrase, ""), Err(KeystoreError::QuorumOnly(_))));
    assert!(matches!(kms.change_slot(1, &passphrase), Err(KeystoreError::QuorumOnly(_))));
    assert!(matches!(kms.remove_slot(1), Err(KeystoreError::LastSlot(1))));
}

fn unlock_of(secret: &Secret, sealed: &Sealed) -> Unlock {
    sealed.unlock(secret)
}

#[test]
fn a_keystore_with_other_slots_is_no_hsm() {
    let directory = tempfile::tempdir().unwrap();
    let key_file = Unlock::create_key_file(&directory.path().join("key")).unwrap();
    drop(Kms::create(location(&directory), &key_file, "", kms::Options::default()).unwrap());
    assert!(matches!(Sealed::find(&location(&directory)), Err(Error::NotAnHsm(_))));
    let again = Sealed::create(&location(&directory), 2, 3, kms::Options::default());
    assert!(matches!(again, Err(Error::Keystore(KeystoreError::Exists(_)))));
}

#[test]
fn what_is_public_of_the_quorum_cannot_be_changed_unnoticed() {
    let (directory, _, _) = create(2, 3);
    let database = rusqlite::Connection::open(directory.path().join("keystore.db")).unwrap();
    for change in [
        "UPDATE slot SET passes = 1",
        "UPDATE slot SET lanes = 5",
        "UPDATE slot SET memory_kib = 1",
        "UPDATE quorum SET verifier = zeroblob(66)",
        "DELETE FROM quorum",
    ] {
        let before = std::fs::read(directory.path().join("keystore.db")).unwrap();
        database.execute_batch("BEGIN").unwrap();
        database.execute_batch(change).unwrap();
        database.execute_batch("COMMIT").unwrap();
        let found = Sealed::find(&location(&directory));
        assert!(matches!(found, Err(Error::Keystore(KeystoreError::Tampered { .. }))), "{change}: {found:?}");
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        std::fs::write(directory.path().join("keystore.db"), before).unwrap();
    }
}

#[test]
fn a_share_that_is_none_is_named_and_the_others_stay() {
    let (_directory, sealed, shares) = create(3, 5);
    let (_elsewhere, _, foreign) = create(2, 3);
    let (mut unsealing, now) = (Unsealing::default(), Instant::now());
    unsealing.submit(&sealed, typed(&shares[3]), now).unwrap();
    let refused = unsealing.submit(&sealed, typed(&foreign[0]), now).unwrap_err();
    assert_eq!(refused, Refused::Elsewhere(foreign[0].keystore));
    let old = Labelled { set: 7, ..typed(&shares[0]) };
    assert_eq!(unsealing.submit(&sealed, old, now).unwrap_err(), Refused::Old { found: 7, current: 0 });
    let mut forged = typed(&shares[0]);
    forged.share.index = 2;
    let refused = unsealing.submit(&sealed, forged, now).unwrap_err();
    assert_eq!(refused, Refused::Share(shares::Error::Forged(2)));
    assert_eq!(unsealing.custodians(), [4]);
}

#[test]
fn wrong_shares_are_slowed_down_and_good_ones_are_forgotten_in_time() {
    let (_directory, sealed, shares) = create(2, 3);
    let (mut unsealing, now) = (Unsealing::default(), Instant::now());
    let wrong = |unsealing: &mut Unsealing, at| {
        let mut forged = typed(&shares[0]);
        forged.share.index = 2;
        unsealing.submit(&sealed, forged, at).unwrap_err()
    };
    for _ in 0..4 {
        assert_eq!(wrong(&mut unsealing, now), Refused::Share(shares::Error::Forged(2)));
    }
    assert_eq!(wrong(&mut unsealing, now), Refused::Wait(2));
    let good = unsealing.submit(&sealed, typed(&shares[0]), now);
    assert!(matches!(good, Err(Refused::Wait(_))), "nobody gets around it");
    let later = now + Duration::from_secs(3);
    unsealing.submit(&sealed, typed(&shares[0]), later).unwrap();
    assert_eq!(unsealing.left(later), Some(PATIENCE));
    let much_later = later + PATIENCE;
    match unsealing.submit(&sealed, typed(&shares[1]), much_later).unwrap() {
        Taken::More { have, need } => assert_eq!((have, need), (vec![2], 2)),
        Taken::Complete(_) => panic!("the first share was too old"),
    }
}

/// Takes the shares, then has them open the keystore.
fn adopt(new: NewShares, kms: Kms) -> (Sealed, Vec<Labelled>) {
    let shares = new.shares().iter().map(typed).collect();
    (new.adopt(kms, None).unwrap(), shares)
}

fn open(sealed: &Sealed, secret: &Secret) -> Result<Kms, Error> {
    sealed.open(secret, kms::Options::default())
}

#[test]
fn with_a_new_root_key_a_quorum_of_old_shares_opens_old_copies_alone() {
    let (directory, sealed, old) = create(2, 3);
    let secret = || unseal(&sealed, &[&old[0], &old[1]]).unwrap();
    let kms = open(&sealed, &secret()).unwrap();
    let key = kms.create_key(OPERATOR, CreateKey::default()).unwrap();
    drop(kms);
    let copy = directory.path().join("copy.db");
    std::fs::copy(directory.path().join("keystore.db"), &copy).unwrap();

    let (fresh, new) = adopt(sealed.rekey(3, 4).unwrap(), open(&sealed, &secret()).unwrap());
    assert_eq!((fresh.fingerprint(), fresh.set()), (sealed.fingerprint(), 1));
    let opened = unseal(&fresh, &[&new[3], &new[0], &new[2]]).unwrap();
    let kms = open(&fresh, &opened).unwrap();
    assert_eq!(kms.describe_key(OPERATOR, &key.id.to_string()).unwrap().id, key.id);
    drop(kms);

    let refused = open(&sealed, &secret());
    assert!(matches!(refused, Err(Error::Keystore(KeystoreError::WrongShares(_)))), "{refused:?}");
    let refused = open(&fresh, &secret());
    assert!(matches!(refused, Err(Error::Keystore(KeystoreError::WrongShares(_)))), "{refused:?}");
    let before = Sealed::find(&Location::from(copy)).unwrap();
    assert!(open(&before, &secret()).is_ok(), "the copy is what it was");
}

#[test]
fn new_shares_change_nothing_before_they_are_adopted_and_one_set_of_them_is() {
    let (_directory, sealed, old) = create(2, 3);
    let secret = || unseal(&sealed, &[&old[0], &old[1]]).unwrap();
    let [first, second] = [(); 2].map(|()| sealed.rekey(2, 3).unwrap());
    let third = sealed.refresh(secret(), 2, 3).unwrap();
    let kms = [(); 3].map(|()| open(&sealed, &secret()).unwrap());
    let [one, two, three] = kms;
    first.adopt(one, None).unwrap();
    for (late, kms) in [(second, two), (third, three)] {
        let refused = late.adopt(kms, None).unwrap_err().to_string();
        assert!(refused.contains("has another root key"), "{refused}");
    }
}

#[test]
fn new_shares_open_it_old_ones_are_called_old_and_do_not_mix() {
    let (_directory, sealed, old) = create(2, 3);
    let secret = unseal(&sealed, &[&old[0], &old[1]]).unwrap();
    let kms = sealed.open(&secret, kms::Options::default()).unwrap();
    let (fresh, new) = adopt(sealed.refresh(secret, 3, 4).unwrap(), kms);
    assert_eq!((fresh.set(), fresh.quorum().threshold(), new.len()), (1, 3, 4));
    let secret = unseal(&fresh, &[&new[3], &new[0], &new[2]]).unwrap();
    fresh.open(&secret, kms::Options::default()).unwrap();

    let (mut unsealing, now) = (Unsealing::default(), Instant::now());
    let refused = unsealing.submit(&fresh, typed(&old[0]), now).unwrap_err();
    assert_eq!(refused, Refused::Old { found: 0, current: 1 });
    // Whoever changes the label is told by the commitments.
    let relabelled = Labelled { set: 1, ..typed(&old[0]) };
    let refused = unsealing.submit(&fresh, relabelled, now).unwrap_err();
    assert_eq!(refused, Refused::Share(shares::Error::Forged(1)));
}
