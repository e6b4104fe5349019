//! The power-on self-test: run by every command that is about to touch keys.
//!
//! It asks whether this machine and this build compute what the format means. A CPU with broken AES
//! instructions or a miscompiled library would otherwise write data that no other machine can read. Each cipher is
//! checked in both backends against a published answer, then the backends against each other on a whole block,
//! since long inputs take other code paths than the short published ones; then BLAKE3. Under a millisecond.

use super::portable::PortableKey;
use super::{AeadKey, Cipher, KEY_LEN, Key, NONCE_LEN, TAG_LEN, library, mac};

/// A published answer. The ciphertext is not listed: the tag covers it.
struct KnownAnswer {
    cipher: Cipher,
    key: [u8; KEY_LEN],
    nonce: [u8; NONCE_LEN],
    aad: &'static [u8],
    plain: &'static [u8],
    tag: [u8; TAG_LEN],
}

#[rustfmt::skip]
const KNOWN_ANSWERS: [KnownAnswer; 3] = [
    // RFC 8452, appendix C.2: the one whose associated data and plaintext both end within a block.
    KnownAnswer {
        cipher: Cipher::Aes256GcmSiv,
        key: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        nonce: [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        aad: &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0],
        plain: &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0],
        tag: [0xb8, 0x79, 0xad, 0x97, 0x6d, 0x82, 0x42, 0xac, 0xc1, 0x88, 0xab, 0x59, 0xca, 0xbf, 0xe3, 0x07],
    },
    // The GCM specification (McGrew and Viega, revised), test case 16.
    KnownAnswer {
        cipher: Cipher::Aes256Gcm,
        key: [
            0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08,
            0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08,
        ],
        nonce: [0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88],
        aad: &[
            0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef,
            0xab, 0xad, 0xda, 0xd2,
        ],
        plain: &[
            0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5, 0xaf, 0xf5, 0x26, 0x9a,
            0x86, 0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72,
            0x1c, 0x3c, 0x0c, 0x95, 0x95, 0x68, 0x09, 0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25,
            0xb1, 0x6a, 0xed, 0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39,
        ],
        tag: [0x76, 0xfc, 0x6e, 0xce, 0x0f, 0x4e, 0x17, 0x68, 0xcd, 0xdf, 0x88, 0x53, 0xbb, 0x2d, 0x55, 0x1b],
    },
    // RFC 8439, section 2.8.2.
    KnownAnswer {
        cipher: Cipher::ChaCha20Poly1305,
        key: [
            0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f,
            0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f,
        ],
        nonce: [0x07, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47],
        aad: &[0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7],
        plain: b"Ladies and Gentlemen of the class of '99: \
                 If I could offer you only one tip for the future, sunscreen would be it.",
        tag: [0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a, 0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60, 0x06, 0x91],
    },
];

/// Checks every cipher in both backends, BLAKE3, and in a build for it that AWS-LC is a FIPS module.
///
/// # Errors
/// [`SelfTestError`], naming what computes something else than it should. The caller must stop.
pub fn self_test() -> Result<(), SelfTestError> {
    require(library::is_as_built(), || "AWS-LC is not in FIPS mode".to_owned())?;
    for answer in &KNOWN_ANSWERS {
        check_known_answer(answer)?;
        check_agreement(answer)?;
    }
    check_blake3()
}

fn check_known_answer(answer: &KnownAnswer) -> Result<(), SelfTestError> {
    let KnownAnswer { cipher, nonce, aad, plain, .. } = answer;
    let key = Key::from_bytes(&mut { answer.key });
    let mut sealed = plain.to_vec();
    let tag = AeadKey::new(*cipher, &key).seal_in_place(nonce, aad, &mut sealed);
    require(tag == answer.tag, || format!("{cipher}, accelerated, known answer"))?;

    let mut portably = plain.to_vec();
    let tag = PortableKey::new(*cipher, &key).seal_in_place(nonce, aad, &mut portably);
    require(tag == answer.tag && portably == sealed, || format!("{cipher}, portable, known answer"))
}

