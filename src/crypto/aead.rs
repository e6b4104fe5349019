//! The ciphers all bulk work goes through: AWS-LC's assembly behind one small type.
//!
//! Detached tags, nonces chosen by the caller. What a nonce may be depends on the cipher: see [`Cipher`].
//! A failed open never leaves plaintext behind, nor unauthenticated bytes that could pass for it: the output
//! is all zeros.

use std::fmt;

use aws_lc_rs::aead::{
    AES_256_GCM, AES_256_GCM_SIV, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};

use super::{Cipher, Key, NONCE_LEN, NotAuthentic, TAG_LEN};

/// Why sealing cannot fail: AWS-LC refuses only wrong lengths, which the types here rule out, and
/// plaintexts of 64 GiB or more.
const SEALS: &str = "the plaintext is shorter than 64 GiB";

/// A cipher with its key schedule expanded: costly to make, cheap to use, shared by any number of threads.
///
/// Neither `Clone` nor printable. AWS-LC keeps the expanded schedule on its own heap, zeroed on drop and out of
/// reach of dumps in a [hardened](super::harden_process) process, but not locked: unlike a [`Key`] it can reach
/// swap.
pub struct AeadKey {
    cipher: Cipher,
    context: LessSafeKey,
}

impl AeadKey {
    /// Expands `key` for `cipher`.
    pub fn new(cipher: Cipher, key: &Key) -> AeadKey {
        let unbound =
            UnboundKey::new(algorithm(cipher), key.expose()).expect("every cipher takes 32-byte keys");
        AeadKey { cipher, context: LessSafeKey::new(unbound) }
    }

    /// The cipher this key is for.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Encrypts `buf` where it is and returns the tag over it and `aad`.
    pub fn seal_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        self.context
            .seal_in_place_scatter(Nonce::from(nonce), Aad::from(aad), buf, &[], &mut tag)
            .expect(SEALS);
        tag
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
        assert_eq!(plain.len(), out.len(), "ciphertext is as long as its plaintext");
        let mut tag = [0; TAG_LEN];
        self.context
            .seal_out_of_place_scatter(Nonce::from(nonce), Aad::from(aad), plain, out, &[], &mut tag)
            .expect(SEALS);
        tag
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
        let opened =
            self.context.open_in_place_separate_tag(Nonce::from(nonce), Aad::from(aad), tag, buf).is_ok();
        verdict(opened, buf)
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
        assert_eq!(cipher.len(), out.len(), "plaintext is as long as its ciphertext");
        let opened =
            self.context.open_separate_gather(Nonce::from(nonce), Aad::from(aad), cipher, tag, out).is_ok();
        verdict(opened, out)
    }
}

/// Turns "did it authenticate" into the answer, after making sure a refused output holds nothing. AWS-LC zeroes
/// it as well, but its wrapper documents the content as unspecified.
fn verdict(opened: bool, out: &mut [u8]) -> Result<(), NotAuthentic> {
    if opened {
        return Ok(());
    }
    out.fill(0);
    Err(NotAuthentic)
}

