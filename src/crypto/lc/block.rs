//! Block ciphers in their modes, GCM, CMAC, and AES key wrap.

#![expect(unsafe_code, reason = "see the module above")]

use super::{Refused, Result, done, made, owned};
use aws_lc_sys as c;
use std::mem::MaybeUninit;
use std::ptr;
use zeroize::Zeroizing;

owned!(
    /// What AWS-LC runs a cipher in.
    Context,
    c::EVP_CIPHER_CTX,
    c::EVP_CIPHER_CTX_free
);

owned!(
    /// What AWS-LC computes a CMAC in.
    CmacContext,
    c::CMAC_CTX,
    c::CMAC_CTX_free
);

/// A block cipher; which one of its kind, the key's length says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// AES with 16, 24 or 32 bytes.
    Aes,
    /// Triple DES with two keys in 16 bytes or three in 24.
    Des3,
}

/// A mode of operation (NIST SP 800-38A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each block by itself.
    Ecb,
    /// Cipher block chaining.
    Cbc,
    /// Cipher block chaining with the padding of PKCS #7.
    CbcPad,
    /// Counter mode, with the counter in all of the block.
    Ctr,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From plaintext to ciphertext.
    Encrypt,
    /// And back.
    Decrypt,
}

impl Block {
    /// The length of a block, in bytes.
    pub fn length(self) -> usize {
        match self {
            Block::Aes => 16,
            Block::Des3 => 8,
        }
    }

    fn cipher(self, mode: Mode, key: &[u8]) -> Result<*const c::EVP_CIPHER> {
        use Block::*;
        use Mode::*;
        // SAFETY: each gives a constant that lives for ever.
        let cipher = unsafe {
            match (self, mode, key.len()) {
                (Aes, Ecb, 16) => c::EVP_aes_128_ecb(),
                (Aes, Ecb, 24) => c::EVP_aes_192_ecb(),
                (Aes, Ecb, 32) => c::EVP_aes_256_ecb(),
                (Aes, Cbc | CbcPad, 16) => c::EVP_aes_128_cbc(),
                (Aes, Cbc | CbcPad, 24) => c::EVP_aes_192_cbc(),
                (Aes, Cbc | CbcPad, 32) => c::EVP_aes_256_cbc(),
                (Aes, Ctr, 16) => c::EVP_aes_128_ctr(),
                (Aes, Ctr, 24) => c::EVP_aes_192_ctr(),
                (Aes, Ctr, 32) => c::EVP_aes_256_ctr(),
                (Des3, Ecb, 16) => c::EVP_des_ede(),
                (Des3, Ecb, 24) => c::EVP_des_ede3(),
                (Des3, Cbc | CbcPad, 16) => c::EVP_des_ede_cbc(),
                (Des3, Cbc | CbcPad, 24) => c::EVP_des_ede3_cbc(),
                _ => return Err(Refused),
            }
        };
        Ok(cipher)
    }

    /// Encrypts or decrypts `data`. `iv` is a block, or empty with ECB.
    ///
    /// # Errors
    /// A key, vector or data of a length that the mode does not take; padding that is none.
    pub fn crypt(
        self,
        mode: Mode,
        direction: Direction,
        key: &[u8],
        iv: &[u8],
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let cipher = self.cipher(mode, key)?;
        let iv_length = if mode == Mode::Ecb { 0 } else { self.length() };
        let length = i32::try_from(data.len()).map_err(|_| Refused)?;
        if iv.len() != iv_length {
            return Err(Refused);
        }
        let context = context()?;
        let mut out = Zeroizing::new(vec![0; data.len() + self.length()]);
        let (mut first, mut last) = (0, 0);
        // SAFETY: key and iv are as long as the cipher reads; output is at most one block longer than input.
        unsafe {
            let encrypting = i32::from(direction == Direction::Encrypt);
            let context = context.as_ptr();
            done(c::EVP_CipherInit_ex(
                context,
                cipher,
                ptr::null_mut(),
                key.as_ptr(),
                iv.as_ptr(),
                encrypting,
            ))?;
            done(c::EVP_CIPHER_CTX_set_padding(context, i32::from(mode == Mode::CbcPad)))?;
            let to = out.as_mut_ptr();
            done(c::EVP_CipherUpdate(context, to, &raw mut first, data.as_ptr(), length))?;
            done(c::EVP_CipherFinal_ex(context, to.add(first as usize), &raw mut last))?;
        }
        out.truncate((first + last) as usize);
        Ok(out)
    }
}

