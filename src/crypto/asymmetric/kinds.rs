//! Types of keys, and what is done with them: names without code.

use std::fmt;

use aws_lc_rs::digest::{Digest, digest};

use crate::crypto::Hash;

use super::{Error, Result};

/// A type of key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// NIST's curve P-256.
    P256,
    /// NIST's curve P-384.
    P384,
    /// NIST's curve P-521.
    P521,
    /// SECG's curve secp256k1.
    Secp256k1,
    /// Edwards curve 25519.
    Ed25519,
    /// ML-DSA (FIPS 204), parameter set 44.
    MlDsa44,
    /// ML-DSA (FIPS 204), parameter set 65.
    MlDsa65,
    /// ML-DSA (FIPS 204), parameter set 87.
    MlDsa87,
    /// ML-KEM (FIPS 203), parameter set 512.
    MlKem512,
    /// ML-KEM (FIPS 203), parameter set 768.
    MlKem768,
    /// ML-KEM (FIPS 203), parameter set 1024.
    MlKem1024,
}

use SignatureScheme::{Ecdsa, RsaPkcs1, RsaPss};

const RSA_SCHEMES: [SignatureScheme; 6] = [
    RsaPss(Hash::Sha256),
    RsaPss(Hash::Sha384),
    RsaPss(Hash::Sha512),
    RsaPkcs1(Hash::Sha256),
    RsaPkcs1(Hash::Sha384),
    RsaPkcs1(Hash::Sha512),
];

impl KeyType {
    /// Every type.
    pub const ALL: [KeyType; 14] = [
        KeyType::Rsa2048,
        KeyType::Rsa3072,
        KeyType::Rsa4096,
        KeyType::P256,
        KeyType::P384,
        KeyType::P521,
        KeyType::Secp256k1,
        KeyType::Ed25519,
        KeyType::MlDsa44,
        KeyType::MlDsa65,
        KeyType::MlDsa87,
        KeyType::MlKem512,
        KeyType::MlKem768,
        KeyType::MlKem1024,
    ];

    /// The schemes that keys of this type sign with: for ECDSA the one hash that is as strong as the curve.
    pub fn signature_schemes(self) -> &'static [SignatureScheme] {
        match self {
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &RSA_SCHEMES,
            KeyType::P256 | KeyType::Secp256k1 => &[Ecdsa(Hash::Sha256)],
            KeyType::P384 => &[Ecdsa(Hash::Sha384)],
            KeyType::P521 => &[Ecdsa(Hash::Sha512)],
            KeyType::Ed25519 => &[SignatureScheme::Ed25519, SignatureScheme::Ed25519ph],
            KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => &[SignatureScheme::MlDsa],
            KeyType::MlKem512 | KeyType::MlKem768 | KeyType::MlKem1024 => &[],
        }
    }

    /// Length of the modulus in bits, for RSA: the types whose keys also encrypt.
    pub fn modulus_bits(self) -> Option<usize> {
        match self {
            KeyType::Rsa2048 => Some(2048),
            KeyType::Rsa3072 => Some(3072),
            KeyType::Rsa4096 => Some(4096),
            _ => None,
        }
    }

    /// Whether keys of this type agree on a shared secret (ECDH).
    pub fn agrees(self) -> bool {
        matches!(self, KeyType::P256 | KeyType::P384 | KeyType::P521)
    }

    /// Whether keys of this type encapsulate secrets (ML-KEM).
    pub fn encapsulates(self) -> bool {
        matches!(self, KeyType::MlKem512 | KeyType::MlKem768 | KeyType::MlKem1024)
    }

    pub(super) fn check_scheme(self, scheme: SignatureScheme) -> Result<()> {
        if self.signature_schemes().contains(&scheme) {
            return Ok(());
        }
        Err(Error::WrongScheme { key_type: self, scheme })
    }

    pub(super) fn bad(self, reason: &'static str) -> Error {
        Error::BadKey { key_type: self, reason }
    }

    pub(super) fn cannot(self, operation: &'static str) -> Error {
        Error::WrongOperation { key_type: self, operation }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyType::Rsa2048 => "RSA-2048",
            KeyType::Rsa3072 => "RSA-3072",
            KeyType::Rsa4096 => "RSA-4096",
            KeyType::P256 => "P-256",
            KeyType::P384 => "P-384",
            KeyType::P521 => "P-521",
            KeyType::Secp256k1 => "secp256k1",
            KeyType::Ed25519 => "Ed25519",
            KeyType::MlDsa44 => "ML-DSA-44",
            KeyType::MlDsa65 => "ML-DSA-65",
            KeyType::MlDsa87 => "ML-DSA-87",
            KeyType::MlKem512 => "ML-KEM-512",
            KeyType::MlKem768 => "ML-KEM-768",
            KeyType::MlKem1024 => "ML-KEM-1024",
        })
    }
}

