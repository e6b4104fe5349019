//! Import tokens: what GetParametersForImport gives out and ImportKeyMaterial takes back.
//!
//! A token holds the private half of the wrapping key, sealed under a key of the keystore. So nothing need be kept
//! until the import: it works after a restart, and through another server on the same keystore. Layout:
//! `version 1 | nonce 12 | AES-256-GCM-SIV ciphertext | tag 16`, the associated data being the version; the plaintext is
//! `CMK id 16 | valid to, milliseconds since 1970, i64 | wrapping key spec 1 | wrapping algorithm 1 | PKCS#8 DER`,
//! integers big-endian.

use super::arn::KeyId;
use super::clock::Timestamp;
use super::keystore::Vault;
use super::spec::{KeySpec, WrappingAlgorithm};
use crate::crypto::aead::AeadKey;
use crate::crypto::secret::SecretBytes;
use crate::crypto::{Cipher, NONCE_LEN, TAG_LEN, random};

const VERSION: u8 = 1;
const HEAD_LEN: usize = 16 + 8 + 1 + 1;

/// The key under which a keystore's import tokens are sealed.
pub(super) struct ImportTokens(AeadKey);

/// What a token says.
pub(super) struct ImportToken {
    /// The CMK to import into.
    pub(super) key: KeyId,
    /// From when on it is good for nothing.
    pub(super) valid_to: Timestamp,
    /// The kind of the wrapping key.
    pub(super) spec: KeySpec,
    /// How the material is wrapped with it.
    pub(super) algorithm: WrappingAlgorithm,
    /// The wrapping key, PKCS#8 DER.
    pub(super) private_key: SecretBytes,
}

impl ImportTokens {
    pub(super) fn new(vault: &Vault) -> ImportTokens {
        ImportTokens(AeadKey::new(Cipher::Aes256GcmSiv, &vault.subkey("kmsfs kms v1 import token")))
    }

    /// The token as its owner gets it.
    pub(super) fn seal(&self, token: &ImportToken) -> Vec<u8> {
        let private_key = token.private_key.expose();
        let mut plain = SecretBytes::zeroed(HEAD_LEN + private_key.len());
        let (head, rest) = plain.expose_mut().split_at_mut(HEAD_LEN);
        let millis = (token.valid_to.unix_timestamp_nanos() / 1_000_000) as i64;
        head[..16].copy_from_slice(token.key.as_bytes());
        head[16..24].copy_from_slice(&millis.to_be_bytes());
        head[24] = token.spec as u8;
        head[25] = token.algorithm as u8;
        rest.copy_from_slice(private_key);

        let nonce = random::array::<NONCE_LEN>();
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        sealed.resize(1 + NONCE_LEN + plain.len(), 0);
        let tag = self.0.seal_into(&nonce, &[VERSION], plain.expose(), &mut sealed[1 + NONCE_LEN..]);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// What a token says; `None` if it is none of this keystore.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<ImportToken> {
        let rest = sealed.strip_prefix(&[VERSION])?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        let mut plain = SecretBytes::zeroed(text.len());
        self.0.open_into(nonce, &[VERSION], text, tag, plain.expose_mut()).ok()?;
        let (head, private_key) = plain.expose().split_at_checked(HEAD_LEN)?;
        let millis = i64::from_be_bytes(head[16..24].try_into().ok()?);
        let mut copy = SecretBytes::zeroed(private_key.len());
        copy.expose_mut().copy_from_slice(private_key);
        Some(ImportToken {
            key: KeyId::from_bytes(head[..16].try_into().ok()?),
            valid_to: Timestamp::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?,
            spec: KeySpec::ALL.iter().copied().find(|spec| *spec as u8 == head[24])?,
            algorithm: WrappingAlgorithm::ALL
                .iter()
                .copied()
                .find(|algorithm| *algorithm as u8 == head[25])?,
            private_key: copy,
        })
    }
}
