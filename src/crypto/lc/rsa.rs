//! RSA (RFC 8017) by its numbers.

#![expect(unsafe_code, reason = "see the module above")]

use super::number::{Number, bytes};
use super::{Digest, Refused, Result, done, made, owned};
use crate::crypto::SecretBytes;
use aws_lc_sys as c;
use std::ptr;
use zeroize::Zeroizing;

owned!(
    /// A public key or a key pair.
    RsaKey,
    c::RSA,
    c::RSA_free
);

// SAFETY: AWS-LC's keys may be used by several threads at a time as long as none changes them, and none does.
unsafe impl Send for RsaKey {}
// SAFETY: as above.
unsafe impl Sync for RsaKey {}

owned!(
    /// A key in the form that operations with parameters take.
    AnyKey,
    c::EVP_PKEY,
    c::EVP_PKEY_free
);

owned!(
    /// What AWS-LC runs one operation in.
    Operation,
    c::EVP_PKEY_CTX,
    c::EVP_PKEY_CTX_free
);

/// How a message becomes a number as long as the modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// The message is as long as the modulus.
    None,
    /// PKCS #1 v1.5: for signatures block type 1, for encryption block type 2.
    Pkcs1,
}

/// Parameters of RSASSA-PSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pss {
    /// The hash that made the digest.
    pub hash: Digest,
    /// That of the mask.
    pub mgf: Digest,
    /// The salt's length, in bytes.
    pub salt: usize,
}

/// Parameters of RSAES-OAEP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oaep<'a> {
    /// The label's hash.
    pub hash: Digest,
    /// That of the mask.
    pub mgf: Digest,
    /// The label.
    pub label: &'a [u8],
}

/// The numbers of a key pair, big-endian. Without the second half of them the key works, slower.
pub struct Numbers<'a> {
    /// Modulus.
    pub n: &'a [u8],
    /// Public exponent.
    pub e: &'a [u8],
    /// Private exponent.
    pub d: &'a [u8],
    /// The primes, their exponents, and the coefficient: p, q, dp, dq, qi.
    pub crt: Option<[&'a [u8]; 5]>,
}

impl Padding {
    fn number(self) -> i32 {
        match self {
            Padding::None => c::RSA_NO_PADDING,
            Padding::Pkcs1 => c::RSA_PKCS1_PADDING,
        }
    }
}

impl RsaKey {
    /// A new key pair. Takes from some milliseconds to some seconds.
    ///
    /// # Errors
    /// A size or exponent that AWS-LC does not take; an exponent that is even, or one.
    pub fn generate(bits: usize, exponent: &[u8]) -> Result<RsaKey> {
        // With one AWS-LC searches for ever: the private exponent is never large enough.
        let (last, rest) = exponent.split_last().ok_or(Refused)?;
        if last % 2 == 0 || (*last == 1 && rest.iter().all(|byte| *byte == 0)) {
            return Err(Refused);
        }
        let exponent = Number::new(exponent)?;
        let bits = i32::try_from(bits).map_err(|_| Refused)?;
        // SAFETY: the key is ours; the exponent is copied.
        unsafe {
            let key = RsaKey(made(c::RSA_new())?);
            done(c::RSA_generate_key_ex(key.as_ptr(), bits, exponent.as_ptr(), ptr::null_mut()))?;
            Ok(key)
        }
    }

    /// A public key.
    ///
    /// # Errors
    /// The numbers are none of a key.
    pub fn public(n: &[u8], e: &[u8]) -> Result<RsaKey> {
        let (n, e) = (Number::new(n)?, Number::new(e)?);
        // SAFETY: the numbers are copied.
        Ok(RsaKey(made(unsafe { c::RSA_new_public_key(n.as_ptr(), e.as_ptr()) })?))
    }

    /// A key pair.
    ///
    /// # Errors
    /// The numbers do not belong together.
    pub fn private(numbers: &Numbers<'_>) -> Result<RsaKey> {
        let (n, e, d) = (Number::new(numbers.n)?, Number::new(numbers.e)?, Number::new(numbers.d)?);
        let (n, e, d) = (n.as_ptr(), e.as_ptr(), d.as_ptr());
        let Some(crt) = numbers.crt else {
            // SAFETY: the numbers are copied.
            return Ok(RsaKey(made(unsafe { c::RSA_new_private_key_no_crt(n, e, d) })?));
        };
        let crt: Vec<Number> = crt.into_iter().map(Number::new).collect::<Result<_>>()?;
        let [p, q, dp, dq, qi] = std::array::from_fn(|i| crt[i].as_ptr());
        // SAFETY: the numbers are copied.
        Ok(RsaKey(made(unsafe { c::RSA_new_private_key(n, e, d, p, q, dp, dq, qi) })?))
    }

