//! Key pairs on Weierstrass curves: ECDSA of a digest, ECDH.

#![expect(unsafe_code, reason = "see the module above")]

use super::number::{Number, padded};
use super::{Refused, Result, done, made, owned};
use crate::crypto::SecretBytes;
use aws_lc_sys as c;
use std::ptr;

owned!(
    /// A public key or a key pair.
    EcKey,
    c::EC_KEY,
    c::EC_KEY_free
);

// SAFETY: AWS-LC's keys may be used by several threads at a time as long as none changes them, and none does.
unsafe impl Send for EcKey {}
// SAFETY: as above.
unsafe impl Sync for EcKey {}

owned!(
    /// A point of a curve.
    Point,
    c::EC_POINT,
    c::EC_POINT_free
);

owned!(
    /// A signature, as two numbers.
    Pair,
    c::ECDSA_SIG,
    c::ECDSA_SIG_free
);

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-224
    P224,
    /// NIST P-256
    P256,
    /// NIST P-384
    P384,
    /// NIST P-521
    P521,
    /// secp256k1
    Secp256k1,
}

impl Curve {
    /// All there are.
    pub const ALL: [Curve; 5] = [Curve::P224, Curve::P256, Curve::P384, Curve::P521, Curve::Secp256k1];

    /// The curve's object identifier in DER, which is how PKCS#11 names it.
    pub fn oid(self) -> &'static [u8] {
        match self {
            Curve::P224 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21],
            Curve::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Curve::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            Curve::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
            Curve::Secp256k1 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }

    /// The length of a coordinate and of a private number, in bytes.
    pub fn length(self) -> usize {
        match self {
            Curve::P224 => 28,
            Curve::P256 | Curve::Secp256k1 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    fn nid(self) -> i32 {
        match self {
            Curve::P224 => c::NID_secp224r1,
            Curve::P256 => c::NID_X9_62_prime256v1,
            Curve::P384 => c::NID_secp384r1,
            Curve::P521 => c::NID_secp521r1,
            Curve::Secp256k1 => c::NID_secp256k1,
        }
    }
}

impl EcKey {
    fn empty(curve: Curve) -> Result<EcKey> {
        // SAFETY: a new object, or null.
        Ok(EcKey(made(unsafe { c::EC_KEY_new_by_curve_name(curve.nid()) })?))
    }

    fn group(&self) -> *const c::EC_GROUP {
        // SAFETY: every key here was made with a group.
        unsafe { c::EC_KEY_get0_group(self.as_ptr()) }
    }

    /// A new key pair.
    pub fn generate(curve: Curve) -> Result<EcKey> {
        let key = EcKey::empty(curve)?;
        // SAFETY: the key is ours.
        done(unsafe { c::EC_KEY_generate_key(key.as_ptr()) })?;
        Ok(key)
    }

    /// The public key that is this point, compressed or not.
    ///
    /// # Errors
    /// It is none of the curve's.
    pub fn public(curve: Curve, point: &[u8]) -> Result<EcKey> {
        let key = EcKey::empty(curve)?;
        let point = key.point(point)?;
        // SAFETY: both are ours; the point is copied.
        done(unsafe { c::EC_KEY_set_public_key(key.as_ptr(), point.as_ptr()) })?;
        Ok(key)
    }

    /// The key pair with this private number.
    ///
    /// # Errors
    /// It is not between zero and the group's order.
    pub fn private(curve: Curve, number: &[u8]) -> Result<EcKey> {
        let key = EcKey::empty(curve)?;
        let number = Number::new(number)?;
        // SAFETY: all are ours; number and point are copied.
        unsafe {
            done(c::EC_KEY_set_private_key(key.as_ptr(), number.as_ptr()))?;
            let point = Point(made(c::EC_POINT_new(key.group()))?);
            let null = ptr::null();
            let (group, at) = (key.group(), point.as_ptr());
            done(c::EC_POINT_mul(group, at, number.as_ptr(), null, ptr::null(), ptr::null_mut()))?;
            done(c::EC_KEY_set_public_key(key.as_ptr(), at))?;
            done(c::EC_KEY_check_key(key.as_ptr()))?;
        }
        Ok(key)
    }

    fn point(&self, bytes: &[u8]) -> Result<Point> {
        // SAFETY: the group lives as long as the key; the point's bytes are read as told.
        unsafe {
            let point = Point(made(c::EC_POINT_new(self.group()))?);
            let (at, from) = (point.as_ptr(), bytes.as_ptr());
            done(c::EC_POINT_oct2point(self.group(), at, from, bytes.len(), ptr::null_mut()))?;
            Ok(point)
        }
    }

    /// The public point, uncompressed (SEC 1, section 2.3.3).
    pub fn public_point(&self) -> Result<Vec<u8>> {
        let form = c::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED;
        let mut out = vec![0; 1 + 2 * 66];
        // SAFETY: it is told how much room there is, which is enough for the longest curve.
        let length = unsafe {
            let point = c::EC_KEY_get0_public_key(self.as_ptr());
            if point.is_null() {
                return Err(Refused);
            }
            c::EC_POINT_point2oct(self.group(), point, form, out.as_mut_ptr(), out.len(), ptr::null_mut())
        };
        out.truncate(length);
        if length == 0 { Err(Refused) } else { Ok(out) }
    }

    /// The private number, as long as the curve's numbers are.
    pub fn private_number(&self, curve: Curve) -> Result<SecretBytes> {
        // SAFETY: the number lives as long as the key.
        padded(unsafe { c::EC_KEY_get0_private_key(self.as_ptr()) }, curve.length())
    }

    /// The ECDSA signature (FIPS 186-5) of a digest: r, then s, each as long as the curve's numbers. What is longer than
    /// the group's order is cut.
    pub fn sign(&self, curve: Curve, digest: &[u8]) -> Result<Vec<u8>> {
        // SAFETY: the digest is read as told; the numbers live as long as the signature.
        let (r, s, _signature) = unsafe {
            let made_pair = made(c::ECDSA_do_sign(digest.as_ptr(), digest.len(), self.as_ptr()))?;
            let signature = Pair(made_pair);
            let (mut r, mut s) = (ptr::null(), ptr::null());
            c::ECDSA_SIG_get0(signature.as_ptr(), &raw mut r, &raw mut s);
            (r, s, signature)
        };
        let (r, s) = (padded(r, curve.length())?, padded(s, curve.length())?);
        Ok([r.expose(), s.expose()].concat())
    }

    /// Whether `signature`, r and s of one length, is one of a digest.
    pub fn verify(&self, digest: &[u8], signature: &[u8]) -> bool {
        if signature.is_empty() || !signature.len().is_multiple_of(2) {
            return false;
        }
        let (r, s) = signature.split_at(signature.len() / 2);
        let (Ok(r), Ok(s)) = (Number::new(r), Number::new(s)) else { return false };
        // SAFETY: the numbers are given away only when they are taken, which set0 does not fail at with two numbers.
        let valid = unsafe {
            let Ok(pair) = made(c::ECDSA_SIG_new()) else { return false };
            let pair = Pair(pair);
            if c::ECDSA_SIG_set0(pair.as_ptr(), r.give(), s.give()) != 1 {
                return false;
            }
            c::ECDSA_do_verify(digest.as_ptr(), digest.len(), pair.as_ptr(), self.as_ptr())
        };
        done(valid).is_ok()
    }

    /// The x coordinate of the point shared with the owner of another one (SP 800-56A, 5.7.1.2).
    ///
    /// # Errors
    /// It is no point of the curve.
    pub fn agree(&self, curve: Curve, peer: &[u8]) -> Result<SecretBytes> {
        let point = self.point(peer)?;
        let mut secret = SecretBytes::zeroed(curve.length());
        // SAFETY: a coordinate has the curve's length.
        let length = unsafe {
            let (out, length) = (secret.expose_mut().as_mut_ptr().cast(), curve.length());
            c::ECDH_compute_key(out, length, point.as_ptr(), self.as_ptr(), None)
        };
        if usize::try_from(length) == Ok(curve.length()) { Ok(secret) } else { done(0).map(|()| secret) }
    }
}