/// AES-GCM (NIST SP 800-38D): ciphertext, then a tag of `tag` bytes.
///
/// # Errors
/// A key, nonce or tag of a length that GCM does not have.
pub fn gcm_seal(key: &[u8], nonce: &[u8], aad: &[u8], tag: usize, data: &[u8]) -> Result<Vec<u8>> {
    let context = gcm(key, nonce, aad, tag, Direction::Encrypt)?;
    let length = i32::try_from(data.len()).map_err(|_| Refused)?;
    let mut out = vec![0; data.len() + tag];
    let (mut first, mut last) = (0, 0);
    // SAFETY: GCM puts out as much as goes in, and the tag has its room behind.
    unsafe {
        let (context, to) = (context.as_ptr(), out.as_mut_ptr());
        done(c::EVP_CipherUpdate(context, to, &raw mut first, data.as_ptr(), length))?;
        done(c::EVP_CipherFinal_ex(context, to.add(data.len()), &raw mut last))?;
        let tag_at = to.add(data.len()).cast();
        done(c::EVP_CIPHER_CTX_ctrl(context, c::EVP_CTRL_AEAD_GET_TAG, tag as i32, tag_at))?;
    }
    Ok(out)
}

/// The way back: the plaintext, if the tag is that of nonce, `aad` and ciphertext.
///
/// # Errors
/// It is not, or a length is none of GCM's.
pub fn gcm_open(
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    tag: usize,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let context = gcm(key, nonce, aad, tag, Direction::Decrypt)?;
    let (data, given) = sealed.split_at_checked(sealed.len().wrapping_sub(tag)).ok_or(Refused)?;
    let length = i32::try_from(data.len()).map_err(|_| Refused)?;
    let mut given = given.to_vec();
    // One byte more, so that the address for what GCM does not put out at the end is within.
    let mut out = Zeroizing::new(vec![0; data.len() + 1]);
    let (mut first, mut last) = (0, 0);
    // SAFETY: as above; the tag is only read.
    unsafe {
        let (context, to) = (context.as_ptr(), out.as_mut_ptr());
        done(c::EVP_CIPHER_CTX_ctrl(
            context,
            c::EVP_CTRL_AEAD_SET_TAG,
            tag as i32,
            given.as_mut_ptr().cast(),
        ))?;
        done(c::EVP_CipherUpdate(context, to, &raw mut first, data.as_ptr(), length))?;
        done(c::EVP_CipherFinal_ex(context, to.add(data.len()), &raw mut last))?;
    }
    out.truncate(data.len());
    Ok(out)
}

/// A context for GCM that has read `aad`.
fn gcm(key: &[u8], nonce: &[u8], aad: &[u8], tag: usize, direction: Direction) -> Result<Context> {
    // SAFETY: each gives a constant that lives for ever.
    let cipher = unsafe {
        match key.len() {
            16 => c::EVP_aes_128_gcm(),
            24 => c::EVP_aes_192_gcm(),
            32 => c::EVP_aes_256_gcm(),
            _ => return Err(Refused),
        }
    };
    if nonce.is_empty() || !(12..=16).contains(&tag) {
        return Err(Refused);
    }
    let (nonce_length, aad_length) = (i32::try_from(nonce.len()), i32::try_from(aad.len()));
    let (nonce_length, aad_length) = (nonce_length.map_err(|_| Refused)?, aad_length.map_err(|_| Refused)?);
    let context = context()?;
    let mut written = 0;
    // SAFETY: the nonce's length is told before the nonce is read; a null output means associated data.
    unsafe {
        let encrypting = i32::from(direction == Direction::Encrypt);
        let at = context.as_ptr();
        let null = ptr::null_mut();
        done(c::EVP_CipherInit_ex(at, cipher, null, ptr::null(), ptr::null(), encrypting))?;
        done(c::EVP_CIPHER_CTX_ctrl(at, c::EVP_CTRL_AEAD_SET_IVLEN, nonce_length, ptr::null_mut()))?;
        done(c::EVP_CipherInit_ex(at, ptr::null(), null, key.as_ptr(), nonce.as_ptr(), encrypting))?;
        done(c::EVP_CipherUpdate(at, ptr::null_mut(), &raw mut written, aad.as_ptr(), aad_length))?;
    }
    Ok(context)
}

