//! What is in an object that computes: the key behind the attributes.

use super::code::{Code, Result};
use super::mechanism;
use super::object::Object;
use super::template::Template;
use crate::crypto::SecretBytes;
use crate::crypto::lc::block::{Block, Direction, Mode};
use crate::crypto::lc::classic::Dsa;
use crate::crypto::lc::ec::{Curve, EcKey};
use crate::crypto::lc::ml_dsa::{MlDsaKey, Set};
use crate::crypto::lc::rsa::{Numbers, RsaKey};
use crate::crypto::lc::{self, edwards};
use cryptoki_sys as ck;

/// `CKA_EC_PARAMS` of Ed25519: its object identifier (RFC 8410), or its name.
const ED25519: [&[u8]; 2] = [&[0x06, 0x03, 0x2b, 0x65, 0x70], b"\x13\x0cedwards25519"];
/// As above, of X25519.
const X25519: [&[u8]; 2] = [&[0x06, 0x03, 0x2b, 0x65, 0x6e], b"\x13\x0acurve25519"];

/// The attributes that the numbers of an RSA key pair are, in the order of PKCS #1: the public ones, then the secret ones.
pub(super) const RSA_NUMBERS: [u64; 8] = [
    ck::CKA_MODULUS,
    ck::CKA_PUBLIC_EXPONENT,
    ck::CKA_PRIVATE_EXPONENT,
    ck::CKA_PRIME_1,
    ck::CKA_PRIME_2,
    ck::CKA_EXPONENT_1,
    ck::CKA_EXPONENT_2,
    ck::CKA_COEFFICIENT,
];

/// RSA keys are at least this long, in bits; shorter ones are broken in hours.
pub(super) const RSA_BITS_MIN: usize = 1024;
/// Public ones may be as short as this.
const RSA_PUBLIC_BITS_MIN: usize = 512;
/// And at most this: each doubling takes eight times as long.
pub(super) const RSA_BITS_MAX: usize = 8192;

/// A prime that a group is modulo has at most this many bytes.
const GROUP_MAX: usize = 512;
/// A secret key has at most this many bytes: with what goes with it, it fits in a slot of locked memory.
const SECRET_MAX: usize = 4000;

/// A key, ready to be used.
#[derive(Debug)]
pub(super) enum Material {
    /// No key.
    None,
    /// A secret key.
    Secret(SecretBytes),
    /// An RSA key.
    Rsa(RsaKey),
    /// A key on a Weierstrass curve.
    Ec(Curve, EcKey),
    /// An Ed25519 public key, and its seed if it is a private one.
    Ed25519 { public: [u8; 32], seed: Option<SecretBytes> },
    /// An X25519 key: the private one's number.
    X25519(Option<SecretBytes>),
    /// An ML-DSA public key.
    MlDsaPublic(Set, Vec<u8>),
    /// An ML-DSA key pair.
    MlDsa(MlDsaKey),
    /// A DSA key.
    Dsa(Dsa),
    /// A Diffie-Hellman key: prime, base, and the private number if it is one.
    Dh { prime: Vec<u8>, base: Vec<u8>, private: Option<SecretBytes> },
}

impl Material {
    /// The key that an object is.
    ///
    /// # Errors
    /// A part of it is missing, or is none.
    pub(super) fn of(object: &Object) -> Result<Material> {
        let mut all = object.whole();
        match (object.class(), object.key_type()) {
            (ck::CKO_SECRET_KEY, Some(kind)) => secret(kind, &mut all),
            (ck::CKO_PUBLIC_KEY, Some(kind)) => pair(kind, &mut all, false),
            (ck::CKO_PRIVATE_KEY, Some(kind)) => pair(kind, &mut all, true),
            _ => Ok(Material::None),
        }
    }

    /// Adds what a key's attributes say of its material.
    ///
    /// # Errors
    /// They say something else.
    pub(super) fn describe(&self, attributes: &mut Template) -> Result<()> {
        match self {
            Material::Secret(value) => {
                let kind = attributes.number(ck::CKA_KEY_TYPE).unwrap_or_default();
                agree(attributes, ck::CKA_VALUE_LEN, &(value.len() as u64).to_le_bytes())?;
                agree(attributes, ck::CKA_CHECK_VALUE, &check_value(kind, value.expose())?)
            }
            Material::Rsa(key) if attributes.number(ck::CKA_CLASS) == Some(ck::CKO_PUBLIC_KEY) => {
                agree(attributes, ck::CKA_MODULUS_BITS, &rsa_bits(key).to_le_bytes())
            }
            _ => Ok(()),
        }
    }
}

