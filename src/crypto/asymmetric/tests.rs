#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::OnceLock;

use proptest::prelude::*;

use crate::crypto::Hash;

use super::*;

/// One key pair per type, made once: RSA keys take their time.
fn key(key_type: KeyType) -> &'static PrivateKey {
    static KEYS: [OnceLock<PrivateKey>; KeyType::ALL.len()] = [const { OnceLock::new() }; KeyType::ALL.len()];
    let index = KeyType::ALL.iter().position(|&each| each == key_type).unwrap();
    KEYS[index].get_or_init(|| fresh(key_type))
}

fn fresh(key_type: KeyType) -> PrivateKey {
    PrivateKey::from_pkcs8(key_type, PrivateKey::generate(key_type).unwrap().expose()).unwrap()
}

/// Each way to sign: the type, the scheme, and the messages it takes for "message".
fn every_way_to_sign() -> Vec<(KeyType, SignatureScheme, Vec<Message<'static>>)> {
    let mut ways = Vec::new();
    for key_type in KeyType::ALL {
        for &scheme in key_type.signature_schemes() {
            let (raw, digest) = (Message::Raw(b"message"), digest_for(scheme).map(Message::Digest));
            let messages = match scheme {
                SignatureScheme::Ed25519 | SignatureScheme::MlDsa => vec![raw],
                _ => vec![raw, digest.unwrap()],
            };
            ways.push((key_type, scheme, messages));
        }
    }
    ways
}

/// The digest of "message" that a scheme signs.
fn digest_for(scheme: SignatureScheme) -> Option<&'static [u8]> {
    let hash = match scheme {
        SignatureScheme::RsaPss(hash) | SignatureScheme::RsaPkcs1(hash) | SignatureScheme::Ecdsa(hash) => {
            hash
        }
        SignatureScheme::Ed25519ph => Hash::Sha512,
        SignatureScheme::Ed25519 | SignatureScheme::MlDsa => return None,
    };
    let digest = aws_lc_rs::digest::digest(hash.algorithm(), b"message");
    Some(digest.as_ref().to_vec().leak())
}

#[test]
fn a_signature_verifies_for_the_message_and_for_its_digest() {
    for (key_type, scheme, messages) in every_way_to_sign() {
        let private = key(key_type);
        let public = PublicKey::from_spki(key_type, private.public_spki()).unwrap();
        for &signed in &messages {
            let signature = private.sign(scheme, signed).unwrap();
            for &verified in &messages {
                assert_eq!(public.verify(scheme, verified, &signature), Ok(()), "{key_type}, {scheme}");
            }
        }
    }
}

#[test]
fn a_signature_of_anything_else_is_refused() {
    for (key_type, scheme, messages) in every_way_to_sign() {
        let private = key(key_type);
        let public = private.public();
        let refused = |message: Message<'_>, signature: &[u8], what: &str| {
            let outcome = public.verify(scheme, message, signature);
            assert_eq!(outcome, Err(Error::BadSignature), "{key_type}, {scheme}, {what}");
        };
        let signature = private.sign(scheme, messages[0]).unwrap();
        refused(Message::Raw(b"massage"), &signature, "another message");
        if let Some(digest) = digest_for(scheme) {
            let other = [&[digest[0] ^ 1], &digest[1..]].concat();
            refused(Message::Digest(&other), &signature, "another digest");
        }
        for position in [0, signature.len() / 2, signature.len() - 1] {
            let mut altered = signature.clone();
            altered[position] ^= 1;
            refused(messages[0], &altered, "an altered signature");
        }
        refused(messages[0], &signature[..signature.len() - 1], "a signature cut short");
        refused(messages[0], &[&signature[..], &[0]].concat(), "a signature with a byte more");
        refused(messages[0], &[], "no signature");
        if key_type.modulus_bits().is_none() {
            let another = fresh(key_type).sign(scheme, messages[0]).unwrap();
            refused(messages[0], &another, "another key's signature");
        }
    }
}