/// Each backend opens a whole block that the other sealed, and refuses it once a bit of the tag is flipped.
fn check_agreement(answer: &KnownAnswer) -> Result<(), SelfTestError> {
    let KnownAnswer { cipher, nonce, aad, .. } = answer;
    let key = Key::from_bytes(&mut { answer.key });
    let (accelerated, portable) = (AeadKey::new(*cipher, &key), PortableKey::new(*cipher, &key));
    let plain: [u8; 4096] = std::array::from_fn(|i| (i % 251) as u8);
    let (mut sealed, mut opened) = ([0; 4096], [0; 4096]);

    let tag = portable.seal_into(nonce, aad, &plain, &mut sealed);
    let accepted = accelerated.open_into(nonce, aad, &sealed, &tag, &mut opened).is_ok();
    require(accepted && opened == plain, || format!("{cipher}, accelerated, opening a block"))?;

    let tag = accelerated.seal_into(nonce, aad, &plain, &mut sealed);
    let accepted = portable.open_into(nonce, aad, &sealed, &tag, &mut opened).is_ok();
    require(accepted && opened == plain, || format!("{cipher}, portable, opening a block"))?;

    let mut forged = tag;
    forged[0] ^= 1;
    let refused = accelerated.open_into(nonce, aad, &sealed, &forged, &mut opened).is_err();
    require(refused && opened == [0; 4096], || format!("{cipher}, accelerated, refusing a forged tag"))?;
    let refused = portable.open_into(nonce, aad, &sealed, &forged, &mut opened).is_err();
    require(refused && opened == [0; 4096], || format!("{cipher}, portable, refusing a forged tag"))
}

/// BLAKE3 team's test vectors for the empty input.
fn check_blake3() -> Result<(), SelfTestError> {
    let key = Key::from_bytes(&mut b"whats the Elvish word for friend".to_owned());
    require(mac::verify(&key, &[], &BLAKE3_KEYED), || "BLAKE3, keyed hash".to_owned())?;
    let derived = blake3::derive_key("BLAKE3 2019-12-27 16:29:52 test vectors context", &[]);
    require(derived == BLAKE3_DERIVED, || "BLAKE3, key derivation".to_owned())
}

#[rustfmt::skip]
const BLAKE3_KEYED: [u8; mac::MAC_LEN] = [
    0x92, 0xb2, 0xb7, 0x56, 0x04, 0xed, 0x3c, 0x76, 0x1f, 0x9d, 0x6f, 0x62, 0x39, 0x2c, 0x8a, 0x92,
    0x27, 0xad, 0x0e, 0xa3, 0xf0, 0x95, 0x73, 0xe7, 0x83, 0xf1, 0x49, 0x8a, 0x4e, 0xd6, 0x0d, 0x26,
];
#[rustfmt::skip]
const BLAKE3_DERIVED: [u8; KEY_LEN] = [
    0x2c, 0xc3, 0x97, 0x83, 0xc2, 0x23, 0x15, 0x4f, 0xea, 0x8d, 0xfb, 0x7c, 0x1b, 0x16, 0x60, 0xf2,
    0xac, 0x2d, 0xcb, 0xd1, 0xc1, 0xde, 0x82, 0x77, 0xb0, 0xb0, 0xdd, 0x39, 0xb7, 0xe5, 0x0d, 0x7d,
];

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), SelfTestError> {
    if holds { Ok(()) } else { Err(SelfTestError { what: what() }) }
}

/// This machine or this build of kmsfs computes something wrong; no key may be touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("self-test failed ({what}): this machine or this build of kmsfs must not be trusted with keys")]
pub struct SelfTestError {
    what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_here() {
        assert_eq!(self_test(), Ok(()));
    }

    #[test]
    fn names_what_is_wrong() {
        let broken = KnownAnswer { tag: [0; TAG_LEN], ..KNOWN_ANSWERS[1] };
        let error = check_known_answer(&broken).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("aes-256-gcm, accelerated, known answer")));
    }
}
