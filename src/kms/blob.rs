//! Ciphertext blobs: what Encrypt and GenerateDataKey return and Decrypt takes.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 1 | version of the layout, 1 |
//! | 1 | 1 | algorithm, 1 = SYMMETRIC_DEFAULT: AES-256-GCM-SIV under a derived key |
//! | 2 | 16 | key id |
//! | 18 | 4 | version of the key material, big-endian |
//! | 22 | 16 | salt |
//! | 38 | 12 | nonce |
//! | 50 | n | ciphertext, as long as the plaintext |
//! | 50 + n | 16 | tag |
//!
//! The message key is `BLAKE3-derive("kmsfs kms v1 message key", material, salt)`, so no count of messages
//! wears a CMK out: salt and nonce together are 224 random bits. Bytes 0..38 and the encryption context are
//! the associated data, hence key id and version cannot be exchanged.

use super::arn::KeyId;
use super::context::EncryptionContext;
use super::error::{Error, Result};
use crate::crypto::aead::AeadKey;
use crate::crypto::secret::{Key, SecretBytes};
use crate::crypto::{Cipher, NONCE_LEN, TAG_LEN, kdf, random};

const LAYOUT: u8 = 1;
const SYMMETRIC_DEFAULT: u8 = 1;

const KEY_ID_AT: usize = 2;
const MATERIAL_AT: usize = KEY_ID_AT + 16;
const SALT_AT: usize = MATERIAL_AT + 4;
const NONCE_AT: usize = SALT_AT + 16;
const TEXT_AT: usize = NONCE_AT + NONCE_LEN;
/// What a blob takes beyond its plaintext, in bytes.
pub(super) const OVERHEAD: usize = TEXT_AT + TAG_LEN;

/// Largest plaintext of Encrypt, in bytes.
pub const PLAINTEXT_MAX: usize = 4096;
/// Largest ciphertext blob, in bytes.
pub const BLOB_MAX: usize = PLAINTEXT_MAX + OVERHEAD;

const _: () = assert!(OVERHEAD + 32 <= 160, "a wrapped data key has its place in a file header");

/// What a blob says about itself, before anything is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobHeader {
    /// The CMK that made it.
    pub key: KeyId,
    /// The version of the CMK's material.
    pub material: u32,
}

impl BlobHeader {
    /// Reads the header of `blob`.
    ///
    /// # Errors
    /// [`Error::InvalidCiphertext`] if it is no blob of this KMS.
    pub fn parse(blob: &[u8]) -> Result<BlobHeader> {
        let known = blob.starts_with(&[LAYOUT, SYMMETRIC_DEFAULT]);
        if !known || blob.len() < OVERHEAD || blob.len() > BLOB_MAX {
            return Err(Error::InvalidCiphertext);
        }
        Ok(BlobHeader {
            key: KeyId::from_bytes(array(&blob[KEY_ID_AT..MATERIAL_AT])?),
            material: u32::from_be_bytes(array(&blob[MATERIAL_AT..SALT_AT])?),
        })
    }
}

/// Encrypts `plain` under one version of a CMK's material.
pub(super) fn seal(
    header: BlobHeader,
    material: &Key,
    plain: &[u8],
    context: &EncryptionContext,
) -> Result<Vec<u8>> {
    let mut blob = vec![0; OVERHEAD + plain.len()];
    blob[0] = LAYOUT;
    blob[1] = SYMMETRIC_DEFAULT;
    blob[KEY_ID_AT..MATERIAL_AT].copy_from_slice(header.key.as_bytes());
    blob[MATERIAL_AT..SALT_AT].copy_from_slice(&header.material.to_be_bytes());
    random::fill(&mut blob[SALT_AT..TEXT_AT]);
    let (head, rest) = blob.split_at_mut(TEXT_AT);
    let (text, tag) = rest.split_at_mut(plain.len());
    let sealed = message_key(material, head).seal_into(&nonce(head)?, &aad(head, context)?, plain, text);
    tag.copy_from_slice(&sealed);
    Ok(blob)
}

