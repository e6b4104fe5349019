//! GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext,
//! GenerateRandom.

use super::encryption::{Encrypted, facts};
use super::{check_algorithm, check_range};
use crate::crypto::asymmetric::PrivateKey;
use crate::crypto::random;
use crate::crypto::secret::SecretBytes;
use crate::kms::Kms;
use crate::kms::authorize::{Facts, authorize};
use crate::kms::call::Call;
use crate::kms::context::EncryptionContext;
use crate::kms::error::{Error, Result};
use crate::kms::keystore::Entry;
use crate::kms::spec::{DataKeySpec, EncryptionAlgorithm, KeySpec, KeyUsage};
use crate::kms::state::Operation;
use std::sync::Arc;

/// Most bytes of a data key, and of GenerateRandom.
const RANDOM_MAX: usize = 1024;

/// What GenerateDataKey returns.
#[derive(Debug)]
pub struct DataKey {
    /// The data key.
    pub plaintext: SecretBytes,
    /// The data key, encrypted.
    pub encrypted: Encrypted,
}

/// What GenerateDataKeyPair returns.
#[derive(Debug)]
pub struct DataKeyPair {
    /// The private key, PKCS#8 DER.
    pub private_key: SecretBytes,
    /// The private key, encrypted.
    pub encrypted: Encrypted,
    /// The public key, DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
}

/// The length of a data key, which a caller gives as a number of bytes or as a name for it.
///
/// # Errors
/// `ValidationException` unless exactly one of them is given.
pub fn data_key_length(number_of_bytes: Option<usize>, spec: Option<DataKeySpec>) -> Result<usize> {
    match (number_of_bytes, spec) {
        (Some(number), None) => Ok(number),
        (None, Some(spec)) => Ok(spec.bytes()),
        _ => Err(Error::Validation("Please specify either number of bytes or key spec.".into())),
    }
}

impl Kms {
    /// GenerateDataKey: 1 to 1024 random bytes, and the same encrypted under a symmetric key.
    ///
    /// # Errors
    /// As [`Kms::encrypt`].
    pub fn generate_data_key(
        &self,
        call: &Call<'_>,
        key: &str,
        number_of_bytes: usize,
        context: &EncryptionContext,
    ) -> Result<DataKey> {
        self.make_data_key(call, Operation::GenerateDataKey, key, number_of_bytes, context)
    }

    /// GenerateDataKeyWithoutPlaintext.
    ///
    /// # Errors
    /// As [`Kms::encrypt`].
    pub fn generate_data_key_without_plaintext(
        &self,
        call: &Call<'_>,
        key: &str,
        number_of_bytes: usize,
        context: &EncryptionContext,
    ) -> Result<Encrypted> {
        let operation = Operation::GenerateDataKeyWithoutPlaintext;
        Ok(self.make_data_key(call, operation, key, number_of_bytes, context)?.encrypted)
    }

    /// GenerateDataKeyPair: a new key pair for use outside of the KMS, and its private key encrypted under a symmetric
    /// key. An RSA key pair takes up to some seconds.
    ///
    /// # Errors
    /// `ValidationException` if `spec` is none that data key pairs are made of, otherwise as [`Kms::encrypt`].
    pub fn generate_data_key_pair(
        &self,
        call: &Call<'_>,
        key: &str,
        spec: KeySpec,
        context: &EncryptionContext,
    ) -> Result<DataKeyPair> {
        self.make_data_key_pair(call, Operation::GenerateDataKeyPair, key, spec, context)
    }

    /// GenerateDataKeyPairWithoutPlaintext: the public key, and the private key encrypted.
    ///
    /// # Errors
    /// As [`Kms::generate_data_key_pair`].
    pub fn generate_data_key_pair_without_plaintext(
        &self,
        call: &Call<'_>,
        key: &str,
        spec: KeySpec,
        context: &EncryptionContext,
    ) -> Result<(Encrypted, Vec<u8>)> {
        let operation = Operation::GenerateDataKeyPairWithoutPlaintext;
        let made = self.make_data_key_pair(call, operation, key, spec, context)?;
        Ok((made.encrypted, made.public_key))
    }

    /// GenerateRandom: 1 to 1024 random bytes.
    ///
    /// # Errors
    /// `ValidationException`, `AccessDeniedException`.
    pub fn generate_random(&self, call: &Call<'_>, number_of_bytes: usize) -> Result<SecretBytes> {
        check_range(number_of_bytes, "numberOfBytes", 1..=RANDOM_MAX)?;
        authorize(&*self.core.table()?, call, Operation::GenerateRandom, None, &Facts::default())?;
        Ok(random_bytes(number_of_bytes))
    }

    fn make_data_key(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &str,
        number_of_bytes: usize,
        context: &EncryptionContext,
    ) -> Result<DataKey> {
        check_range(number_of_bytes, "numberOfBytes", 1..=RANDOM_MAX)?;
        let entry = self.wrapping_key(call, operation, key, context, None)?;
        let plaintext = random_bytes(number_of_bytes);
        let encrypted = self.seal(&entry, SYMMETRIC, plaintext.expose(), context)?;
        self.core.used(&entry, call, operation);
        Ok(DataKey { plaintext, encrypted })
    }

    fn make_data_key_pair(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &str,
        spec: KeySpec,
        context: &EncryptionContext,
    ) -> Result<DataKeyPair> {
        let key_type = spec.key_type().filter(|_| spec.is_data_key_pair()).ok_or_else(|| {
            Error::Validation(format!("KeyPairSpec {spec} is not supported for data key pairs."))
        })?;
        let entry = self.wrapping_key(call, operation, key, context, Some(spec))?;
        let private_key = PrivateKey::generate(key_type)?;
        let public_key = PrivateKey::from_pkcs8(key_type, private_key.expose())?.public_spki().to_vec();
        let encrypted = self.seal(&entry, SYMMETRIC, private_key.expose(), context)?;
        self.core.used(&entry, call, operation);
        Ok(DataKeyPair { private_key, encrypted, public_key })
    }

    /// The symmetric key under which a data key is to be encrypted. Ends a dry run.
    fn wrapping_key(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &str,
        context: &EncryptionContext,
        key_pair_spec: Option<KeySpec>,
    ) -> Result<Arc<Entry>> {
        let facts = Facts { key_pair_spec, ..facts(SYMMETRIC, context) };
        let entry = self.usable(call, operation, key, KeyUsage::EncryptDecrypt, &facts)?;
        check_algorithm(&entry.record, SYMMETRIC, entry.record.spec.encryption_algorithms())?;
        context.length()?;
        call.end_dry_run()?;
        Ok(entry)
    }
}

/// Data keys are encrypted under symmetric keys only.
const SYMMETRIC: EncryptionAlgorithm = EncryptionAlgorithm::SymmetricDefault;

fn random_bytes(number: usize) -> SecretBytes {
    let mut bytes = SecretBytes::zeroed(number);
    random::fill(bytes.expose_mut());
    bytes
}
