//! Encrypt, Decrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, ReEncrypt, GenerateRandom.
//!
//! These read memory only; the keystore is not touched.

use super::{check, check_length, check_range};
use crate::crypto::random;
use crate::crypto::secret::SecretBytes;
use crate::kms::Kms;
use crate::kms::arn::{DEFAULT_ALIAS, KeyId};
use crate::kms::authorize::{Facts, authorize};
use crate::kms::blob::{self, BlobHeader, PLAINTEXT_MAX};
use crate::kms::call::{Call, Caller};
use crate::kms::context::EncryptionContext;
use crate::kms::error::{Error, Result};
use crate::kms::keystore::Entry;
use crate::kms::spec::EncryptionAlgorithm;
use crate::kms::state::Operation;
use std::sync::Arc;

/// Most bytes of a data key, and of GenerateRandom.
const RANDOM_MAX: usize = 1024;

/// What Encrypt and GenerateDataKeyWithoutPlaintext return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// The ciphertext. It names the key and the version of its material.
    pub blob: Vec<u8>,
    /// The key that made it.
    pub key: KeyId,
    /// The version of the key's material.
    pub material: u32,
}

/// What GenerateDataKey returns.
#[derive(Debug)]
pub struct DataKey {
    /// The data key.
    pub plaintext: SecretBytes,
    /// The data key, encrypted.
    pub encrypted: Encrypted,
}

/// What Decrypt returns.
#[derive(Debug)]
pub struct Plaintext {
    /// The plaintext.
    pub plaintext: SecretBytes,
    /// The key that decrypted it.
    pub key: KeyId,
    /// The version of the key's material.
    pub material: u32,
}

/// The arguments of ReEncrypt.
#[derive(Debug, Clone)]
pub struct ReEncrypt<'a> {
    /// The ciphertext.
    pub blob: &'a [u8],
    /// The key it must have been made by; any, if none is given.
    pub source_key: Option<&'a str>,
    /// The context it was made in.
    pub source_context: &'a EncryptionContext,
    /// The key to encrypt with.
    pub destination_key: &'a str,
    /// The context to encrypt in.
    pub destination_context: &'a EncryptionContext,
}

/// What ReEncrypt returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReEncrypted {
    /// The new ciphertext, with the key that made it.
    pub encrypted: Encrypted,
    /// The key that made the old one.
    pub source_key: KeyId,
    /// The version of its material.
    pub source_material: u32,
}

impl Kms {
    /// Encrypt: 1 to 4096 bytes, with the current version of the key's material.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `DisabledException`, `KMSInvalidStateException`,
    /// `AccessDeniedException`, `KeyUnavailableException`.
    pub fn encrypt(
        &self,
        call: &Call<'_>,
        key: &str,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Encrypted> {
        check_length(plaintext.len(), "plaintext", 1..=PLAINTEXT_MAX)?;
        let entry = self.usable(call, Operation::Encrypt, key, &facts(context))?;
        call.end_dry_run()?;
        seal(&entry, plaintext, context)
    }

    /// Decrypt: the blob names its key. If `key` is given, the blob must be that key's.
    ///
    /// # Errors
    /// `InvalidCiphertextException` if the blob or the context is not the original one,
    /// `IncorrectKeyException`, otherwise as [`Kms::encrypt`].
    pub fn decrypt(
        &self,
        call: &Call<'_>,
        key: Option<&str>,
        blob: &[u8],
        context: &EncryptionContext,
    ) -> Result<Plaintext> {
        let opened = self.open_with(call, Operation::Decrypt, key, blob, context, None)?;
        call.end_dry_run()?;
        Ok(opened)
    }

    /// GenerateDataKey: 1 to 1024 random bytes, and the same encrypted.
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

    /// ReEncrypt: decrypts and encrypts again; the plaintext does not leave the KMS.
    ///
    /// # Errors
    /// As [`Kms::decrypt`], for either key.
    pub fn re_encrypt(&self, call: &Call<'_>, request: &ReEncrypt<'_>) -> Result<ReEncrypted> {
        let ReEncrypt { blob, source_key, source_context, destination_key, destination_context } = *request;
        let named = self.core.table()?.find(destination_key).ok().map(|entry| entry.record.id);
        let same_key = Some(named == Some(BlobHeader::parse(blob)?.key));
        let source =
            self.open_with(call, Operation::ReEncryptFrom, source_key, blob, source_context, same_key)?;
        let facts = Facts { same_key, ..facts(destination_context) };
        let destination = self.usable(call, Operation::ReEncryptTo, destination_key, &facts)?;
        call.end_dry_run()?;
        let encrypted = seal(&destination, source.plaintext.expose(), destination_context)?;
        Ok(ReEncrypted { encrypted, source_key: source.key, source_material: source.material })
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
        let entry = self.usable(call, operation, key, &facts(context))?;
        call.end_dry_run()?;
        let plaintext = random_bytes(number_of_bytes);
        let encrypted = seal(&entry, plaintext.expose(), context)?;
        Ok(DataKey { plaintext, encrypted })
    }

    fn open_with(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: Option<&str>,
        blob: &[u8],
        context: &EncryptionContext,
        same_key: Option<bool>,
    ) -> Result<Plaintext> {
        let header = BlobHeader::parse(blob)?;
        let facts = Facts { same_key, ..facts(context) };
        let entry = match key {
            Some(key) => self.usable(call, operation, key, &facts)?,
            None => {
                let table = self.core.table()?;
                let entry = table.find_id(header.key)?;
                check(&table, call, operation, entry, &facts)?;
                Arc::clone(entry)
            }
        };
        if entry.record.id != header.key {
            return Err(Error::IncorrectKey(
                "The key ID in the request does not identify a CMK that can perform this operation.".into(),
            ));
        }
        let material = entry.material(header.material).ok_or(Error::InvalidCiphertext)?;
        let key = material.key().ok_or(Error::InvalidCiphertext)?;
        let plaintext = blob::open(blob, key, context)?;
        Ok(Plaintext { plaintext, key: header.key, material: header.material })
    }

    /// The key that `key` names, if the caller may use it now. The filesystem's default key is made on its first
    /// use.
    fn usable<'a>(
        &self,
        call: &Call<'_>,
        operation: Operation,
        key: &'a str,
        facts: &Facts<'a>,
    ) -> Result<Arc<Entry>> {
        if call.caller == Caller::Filesystem && key == DEFAULT_ALIAS {
            self.service_key()?;
        }
        let table = self.core.table()?;
        let entry = table.find(key)?;
        check(&table, call, operation, entry, &Facts { named: Some(key), ..facts.clone() })?;
        Ok(Arc::clone(entry))
    }
}

/// What an encryption or decryption under a symmetric key says.
fn facts(context: &EncryptionContext) -> Facts<'_> {
    let encryption_algorithm = Some(EncryptionAlgorithm::SymmetricDefault);
    Facts { context: Some(context), encryption_algorithm, ..Facts::default() }
}

fn random_bytes(number: usize) -> SecretBytes {
    let mut bytes = SecretBytes::zeroed(number);
    random::fill(bytes.expose_mut());
    bytes
}

/// Encrypts with the current version of the key's material.
fn seal(entry: &Entry, plaintext: &[u8], context: &EncryptionContext) -> Result<Encrypted> {
    let header = BlobHeader { key: entry.record.id, material: entry.record.current_material() };
    let material = entry.material(header.material).expect("a key that can be used has its current material");
    let key = material.key().expect("the material of a symmetric key is a 256-bit key");
    let blob = blob::seal(header, key, plaintext, context)?;
    Ok(Encrypted { blob, key: header.key, material: header.material })
}