/// Decrypts a blob whose header was parsed with [`BlobHeader::parse`].
///
/// # Errors
/// [`Error::InvalidCiphertext`] if any bit of it, the material or the context is not the original one.
pub(super) fn open(blob: &[u8], material: &Key, context: &EncryptionContext) -> Result<SecretBytes> {
    let (head, rest) = blob.split_at_checked(TEXT_AT).ok_or(Error::InvalidCiphertext)?;
    let (text, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(Error::InvalidCiphertext)?;
    let mut plain = SecretBytes::zeroed(text.len());
    message_key(material, head)
        .open_into(&nonce(head)?, &aad(head, context)?, text, tag, plain.expose_mut())
        .map_err(|_| Error::InvalidCiphertext)?;
    Ok(plain)
}

fn message_key(material: &Key, head: &[u8]) -> AeadKey {
    let key = kdf::subkey_with("kmsfs kms v1 message key", material, &head[SALT_AT..NONCE_AT]);
    AeadKey::new(Cipher::Aes256GcmSiv, &key)
}

fn nonce(head: &[u8]) -> Result<[u8; NONCE_LEN]> {
    array(&head[NONCE_AT..TEXT_AT])
}

fn aad(head: &[u8], context: &EncryptionContext) -> Result<Vec<u8>> {
    let mut aad = head[..NONCE_AT].to_vec();
    context.encode(&mut aad)?;
    Ok(aad)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Error::InvalidCiphertext)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> BlobHeader {
        BlobHeader { key: KeyId::from_bytes([7; 16]), material: 3 }
    }

    #[test]
    fn a_blob_names_its_key_and_opens() {
        let key = Key::random();
        let context = EncryptionContext::new().with("a", "b");
        for length in [0, 1, 32, PLAINTEXT_MAX] {
            let plain = vec![0x5a; length];
            let blob = seal(header(), &key, &plain, &context).unwrap();
            assert_eq!(blob.len(), OVERHEAD + length);
            assert_eq!(BlobHeader::parse(&blob).unwrap(), header());
            assert_eq!(open(&blob, &key, &context).unwrap().expose(), plain);
        }
    }

    #[test]
    fn the_same_plaintext_never_gives_the_same_blob() {
        let (key, context) = (Key::random(), EncryptionContext::new());
        let blob = || seal(header(), &key, b"same", &context).unwrap();
        assert_ne!(blob(), blob());
    }

    #[test]
    fn every_altered_bit_is_noticed() {
        let (key, context) = (Key::random(), EncryptionContext::new().with("a", "b"));
        let blob = seal(header(), &key, b"secret", &context).unwrap();
        for bit in 0..blob.len() * 8 {
            let mut altered = blob.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let opened = BlobHeader::parse(&altered).and_then(|_| open(&altered, &key, &context));
            assert!(matches!(opened, Err(Error::InvalidCiphertext)), "bit {bit}");
        }
        for length in 0..blob.len() {
            let cut = &blob[..length];
            let opened = BlobHeader::parse(cut).and_then(|_| open(cut, &key, &context));
            assert!(matches!(opened, Err(Error::InvalidCiphertext)), "cut to {length}");
        }
    }

    #[test]
    fn another_key_or_context_does_not_open_it() {
        let (key, context) = (Key::random(), EncryptionContext::new().with("a", "b"));
        let blob = seal(header(), &key, b"secret", &context).unwrap();
        assert!(open(&blob, &Key::random(), &context).is_err());
        for other in [EncryptionContext::new(), context.clone().with("c", ""), context.with("a", "B")] {
            assert!(open(&blob, &key, &other).is_err());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(blob in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut known = vec![LAYOUT, SYMMETRIC_DEFAULT];
            known.extend_from_slice(&blob);
            for bytes in [&blob, &known] {
                let opened = BlobHeader::parse(bytes)
                    .and_then(|_| open(bytes, &Key::random(), &EncryptionContext::new()));
                prop_assert!(opened.is_err());
            }
        }
    }
}