fn algorithm(cipher: Cipher) -> &'static Algorithm {
    match cipher {
        Cipher::Aes256GcmSiv => &AES_256_GCM_SIV,
        Cipher::Aes256Gcm => &AES_256_GCM,
        Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeadKey({}, redacted)", self.cipher)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::portable::PortableKey;
    use super::*;

    fn any_cipher() -> impl Strategy<Value = Cipher> {
        prop::sample::select(Cipher::ALL.to_vec())
    }

    /// Mostly short, with every remainder of the 16-byte block; sometimes past the 4 KiB block of a volume, where
    /// the assembly's wide loops run.
    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![3 => vec(any::<u8>(), 0..80), 1 => vec(any::<u8>(), 0..5000)]
    }

    fn both(cipher: Cipher, mut key: [u8; 32]) -> (AeadKey, PortableKey) {
        let key = Key::from_bytes(&mut key);
        (AeadKey::new(cipher, &key), PortableKey::new(cipher, &key))
    }

    proptest! {
        #[test]
        fn backends_seal_alike_and_open_each_other(
            cipher in any_cipher(), key: [u8; 32], nonce: [u8; 12], aad in vec(any::<u8>(), 0..80), plain in any_text(),
        ) {
            let (accelerated, portable) = both(cipher, key);
            let mut sealed = plain.clone();
            let tag = accelerated.seal_in_place(&nonce, &aad, &mut sealed);
            let mut out = vec![0xff; plain.len()];
            prop_assert_eq!(accelerated.seal_into(&nonce, &aad, &plain, &mut out), tag);
            prop_assert_eq!(&out, &sealed);
            prop_assert_eq!(portable.seal_into(&nonce, &aad, &plain, &mut out), tag);
            prop_assert_eq!(&out, &sealed);

            out.fill(0xff);
            prop_assert_eq!(portable.open_into(&nonce, &aad, &sealed, &tag, &mut out), Ok(()));
            prop_assert_eq!(&out, &plain);
            out.fill(0xff);
            prop_assert_eq!(accelerated.open_into(&nonce, &aad, &sealed, &tag, &mut out), Ok(()));
            prop_assert_eq!(&out, &plain);
            prop_assert_eq!(accelerated.open_in_place(&nonce, &aad, &mut sealed, &tag), Ok(()));
            prop_assert_eq!(&sealed, &plain);
        }

        /// Any flipped bit of ciphertext, tag, nonce or associated data is refused by both, with nothing but
        /// zeros in the output.
        #[test]
        fn any_flipped_bit_is_refused(
            cipher in any_cipher(), key: [u8; 32], mut nonce: [u8; 12], mut aad in vec(any::<u8>(), 1..40),
            plain in any_text(), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let (accelerated, portable) = both(cipher, key);
            let mut sealed = plain;
            let mut tag = accelerated.seal_in_place(&nonce, &aad, &mut sealed);
            let mut parts: Vec<&mut u8> =
                sealed.iter_mut().chain(&mut tag).chain(&mut nonce).chain(&mut aad).collect();
            let target = at.index(parts.len());
            *parts[target] ^= 1 << bit;

            let zeros = vec![0; sealed.len()];
            let mut out = vec![0xff; sealed.len()];
            prop_assert_eq!(accelerated.open_into(&nonce, &aad, &sealed, &tag, &mut out), Err(NotAuthentic));
            prop_assert_eq!(&out, &zeros);
            out.fill(0xff);
            prop_assert_eq!(portable.open_into(&nonce, &aad, &sealed, &tag, &mut out), Err(NotAuthentic));
            prop_assert_eq!(&out, &zeros);
            let mut buf = sealed.clone();
            prop_assert_eq!(portable.open_in_place(&nonce, &aad, &mut buf, &tag), Err(NotAuthentic));
            prop_assert_eq!(&buf, &zeros);
            prop_assert_eq!(accelerated.open_in_place(&nonce, &aad, &mut sealed, &tag), Err(NotAuthentic));
            prop_assert_eq!(&sealed, &zeros);
        }
    }

    #[test]
    #[should_panic(expected = "ciphertext is as long as its plaintext")]
    fn an_output_of_another_length_is_a_bug_of_the_caller() {
        let (accelerated, _) = both(Cipher::Aes256GcmSiv, [0; 32]);
        accelerated.seal_into(&[0; 12], &[], &[0; 32], &mut [0; 31]);
    }

    #[test]
    fn one_key_serves_many_threads() {
        let (accelerated, _) = both(Cipher::Aes256Gcm, [1; 32]);
        let expected = accelerated.seal_in_place(&[0; 12], b"aad", &mut [5; 4096]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert_eq!(accelerated.seal_in_place(&[0; 12], b"aad", &mut [5; 4096]), expected);
                    }
                });
            }
        });
    }
}
