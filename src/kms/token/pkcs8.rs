//! Private keys as PKCS #8 (RFC 5208, 5958), which is what of them is wrapped.

use super::code::{Code, Error, Result};
use super::material::RSA_NUMBERS;
use super::object::Object;
use super::template::Template;
use crate::crypto::lc::ec::Curve;
use cryptoki_sys as ck;
use rsa::pkcs1::RsaPrivateKey;
use rsa::pkcs8::der::asn1::{OctetStringRef, UintRef};
use rsa::pkcs8::der::{self, AnyRef, Decode, Encode, Reader};
use rsa::pkcs8::spki::AlgorithmIdentifierRef;
use rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");

/// The encoding of a private key.
///
/// # Errors
/// Keys of its type have none here.
pub(super) fn encode(key: &Object) -> Result<Zeroizing<Vec<u8>>> {
    let not = |_| Code::KEY_NOT_WRAPPABLE.because("A private key of this kind cannot be wrapped.");
    written(key).map_err(not)
}

fn written(key: &Object) -> der::Result<Zeroizing<Vec<u8>>> {
    let all = key.whole();
    let number = |kind| all.get(kind).ok_or(der::Error::incomplete(der::Length::ZERO));
    let bare = || OctetStringRef::new(number(ck::CKA_VALUE)?)?.to_der();
    match key.key_type() {
        Some(ck::CKK_RSA) => {
            let mut numbers = Vec::with_capacity(RSA_NUMBERS.len());
            for kind in RSA_NUMBERS {
                numbers.push(UintRef::new(number(kind)?)?);
            }
            let [n, e, d, p, q, dp, dq, qi] = numbers.try_into().expect("as many as there are kinds");
            let inside = RsaPrivateKey {
                modulus: n,
                public_exponent: e,
                private_exponent: d,
                prime1: p,
                prime2: q,
                exponent1: dp,
                exponent2: dq,
                coefficient: qi,
                other_prime_infos: None,
            };
            info(RSA, Some(AnyRef::NULL), &Zeroizing::new(inside.to_der()?))
        }
        Some(ck::CKK_EC) => {
            // ECPrivateKey (RFC 5915) with what it must have: version 1, and the number.
            let value = Zeroizing::new(bare()?);
            let length = u8::try_from(value.len() + 3).map_err(|_| der::ErrorKind::Overlength)?;
            let inside = Zeroizing::new([&[0x30, length, 2, 1, 1], value.as_slice()].concat());
            info(EC, Some(AnyRef::from_der(number(ck::CKA_EC_PARAMS)?)?), &inside)
        }
        Some(ck::CKK_EC_EDWARDS) => info(ED25519, None, &Zeroizing::new(bare()?)),
        Some(ck::CKK_EC_MONTGOMERY) => info(X25519, None, &Zeroizing::new(bare()?)),
        _ => Err(der::ErrorKind::Failed.into()),
    }
}

fn info(
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'_>>,
    inside: &[u8],
) -> der::Result<Zeroizing<Vec<u8>>> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters };
    PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(inside)?).to_der().map(Zeroizing::new)
}

/// The attributes of a private key of a type, out of its encoding.
///
/// # Errors
/// It is none.
pub(super) fn decode(key_type: Option<u64>, encoded: &[u8]) -> Result<Template> {
    read(key_type, encoded).map_err(|_| invalid())
}

fn read(key_type: Option<u64>, encoded: &[u8]) -> der::Result<Template> {
    // A block cipher without padding leaves zeros behind it.
    let mut reader = der::SliceReader::new(encoded)?;
    let info = PrivateKeyInfoRef::decode(&mut reader)?;
    if reader.read_slice(reader.remaining_len())?.iter().any(|byte| *byte != 0) {
        return Err(der::ErrorKind::Failed.into());
    }
    let inside = info.private_key.as_bytes();
    let named = |parameters: Vec<u8>, value: &[u8]| -> Template {
        [(ck::CKA_EC_PARAMS, parameters), (ck::CKA_VALUE, value.to_vec())].into_iter().collect()
    };
    match (key_type, info.algorithm.oid) {
        (Some(ck::CKK_RSA), RSA) => {
            let key = RsaPrivateKey::from_der(inside)?;
            let numbers = [
                key.modulus,
                key.public_exponent,
                key.private_exponent,
                key.prime1,
                key.prime2,
                key.exponent1,
                key.exponent2,
                key.coefficient,
            ];
            Ok(RSA_NUMBERS
                .into_iter()
                .zip(numbers.map(|number: UintRef<'_>| number.as_bytes().to_vec()))
                .collect())
        }
        (Some(ck::CKK_EC), EC) => {
            let curve = info.algorithm.parameters.ok_or(der::ErrorKind::Failed)?.to_der()?;
            Curve::ALL.into_iter().find(|known| known.oid() == curve).ok_or(der::ErrorKind::Failed)?;
            AnyRef::from_der(inside)?.sequence(|reader| {
                u8::decode(reader)?;
                let value = <&OctetStringRef>::decode(reader)?;
                let made = named(curve.clone(), value.as_bytes());
                reader.read_slice(reader.remaining_len())?;
                Ok(made)
            })
        }
        (Some(ck::CKK_EC_EDWARDS), oid @ ED25519) | (Some(ck::CKK_EC_MONTGOMERY), oid @ X25519) => {
            let value = <&OctetStringRef>::from_der(inside)?;
            Ok(named(oid.to_der()?, value.as_bytes()))
        }
        _ => Err(der::ErrorKind::Failed.into()),
    }
}

fn invalid() -> Error {
    Code::WRAPPED_KEY_INVALID.because("What was wrapped is no private key of that type.")
}
