//! GenerateMac, VerifyMac.

use super::{check_algorithm, check_length};
use crate::crypto::hmac::HmacKey;
use crate::kms::Kms;
use crate::kms::arn::KeyId;
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::keystore::Entry;
use crate::kms::spec::{KeyUsage, MacAlgorithm};
use crate::kms::state::Operation;
use std::sync::Arc;

/// Longest message, in bytes.
const MESSAGE_MAX: usize = 4096;

/// Longest MAC that VerifyMac looks at, in bytes.
const MAC_MAX: usize = 6144;

/// What GenerateMac returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mac {
    /// As long as the hash's digest.
    pub mac: Vec<u8>,
    /// The key that made it.
    pub key: KeyId,
}

impl Kms {
    /// GenerateMac of 1 to 4096 bytes.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `DisabledException`, `KMSInvalidStateException`,
    /// `InvalidKeyUsageException`, `AccessDeniedException`, `KeyUnavailableException`.
    pub fn generate_mac(
        &self,
        call: &Call<'_>,
        key: &str,
        message: &[u8],
        algorithm: MacAlgorithm,
    ) -> Result<Mac> {
        let (entry, hmac) = self.hmac(call, Operation::GenerateMac, key, message, algorithm)?;
        call.end_dry_run()?;
        self.core.used(&entry, call, Operation::GenerateMac);
        Ok(Mac { mac: hmac.sign(message), key: entry.record.id })
    }

    /// VerifyMac: succeeds if `mac` is that of the message under the key, which it returns.
    ///
    /// # Errors
    /// `KMSInvalidMacException` if it is not, otherwise as [`Kms::generate_mac`].
    pub fn verify_mac(
        &self,
        call: &Call<'_>,
        key: &str,
        message: &[u8],
        algorithm: MacAlgorithm,
        mac: &[u8],
    ) -> Result<KeyId> {
        check_length(mac.len(), "mac", 1..=MAC_MAX)?;
        let (entry, hmac) = self.hmac(call, Operation::VerifyMac, key, message, algorithm)?;
        if !hmac.verify(message, mac) {
            return Err(Error::InvalidMac);
        }
        call.end_dry_run()?;
        self.core.used(&entry, call, Operation::VerifyMac);
        Ok(entry.record.id)
    }

    fn hmac(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &str,
        message: &[u8],
        algorithm: MacAlgorithm,
    ) -> Result<(Arc<Entry>, HmacKey)> {
        check_length(message.len(), "message", 1..=MESSAGE_MAX)?;
        let facts = Facts { mac_algorithm: Some(algorithm), ..Facts::default() };
        let entry = self.usable(call, operation, key, KeyUsage::GenerateVerifyMac, &facts)?;
        let record = &entry.record;
        check_algorithm(record, algorithm, record.spec.mac_algorithm().as_slice())?;
        let material = entry.material(record.current_material());
        let material = material.expect("a key that can be used has its current material");
        let hmac = material.expose(|secret| HmacKey::new(algorithm.hash(), secret))?;
        Ok((entry, hmac))
    }
}
