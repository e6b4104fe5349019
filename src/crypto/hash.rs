//! The SHA-2 family, as a name: which hash a signature or a MAC is computed with.

use std::fmt;

use aws_lc_rs::digest;

/// A hash of the SHA-2 family (FIPS 180-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-224; for MACs only.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Length of a digest, in bytes.
    pub fn digest_len(self) -> usize {
        self.algorithm().output_len
    }

    /// Length of the blocks that the hash works on, in bytes: a longer HMAC key is hashed first.
    pub fn block_len(self) -> usize {
        self.algorithm().block_len
    }

    /// The digest of `bytes`, [`Hash::digest_len`] bytes.
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), bytes).as_ref().to_vec()
    }

    pub(super) fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha224 => &digest::SHA224,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        }
    }
}

/// A hash of bytes that come one after the other.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Hasher {
    /// Of nothing yet.
    pub fn new(hash: Hash) -> Hasher {
        Hasher(digest::Context::new(hash.algorithm()))
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of them, [`Hash::digest_len`] bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hash::Sha224 => "SHA-224",
            Hash::Sha256 => "SHA-256",
            Hash::Sha384 => "SHA-384",
            Hash::Sha512 => "SHA-512",
        })
    }
}
