//! ML-KEM (FIPS 203): encodings, and the checks of keys that AWS-LC leaves to its caller.
//!
//! RFC 9935 has three forms of a private key inside PKCS#8. Keys made here are in the shortest, the *seed* of 64 bytes
//! that everything else follows from. The *expanded* form is what AWS-LC computes with: the key proper, the public key,
//! the public key's SHA3-256 and 32 random bytes, in this order. The third has *both*.

use aws_lc_rs::digest::{SHA3_256, digest};
use aws_lc_rs::kem::{
    Algorithm, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_512, ML_KEM_768, ML_KEM_1024,
};
use rsa::pkcs8::der::asn1::OctetStringRef;
use rsa::pkcs8::der::{AnyRef, Decode, Reader, SliceReader, Tag, Tagged};

use crate::crypto::{SecretBytes, random};

use super::{Error, KeyType, Result, aws_lc, encoding};

/// Length of a seed.
const SEED_LEN: usize = 64;
/// A seed's tag and length in DER: `[0] IMPLICIT OCTET STRING`.
const SEED_HEAD: [u8; 2] = [0x80, SEED_LEN as u8];
/// Length of each of the two parts at the end of an expanded key.
const TAIL_LEN: usize = 32;

/// A parameter set: AWS-LC's name for it, and the lengths of keys.
struct Parameters {
    algorithm: &'static Algorithm,
    public_len: usize,
    expanded_len: usize,
}

fn parameters(key_type: KeyType) -> Result<Parameters> {
    let (algorithm, public_len, expanded_len) = match key_type {
        KeyType::MlKem512 => (&ML_KEM_512, 800, 1632),
        KeyType::MlKem768 => (&ML_KEM_768, 1184, 2400),
        KeyType::MlKem1024 => (&ML_KEM_1024, 1568, 3168),
        _ => return Err(key_type.cannot("encapsulate")),
    };
    Ok(Parameters { algorithm, public_len, expanded_len })
}

/// A private key of ML-KEM.
pub(super) struct Private(DecapsulationKey);

impl Private {
    /// Makes a key pair and returns it as PKCS#8 DER.
    pub(super) fn generate(key_type: KeyType) -> Result<SecretBytes> {
        let mut seed = SecretBytes::zeroed(SEED_LEN);
        random::fill(seed.expose_mut());
        seed_pkcs8(key_type, seed.expose())
    }

    /// Parses the inside of a PKCS#8 structure; returns the SubjectPublicKeyInfo as well.
    pub(super) fn parse(key_type: KeyType, inside: &[u8]) -> Result<(Private, Vec<u8>)> {
        let Parameters { algorithm, public_len, expanded_len } = parameters(key_type)?;
        let inconsistent = || key_type.bad("its parts are not valid, or do not belong together");
        let Forms { seed, expanded } =
            read_forms(inside).ok_or(key_type.bad("no ML-KEM key inside the PKCS#8"))?;
        let from_seed = seed.map(|seed| expand(key_type, seed, expanded_len)).transpose()?;
        if from_seed.as_ref().zip(expanded).is_some_and(|(ours, theirs)| ours.expose() != theirs) {
            return Err(inconsistent());
        }
        let expanded = from_seed.as_ref().map(SecretBytes::expose).or(expanded).unwrap_or_default();
        let key = DecapsulationKey::new(algorithm, expanded).map_err(|_| inconsistent())?;
        let public_end = expanded_len - 2 * TAIL_LEN;
        let public = &expanded[public_end - public_len..public_end];
        if digest(&SHA3_256, public).as_ref() != &expanded[public_end..public_end + TAIL_LEN] {
            return Err(inconsistent());
        }
        Ok((Private(key), encoding::write_spki(key_type, public)?))
    }

    pub(super) fn decapsulate(&self, ciphertext: &[u8]) -> Result<SecretBytes> {
        let secret = self.0.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| Error::BadCiphertext)?;
        Ok(encoding::locked(secret.as_ref()))
    }
}

/// The forms of a private key that are there.
struct Forms<'a> {
    seed: Option<&'a [u8]>,
    expanded: Option<&'a [u8]>,
}

fn read_forms(inside: &[u8]) -> Option<Forms<'_>> {
    match *inside.first()? {
        0x80 => Some(Forms { seed: Some(inside.strip_prefix(&SEED_HEAD)?), expanded: None }),
        0x04 => {
            let expanded = <&OctetStringRef>::from_der(inside).ok()?.as_bytes();
            Some(Forms { seed: None, expanded: Some(expanded) })
        }
        _ => {
            let sequence = AnyRef::from_der(inside).ok().filter(|any| any.tag() == Tag::Sequence)?;
            let mut both = SliceReader::new(sequence.value()).ok()?;
            let (seed, expanded): (&OctetStringRef, &OctetStringRef) =
                (both.decode().ok()?, both.decode().ok()?);
            both.finish().ok()?;
            Some(Forms { seed: Some(seed.as_bytes()), expanded: Some(expanded.as_bytes()) })
        }
    }
}

/// The expanded form of a seed.
fn expand(key_type: KeyType, seed: &[u8], expanded_len: usize) -> Result<SecretBytes> {
    if seed.len() != SEED_LEN {
        return Err(key_type.bad("the seed is not 64 bytes long"));
    }
    let pkcs8 = seed_pkcs8(key_type, seed)?;
    aws_lc::raw_private_key(pkcs8.expose(), expanded_len).ok_or(Error::Library("expand a seed"))
}

fn seed_pkcs8(key_type: KeyType, seed: &[u8]) -> Result<SecretBytes> {
    let mut inside = SecretBytes::zeroed(SEED_HEAD.len() + seed.len());
    let (head, tail) = inside.expose_mut().split_at_mut(SEED_HEAD.len());
    head.copy_from_slice(&SEED_HEAD);
    tail.copy_from_slice(seed);
    encoding::write_pkcs8(key_type, inside.expose())
}

/// A public key of ML-KEM.
pub(super) struct Public(EncapsulationKey);

impl Public {
    /// Parses the bytes inside a SubjectPublicKeyInfo.
    pub(super) fn parse(key_type: KeyType, inside: &[u8]) -> Result<Public> {
        let bad = || key_type.bad("no valid public key");
        let key = EncapsulationKey::new(parameters(key_type)?.algorithm, inside).map_err(|_| bad())?;
        // The modulus check (FIPS 203, section 7.2) is made by AWS-LC when it encapsulates, not when it parses.
        key.encapsulate().map_err(|_| bad())?;
        Ok(Public(key))
    }

    pub(super) fn encapsulate(&self) -> Result<(Vec<u8>, SecretBytes)> {
        let (ciphertext, secret) = self.0.encapsulate().map_err(|_| Error::Library("encapsulate"))?;
        Ok((ciphertext.as_ref().to_vec(), encoding::locked(secret.as_ref())))
    }
}