#[test]
fn signatures_of_one_scheme_are_none_of_another() {
    let private = key(KeyType::Rsa2048);
    for &made in KeyType::Rsa2048.signature_schemes() {
        let signature = private.sign(made, Message::Raw(b"message")).unwrap();
        for &asked in KeyType::Rsa2048.signature_schemes() {
            let outcome = private.public().verify(asked, Message::Raw(b"message"), &signature);
            assert_eq!(outcome.is_ok(), made == asked, "{made} verified as {asked}");
        }
    }
}

#[test]
fn keys_sign_with_the_schemes_of_their_type_only() {
    for key_type in KeyType::ALL {
        for (_, scheme, messages) in every_way_to_sign() {
            if key_type.signature_schemes().contains(&scheme) {
                continue;
            }
            let refusal = Error::WrongScheme { key_type, scheme };
            assert_eq!(key(key_type).sign(scheme, messages[0]), Err(refusal));
            assert_eq!(key(key_type).public().verify(scheme, messages[0], &[0; 64]), Err(refusal));
        }
    }
}

#[test]
fn sha_224_and_hashes_weaker_than_the_curve_sign_nothing() {
    for (key_type, scheme) in [
        (KeyType::Rsa2048, SignatureScheme::RsaPss(Hash::Sha224)),
        (KeyType::Rsa2048, SignatureScheme::RsaPkcs1(Hash::Sha224)),
        (KeyType::P384, SignatureScheme::Ecdsa(Hash::Sha256)),
        (KeyType::P256, SignatureScheme::Ecdsa(Hash::Sha512)),
    ] {
        let refusal = Error::WrongScheme { key_type, scheme };
        assert_eq!(key(key_type).sign(scheme, Message::Raw(b"")), Err(refusal));
    }
}

#[test]
fn digests_of_another_length_are_refused() {
    for (key_type, scheme, _) in every_way_to_sign() {
        let Some(digest) = digest_for(scheme) else { continue };
        for len in [0, 1, 20, digest.len() - 1, digest.len() + 1] {
            let digest_of_len = vec![7; len];
            let refusal = Error::DigestLength { scheme, given: len, expected: digest.len() };
            let message = Message::Digest(&digest_of_len);
            assert_eq!(key(key_type).sign(scheme, message), Err(refusal), "{key_type}");
            assert_eq!(key(key_type).public().verify(scheme, message, &[0; 64]), Err(refusal), "{key_type}");
        }
    }
}

#[test]
fn schemes_refuse_kinds_of_messages_that_they_do_not_sign() {
    let (digest, mu) = (Message::Digest(&[7; 64]), Message::ExternalMu(&[7; 64]));
    for (key_type, scheme, message, given) in [
        (KeyType::Ed25519, SignatureScheme::Ed25519, digest, "digests"),
        (KeyType::Ed25519, SignatureScheme::Ed25519, mu, "an external μ"),
        (KeyType::Ed25519, SignatureScheme::Ed25519ph, mu, "an external μ"),
        (KeyType::MlDsa65, SignatureScheme::MlDsa, digest, "digests"),
        (KeyType::P521, SignatureScheme::Ecdsa(Hash::Sha512), mu, "an external μ"),
        (KeyType::Rsa2048, SignatureScheme::RsaPss(Hash::Sha512), mu, "an external μ"),
    ] {
        let refusal = Error::WrongMessage { scheme, given };
        assert_eq!(key(key_type).sign(scheme, message), Err(refusal));
        assert_eq!(key(key_type).public().verify(scheme, message, &[0; 64]), Err(refusal));
    }
}

