//! DeriveSharedSecret, Encapsulate, Decapsulate.

use super::*;
use crate::crypto::asymmetric::{KeyType, PrivateKey, PublicKey};

const ECDH: KeyAgreementAlgorithm = KeyAgreementAlgorithm::Ecdh;

#[test]
fn both_sides_derive_the_same_secret() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for (spec, key_type, length) in [
        (KeySpec::P256, KeyType::P256, 32),
        (KeySpec::P384, KeyType::P384, 48),
        (KeySpec::P521, KeyType::P521, 66),
    ] {
        let key = key_of(&kms, spec, KeyUsage::KeyAgreement);
        let public = kms.public_key(OPERATOR, &key).unwrap();
        assert_eq!(public.metadata.key_agreement_algorithms(), [ECDH]);
        let pkcs8 = PrivateKey::generate(key_type).unwrap();
        let outside = PrivateKey::from_pkcs8(key_type, pkcs8.expose()).unwrap();
        let shared = kms.derive_shared_secret(OPERATOR, &key, ECDH, outside.public_spki()).unwrap();
        assert_eq!(shared.secret.len(), length);
        assert_eq!(shared.secret, outside.agree(&public.spki).unwrap());
        assert_eq!((shared.key, shared.origin), (public.metadata.id, Origin::AwsKms));
    }
}

#[test]
fn a_public_key_of_another_curve_or_none_at_all_is_refused() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key_of(&kms, KeySpec::P256, KeyUsage::KeyAgreement);
    let own = kms.public_key(OPERATOR, &key).unwrap().spki;
    let other = key_of(&kms, KeySpec::P384, KeyUsage::KeyAgreement);
    let other = kms.public_key(OPERATOR, &other).unwrap().spki;
    let mut off_the_curve = own.clone();
    *off_the_curve.last_mut().unwrap() ^= 1;
    for peer in [&other[..], &off_the_curve, &own[1..], b"x", b"", &[0; 8193]] {
        let derived = kms.derive_shared_secret(OPERATOR, &key, ECDH, peer);
        assert_eq!(name(derived), "ValidationException");
    }
}

const ML_KEM: EncapsulationAlgorithm = EncapsulationAlgorithm::MlKem;

#[test]
fn what_is_encapsulated_for_a_key_decapsulates_with_it() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for (spec, length) in [(KeySpec::MlKem512, 768), (KeySpec::MlKem768, 1088), (KeySpec::MlKem1024, 1568)] {
        let [key, other] = [(); 2].map(|()| key_of(&kms, spec, KeyUsage::EncapsulateDecapsulate));
        let made = kms.encapsulate(OPERATOR, &key, ML_KEM).unwrap();
        assert_eq!((made.secret.len(), made.ciphertext.len()), (32, length));
        let opened = kms.decapsulate(OPERATOR, &key, ML_KEM, &made.ciphertext).unwrap();
        assert_eq!((opened.secret, opened.key), (made.secret, made.key));
        let wrong = kms.decapsulate(OPERATOR, &other, ML_KEM, &made.ciphertext).unwrap();
        assert_ne!(wrong.secret, kms.decapsulate(OPERATOR, &key, ML_KEM, &made.ciphertext).unwrap().secret);
        let cut = kms.decapsulate(OPERATOR, &key, ML_KEM, &made.ciphertext[1..]);
        assert_eq!(name(cut), "InvalidCiphertextException");

        let spki = kms.public_key(OPERATOR, &key).unwrap().spki;
        let outside = PublicKey::from_spki(spec.key_type().unwrap(), &spki).unwrap();
        let (ciphertext, secret) = outside.encapsulate().unwrap();
        assert_eq!(kms.decapsulate(OPERATOR, &key, ML_KEM, &ciphertext).unwrap().secret, secret);
    }
    let signing = key_of(&kms, KeySpec::P256, KeyUsage::SignVerify);
    assert_eq!(name(kms.encapsulate(OPERATOR, &signing, ML_KEM)), "InvalidKeyUsageException");
}