/// AES-CMAC (NIST SP 800-38B).
///
/// # Errors
/// A key of another length than AES has.
pub fn cmac(key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    let cipher = Block::Aes.cipher(Mode::Cbc, key)?;
    let mut out = vec![0; 16];
    let mut length = 0;
    // SAFETY: a CMAC of AES is a block, and the key is as long as the cipher says.
    unsafe {
        let context = CmacContext(made(c::CMAC_CTX_new())?);
        let at = context.as_ptr();
        done(c::CMAC_Init(at, key.as_ptr().cast(), key.len(), cipher, ptr::null_mut()))?;
        done(c::CMAC_Update(at, data.as_ptr(), data.len()))?;
        done(c::CMAC_Final(at, out.as_mut_ptr(), &raw mut length))?;
    }
    debug_assert_eq!(length, out.len());
    Ok(out)
}

/// AES key wrap (RFC 3394) of a multiple of 8 bytes, at least 16.
///
/// # Errors
/// A length that it does not take.
pub fn wrap(key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    let key = schedule(key, Direction::Encrypt)?;
    let mut out = vec![0; data.len() + 8];
    // SAFETY: the result is 8 bytes longer, and a null vector is the standard one.
    let length = unsafe {
        c::AES_wrap_key(&raw const *key.0, ptr::null(), out.as_mut_ptr(), data.as_ptr(), data.len())
    };
    if usize::try_from(length) == Ok(out.len()) { Ok(out) } else { Err(Refused) }
}

/// The way back.
///
/// # Errors
/// It was not wrapped so.
pub fn unwrap(key: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let key = schedule(key, Direction::Decrypt)?;
    let mut out = Zeroizing::new(vec![0; wrapped.len()]);
    // SAFETY: the result is shorter than what goes in.
    let length = unsafe {
        c::AES_unwrap_key(&raw const *key.0, ptr::null(), out.as_mut_ptr(), wrapped.as_ptr(), wrapped.len())
    };
    out.truncate(usize::try_from(length).map_err(|_| Refused)?);
    if out.is_empty() { Err(Refused) } else { Ok(out) }
}

/// AES key wrap with padding (RFC 5649) of at least one byte.
///
/// # Errors
/// A length that it does not take.
pub fn wrap_padded(key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    let key = schedule(key, Direction::Encrypt)?;
    let mut out = vec![0; data.len() + 16];
    let mut length = 0;
    // SAFETY: it is told how much room there is.
    done(unsafe {
        c::AES_wrap_key_padded(
            &raw const *key.0,
            out.as_mut_ptr(),
            &raw mut length,
            out.len(),
            data.as_ptr(),
            data.len(),
        )
    })?;
    out.truncate(length);
    Ok(out)
}

/// The way back.
///
/// # Errors
/// It was not wrapped so.
pub fn unwrap_padded(key: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let key = schedule(key, Direction::Decrypt)?;
    let mut out = Zeroizing::new(vec![0; wrapped.len()]);
    let mut length = 0;
    // SAFETY: it is told how much room there is.
    done(unsafe {
        c::AES_unwrap_key_padded(
            &raw const *key.0,
            out.as_mut_ptr(),
            &raw mut length,
            out.len(),
            wrapped.as_ptr(),
            wrapped.len(),
        )
    })?;
    out.truncate(length);
    Ok(out)
}

/// A key as the cipher uses it, wiped when it goes.
struct Schedule(Box<c::AES_KEY>);

impl Drop for Schedule {
    fn drop(&mut self) {
        // SAFETY: it is ours, of that size, and zeros are one too.
        unsafe { c::OPENSSL_cleanse((&raw mut *self.0).cast(), size_of::<c::AES_KEY>()) }
    }
}

fn schedule(key: &[u8], direction: Direction) -> Result<Schedule> {
    if ![16, 24, 32].contains(&key.len()) {
        return Err(Refused);
    }
    // SAFETY: zeros are a key schedule.
    let mut schedule = Schedule(Box::new(unsafe { MaybeUninit::<c::AES_KEY>::zeroed().assume_init() }));
    let bits = 8 * key.len() as u32;
    // SAFETY: the call reads as many bits as it is told.
    let failed = unsafe {
        match direction {
            Direction::Encrypt => c::AES_set_encrypt_key(key.as_ptr(), bits, &raw mut *schedule.0),
            Direction::Decrypt => c::AES_set_decrypt_key(key.as_ptr(), bits, &raw mut *schedule.0),
        }
    };
    if failed == 0 { Ok(schedule) } else { Err(Refused) }
}

fn context() -> Result<Context> {
    // SAFETY: a new object, or null.
    Ok(Context(made(unsafe { c::EVP_CIPHER_CTX_new() })?))
}
