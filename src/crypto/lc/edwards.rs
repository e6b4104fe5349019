//! Ed25519 signatures (RFC 8032) and X25519 agreement (RFC 7748), on bare 32 bytes.

#![expect(unsafe_code, reason = "see the module above")]

use super::{Refused, Result, done};
use crate::crypto::SecretBytes;
use aws_lc_sys as c;
use zeroize::Zeroizing;

/// The length of an Ed25519 signature, in bytes.
pub const SIGNATURE: usize = 64;

/// The private key that AWS-LC signs with: the seed, then the public key.
fn expanded(seed: &[u8; 32]) -> (Zeroizing<[u8; 64]>, [u8; 32]) {
    let (mut private, mut public) = (Zeroizing::new([0; 64]), [0; 32]);
    // SAFETY: the arrays have the lengths that it reads and writes.
    unsafe { c::ED25519_keypair_from_seed(public.as_mut_ptr(), private.as_mut_ptr(), seed.as_ptr()) };
    (private, public)
}

/// The public key of an Ed25519 seed.
pub fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    expanded(seed).1
}

/// The signature of a message.
pub fn ed25519_sign(seed: &[u8; 32], message: &[u8]) -> Result<[u8; SIGNATURE]> {
    let (private, _) = expanded(seed);
    let mut signature = [0; SIGNATURE];
    let (out, from) = (signature.as_mut_ptr(), message.as_ptr());
    // SAFETY: the arrays have the lengths that it reads and writes; the message is read as told.
    done(unsafe { c::ED25519_sign(out, from, message.len(), private.as_ptr()) })?;
    Ok(signature)
}

/// Whether `signature` is one of a message.
pub fn ed25519_verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = <&[u8; SIGNATURE]>::try_from(signature) else { return false };
    let (from, signature) = (message.as_ptr(), signature.as_ptr());
    // SAFETY: as above.
    done(unsafe { c::ED25519_verify(from, message.len(), signature, public.as_ptr()) }).is_ok()
}

/// The public key of an X25519 private one.
pub fn x25519_public(private: &[u8; 32]) -> [u8; 32] {
    let mut public = [0; 32];
    // SAFETY: the arrays have the lengths that it reads and writes.
    unsafe { c::X25519_public_from_private(public.as_mut_ptr(), private.as_ptr()) };
    public
}

/// The secret shared with the owner of another key.
///
/// # Errors
/// The other's key is no contribution: the secret would be zero.
pub fn x25519(private: &[u8; 32], peer: &[u8]) -> Result<SecretBytes> {
    let peer: &[u8; 32] = peer.try_into().map_err(|_| Refused)?;
    let mut secret = SecretBytes::zeroed(32);
    // SAFETY: the arrays have the lengths that it reads and writes.
    done(unsafe { c::X25519(secret.expose_mut().as_mut_ptr(), private.as_ptr(), peer.as_ptr()) })?;
    Ok(secret)
}