/// A way to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PSS (RFC 8017): MGF1 with the same hash, a salt as long as a digest.
    RsaPss(Hash),
    /// RSASSA-PKCS1-v1_5 (RFC 8017).
    RsaPkcs1(Hash),
    /// ECDSA (FIPS 186-5), signatures in DER (RFC 3279, section 2.2.3).
    Ecdsa(Hash),
    /// Ed25519 (RFC 8032) of the message itself.
    Ed25519,
    /// Ed25519ph (RFC 8032), hashing with SHA-512, with an empty context.
    Ed25519ph,
    /// ML-DSA (FIPS 204), with an empty context, hedged.
    MlDsa,
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RsaPss(hash) => write!(f, "RSASSA-PSS with {hash}"),
            RsaPkcs1(hash) => write!(f, "RSASSA-PKCS1-v1_5 with {hash}"),
            Ecdsa(hash) => write!(f, "ECDSA with {hash}"),
            SignatureScheme::Ed25519 => f.write_str("Ed25519"),
            SignatureScheme::Ed25519ph => f.write_str("Ed25519ph"),
            SignatureScheme::MlDsa => f.write_str("ML-DSA"),
        }
    }
}

/// What is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The message itself; hashed here where the scheme hashes.
    Raw(&'a [u8]),
    /// The digest of the message, by the scheme's hash (SHA-512 for Ed25519ph).
    Digest(&'a [u8]),
    /// The 64 bytes μ that ML-DSA makes of public key, context and message (FIPS 204, section 6.2).
    ExternalMu(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The message itself, for a scheme that takes nothing else.
    pub(super) fn raw(self, scheme: SignatureScheme) -> Result<&'a [u8]> {
        match self {
            Message::Raw(message) => Ok(message),
            _ => Err(self.wrong(scheme)),
        }
    }

    /// The digest that was given, or that of the message, for a scheme that takes either.
    pub(super) fn hashed(self, hash: Hash, scheme: SignatureScheme) -> Result<Digest> {
        match self {
            Message::Raw(message) => Ok(digest(hash.algorithm(), message)),
            Message::Digest(given) => {
                let (given_len, expected) = (given.len(), hash.digest_len());
                Digest::import_less_safe(given, hash.algorithm()).map_err(|_| Error::DigestLength {
                    scheme,
                    given: given_len,
                    expected,
                })
            }
            Message::ExternalMu(_) => Err(self.wrong(scheme)),
        }
    }

    /// That a scheme takes something else.
    pub(super) fn wrong(self, scheme: SignatureScheme) -> Error {
        let given = match self {
            Message::Raw(_) => "messages",
            Message::Digest(_) => "digests",
            Message::ExternalMu(_) => "an external μ",
        };
        Error::WrongMessage { scheme, given }
    }
}

/// `bytes` as an array of the length that the scheme's digests have.
pub(super) fn digest_array<const N: usize>(bytes: &[u8], scheme: SignatureScheme) -> Result<&[u8; N]> {
    bytes.try_into().map_err(|_| Error::DigestLength { scheme, given: bytes.len(), expected: N })
}

/// The hash of RSAES-OAEP (RFC 8017), for the label (which is empty) and for MGF1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OaepHash {
    /// SHA-1, which is still sound here: OAEP needs no collision resistance.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl OaepHash {
    pub(super) fn digest_len(self) -> usize {
        match self {
            OaepHash::Sha1 => 20,
            OaepHash::Sha256 => 32,
        }
    }
}