/// Sets an attribute, unless it is set to something else. An empty check value says that none is wanted.
fn agree(attributes: &mut Template, kind: u64, value: &[u8]) -> Result<()> {
    match attributes.get(kind) {
        None => attributes.set(kind, value),
        Some(given) if given == value || given.is_empty() => {}
        Some(_) => {
            let why = format!("The attribute {kind:#x} is not that of the key.");
            return Err(Code::ATTRIBUTE_VALUE_INVALID.because(why));
        }
    }
    Ok(())
}

/// The first three bytes of the zero block encrypted, or of the SHA-1 digest.
fn check_value(key_type: u64, value: &[u8]) -> Result<Vec<u8>> {
    let (block, zeros) = match key_type {
        ck::CKK_AES => (Block::Aes, [0; 16].as_slice()),
        ck::CKK_DES2 | ck::CKK_DES3 => (Block::Des3, [0; 8].as_slice()),
        _ => return Ok(lc::Digest::Sha1.of(value)[..3].to_vec()),
    };
    let encrypted = block.crypt(Mode::Ecb, Direction::Encrypt, value, &[], zeros);
    encrypted.map(|block| block[..3].to_vec()).map_err(|_| size())
}

/// The lengths of secret keys of a type, in bytes, from and to; `None` if a type has lengths of its own.
pub(super) fn check_length(key_type: u64, length: usize) -> Result<()> {
    let good = match key_type {
        ck::CKK_AES => matches!(length, 16 | 24 | 32),
        ck::CKK_DES2 => length == 16,
        ck::CKK_DES3 => length == 24,
        _ => (1..=SECRET_MAX).contains(&length),
    };
    if good { Ok(()) } else { Err(size()) }
}

fn secret(key_type: u64, all: &mut Template) -> Result<Material> {
    let mut value = all.take(ck::CKA_VALUE).ok_or_else(|| missing("value"))?;
    check_length(key_type, value.len()).map_err(|_| invalid())?;
    Ok(Material::Secret(SecretBytes::from_slice(&mut value)))
}

/// The key of a pair, its private one or its public one.
fn pair(key_type: u64, all: &mut Template, is_private: bool) -> Result<Material> {
    match key_type {
        ck::CKK_RSA => rsa(all, is_private),
        ck::CKK_EC => {
            let curve = curve(given(all, ck::CKA_EC_PARAMS, "curve")?)?;
            let key = match is_private {
                true => EcKey::private(curve, given(all, ck::CKA_VALUE, "value")?),
                false => EcKey::public(
                    curve,
                    octets(given(all, ck::CKA_EC_POINT, "point")?, 1 + 2 * curve.length()),
                ),
            };
            Ok(Material::Ec(curve, key.map_err(|_| invalid())?))
        }
        ck::CKK_EC_EDWARDS => {
            known_curve(all, ED25519)?;
            let (public, seed) = bare(all, is_private, edwards::ed25519_public)?;
            Ok(Material::Ed25519 { public, seed })
        }
        ck::CKK_EC_MONTGOMERY => {
            known_curve(all, X25519)?;
            bare(all, is_private, edwards::x25519_public).map(|(_, private)| Material::X25519(private))
        }
        ck::CKK_ML_DSA => {
            let set = parameter_set(all)?;
            if is_private {
                let key = MlDsaKey::new(set, given(all, ck::CKA_SEED, "seed")?);
                return key.map(Material::MlDsa).map_err(|_| invalid());
            }
            let value = given(all, ck::CKA_VALUE, "value")?;
            match value.len() == set.public_length() {
                true => Ok(Material::MlDsaPublic(set, value.to_vec())),
                false => Err(invalid()),
            }
        }
        ck::CKK_DSA => {
            let numbers = [
                given(all, ck::CKA_PRIME, "prime")?,
                given(all, ck::CKA_SUBPRIME, "subprime")?,
                given(all, ck::CKA_BASE, "base")?,
            ];
            let value = given(all, ck::CKA_VALUE, "value")?;
            // A signature needs no public number; AWS-LC wants one beside a private one.
            let private = is_private.then_some(value);
            let key = Dsa::new(numbers).and_then(|key| key.with_key(value, private));
            key.map(Material::Dsa).map_err(|_| invalid())
        }
        ck::CKK_DH => {
            let prime = given(all, ck::CKA_PRIME, "prime")?.to_vec();
            let base = given(all, ck::CKA_BASE, "base")?.to_vec();
            let value = given(all, ck::CKA_VALUE, "value")?;
            // AWS-LC bounds the prime's length, not the exponent's.
            if prime.len() > GROUP_MAX
                || prime.last().is_none_or(|last| last % 2 == 0)
                || value.len() > prime.len()
            {
                return Err(invalid());
            }
            let private = is_private.then(|| SecretBytes::from_vec(value.to_vec()));
            Ok(Material::Dh { prime, base, private })
        }
        _ => Ok(Material::None),
    }
}

