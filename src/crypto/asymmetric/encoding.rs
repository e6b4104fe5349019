//! PKCS#8 and SubjectPublicKeyInfo: whether bytes are one whole DER structure that names the right algorithm.
//!
//! AWS-LC's own parsers come after these. They also take other encodings, such as a bare point of a curve; here
//! there is one encoding each.

use rsa::pkcs8::der::asn1::{BitStringRef, OctetStringRef};
use rsa::pkcs8::der::{AnyRef, Decode, Encode};
use rsa::pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};

use crate::crypto::SecretBytes;

use super::{Error, KeyType, Result};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");
const ML_KEM_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.1");
const ML_KEM_768: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.2");
const ML_KEM_1024: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.3");

/// The inside of a PKCS#8 structure: what its octet string holds, which is up to the algorithm.
pub(super) fn open_pkcs8(key_type: KeyType, pkcs8: &[u8]) -> Result<&[u8]> {
    let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| key_type.bad("not PKCS#8 in DER"))?;
    check_algorithm(key_type, &info.algorithm)?;
    Ok(info.private_key.as_bytes())
}

/// The inside of a SubjectPublicKeyInfo: the bytes of its bit string.
pub(super) fn open_spki(key_type: KeyType, spki: &[u8]) -> Result<&[u8]> {
    let info: SubjectPublicKeyInfoRef<'_> =
        Decode::from_der(spki).map_err(|_| key_type.bad("not a SubjectPublicKeyInfo in DER"))?;
    check_algorithm(key_type, &info.algorithm)?;
    let bits: BitStringRef<'_> = info.subject_public_key;
    bits.as_bytes().ok_or_else(|| key_type.bad("the public key does not end with a whole byte"))
}

/// A PKCS#8 structure around an encoded private key, for the algorithms without parameters.
pub(super) fn write_pkcs8(key_type: KeyType, inside: &[u8]) -> Result<SecretBytes> {
    let failed = |_| Error::Library("write a private key");
    let octets = OctetStringRef::new(inside).map_err(failed)?;
    let algorithm = AlgorithmIdentifierRef { oid: expected(key_type).0, parameters: None };
    PrivateKeyInfoRef::new(algorithm, octets).to_der().map(SecretBytes::from_vec).map_err(failed)
}

/// A SubjectPublicKeyInfo around the bytes of a key, for the algorithms without parameters.
pub(super) fn write_spki(key_type: KeyType, key: &[u8]) -> Result<Vec<u8>> {
    let failed = |_| Error::Library("write a public key");
    let algorithm = AlgorithmIdentifierRef { oid: expected(key_type).0, parameters: None };
    let subject_public_key = BitStringRef::from_bytes(key).map_err(failed)?;
    SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().map_err(failed)
}

/// A copy in locked memory of what AWS-LC gives out in a buffer that it wipes itself.
pub(super) fn locked(bytes: &[u8]) -> SecretBytes {
    let mut secret = SecretBytes::zeroed(bytes.len());
    secret.expose_mut().copy_from_slice(bytes);
    secret
}

/// The algorithm that a type of key has, and the curve.
fn expected(key_type: KeyType) -> (ObjectIdentifier, Option<ObjectIdentifier>) {
    match key_type {
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => (RSA, None),
        KeyType::P256 => (EC, Some(P256)),
        KeyType::P384 => (EC, Some(P384)),
        KeyType::P521 => (EC, Some(P521)),
        KeyType::Secp256k1 => (EC, Some(SECP256K1)),
        KeyType::Ed25519 => (ED25519, None),
        KeyType::MlDsa44 => (ML_DSA_44, None),
        KeyType::MlDsa65 => (ML_DSA_65, None),
        KeyType::MlDsa87 => (ML_DSA_87, None),
        KeyType::MlKem512 => (ML_KEM_512, None),
        KeyType::MlKem768 => (ML_KEM_768, None),
        KeyType::MlKem1024 => (ML_KEM_1024, None),
    }
}

/// RSA takes a NULL as its parameters (RFC 3279), elliptic curves a named curve (RFC 5480), the others none (RFC 8410,
/// RFC 9881, RFC 9935).
fn check_algorithm(key_type: KeyType, found: &AlgorithmIdentifierRef<'_>) -> Result<()> {
    let (algorithm, curve) = expected(key_type);
    if found.oid != algorithm {
        return Err(key_type.bad("a key for another algorithm"));
    }
    let well_formed = match (algorithm, curve) {
        (RSA, _) => found.parameters == Some(AnyRef::NULL),
        (_, Some(curve)) => match found.parameters.map(|any| any.decode_as::<ObjectIdentifier>()) {
            Some(Ok(named)) if named == curve => true,
            Some(Ok(_)) => return Err(key_type.bad("a key on another curve")),
            _ => false,
        },
        (_, None) => found.parameters.is_none(),
    };
    if well_formed { Ok(()) } else { Err(key_type.bad("unexpected parameters of the algorithm")) }
}