#[test]
fn ml_dsa_signs_an_external_mu_of_64_bytes() {
    let scheme = SignatureScheme::MlDsa;
    for key_type in [KeyType::MlDsa44, KeyType::MlDsa65, KeyType::MlDsa87] {
        let private = key(key_type);
        let signature = private.sign(scheme, Message::ExternalMu(&[7; 64])).unwrap();
        let verify =
            |mu: &[u8], signature: &[u8]| private.public().verify(scheme, Message::ExternalMu(mu), signature);
        assert_eq!(verify(&[7; 64], &signature), Ok(()), "{key_type}");
        assert_eq!(verify(&[8; 64], &signature), Err(Error::BadSignature), "{key_type}");
        assert_eq!(verify(&[7; 64], &signature[1..]), Err(Error::BadSignature), "{key_type}");
        assert_eq!(verify(&[7; 64], &[]), Err(Error::BadSignature), "{key_type}");
        let as_message = private.public().verify(scheme, Message::Raw(&[7; 64]), &signature);
        assert_eq!(as_message, Err(Error::BadSignature), "{key_type}");
        for len in [0, 63, 65] {
            let refusal = Error::DigestLength { scheme, given: len, expected: 64 };
            assert_eq!(private.sign(scheme, Message::ExternalMu(&vec![7; len])), Err(refusal));
            assert_eq!(verify(&vec![7; len], &signature), Err(refusal));
        }
    }
}

const KEMS: [KeyType; 3] = [KeyType::MlKem512, KeyType::MlKem768, KeyType::MlKem1024];

#[test]
fn an_encapsulated_secret_comes_back() {
    for (key_type, len) in KEMS.into_iter().zip([768, 1088, 1568]) {
        let private = key(key_type);
        let (ciphertext, secret) = private.public().encapsulate().unwrap();
        assert_eq!((ciphertext.len(), secret.len()), (len, 32), "{key_type}");
        assert_eq!(private.decapsulate(&ciphertext).unwrap(), secret, "{key_type}");
        assert_ne!(private.public().encapsulate().unwrap().1, secret, "{key_type}");
    }
}

#[test]
fn a_wrong_encapsulation_gives_another_secret_and_one_of_another_length_an_error() {
    for key_type in KEMS {
        let private = key(key_type);
        let (mut ciphertext, secret) = private.public().encapsulate().unwrap();
        assert_ne!(fresh(key_type).decapsulate(&ciphertext).unwrap(), secret, "{key_type}, another key");
        ciphertext[5] ^= 1;
        let other = private.decapsulate(&ciphertext).unwrap();
        assert_ne!(other, secret, "{key_type}");
        assert_eq!(private.decapsulate(&ciphertext).unwrap(), other, "{key_type}, once more");
        for wrong in [&ciphertext[1..], &[&ciphertext[..], &[0]].concat(), &[]] {
            assert_eq!(private.decapsulate(wrong), Err(Error::BadCiphertext), "{key_type}");
        }
    }
}

#[test]
fn a_key_is_refused_as_one_of_another_type() {
    for made in KeyType::ALL {
        let pkcs8 = PrivateKey::generate(made).unwrap();
        for asked in KeyType::ALL {
            assert_eq!(
                PrivateKey::from_pkcs8(asked, pkcs8.expose()).is_ok(),
                made == asked,
                "{made} as {asked}"
            );
            let parsed = PublicKey::from_spki(asked, key(made).public_spki());
            assert_eq!(parsed.is_ok(), made == asked, "the public half of {made} as {asked}");
        }
    }
}

#[test]
fn keys_with_trailing_bytes_or_cut_short_are_refused() {
    for key_type in [
        KeyType::Rsa2048,
        KeyType::P256,
        KeyType::Secp256k1,
        KeyType::Ed25519,
        KeyType::MlDsa44,
        KeyType::MlKem512,
    ] {
        let pkcs8 = PrivateKey::generate(key_type).unwrap();
        let (pkcs8, spki) = (pkcs8.expose(), key(key_type).public_spki());
        for wrong in [&pkcs8[..pkcs8.len() - 1], &[pkcs8, &[0]].concat(), spki, &[]] {
            assert!(PrivateKey::from_pkcs8(key_type, wrong).is_err(), "{key_type}");
        }
        for wrong in [&spki[..spki.len() - 1], &[spki, &[0]].concat(), pkcs8, &[]] {
            assert!(PublicKey::from_spki(key_type, wrong).is_err(), "{key_type}");
        }
    }
}

