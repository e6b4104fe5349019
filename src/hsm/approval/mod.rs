//! Operations that custodians approve. Pure.
//!
//! A custodian writes down one operation with its arguments as a [`Request`] and signs it; others sign an [`Approval`] of
//! that request, each where they like; whoever has both brings them to the HSM as [`Signed`], once. What is signed is a
//! digest of everything that matters, so that nothing of it can be changed afterwards. The keys are Ed25519 (RFC 8032) and
//! have nothing to do with shares: who approves cannot unlock, and who unlocks does not approve.
//!
//! | module | what it is for |
//! |---|---|
//! | [`arguments`] | arguments of an operation, written in one way only |
//! | [`request`] | requests and approvals: what is signed, and how they are written to files |
//! | [`check`] | whether approvals count, and how many |
//! | [`words`] | what a request asks for, in words |

pub mod arguments;
pub mod check;
pub mod request;
pub mod words;

pub use check::{Refused, Signed};
pub use request::{Approval, Request};

use crate::crypto::SecretBytes;
use crate::crypto::asymmetric::{self, KeyType, Message, PrivateKey, PublicKey, SignatureScheme};

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key that a custodian signs with.
#[derive(Debug)]
pub struct Signer {
    private: PrivateKey,
    public: [u8; 32],
}

impl Signer {
    /// A new key, as PKCS#8 DER.
    ///
    /// # Errors
    /// If AWS-LC fails.
    pub fn generate() -> Result<SecretBytes, asymmetric::Error> {
        PrivateKey::generate(KeyType::Ed25519)
    }

    /// The key in a PKCS#8 structure in DER.
    ///
    /// # Errors
    /// It is none, or of another algorithm.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Signer, asymmetric::Error> {
        let private = PrivateKey::from_pkcs8(KeyType::Ed25519, pkcs8)?;
        let public = public_key(private.public_spki())?;
        Ok(Signer { private, public })
    }

    /// The public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The SubjectPublicKeyInfo of the public key, in DER.
    pub fn public_spki(&self) -> &[u8] {
        self.private.public_spki()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], asymmetric::Error> {
        let signature = self.private.sign(SignatureScheme::Ed25519, Message::Raw(message))?;
        signature.try_into().map_err(|_| asymmetric::Error::Library("sign"))
    }
}

/// The 32 bytes of the Ed25519 key in a SubjectPublicKeyInfo in DER.
///
/// # Errors
/// It is none, or of another algorithm.
pub fn public_key(spki: &[u8]) -> Result<[u8; 32], asymmetric::Error> {
    PublicKey::from_spki(KeyType::Ed25519, spki)?;
    let raw = spki.strip_prefix(&SPKI_HEAD).and_then(|raw| raw.try_into().ok());
    raw.ok_or(asymmetric::Error::BadKey { key_type: KeyType::Ed25519, reason: "not in DER" })
}

fn verifies(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let spki = [&SPKI_HEAD[..], public].concat();
    PublicKey::from_spki(KeyType::Ed25519, &spki)
        .is_ok_and(|key| key.verify(SignatureScheme::Ed25519, Message::Raw(message), signature).is_ok())
}

#[cfg(test)]
mod tests;