fn rsa(all: &Template, is_private: bool) -> Result<Material> {
    let n = given(all, ck::CKA_MODULUS, "modulus")?;
    let key = if is_private {
        let crt = [
            all.get(ck::CKA_PRIME_1),
            all.get(ck::CKA_PRIME_2),
            all.get(ck::CKA_EXPONENT_1),
            all.get(ck::CKA_EXPONENT_2),
            all.get(ck::CKA_COEFFICIENT),
        ];
        let crt = match crt {
            [Some(p), Some(q), Some(dp), Some(dq), Some(qi)] => Some([p, q, dp, dq, qi]),
            _ => None,
        };
        let e = given(all, ck::CKA_PUBLIC_EXPONENT, "public exponent")?;
        RsaKey::private(&Numbers { n, e, d: given(all, ck::CKA_PRIVATE_EXPONENT, "private exponent")?, crt })
    } else {
        RsaKey::public(n, given(all, ck::CKA_PUBLIC_EXPONENT, "public exponent")?)
    };
    let key = key.map_err(|_| invalid())?;
    // Who verifies an old signature has no choice of its key.
    let least = if is_private { RSA_BITS_MIN } else { RSA_PUBLIC_BITS_MIN };
    match (least..=RSA_BITS_MAX).contains(&(rsa_bits(&key) as usize)) {
        true => Ok(Material::Rsa(key)),
        false => Err(Code::ATTRIBUTE_VALUE_INVALID.because("An RSA key has 1024 to 8192 bits.")),
    }
}

/// The modulus's length in bits.
fn rsa_bits(key: &RsaKey) -> u64 {
    let first = key.public_numbers().ok().and_then(|[n, _]| n.expose().first().copied()).unwrap_or_default();
    key.length() as u64 * 8 - u64::from(first.leading_zeros())
}

/// The 32 bytes of a public key, and those of the private one if it is one.
fn bare(
    all: &Template,
    is_private: bool,
    public_of: fn(&[u8; 32]) -> [u8; 32],
) -> Result<([u8; 32], Option<SecretBytes>)> {
    if is_private {
        let value: &[u8; 32] = given(all, ck::CKA_VALUE, "value")?.try_into().map_err(|_| invalid())?;
        return Ok((public_of(value), Some(SecretBytes::from_vec(value.to_vec()))));
    }
    let point = octets(given(all, ck::CKA_EC_POINT, "point")?, 32);
    Ok((point.try_into().map_err(|_| invalid())?, None))
}

/// The Weierstrass curve that `CKA_EC_PARAMS` names.
///
/// # Errors
/// It is none that is known here.
pub(super) fn curve(parameters: &[u8]) -> Result<Curve> {
    let found = Curve::ALL.into_iter().find(|curve| curve.oid() == parameters);
    found.ok_or_else(|| Code::CURVE_NOT_SUPPORTED.because("Curves: P-224, P-256, P-384, P-521, secp256k1."))
}

fn known_curve(all: &Template, names: [&[u8]; 2]) -> Result<()> {
    match names.contains(&given(all, ck::CKA_EC_PARAMS, "curve")?) {
        true => Ok(()),
        false => Err(Code::CURVE_NOT_SUPPORTED.because("Of these curves, Ed25519 and X25519 are supported.")),
    }
}

/// The parameter set of an ML-DSA key.
///
/// # Errors
/// It is missing, or none.
pub(super) fn parameter_set(all: &Template) -> Result<Set> {
    let number = all.number(ck::CKA_PARAMETER_SET).ok_or_else(|| missing("parameter set"))?;
    mechanism::ml_dsa_set(number).ok_or_else(invalid)
}

/// A point as DER has it, an OCTET STRING, without that wrapping. Bare points are taken too: what is `bare` bytes long is
/// one, whatever it begins with.
pub(super) fn octets(point: &[u8], bare: usize) -> &[u8] {
    match point {
        whole if whole.len() == bare => whole,
        [0x04, length, rest @ ..] if *length < 0x80 && usize::from(*length) == rest.len() => rest,
        [0x04, 0x81, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
        bare => bare,
    }
}

/// A point as DER has it.
pub(super) fn as_octets(point: &[u8]) -> Vec<u8> {
    let length = u8::try_from(point.len()).expect("the longest point has 133 bytes");
    let head: &[u8] = if length < 0x80 { &[0x04, length] } else { &[0x04, 0x81, length] };
    [head, point].concat()
}

fn given<'t>(all: &'t Template, kind: u64, what: &str) -> Result<&'t [u8]> {
    all.get(kind).ok_or_else(|| missing(what))
}

fn missing(what: &str) -> super::code::Error {
    Code::TEMPLATE_INCOMPLETE.because(format!("The key has no {what}."))
}

fn invalid() -> super::code::Error {
    Code::ATTRIBUTE_VALUE_INVALID.because("The attributes are none of a key.")
}

fn size() -> super::code::Error {
    Code::KEY_SIZE_RANGE.because("Keys of this type do not have that length.")
}