#[test]
fn a_bare_point_is_no_public_key() {
    let spki = key(KeyType::P256).public_spki();
    let point = &spki[spki.len() - 65..];
    assert!(PublicKey::from_spki(KeyType::P256, point).is_err());
    assert!(fresh(KeyType::P256).agree(point).is_err());
}

#[test]
fn a_public_key_keeps_its_bytes() {
    for key_type in KeyType::ALL {
        let spki = key(key_type).public_spki();
        assert_eq!(PublicKey::from_spki(key_type, spki).unwrap().spki(), spki, "{key_type}");
    }
}

#[test]
fn made_keys_are_consistent() {
    for key_type in KeyType::ALL {
        assert_eq!(key(key_type).check(), Ok(()), "{key_type}");
    }
}

#[test]
fn rsa_decrypts_what_was_encrypted_of_every_length_that_fits() {
    for key_type in [KeyType::Rsa2048, KeyType::Rsa3072, KeyType::Rsa4096] {
        let private = key(key_type);
        for (hash, overhead) in [(OaepHash::Sha1, 42), (OaepHash::Sha256, 66)] {
            let max = key_type.modulus_bits().unwrap() / 8 - overhead;
            assert_eq!(private.public().max_plaintext(hash), Some(max));
            for len in [0, 1, 32, max] {
                let plain = vec![0xa5; len];
                let sealed = private.public().encrypt_oaep(hash, &plain).unwrap();
                assert_eq!(sealed.len() * 8, key_type.modulus_bits().unwrap());
                assert_eq!(private.decrypt_oaep(hash, &sealed).unwrap().expose(), plain);
            }
            let outcome = private.public().encrypt_oaep(hash, &vec![0; max + 1]);
            assert_eq!(outcome, Err(Error::TooLong { max }));
        }
    }
}

#[test]
fn every_wrong_ciphertext_gives_the_same_error() {
    let private = key(KeyType::Rsa2048);
    let sealed = private.public().encrypt_oaep(OaepHash::Sha256, b"plain").unwrap();
    let mut altered = sealed.clone();
    altered[100] ^= 1;
    let wrong: [&[u8]; 7] =
        [&altered, &sealed[1..], &sealed[..255], &[&sealed[..], &[0]].concat(), &[], &[0; 256], &[0xff; 256]];
    for ciphertext in wrong {
        assert_eq!(private.decrypt_oaep(OaepHash::Sha256, ciphertext), Err(Error::BadCiphertext));
    }
    assert_eq!(private.decrypt_oaep(OaepHash::Sha1, &sealed), Err(Error::BadCiphertext));
    let other = fresh(KeyType::Rsa2048);
    assert_eq!(other.decrypt_oaep(OaepHash::Sha256, &sealed), Err(Error::BadCiphertext));
}

#[test]
fn keys_do_what_their_type_is_for_and_nothing_else() {
    for key_type in KeyType::ALL {
        let private = key(key_type);
        if key_type.modulus_bits().is_none() {
            let refusal = Error::WrongOperation { key_type, operation: "encrypt" };
            assert_eq!(private.public().encrypt_oaep(OaepHash::Sha256, b""), Err(refusal));
            let refusal = Error::WrongOperation { key_type, operation: "decrypt" };
            assert_eq!(private.decrypt_oaep(OaepHash::Sha256, &[0; 256]), Err(refusal));
            assert_eq!(private.public().max_plaintext(OaepHash::Sha256), None);
        }
        if !key_type.agrees() {
            let refusal = Error::WrongOperation { key_type, operation: "agree on a secret" };
            assert_eq!(private.agree(private.public_spki()), Err(refusal));
        }
        if !key_type.encapsulates() {
            let refusal = Error::WrongOperation { key_type, operation: "encapsulate" };
            assert_eq!(private.public().encapsulate(), Err(refusal));
            let refusal = Error::WrongOperation { key_type, operation: "decapsulate" };
            assert_eq!(private.decapsulate(&[0; 768]), Err(refusal));
        }
    }
}