    /// Modulus and public exponent.
    pub fn public_numbers(&self) -> Result<[SecretBytes; 2]> {
        // SAFETY: the numbers live as long as the key.
        unsafe { Ok([bytes(c::RSA_get0_n(self.as_ptr()))?, bytes(c::RSA_get0_e(self.as_ptr()))?]) }
    }

    /// Private exponent, primes, their exponents, coefficient: d, p, q, dp, dq, qi.
    pub fn private_numbers(&self) -> Result<[SecretBytes; 6]> {
        let key = self.as_ptr();
        // SAFETY: the numbers live as long as the key.
        unsafe {
            Ok([
                bytes(c::RSA_get0_d(key))?,
                bytes(c::RSA_get0_p(key))?,
                bytes(c::RSA_get0_q(key))?,
                bytes(c::RSA_get0_dmp1(key))?,
                bytes(c::RSA_get0_dmq1(key))?,
                bytes(c::RSA_get0_iqmp(key))?,
            ])
        }
    }

    /// The modulus's length, in bytes.
    pub fn length(&self) -> usize {
        // SAFETY: the key is alive.
        unsafe { c::RSA_size(self.as_ptr()) as usize }
    }

    /// The signature of a padded message: what PKCS#11 calls RSA_PKCS and RSA_X_509.
    pub fn sign(&self, padding: Padding, message: &[u8]) -> Result<Vec<u8>> {
        self.apply(c::RSA_sign_raw, padding, message).map(|mut out| std::mem::take(&mut *out))
    }

    /// Whether it is one.
    pub fn verify(&self, padding: Padding, message: &[u8], signature: &[u8]) -> bool {
        let signed = self.apply(c::RSA_verify_raw, padding, signature);
        signed.is_ok_and(|signed| signed.as_slice() == message)
    }

    /// The RSASSA-PKCS1-v1_5 signature of a digest.
    pub fn sign_digest(&self, hash: Digest, digest: &[u8]) -> Result<Vec<u8>> {
        let (mut out, mut length) = (vec![0; self.length()], 0);
        check_digest(hash, digest)?;
        // SAFETY: a signature is as long as the modulus.
        done(unsafe {
            let (to, key) = (out.as_mut_ptr(), self.as_ptr());
            c::RSA_sign(hash.nid(), digest.as_ptr(), digest.len(), to, &raw mut length, key)
        })?;
        out.truncate(length as usize);
        Ok(out)
    }

    /// Whether it is one.
    pub fn verify_digest(&self, hash: Digest, digest: &[u8], signature: &[u8]) -> bool {
        // SAFETY: both are read as told.
        let valid = unsafe {
            let (at, length) = (signature.as_ptr(), signature.len());
            c::RSA_verify(hash.nid(), digest.as_ptr(), digest.len(), at, length, self.as_ptr())
        };
        done(valid).is_ok()
    }

    /// The RSASSA-PSS signature of a digest.
    pub fn sign_pss(&self, pss: Pss, digest: &[u8]) -> Result<Vec<u8>> {
        let (mut out, mut length) = (vec![0; self.length()], 0);
        let salt = i32::try_from(pss.salt).map_err(|_| Refused)?;
        check_digest(pss.hash, digest)?;
        // SAFETY: it is told how much room there is.
        done(unsafe {
            let (to, room, key) = (out.as_mut_ptr(), out.len(), self.as_ptr());
            let (hash, mgf) = (pss.hash.md(), pss.mgf.md());
            let (from, count) = (digest.as_ptr(), digest.len());
            c::RSA_sign_pss_mgf1(key, &raw mut length, to, room, from, count, hash, mgf, salt)
        })?;
        out.truncate(length);
        Ok(out)
    }

    /// Whether it is one.
    pub fn verify_pss(&self, pss: Pss, digest: &[u8], signature: &[u8]) -> bool {
        let Ok(salt) = i32::try_from(pss.salt) else { return false };
        if digest.len() != pss.hash.length() {
            return false;
        }
        // SAFETY: both are read as told.
        let valid = unsafe {
            let (hash, mgf) = (pss.hash.md(), pss.mgf.md());
            let (from, count) = (digest.as_ptr(), digest.len());
            let (at, length) = (signature.as_ptr(), signature.len());
            c::RSA_verify_pss_mgf1(self.as_ptr(), from, count, hash, mgf, salt, at, length)
        };
        done(valid).is_ok()
    }

