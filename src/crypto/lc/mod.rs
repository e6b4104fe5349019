//! AWS-LC's own interface, where tokens need more than `aws-lc-rs` passes on: every mode and padding that PKCS#11 names,
//! on keys of any size, by their numbers.
//!
//! What is here does as it is told: it knows no policy, and old algorithms are among it. Who may use what is for the layer
//! above to say. Plain bytes go in and come out; whatever AWS-LC allocates for keys it wipes when it is freed.
//!
//! | module | what it is for |
//! |---|---|
//! | [`block`] | AES and triple DES in their modes, GCM, CMAC, AES key wrap |
//! | [`rsa`] | RSA by its numbers: PKCS #1 v1.5, PSS and OAEP with any hash |
//! | [`ec`] | ECDSA of a digest and ECDH on Weierstrass curves |
//! | [`edwards`] | Ed25519 and X25519 on bare bytes |
//! | [`classic`] | DSA and Diffie-Hellman modulo a prime |
//! | [`ml_dsa`] | ML-DSA on bare keys |
//! | `number` | big integers |

#![expect(
    unsafe_code,
    reason = "AWS-LC's C interface: pointers to slices with their lengths, objects freed once by their owners"
)]

pub mod block;
pub mod classic;
pub mod ec;
pub mod edwards;
pub mod ml_dsa;
mod number;
pub mod rsa;
#[cfg(test)]
mod tests;

use aws_lc_sys as c;
use std::ptr::NonNull;

/// AWS-LC did not do it: the input is not what it takes, or does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refused its input")]
pub struct Refused;

/// The result of a call.
pub type Result<T> = std::result::Result<T, Refused>;

/// A hash function by AWS-LC's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-1, where signatures of old need it.
    Sha1,
    /// SHA-224
    Sha224,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Digest {
    fn md(self) -> *const c::EVP_MD {
        // SAFETY: each gives a constant that lives for ever.
        unsafe {
            match self {
                Digest::Sha1 => c::EVP_sha1(),
                Digest::Sha224 => c::EVP_sha224(),
                Digest::Sha256 => c::EVP_sha256(),
                Digest::Sha384 => c::EVP_sha384(),
                Digest::Sha512 => c::EVP_sha512(),
            }
        }
    }

    fn nid(self) -> i32 {
        match self {
            Digest::Sha1 => c::NID_sha1,
            Digest::Sha224 => c::NID_sha224,
            Digest::Sha256 => c::NID_sha256,
            Digest::Sha384 => c::NID_sha384,
            Digest::Sha512 => c::NID_sha512,
        }
    }

    /// The length of its digests, in bytes.
    pub fn length(self) -> usize {
        match self {
            Digest::Sha1 => 20,
            Digest::Sha224 => 28,
            Digest::Sha256 => 32,
            Digest::Sha384 => 48,
            Digest::Sha512 => 64,
        }
    }

    /// The digest of `data`.
    pub fn of(self, data: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.length()];
        let mut length = 0;
        // SAFETY: `out` has room for the digest, and the rest is as EVP_Digest wants it.
        let done = unsafe {
            c::EVP_Digest(
                data.as_ptr().cast(),
                data.len(),
                out.as_mut_ptr(),
                &raw mut length,
                self.md(),
                std::ptr::null_mut(),
            )
        };
        assert!(done == 1 && length as usize == out.len(), "a digest needs nothing that could fail");
        out
    }

    /// HMAC (FIPS 198-1) of `data` under `key`.
    pub fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.length()];
        let mut length = 0;
        // SAFETY: as in `of`.
        let done = unsafe {
            c::HMAC(
                self.md(),
                key.as_ptr().cast(),
                key.len(),
                data.as_ptr(),
                data.len(),
                out.as_mut_ptr(),
                &raw mut length,
            )
        };
        assert!(!done.is_null() && length as usize == out.len(), "an HMAC needs nothing that could fail");
        out
    }
}

/// `Ok` if a call says that it was done. What AWS-LC noted besides is forgotten: nobody else's error may be taken for it.
fn done(result: i32) -> Result<()> {
    if result == 1 {
        return Ok(());
    }
    // SAFETY: it takes nothing.
    unsafe { c::ERR_clear_error() };
    Err(Refused)
}

/// What a call allocated, if it did.
fn made<T>(pointer: *mut T) -> Result<NonNull<T>> {
    NonNull::new(pointer).ok_or_else(|| {
        // SAFETY: it takes nothing.
        unsafe { c::ERR_clear_error() };
        Refused
    })
}

/// Declares the owner of an object of AWS-LC's.
macro_rules! owned {
    ($(#[$meta:meta])* $name:ident, $type:ty, $free:path) => {
        $(#[$meta])*
        pub struct $name(pub(super) std::ptr::NonNull<$type>);

        impl $name {
            pub(super) fn as_ptr(&self) -> *mut $type {
                self.0.as_ptr()
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: it is ours, and this is its end.
                unsafe { $free(self.0.as_ptr()) }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}
use owned;
