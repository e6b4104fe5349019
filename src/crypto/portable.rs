//! The same ciphers from RustCrypto's crates: portable Rust, another codebase than [`aead`](super::aead).
//!
//! It is the second opinion: [`self_test`](super::self_test) compares both before any key is touched, and the
//! tests check each against the other. Two to four times slower, so no file content goes through it.

use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::Aes256GcmSiv;
use chacha20poly1305::ChaCha20Poly1305;

use super::{Cipher, Key, NONCE_LEN, NotAuthentic, TAG_LEN};

/// Why sealing cannot fail: the crates refuse only plaintexts of 64 GiB (ChaCha20: 256 GiB) or more.
const SEALS: &str = "the plaintext is shorter than 64 GiB";
const SAME_LENGTH: &str = "plaintext and ciphertext are of one length";

/// A cipher with its key schedule expanded, as [`AeadKey`](super::AeadKey), which documents each method.
///
/// Neither `Clone` nor printable; the schedule is zeroed on drop.
pub struct PortableKey {
    cipher: Cipher,
    context: Context,
}

/// Boxed, because an expanded AES schedule with its hash tables is near a kilobyte and keys get moved.
enum Context {
    GcmSiv(Box<Aes256GcmSiv>),
    Gcm(Box<Aes256Gcm>),
    ChaCha(Box<ChaCha20Poly1305>),
}

impl PortableKey {
    /// Expands `key` for `cipher`.
    pub fn new(cipher: Cipher, key: &Key) -> PortableKey {
        let key = key.expose().into();
        let context = match cipher {
            Cipher::Aes256GcmSiv => Context::GcmSiv(Box::new(Aes256GcmSiv::new(key))),
            Cipher::Aes256Gcm => Context::Gcm(Box::new(Aes256Gcm::new(key))),
            Cipher::ChaCha20Poly1305 => Context::ChaCha(Box::new(ChaCha20Poly1305::new(key))),
        };
        PortableKey { cipher, context }
    }

    /// The cipher this key is for.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Encrypts `buf` where it is and returns the tag over it and `aad`.
    pub fn seal_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        self.seal(nonce, aad, buf.into())
    }

    /// Encrypts `plain` into `out` and returns the tag over it and `aad`.
    ///
    /// # Panics
    /// If `out` is not as long as `plain`.
    pub fn seal_into(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; TAG_LEN] {
        self.seal(nonce, aad, InOutBuf::new(plain, out).expect(SAME_LENGTH))
    }

    /// Checks `tag` over `buf` and `aad`, and decrypts `buf` where it is.
    ///
    /// # Errors
    /// [`NotAuthentic`], with `buf` all zeros.
    pub fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        self.open(nonce, aad, (&mut *buf).into(), tag).inspect_err(|_| buf.fill(0))
    }

    /// Checks `tag` over `cipher` and `aad`, and decrypts `cipher` into `out`.
    ///
    /// # Errors
    /// [`NotAuthentic`], with `out` all zeros.
    ///
    /// # Panics
    /// If `out` is not as long as `cipher`.
    pub fn open_into(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        cipher: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let buf = InOutBuf::new(cipher, &mut *out).expect(SAME_LENGTH);
        self.open(nonce, aad, buf, tag).inspect_err(|_| out.fill(0))
    }

    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buf: InOutBuf<'_, '_, u8>) -> [u8; TAG_LEN] {
        let nonce = nonce.into();
        let sealed = match &self.context {
            Context::GcmSiv(context) => context.encrypt_inout_detached(nonce, aad, buf),
            Context::Gcm(context) => context.encrypt_inout_detached(nonce, aad, buf),
            Context::ChaCha(context) => context.encrypt_inout_detached(nonce, aad, buf),
        };
        sealed.expect(SEALS).into()
    }

    /// Leaves unauthenticated bytes in the output of a refused open (aes-gcm-siv decrypts before it verifies);
    /// the callers zero it.
    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: InOutBuf<'_, '_, u8>,
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        let (nonce, tag) = (nonce.into(), tag.into());
        let opened = match &self.context {
            Context::GcmSiv(context) => context.decrypt_inout_detached(nonce, aad, buf, tag),
            Context::Gcm(context) => context.decrypt_inout_detached(nonce, aad, buf, tag),
            Context::ChaCha(context) => context.decrypt_inout_detached(nonce, aad, buf, tag),
        };
        opened.map_err(|_| NotAuthentic)
    }
}

impl fmt::Debug for PortableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortableKey({}, redacted)", self.cipher)
    }
}