#[test]
fn both_sides_agree_on_a_secret_as_long_as_the_field() {
    for (key_type, len) in [(KeyType::P256, 32), (KeyType::P384, 48), (KeyType::P521, 66)] {
        let (one, other) = (key(key_type), fresh(key_type));
        let secret = one.agree(other.public_spki()).unwrap();
        assert_eq!(secret.len(), len);
        assert_eq!(secret, other.agree(one.public_spki()).unwrap());
        assert_ne!(secret, one.agree(one.public_spki()).unwrap());
    }
}

#[test]
fn keys_on_other_curves_are_no_peers() {
    for mine in [KeyType::P256, KeyType::P384, KeyType::P521] {
        for peer in KeyType::ALL {
            let outcome = key(mine).agree(key(peer).public_spki());
            assert_eq!(outcome.is_ok(), mine == peer, "{mine} with {peer}");
        }
    }
}

#[test]
fn debug_shows_the_type_and_nothing_else() {
    let private = key(KeyType::P256);
    assert_eq!(format!("{private:?} {:?}", private.public()), "PrivateKey(P-256, redacted) PublicKey(P-256)");
}

fn any_type() -> impl Strategy<Value = KeyType> {
    prop::sample::select(&KeyType::ALL[..])
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(
        key_type in any_type(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        prop_assert!(PublicKey::from_spki(key_type, &bytes).is_err());
        prop_assert!(PrivateKey::from_pkcs8(key_type, &bytes).is_err());
    }

    /// Whatever still parses must be usable without a panic, too.
    #[test]
    fn altered_public_keys_never_panic(
        key_type in any_type(),
        alterations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut spki = key(key_type).public_spki().to_vec();
        for (index, byte) in alterations {
            let at = index.index(spki.len());
            spki[at] = byte;
        }
        if let Ok(public) = PublicKey::from_spki(key_type, &spki) {
            for &scheme in key_type.signature_schemes() {
                let _ = public.verify(scheme, Message::Raw(b"message"), &[1; 64]);
                let _ = public.verify(scheme, Message::ExternalMu(&[1; 64]), &[1; 2420]);
            }
            let _ = public.encrypt_oaep(OaepHash::Sha256, b"message");
            let _ = public.encapsulate();
        }
        if key_type.agrees() {
            let _ = key(key_type).agree(&spki);
        }
    }
}

/// Private keys of which bytes were altered are refused, or are keys that sign: never a panic, never a wrong signature.
#[test]
fn altered_private_keys_never_panic() {
    let mut runner = prop::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let pairs: Vec<_> = [
        KeyType::Rsa2048,
        KeyType::P256,
        KeyType::Secp256k1,
        KeyType::Ed25519,
        KeyType::MlDsa44,
        KeyType::MlKem512,
    ]
    .map(|key_type| (key_type, PrivateKey::generate(key_type).unwrap()))
    .into();
    let strategy = (0..pairs.len(), any::<prop::sample::Index>(), 1..=255u8);
    let outcome = runner.run(&strategy, |(which, index, difference)| {
        let (key_type, pkcs8) = &pairs[which];
        let mut altered = pkcs8.expose().to_vec();
        let at = index.index(altered.len());
        altered[at] ^= difference;
        if let Ok(private) = PrivateKey::from_pkcs8(*key_type, &altered) {
            let message = Message::Raw(b"message");
            for &scheme in key_type.signature_schemes() {
                if let Ok(signature) = private.sign(scheme, message) {
                    prop_assert_eq!(private.public().verify(scheme, message, &signature), Ok(()));
                }
            }
            let _ = private.check();
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_seed_is_the_key_that_rfc_8032_says() {
    // Section 7.1, test 1.
    let mut seed: [u8; 32] = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        .unwrap()
        .try_into()
        .unwrap();
    let key = PrivateKey::ed25519(&crate::crypto::Key::from_bytes(&mut seed)).unwrap();
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert!(hex::encode(key.public_spki()).ends_with(public));
    let signature = key.sign(SignatureScheme::Ed25519, Message::Raw(b"")).unwrap();
    assert!(hex::encode(signature).starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974"));
}
