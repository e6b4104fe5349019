//! DeriveSharedSecret.

use super::check_length;
use crate::crypto::asymmetric;
use crate::crypto::secret::SecretBytes;
use crate::kms::Kms;
use crate::kms::arn::KeyId;
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::spec::{KeyAgreementAlgorithm, KeyUsage, Origin};
use crate::kms::state::Operation;

/// Longest public key of a peer, in bytes.
const PUBLIC_KEY_MAX: usize = 8192;

/// What DeriveSharedSecret returns.
#[derive(Debug)]
pub struct SharedSecret {
    /// The x coordinate of the shared point, as long as the curve's field. To be put through a key derivation
    /// function before it is used as a key.
    pub secret: SecretBytes,
    /// The key it was derived with.
    pub key: KeyId,
    /// Where that key's material comes from.
    pub origin: Origin,
}

impl Kms {
    /// DeriveSharedSecret with the owner of `peer`, a DER SubjectPublicKeyInfo of a key on the same NIST curve.
    ///
    /// # Errors
    /// `ValidationException` if `peer` is something else, `NotFoundException`, `DisabledException`,
    /// `KMSInvalidStateException`, `InvalidKeyUsageException`, `AccessDeniedException`, `KeyUnavailableException`.
    pub fn derive_shared_secret(
        &self,
        call: &Call<'_>,
        key: &str,
        algorithm: KeyAgreementAlgorithm,
        peer: &[u8],
    ) -> Result<SharedSecret> {
        check_length(peer.len(), "publicKey", 1..=PUBLIC_KEY_MAX)?;
        let operation = Operation::DeriveSharedSecret;
        let facts = Facts { key_agreement_algorithm: Some(algorithm), ..Facts::default() };
        let entry = self.usable(call, operation, key, KeyUsage::KeyAgreement, &facts)?;
        let record = &entry.record;
        let agreed = self.core.key_pairs.get(&entry)?.agree(peer);
        let secret = agreed.map_err(|error| match error {
            asymmetric::Error::BadKey { reason, .. } => {
                Error::Validation(format!("PublicKey is not a {} public key: {reason}.", record.spec))
            }
            other => other.into(),
        })?;
        call.end_dry_run()?;
        self.core.used(&entry, call, operation);
        Ok(SharedSecret { secret, key: record.id, origin: record.origin })
    }
}
