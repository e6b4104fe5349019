//! Encapsulate, Decapsulate.

use super::check_length;
use crate::crypto::asymmetric;
use crate::crypto::secret::SecretBytes;
use crate::kms::Kms;
use crate::kms::arn::KeyId;
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::spec::{EncapsulationAlgorithm, KeyUsage};
use crate::kms::state::Operation;

/// Longest encapsulated secret, in bytes.
const CIPHERTEXT_MAX: usize = 6144;

/// What Encapsulate returns.
#[derive(Debug)]
pub struct Encapsulated {
    /// 32 random bytes, to be used as a key or put through a key derivation function.
    pub secret: SecretBytes,
    /// The same for the owner of the private key: 768, 1088 or 1568 bytes.
    pub ciphertext: Vec<u8>,
    /// The key.
    pub key: KeyId,
}

/// What Decapsulate returns.
#[derive(Debug)]
pub struct Decapsulated {
    /// The secret. As FIPS 203 has it, an altered ciphertext gives another secret, not an error.
    pub secret: SecretBytes,
    /// The key.
    pub key: KeyId,
}

impl Kms {
    /// Encapsulate: a new secret, and the same for whoever has the private key of an ML-KEM key.
    ///
    /// # Errors
    /// `NotFoundException`, `DisabledException`, `KMSInvalidStateException`, `InvalidKeyUsageException`,
    /// `AccessDeniedException`, `KeyUnavailableException`.
    pub fn encapsulate(
        &self,
        call: &Call<'_>,
        key: &str,
        algorithm: EncapsulationAlgorithm,
    ) -> Result<Encapsulated> {
        let facts = Facts { encapsulation_algorithm: Some(algorithm), ..Facts::default() };
        let operation = Operation::Encapsulate;
        let entry = self.usable(call, operation, key, KeyUsage::EncapsulateDecapsulate, &facts)?;
        call.end_dry_run()?;
        let (ciphertext, secret) = self.core.key_pairs.get(&entry)?.public().encapsulate()?;
        self.core.used(&entry, call, operation);
        Ok(Encapsulated { secret, ciphertext, key: entry.record.id })
    }

    /// Decapsulate: the secret that was encapsulated for an ML-KEM key.
    ///
    /// # Errors
    /// `InvalidCiphertextException` if the ciphertext has not the key's length, otherwise as [`Kms::encapsulate`].
    pub fn decapsulate(
        &self,
        call: &Call<'_>,
        key: &str,
        algorithm: EncapsulationAlgorithm,
        ciphertext: &[u8],
    ) -> Result<Decapsulated> {
        check_length(ciphertext.len(), "sharedSecretCiphertextBlob", 1..=CIPHERTEXT_MAX)?;
        let facts = Facts { encapsulation_algorithm: Some(algorithm), ..Facts::default() };
        let operation = Operation::Decapsulate;
        let entry = self.usable(call, operation, key, KeyUsage::EncapsulateDecapsulate, &facts)?;
        let opened = self.core.key_pairs.get(&entry)?.decapsulate(ciphertext);
        let secret = opened.map_err(|error| match error {
            asymmetric::Error::BadCiphertext => Error::InvalidCiphertext,
            other => other.into(),
        })?;
        call.end_dry_run()?;
        self.core.used(&entry, call, operation);
        Ok(Decapsulated { secret, key: entry.record.id })
    }
}
