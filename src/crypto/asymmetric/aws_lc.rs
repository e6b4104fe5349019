//! What AWS-LC can do and `aws-lc-rs` does not pass on: Ed25519ph, ML-DSA of an external μ, ML-KEM keys from seeds.
//!
//! The only calls of the program that go to `aws-lc-sys` itself. They take and give plain bytes.

#![expect(
    unsafe_code,
    reason = "AWS-LC's C interface: pointers to arrays of known length, objects freed once"
)]

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use aws_lc_sys as c;

use crate::crypto::SecretBytes;

/// Length of an Ed25519 private key as AWS-LC has it: the seed, then the public key.
pub(super) const ED25519_PRIVATE_LEN: usize = 64;
/// Length of an Ed25519 public key.
pub(super) const ED25519_PUBLIC_LEN: usize = 32;
/// Length of a SHA-512 digest.
pub(super) const SHA512_LEN: usize = 64;
/// Length of an Ed25519 signature.
pub(super) const ED25519_SIGNATURE_LEN: usize = 64;
/// Length of μ, the digest that ML-DSA makes of public key, context and message (FIPS 204, section 6.2).
pub(super) const MU_LEN: usize = 64;

/// The Ed25519ph signature (RFC 8032, section 5.1, empty context) of a digest, or `None` if AWS-LC failed.
pub(super) fn sign_ed25519ph(
    private: &[u8; ED25519_PRIVATE_LEN],
    digest: &[u8; SHA512_LEN],
) -> Option<[u8; ED25519_SIGNATURE_LEN]> {
    let mut signature = [0; ED25519_SIGNATURE_LEN];
    // SAFETY: each pointer is to an array of the length that curve25519.h declares; a null context has length 0.
    let done = unsafe {
        c::ED25519ph_sign_digest(signature.as_mut_ptr(), digest.as_ptr(), private.as_ptr(), ptr::null(), 0)
    };
    (done == 1).then_some(signature)
}

/// Whether `signature` is an Ed25519ph signature of a digest.
pub(super) fn verify_ed25519ph(
    public: &[u8; ED25519_PUBLIC_LEN],
    digest: &[u8; SHA512_LEN],
    signature: &[u8; ED25519_SIGNATURE_LEN],
) -> bool {
    // SAFETY: as in `sign_ed25519ph`.
    let valid = unsafe {
        c::ED25519ph_verify_digest(digest.as_ptr(), signature.as_ptr(), public.as_ptr(), ptr::null(), 0)
    };
    valid == 1
}

/// The signature of μ by the ML-DSA key in a PKCS#8 structure, `len` bytes; `None` if that is not such a key.
pub(super) fn sign_mu(pkcs8: &[u8], mu: &[u8; MU_LEN], len: usize) -> Option<Vec<u8>> {
    let operation = Operation::new(Key::parse(c::EVP_parse_private_key, pkcs8)?)?;
    let (mut signature, mut written) = (vec![0; len], len);
    // SAFETY: the context is alive, `written` is the length of `signature`, and AWS-LC keeps none of the pointers.
    let done = unsafe {
        let context = operation.context.as_ptr();
        c::EVP_PKEY_sign_init(context) == 1
            && c::EVP_PKEY_sign(context, signature.as_mut_ptr(), &raw mut written, mu.as_ptr(), MU_LEN) == 1
    };
    (done && written == len).then_some(signature)
}

/// Whether `signature` is one of μ by the ML-DSA key in a SubjectPublicKeyInfo.
pub(super) fn verify_mu(spki: &[u8], mu: &[u8; MU_LEN], signature: &[u8]) -> bool {
    let Some(operation) = Key::parse(c::EVP_parse_public_key, spki).and_then(Operation::new) else {
        return false;
    };
    // SAFETY: the context is alive, lengths are those of the slices, and AWS-LC keeps none of the pointers.
    unsafe {
        let context = operation.context.as_ptr();
        c::EVP_PKEY_verify_init(context) == 1
            && c::EVP_PKEY_verify(context, signature.as_ptr(), signature.len(), mu.as_ptr(), MU_LEN) == 1
    }
}

/// The private key in a PKCS#8 structure in the raw form of its algorithm, `len` bytes; `None` if it has no such form.
/// For an ML-KEM key that is there as a seed (RFC 9935) this is the expanded form.
pub(super) fn raw_private_key(pkcs8: &[u8], len: usize) -> Option<SecretBytes> {
    let key = Key::parse(c::EVP_parse_private_key, pkcs8)?;
    let (mut raw, mut written) = (SecretBytes::zeroed(len), len);
    // SAFETY: the key is alive, and `written` is the length of `raw`.
    let done = unsafe {
        c::EVP_PKEY_get_raw_private_key(key.0.as_ptr(), raw.expose_mut().as_mut_ptr(), &raw mut written)
    };
    (done == 1 && written == len).then_some(raw)
}

/// A key that AWS-LC holds for us.
struct Key(NonNull<c::EVP_PKEY>);

impl Key {
    fn parse(parser: unsafe extern "C" fn(*mut c::CBS) -> *mut c::EVP_PKEY, der: &[u8]) -> Option<Key> {
        let mut cursor = MaybeUninit::<c::CBS>::uninit();
        // SAFETY: CBS_init fills the cursor, which is used only while `der` is borrowed; a parser returns a new
        // object, or null.
        let key = unsafe {
            c::CBS_init(cursor.as_mut_ptr(), der.as_ptr(), der.len());
            parser(cursor.as_mut_ptr())
        };
        NonNull::new(key).map(Key)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and this is its end.
        unsafe { c::EVP_PKEY_free(self.0.as_ptr()) }
    }
}

/// What AWS-LC runs one operation in.
struct Operation {
    context: NonNull<c::EVP_PKEY_CTX>,
    _key: Key,
}

impl Operation {
    fn new(key: Key) -> Option<Operation> {
        // SAFETY: the key is alive; no engine is given; the result is a new object, or null.
        let context = NonNull::new(unsafe { c::EVP_PKEY_CTX_new(key.0.as_ptr(), ptr::null_mut()) })?;
        Some(Operation { context, _key: key })
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: the context is ours, and this is its end.
        unsafe { c::EVP_PKEY_CTX_free(self.context.as_ptr()) }
    }
}
