//! DSA (FIPS 186-4) and Diffie-Hellman (PKCS #3), modulo a prime.

#![expect(unsafe_code, reason = "see the module above")]

use super::number::{Number, bytes, padded};
use super::{Refused, Result, done, made, owned};
use crate::crypto::SecretBytes;
use aws_lc_sys as c;
use std::ptr;

owned!(
    /// DSA parameters, with keys or without.
    Dsa,
    c::DSA,
    c::DSA_free
);

// SAFETY: AWS-LC's keys may be used by several threads at a time as long as none changes them, and none does; what it
// computes once for all signatures it guards by a lock of its own.
unsafe impl Send for Dsa {}
// SAFETY: as above.
unsafe impl Sync for Dsa {}

owned!(
    /// Diffie-Hellman parameters, with keys or without.
    Dh,
    c::DH,
    c::DH_free
);

owned!(
    /// A DSA signature, as two numbers.
    Pair,
    c::DSA_SIG,
    c::DSA_SIG_free
);

/// A key pair's public and private number.
#[derive(Debug)]
pub struct KeyPair {
    /// The public number.
    pub public: SecretBytes,
    /// The private one.
    pub private: SecretBytes,
}

impl Dsa {
    /// New parameters with a prime of so many bits.
    pub fn generate(bits: usize) -> Result<Dsa> {
        let bits = u32::try_from(bits).map_err(|_| Refused)?;
        let null = ptr::null_mut();
        // SAFETY: the object is ours, and nothing else is asked for.
        unsafe {
            let dsa = Dsa(made(c::DSA_new())?);
            let at = dsa.as_ptr();
            done(c::DSA_generate_parameters_ex(
                at,
                bits,
                ptr::null(),
                0,
                ptr::null_mut(),
                null,
                ptr::null_mut(),
            ))?;
            Ok(dsa)
        }
    }

    /// Parameters: prime, subprime, base.
    pub fn new([p, q, g]: [&[u8]; 3]) -> Result<Dsa> {
        let (p, q, g) = (Number::new(p)?, Number::new(q)?, Number::new(g)?);
        // SAFETY: set0 takes the numbers over, and does not fail with all three.
        unsafe {
            let dsa = Dsa(made(c::DSA_new())?);
            done(c::DSA_set0_pqg(dsa.as_ptr(), p.give(), q.give(), g.give()))?;
            Ok(dsa)
        }
    }

    /// These parameters with a key: its public number, and the private one if it is known.
    pub fn with_key(self, public: &[u8], private: Option<&[u8]>) -> Result<Dsa> {
        let public = Number::new(public)?;
        let private = private.map(Number::new).transpose()?;
        // SAFETY: set0 takes the numbers over.
        let set = unsafe {
            let private = private.map_or(ptr::null_mut(), Number::give);
            c::DSA_set0_key(self.as_ptr(), public.give(), private)
        };
        done(set)?;
        Ok(self)
    }

    /// Prime, subprime, base.
    pub fn parameters(&self) -> Result<[SecretBytes; 3]> {
        let (mut p, mut q, mut g) = (ptr::null(), ptr::null(), ptr::null());
        // SAFETY: the numbers live as long as the object.
        unsafe { c::DSA_get0_pqg(self.as_ptr(), &raw mut p, &raw mut q, &raw mut g) };
        Ok([bytes(p)?, bytes(q)?, bytes(g)?])
    }

    /// A new key pair with these parameters.
    pub fn generate_key(self) -> Result<KeyPair> {
        let (mut public, mut private) = (ptr::null(), ptr::null());
        // SAFETY: the numbers live as long as the object.
        unsafe {
            done(c::DSA_generate_key(self.as_ptr()))?;
            c::DSA_get0_key(self.as_ptr(), &raw mut public, &raw mut private);
        }
        Ok(KeyPair { public: bytes(public)?, private: bytes(private)? })
    }

    fn length(&self) -> Result<usize> {
        Ok(self.parameters()?[1].expose().len())
    }

    /// The signature of a digest: r, then s, each as long as the subprime.
    pub fn sign(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let length = self.length()?;
        let (mut r, mut s) = (ptr::null(), ptr::null());
        // SAFETY: the digest is read as told; the numbers live as long as the signature.
        let signature = unsafe {
            let signature = Pair(made(c::DSA_do_sign(digest.as_ptr(), digest.len(), self.as_ptr()))?);
            c::DSA_SIG_get0(signature.as_ptr(), &raw mut r, &raw mut s);
            signature
        };
        let both = [padded(r, length)?.expose(), padded(s, length)?.expose()].concat();
        drop(signature);
        Ok(both)
    }