    /// Encrypts for the owner of the private half.
    pub fn encrypt(&self, padding: Padding, message: &[u8]) -> Result<Vec<u8>> {
        self.apply(c::RSA_encrypt, padding, message).map(|mut out| std::mem::take(&mut *out))
    }

    /// Decrypts.
    pub fn decrypt(&self, padding: Padding, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.apply(c::RSA_decrypt, padding, ciphertext)
    }

    /// RSAES-OAEP, there.
    pub fn encrypt_oaep(&self, oaep: Oaep<'_>, message: &[u8]) -> Result<Vec<u8>> {
        let operation = self.oaep(c::EVP_PKEY_encrypt_init, oaep)?;
        let (mut out, mut length) = (vec![0; self.length()], self.length());
        // SAFETY: `length` is the room there is.
        done(unsafe {
            let (at, to) = (operation.as_ptr(), out.as_mut_ptr());
            c::EVP_PKEY_encrypt(at, to, &raw mut length, message.as_ptr(), message.len())
        })?;
        out.truncate(length);
        Ok(out)
    }

    /// And back.
    pub fn decrypt_oaep(&self, oaep: Oaep<'_>, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let operation = self.oaep(c::EVP_PKEY_decrypt_init, oaep)?;
        let (mut out, mut length) = (Zeroizing::new(vec![0; self.length()]), self.length());
        // SAFETY: `length` is the room there is.
        done(unsafe {
            let (at, to) = (operation.as_ptr(), out.as_mut_ptr());
            c::EVP_PKEY_decrypt(at, to, &raw mut length, ciphertext.as_ptr(), ciphertext.len())
        })?;
        out.truncate(length);
        Ok(out)
    }

    fn oaep(
        &self,
        init: unsafe extern "C" fn(*mut c::EVP_PKEY_CTX) -> i32,
        oaep: Oaep<'_>,
    ) -> Result<Operation> {
        // SAFETY: the key is shared by reference count; the label is a copy that the operation frees once it has it.
        unsafe {
            let key = AnyKey(made(c::EVP_PKEY_new())?);
            done(c::EVP_PKEY_set1_RSA(key.as_ptr(), self.as_ptr()))?;
            let operation = Operation(made(c::EVP_PKEY_CTX_new(key.as_ptr(), ptr::null_mut()))?);
            let at = operation.as_ptr();
            done(init(at))?;
            done(c::EVP_PKEY_CTX_set_rsa_padding(at, c::RSA_PKCS1_OAEP_PADDING))?;
            done(c::EVP_PKEY_CTX_set_rsa_oaep_md(at, oaep.hash.md()))?;
            done(c::EVP_PKEY_CTX_set_rsa_mgf1_md(at, oaep.mgf.md()))?;
            if !oaep.label.is_empty() {
                let label = c::OPENSSL_memdup(oaep.label.as_ptr().cast(), oaep.label.len());
                let label = made(label)?.as_ptr();
                if c::EVP_PKEY_CTX_set0_rsa_oaep_label(at, label.cast(), oaep.label.len()) != 1 {
                    c::OPENSSL_free(label);
                    return done(0).map(|()| operation);
                }
            }
            Ok(operation)
        }
    }

    fn apply(&self, function: Function, padding: Padding, data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (mut out, mut length) = (Zeroizing::new(vec![0; self.length()]), 0);
        // SAFETY: it is told how much room there is, and how much there is to read.
        done(unsafe {
            let (key, to, room) = (self.as_ptr(), out.as_mut_ptr(), out.len());
            function(key, &raw mut length, to, room, data.as_ptr(), data.len(), padding.number())
        })?;
        out.truncate(length);
        Ok(out)
    }
}

/// AWS-LC's functions on one message: key, length and place and room of the output, place and length of the input,
/// padding.
type Function = unsafe extern "C" fn(*mut c::RSA, *mut usize, *mut u8, usize, *const u8, usize, i32) -> i32;

fn check_digest(hash: Digest, digest: &[u8]) -> Result<()> {
    if digest.len() == hash.length() { Ok(()) } else { Err(Refused) }
}
