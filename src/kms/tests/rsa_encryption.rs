//! Encrypt, Decrypt and ReEncrypt under RSA keys, and data key pairs.

use super::*;
use crate::crypto::asymmetric::{OaepHash, PrivateKey, PublicKey};

const SHA1: EncryptionAlgorithm = EncryptionAlgorithm::RsaesOaepSha1;
const SHA256: EncryptionAlgorithm = EncryptionAlgorithm::RsaesOaepSha256;

fn nothing() -> EncryptionContext {
    EncryptionContext::new()
}

#[test]
fn what_the_public_key_encrypts_decrypts() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key_of(&kms, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt);
    let public = kms.public_key(OPERATOR, &key).unwrap();
    assert_eq!(public.metadata.encryption_algorithms(), [SHA1, SHA256]);
    let outside = PublicKey::from_spki(KeySpec::Rsa2048.key_type().unwrap(), &public.spki).unwrap();
    for (algorithm, hash, other) in [(SHA1, OaepHash::Sha1, SHA256), (SHA256, OaepHash::Sha256, SHA1)] {
        let here = kms.encrypt(OPERATOR, &key, algorithm, b"secret", &nothing()).unwrap();
        assert_eq!((here.blob.len(), here.material_id), (256, None), "RFC 8017 and nothing more");
        for blob in [here.blob, outside.encrypt_oaep(hash, b"secret").unwrap()] {
            let opened = kms.decrypt(OPERATOR, Some(&key), algorithm, &blob, &nothing()).unwrap();
            assert_eq!((opened.plaintext.expose(), opened.key), (&b"secret"[..], public.metadata.id));
            let wrong = kms.decrypt(OPERATOR, Some(&key), other, &blob, &nothing());
            assert_eq!(name(wrong), "InvalidCiphertextException");
        }
    }
}

#[test]
fn an_rsa_ciphertext_needs_its_key_named_and_no_context() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let [key, other] = [(); 2].map(|()| key_of(&kms, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt));
    let blob = kms.encrypt(OPERATOR, &key, SHA256, b"secret", &nothing()).unwrap().blob;
    let outcome = |key: Option<&str>, algorithm, blob: &[u8], context: &EncryptionContext| {
        name(kms.decrypt(OPERATOR, key, algorithm, blob, context))
    };
    assert_eq!(outcome(None, SHA256, &blob, &nothing()), "ValidationException");
    assert_eq!(outcome(Some(&key), SHA256, &blob, &context()), "ValidationException");
    assert_eq!(outcome(Some(&other), SHA256, &blob, &nothing()), "InvalidCiphertextException");
    assert_eq!(outcome(Some(&key), SYMMETRIC, &blob, &nothing()), "InvalidCiphertextException");
    for cut in [&blob[1..], &blob[..255], b"", &[blob.clone(), vec![0]].concat()] {
        assert_eq!(outcome(Some(&key), SHA256, cut, &nothing()), "InvalidCiphertextException");
    }
    assert_eq!(name(kms.encrypt(OPERATOR, &key, SHA256, b"x", &context())), "ValidationException");
    let symmetric = super::key(&kms);
    let own = kms.encrypt(OPERATOR, &symmetric, SYMMETRIC, b"x", &nothing()).unwrap().blob;
    assert_eq!(outcome(Some(&symmetric), SHA256, &own, &nothing()), "InvalidKeyUsageException");
    assert_eq!(outcome(Some(&key), SYMMETRIC, &own, &nothing()), "IncorrectKeyException");
}

#[test]
fn rsa_encrypts_as_much_as_fits() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key_of(&kms, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt);
    for (algorithm, most) in [(SHA1, 214), (SHA256, 190)] {
        kms.encrypt(OPERATOR, &key, algorithm, &vec![7; most], &nothing()).unwrap();
        let error = kms.encrypt(OPERATOR, &key, algorithm, &vec![7; most + 1], &nothing()).unwrap_err();
        let expected = format!(
            "Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {most} bytes."
        );
        assert_eq!((error.name(), error.to_string()), ("ValidationException", expected));
    }
}

#[test]
fn re_encryption_goes_between_symmetric_and_rsa_keys() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (symmetric, rsa) = (key(&kms), key_of(&kms, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt));
    let blob = kms.encrypt(OPERATOR, &symmetric, SYMMETRIC, b"secret", &context()).unwrap().blob;
    let to_rsa = ReEncrypt {
        blob: &blob,
        source_key: None,
        source_algorithm: SYMMETRIC,
        source_context: &context(),
        destination_key: &rsa,
        destination_algorithm: SHA256,
        destination_context: &nothing(),
    };
    let moved = kms.re_encrypt(OPERATOR, &to_rsa).unwrap();
    assert!(moved.source_material_id.is_some() && moved.encrypted.material_id.is_none());
    let back = ReEncrypt {
        blob: &moved.encrypted.blob,
        source_key: Some(&rsa),
        source_algorithm: SHA256,
        source_context: &nothing(),
        destination_key: &symmetric,
        destination_algorithm: SYMMETRIC,
        destination_context: &context(),
    };
    let returned = kms.re_encrypt(OPERATOR, &back).unwrap();
    let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &returned.encrypted.blob, &context()).unwrap();
    assert_eq!(opened.plaintext.expose(), b"secret");
    assert_eq!(
        name(kms.re_encrypt(OPERATOR, &ReEncrypt { source_key: None, ..back.clone() })),
        "ValidationException"
    );
    let with_context = ReEncrypt { destination_context: &context(), ..to_rsa };
    assert_eq!(name(kms.re_encrypt(OPERATOR, &with_context)), "ValidationException");
}

#[test]
fn data_key_pairs_of_every_spec_unwrap_to_what_was_handed_out() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    for spec in KeySpec::ALL {
        let key_type = spec.key_type();
        // As for signing keys, RSA-2048 stands for all lengths.
        if matches!(spec, KeySpec::Rsa3072 | KeySpec::Rsa4096) {
            continue;
        }
        let made = kms.generate_data_key_pair(OPERATOR, &key, *spec, &context());
        if !spec.is_data_key_pair() {
            assert_eq!(name(made), "ValidationException", "{spec}");
            continue;
        }
        let made = made.unwrap();
        let private = PrivateKey::from_pkcs8(key_type.unwrap(), made.private_key.expose()).unwrap();
        assert_eq!(private.public_spki(), made.public_key);
        let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &made.encrypted.blob, &context()).unwrap();
        assert_eq!(opened.plaintext, made.private_key);
        let (encrypted, public_key) =
            kms.generate_data_key_pair_without_plaintext(OPERATOR, &key, *spec, &context()).unwrap();
        let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &encrypted.blob, &context()).unwrap();
        let private = PrivateKey::from_pkcs8(key_type.unwrap(), opened.plaintext.expose()).unwrap();
        assert_eq!(private.public_spki(), public_key);
    }
}

#[test]
fn a_data_key_has_a_length_or_a_spec() {
    assert_eq!(data_key_length(Some(7), None).unwrap(), 7);
    assert_eq!(data_key_length(None, Some(DataKeySpec::Aes128)).unwrap(), 16);
    assert_eq!(data_key_length(None, Some(DataKeySpec::Aes256)).unwrap(), 32);
    assert_eq!(name(data_key_length(None, None)), "ValidationException");
    assert_eq!(name(data_key_length(Some(32), Some(DataKeySpec::Aes256))), "ValidationException");
}
