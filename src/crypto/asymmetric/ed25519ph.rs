//! Ed25519ph (RFC 8032, section 5.1), with an empty context.
//!
//! AWS-LC has it and `aws-lc-rs` does not pass it on, so these are the only calls of the program that go to
//! `aws-lc-sys` itself.

#![expect(
    unsafe_code,
    reason = "AWS-LC's functions take arrays of fixed length by pointer; the types here have them"
)]

use std::ptr;

use aws_lc_sys::{ED25519ph_sign_digest, ED25519ph_verify_digest};

/// Length of a private key as AWS-LC has it: the seed, then the public key.
pub(super) const PRIVATE_LEN: usize = 64;
/// Length of a public key.
pub(super) const PUBLIC_LEN: usize = 32;
/// Length of a SHA-512 digest.
pub(super) const DIGEST_LEN: usize = 64;
/// Length of a signature.
pub(super) const SIGNATURE_LEN: usize = 64;

/// The signature of `digest`, or `None` if AWS-LC failed.
pub(super) fn sign(private: &[u8; PRIVATE_LEN], digest: &[u8; DIGEST_LEN]) -> Option<[u8; SIGNATURE_LEN]> {
    let mut signature = [0; SIGNATURE_LEN];
    // SAFETY: each pointer is to an array of the length that curve25519.h declares; a null context has length 0.
    let done = unsafe {
        ED25519ph_sign_digest(signature.as_mut_ptr(), digest.as_ptr(), private.as_ptr(), ptr::null(), 0)
    };
    (done == 1).then_some(signature)
}

/// Whether `signature` is one of `digest`.
pub(super) fn verify(
    public: &[u8; PUBLIC_LEN],
    digest: &[u8; DIGEST_LEN],
    signature: &[u8; SIGNATURE_LEN],
) -> bool {
    // SAFETY: as in `sign`.
    let valid = unsafe {
        ED25519ph_verify_digest(digest.as_ptr(), signature.as_ptr(), public.as_ptr(), ptr::null(), 0)
    };
    valid == 1
}