    /// Whether it is one.
    pub fn verify(&self, digest: &[u8], signature: &[u8]) -> bool {
        if signature.is_empty() || !signature.len().is_multiple_of(2) {
            return false;
        }
        let (r, s) = signature.split_at(signature.len() / 2);
        let (Ok(r), Ok(s)) = (Number::new(r), Number::new(s)) else { return false };
        // SAFETY: set0 takes the numbers over.
        let valid = unsafe {
            let Ok(pair) = made(c::DSA_SIG_new()) else { return false };
            let pair = Pair(pair);
            if c::DSA_SIG_set0(pair.as_ptr(), r.give(), s.give()) != 1 {
                return false;
            }
            c::DSA_do_verify(digest.as_ptr(), digest.len(), pair.as_ptr(), self.as_ptr())
        };
        done(valid).is_ok()
    }
}

impl Dh {
    /// New parameters with a prime of so many bits. Takes from seconds to minutes.
    pub fn generate(bits: usize) -> Result<Dh> {
        let bits = i32::try_from(bits).map_err(|_| Refused)?;
        // SAFETY: the object is ours.
        unsafe {
            let dh = Dh(made(c::DH_new())?);
            done(c::DH_generate_parameters_ex(dh.as_ptr(), bits, c::DH_GENERATOR_2, ptr::null_mut()))?;
            Ok(dh)
        }
    }

    /// Parameters: prime, base.
    ///
    /// # Errors
    /// The base is none of the numbers from 2 to the prime less 2: all its powers would be 0, 1 or the prime less 1.
    pub fn new(p: &[u8], g: &[u8]) -> Result<Dh> {
        let (last, p, g) = (Number::new(p)?, Number::new(p)?, Number::new(g)?);
        // SAFETY: all are ours. set0 takes two of them over, and does not fail with both.
        unsafe {
            done(c::BN_sub_word(last.as_ptr(), 1))?;
            if c::BN_cmp(g.as_ptr(), c::BN_value_one()) <= 0 || c::BN_cmp(g.as_ptr(), last.as_ptr()) >= 0 {
                return Err(Refused);
            }
            let dh = Dh(made(c::DH_new())?);
            done(c::DH_set0_pqg(dh.as_ptr(), p.give(), ptr::null_mut(), g.give()))?;
            Ok(dh)
        }
    }

    /// Prime, base.
    pub fn parameters(&self) -> Result<[SecretBytes; 2]> {
        let (mut p, mut g) = (ptr::null(), ptr::null());
        // SAFETY: the numbers live as long as the object.
        unsafe { c::DH_get0_pqg(self.as_ptr(), &raw mut p, ptr::null_mut(), &raw mut g) };
        Ok([bytes(p)?, bytes(g)?])
    }

    /// A new key pair with these parameters.
    pub fn generate_key(self) -> Result<KeyPair> {
        let (mut public, mut private) = (ptr::null(), ptr::null());
        // SAFETY: the numbers live as long as the object.
        unsafe {
            done(c::DH_generate_key(self.as_ptr()))?;
            c::DH_get0_key(self.as_ptr(), &raw mut public, &raw mut private);
        }
        Ok(KeyPair { public: bytes(public)?, private: bytes(private)? })
    }

    /// The number shared with the owner of another key, as long as the prime.
    ///
    /// # Errors
    /// The other's number is none of the group's.
    pub fn agree(self, private: &[u8], peer: &[u8]) -> Result<SecretBytes> {
        let (private, peer) = (Number::new(private)?, Number::new(peer)?);
        let mut secret = SecretBytes::zeroed(self.parameters()?[0].expose().len());
        // SAFETY: set0 takes the number over; the room is as long as the prime.
        let length = unsafe {
            done(c::DH_set0_key(self.as_ptr(), ptr::null_mut(), private.give()))?;
            c::DH_compute_key_padded(secret.expose_mut().as_mut_ptr(), peer.as_ptr(), self.as_ptr())
        };
        if usize::try_from(length) == Ok(secret.expose().len()) {
            Ok(secret)
        } else {
            done(0).map(|()| secret)
        }
    }
}
