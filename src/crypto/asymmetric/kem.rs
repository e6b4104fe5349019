//! ML-KEM (FIPS 203): encodings, and the checks of keys that AWS-LC leaves to its caller.
//!
//! A private key rests in PKCS#8 in its expanded form (RFC 9935, `expandedKey`), which is what AWS-LC gives out and
//! takes back. It holds the key proper, the public key, the public key's SHA3-256 and 32 random bytes, in this order.

use aws_lc_rs::digest::{SHA3_256, digest};
use aws_lc_rs::kem::{
    Algorithm, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_512, ML_KEM_768, ML_KEM_1024,
};
use rsa::pkcs8::der::Decode;
use rsa::pkcs8::der::asn1::OctetStringRef;

use crate::crypto::SecretBytes;

use super::{Error, KeyType, Result, encoding};

/// Length of SHA3-256's digest and of the random bytes at the end of an expanded key.
const TAIL_LEN: usize = 32;

/// AWS-LC's name for the parameter set, and the length of a public key.
fn parameters(key_type: KeyType) -> Option<(&'static Algorithm, usize)> {
    match key_type {
        KeyType::MlKem512 => Some((&ML_KEM_512, 800)),
        KeyType::MlKem768 => Some((&ML_KEM_768, 1184)),
        KeyType::MlKem1024 => Some((&ML_KEM_1024, 1568)),
        _ => None,
    }
}

/// A private key of ML-KEM.
pub(super) struct Private(DecapsulationKey);

impl Private {
    /// Makes a key pair and returns it as PKCS#8 DER.
    pub(super) fn generate(key_type: KeyType) -> Result<SecretBytes> {
        let failed = |_| Error::Library("make a key pair");
        let (algorithm, _) = parameters(key_type).ok_or(key_type.cannot("encapsulate"))?;
        let key = DecapsulationKey::generate(algorithm).map_err(failed)?;
        encoding::write_pkcs8(key_type, key.key_bytes().map_err(failed)?.as_ref())
    }

    /// Parses the inside of a PKCS#8 structure; returns the SubjectPublicKeyInfo as well.
    pub(super) fn parse(key_type: KeyType, inside: &[u8]) -> Result<(Private, Vec<u8>)> {
        let (algorithm, public_len) = parameters(key_type).ok_or(key_type.cannot("decapsulate"))?;
        let expanded = <&OctetStringRef>::from_der(inside)
            .map_err(|_| key_type.bad("no expanded key inside the PKCS#8"))?
            .as_bytes();
        let key = DecapsulationKey::new(algorithm, expanded)
            .map_err(|_| key_type.bad("the expanded key has another length"))?;
        let public_end = expanded.len() - 2 * TAIL_LEN;
        let public = &expanded[public_end - public_len..public_end];
        if digest(&SHA3_256, public).as_ref() != &expanded[public_end..public_end + TAIL_LEN] {
            return Err(key_type.bad("its parts are not valid, or do not belong together"));
        }
        Ok((Private(key), encoding::write_spki(key_type, public)?))
    }

    pub(super) fn decapsulate(&self, ciphertext: &[u8]) -> Result<SecretBytes> {
        let secret = self.0.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| Error::BadCiphertext)?;
        Ok(encoding::locked(secret.as_ref()))
    }
}

/// A public key of ML-KEM.
pub(super) struct Public(EncapsulationKey);

impl Public {
    /// Parses the bytes inside a SubjectPublicKeyInfo.
    pub(super) fn parse(key_type: KeyType, inside: &[u8]) -> Result<Public> {
        let bad = || key_type.bad("no valid public key");
        let (algorithm, _) = parameters(key_type).ok_or(key_type.cannot("encapsulate"))?;
        let key = EncapsulationKey::new(algorithm, inside).map_err(|_| bad())?;
        // The modulus check (FIPS 203, section 7.2) is made by AWS-LC when it encapsulates, not when it parses.
        key.encapsulate().map_err(|_| bad())?;
        Ok(Public(key))
    }

    pub(super) fn encapsulate(&self) -> Result<(Vec<u8>, SecretBytes)> {
        let (ciphertext, secret) = self.0.encapsulate().map_err(|_| Error::Library("encapsulate"))?;
        Ok((ciphertext.as_ref().to_vec(), encoding::locked(secret.as_ref())))
    }
}
