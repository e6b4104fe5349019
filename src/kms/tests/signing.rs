//! Signatures and MACs: every algorithm, what it takes, and what does not verify.

use super::*;
use crate::crypto::asymmetric::{Message, PublicKey, SignatureScheme};

/// A signing key of each spec. RSA-3072 and RSA-4096 take seconds to make, and differ from RSA-2048 in length only.
const SPECS: [KeySpec; 9] = [
    KeySpec::Rsa2048,
    KeySpec::P256,
    KeySpec::P384,
    KeySpec::P521,
    KeySpec::Secp256k1,
    KeySpec::Ed25519,
    KeySpec::MlDsa44,
    KeySpec::MlDsa65,
    KeySpec::MlDsa87,
];

fn digest(length: usize, of: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
    let algorithm = match length {
        32 => &SHA256,
        48 => &SHA384,
        _ => &SHA512,
    };
    digest(algorithm, of).as_ref().to_vec()
}

fn raw(algorithm: SigningAlgorithm, message: &[u8]) -> ToSign<'_> {
    ToSign { message_type: MessageType::Raw, message, algorithm }
}

fn external_mu(algorithm: SigningAlgorithm, message: &[u8]) -> ToSign<'_> {
    ToSign { message_type: MessageType::ExternalMu, message, algorithm }
}

fn digested(algorithm: SigningAlgorithm, message: &[u8]) -> ToSign<'_> {
    ToSign { message_type: MessageType::Digest, message, algorithm }
}

#[test]
fn every_algorithm_signs_and_verifies_here_and_with_the_public_key_alone() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for spec in SPECS {
        let key = key_of(&kms, spec, KeyUsage::SignVerify);
        let public = kms.public_key(OPERATOR, &key).unwrap();
        assert_eq!(public.metadata.signing_algorithms(), spec.signing_algorithms());
        let outside = PublicKey::from_spki(spec.key_type().unwrap(), &public.spki).unwrap();
        for &algorithm in spec.signing_algorithms() {
            let length = algorithm.digest_len();
            let hashed = length.map(|length| digest(length, b"message"));
            let mut all = Vec::new();
            if algorithm != SigningAlgorithm::Ed25519ph {
                all.push(raw(algorithm, b"message"));
            }
            all.extend(hashed.as_deref().map(|hashed| digested(algorithm, hashed)));
            for signed in &all {
                let made = kms.sign(OPERATOR, &key, signed).unwrap();
                assert_eq!(made.key, public.metadata.id);
                // A message and its digest are the same to an algorithm that hashes.
                for verified in &all {
                    kms.verify(OPERATOR, &key, verified, &made.signature).unwrap();
                }
                let scheme = algorithm.scheme();
                let message = match scheme {
                    // AWS KMS hashes the digest once more.
                    SignatureScheme::Ed25519ph => Message::Raw(hashed.as_deref().unwrap()),
                    _ => Message::Raw(b"message"),
                };
                outside.verify(scheme, message, &made.signature).unwrap();
            }
        }
    }
}

#[test]
fn what_was_not_signed_does_not_verify() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for spec in SPECS {
        let key = key_of(&kms, spec, KeyUsage::SignVerify);
        for &algorithm in spec.signing_algorithms() {
            let hashed = digest(algorithm.digest_len().unwrap_or(64), b"message");
            let signed = match algorithm {
                SigningAlgorithm::Ed25519ph => digested(algorithm, &hashed),
                _ => raw(algorithm, b"message"),
            };
            let made = kms.sign(OPERATOR, &key, &signed).unwrap().signature;
            let outcome =
                |signed: &ToSign<'_>, signature: &[u8]| name(kms.verify(OPERATOR, &key, signed, signature));
            assert_eq!(outcome(&signed, &made), "ok");
            let other = digest(hashed.len(), b"another message");
            let mut wrong = vec![ToSign { message: &other, ..signed }];
            // The signature of a message is not that of its digest taken for a message.
            if algorithm != SigningAlgorithm::Ed25519ph {
                wrong.push(raw(algorithm, &hashed));
            }
            for wrong in &wrong {
                assert_eq!(outcome(wrong, &made), "KMSInvalidSignatureException", "{algorithm}");
            }
            let mut altered = made.clone();
            *altered.last_mut().unwrap() ^= 1;
            for signature in [&altered[..], &made[1..], &[made.clone(), vec![0]].concat(), b"x"] {
                assert_eq!(outcome(&signed, signature), "KMSInvalidSignatureException", "{algorithm}");
            }
            let error = kms.verify(OPERATOR, &key, &signed, &altered).unwrap_err();
            assert_eq!(error.public_message(), None, "AWS KMS does not say why");
        }
    }
}

#[test]
fn another_algorithm_of_the_same_key_does_not_verify() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key_of(&kms, KeySpec::Rsa2048, KeyUsage::SignVerify);
    let all = KeySpec::Rsa2048.signing_algorithms();
    for &signed in all {
        let made = kms.sign(OPERATOR, &key, &raw(signed, b"message")).unwrap().signature;
        for &verified in all.iter().filter(|verified| **verified != signed) {
            let outcome = name(kms.verify(OPERATOR, &key, &raw(verified, b"message"), &made));
            assert_eq!(outcome, "KMSInvalidSignatureException", "{signed} as {verified}");
        }
    }
}

