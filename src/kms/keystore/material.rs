//! Key material: the secrets of CMKs, of any length.
//!
//! A 256-bit key is 32 bytes of locked memory and is kept there, ready for use: a hundred thousand of them lock
//! 3.2 MiB of the 8 MiB that RLIMIT_MEMLOCK usually allows. Private keys are longer: an RSA key takes a slot of
//! 4096 bytes, so ten thousand would lock 40 MiB. Material of any other length therefore stays sealed in memory, as
//! its row is, and is unsealed into locked memory for each use. That costs about as much as a MAC over it, a
//! thousandth of an RSA signature.

use super::Vault;
use super::error::Result;
use super::seal::{Row, RowDigest};
use crate::crypto::secret::{Key, SecretBytes};
use crate::crypto::{KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::kms::arn::KeyId;
use std::sync::Arc;

/// A new version of a CMK's key material.
pub(in crate::kms) struct NewMaterial {
    /// Counts from 1.
    pub(in crate::kms) version: u32,
    /// A 256-bit key, an HMAC key, or a private key in its PKCS#8 DER encoding.
    pub(in crate::kms) secret: SecretBytes,
}

/// One version of a CMK's key material, as the keystore holds it.
pub(in crate::kms) struct Material {
    version: u32,
    secret: Secret,
    digest: RowDigest,
}

enum Secret {
    Key(Key),
    Sealed { cmk: KeyId, sealed: Box<[u8]>, vault: Arc<Vault> },
}

impl Material {
    /// Counts from 1.
    pub(in crate::kms) fn version(&self) -> u32 {
        self.version
    }

    /// The 256-bit key, if that is what it is.
    pub(in crate::kms) fn key(&self) -> Option<&Key> {
        match &self.secret {
            Secret::Key(key) => Some(key),
            Secret::Sealed { .. } => None,
        }
    }

    /// Calls `use_it` with the secret, of whatever length.
    ///
    /// # Errors
    /// `Tampered`, if memory was.
    pub(in crate::kms) fn expose<T>(&self, use_it: impl FnOnce(&[u8]) -> T) -> Result<T> {
        match &self.secret {
            Secret::Key(key) => Ok(use_it(key.expose())),
            Secret::Sealed { cmk, sealed, vault } => {
                let secret = vault.seals.open(Row::Material(*cmk, self.version), sealed)?;
                Ok(use_it(secret.expose()))
            }
        }
    }

    /// The digest of the row.
    pub(super) fn digest(&self) -> RowDigest {
        self.digest
    }

    /// The digest that the row of these bytes has.
    pub(super) fn digest_of(vault: &Vault, cmk: KeyId, version: u32, sealed: &[u8]) -> RowDigest {
        vault.seals.digest(Row::Material(cmk, version), sealed)
    }

    /// The material of a row that has this digest.
    pub(super) fn open(
        vault: &Arc<Vault>,
        cmk: KeyId,
        version: u32,
        sealed: &[u8],
        digest: RowDigest,
    ) -> Result<Material> {
        let secret = match sealed.len() == NONCE_LEN + KEY_LEN + TAG_LEN {
            true => {
                let secret = vault.seals.open(Row::Material(cmk, version), sealed)?;
                Secret::Key(secret.into_key().expect("what is sealed in so many bytes is as long as a key"))
            }
            false => Secret::Sealed { cmk, sealed: sealed.into(), vault: Arc::clone(vault) },
        };
        Ok(Material { version, secret, digest })
    }

    /// Seals new material; gives the row's content too.
    pub(super) fn seal(vault: &Arc<Vault>, cmk: KeyId, new: NewMaterial) -> (Material, Vec<u8>) {
        let NewMaterial { version, secret } = new;
        let row = Row::Material(cmk, version);
        let sealed = vault.seals.seal(row, secret.expose());
        let digest = vault.seals.digest(row, &sealed);
        let secret = match secret.into_key() {
            Ok(key) => Secret::Key(key),
            Err(_) => Secret::Sealed { cmk, sealed: sealed.clone().into(), vault: Arc::clone(vault) },
        };
        (Material { version, secret, digest }, sealed)
    }
}