#[test]
fn a_digest_has_the_length_of_its_hash() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for spec in [KeySpec::Rsa2048, KeySpec::P256, KeySpec::P384, KeySpec::P521, KeySpec::Ed25519] {
        let key = key_of(&kms, spec, KeyUsage::SignVerify);
        for &algorithm in spec.signing_algorithms() {
            let Some(length) = algorithm.digest_len() else { continue };
            for wrong in [1, length - 1, length + 1, 100] {
                let bytes = vec![7; wrong];
                let signed = digested(algorithm, &bytes);
                let expected = format!("Digest is invalid length for algorithm {algorithm}.");
                for error in [
                    kms.sign(OPERATOR, &key, &signed).unwrap_err(),
                    kms.verify(OPERATOR, &key, &signed, &[0; 64]).unwrap_err(),
                ] {
                    assert_eq!((error.name(), error.to_string()), ("ValidationException", expected.clone()));
                }
            }
        }
    }
}

#[test]
fn a_message_type_that_the_algorithm_does_not_take_is_refused() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let ed25519 = key_of(&kms, KeySpec::Ed25519, KeyUsage::SignVerify);
    let ml_dsa = key_of(&kms, KeySpec::MlDsa44, KeyUsage::SignVerify);
    let message = [7; 64];
    for (key, signed) in [
        (&ed25519, digested(SigningAlgorithm::Ed25519, &message)),
        (&ed25519, raw(SigningAlgorithm::Ed25519ph, &message)),
        (&ml_dsa, digested(SigningAlgorithm::MlDsa, &message)),
        (&ml_dsa, external_mu(SigningAlgorithm::MlDsa, &message[1..])),
        (&ed25519, external_mu(SigningAlgorithm::Ed25519, &message)),
    ] {
        assert_eq!(name(kms.sign(OPERATOR, key, &signed)), "ValidationException", "{signed:?}");
    }
    let mu = external_mu(SigningAlgorithm::MlDsa, &message);
    let made = kms.sign(OPERATOR, &ml_dsa, &mu).unwrap().signature;
    kms.verify(OPERATOR, &ml_dsa, &mu, &made).unwrap();
    let as_message = kms.verify(OPERATOR, &ml_dsa, &raw(SigningAlgorithm::MlDsa, &message), &made);
    assert_eq!(name(as_message), "KMSInvalidSignatureException");
}

#[test]
fn messages_have_1_to_4096_bytes() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key_of(&kms, KeySpec::P256, KeyUsage::SignVerify);
    let hmac = key_of(&kms, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac);
    for (length, expected) in [(0, "ValidationException"), (4096, "ok"), (4097, "ValidationException")] {
        let message = vec![7; length];
        let signed = raw(SigningAlgorithm::EcdsaSha256, &message);
        assert_eq!(name(kms.sign(OPERATOR, &key, &signed)), expected);
        assert_eq!(name(kms.generate_mac(OPERATOR, &hmac, &message, MacAlgorithm::HmacSha256)), expected);
    }
}

#[test]
fn macs_verify_under_their_key_and_algorithm_alone() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for (spec, length) in
        [(KeySpec::Hmac224, 28), (KeySpec::Hmac256, 32), (KeySpec::Hmac384, 48), (KeySpec::Hmac512, 64)]
    {
        let algorithm = spec.mac_algorithm().unwrap();
        let [key, other] = [(); 2].map(|()| key_of(&kms, spec, KeyUsage::GenerateVerifyMac));
        let mac = kms.generate_mac(OPERATOR, &key, b"message", algorithm).unwrap().mac;
        assert_eq!(mac.len(), length);
        let outcome = |key: &str, message: &[u8], mac: &[u8]| {
            name(kms.verify_mac(OPERATOR, key, message, algorithm, mac))
        };
        assert_eq!(outcome(&key, b"message", &mac), "ok");
        let mut altered = mac.clone();
        altered[0] ^= 1;
        for (key, message, mac) in [
            (&key, &b"another"[..], &mac[..]),
            (&other, b"message", &mac),
            (&key, b"message", &altered),
            (&key, b"message", &mac[..length - 1]),
        ] {
            assert_eq!(outcome(key, message, mac), "KMSInvalidMacException");
        }
        let error = kms.verify_mac(OPERATOR, &key, b"message", algorithm, &altered).unwrap_err();
        assert_eq!(error.public_message(), None);
        scratch.open().verify_mac(OPERATOR, &key, b"message", algorithm, &mac).unwrap();
    }
}

#[test]
fn private_keys_are_parsed_once_and_forgotten_with_their_material() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key_of(&kms, KeySpec::P256, KeyUsage::SignVerify);
    let signed = raw(SigningAlgorithm::EcdsaSha256, b"message");
    for _ in 0..3 {
        kms.sign(OPERATOR, &key, &signed).unwrap();
    }
    assert_eq!(kms.core.key_pairs.len(), 1);
    kms.update_key_description(OPERATOR, &key, "changed").unwrap();
    kms.core.key_pairs.sweep();
    assert_eq!(kms.core.key_pairs.len(), 1, "its material is what it was");
    kms.schedule_key_deletion(OPERATOR, &key, 7).unwrap();
    scratch.pass(7);
    kms.core.run_due().unwrap();
    kms.core.key_pairs.sweep();
    assert_eq!(kms.core.key_pairs.len(), 0);
}
