//! Encrypt, Decrypt, ReEncrypt, under symmetric keys and RSA keys.
//!
//! These read memory only; the keystore is not touched.

use super::{check_algorithm, check_length, check_usage};
use crate::crypto::asymmetric;
use crate::crypto::secret::SecretBytes;
use crate::kms::Kms;
use crate::kms::arn::KeyId;
use crate::kms::authorize::Facts;
use crate::kms::blob::{self, BlobHeader, PLAINTEXT_MAX};
use crate::kms::call::Call;
use crate::kms::context::EncryptionContext;
use crate::kms::error::{Error, Result};
use crate::kms::keystore::Entry;
use crate::kms::material::MaterialId;
use crate::kms::spec::{EncryptionAlgorithm, KeyUsage};
use crate::kms::state::Operation;
use std::sync::Arc;

/// What Encrypt and GenerateDataKeyWithoutPlaintext return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// The ciphertext. Of a symmetric key it names the key and the version of its material; of an RSA key it is what
    /// RFC 8017 says and nothing more.
    pub blob: Vec<u8>,
    /// The key that made it.
    pub key: KeyId,
    /// The version of the key's material.
    pub material: u32,
    /// Its id; symmetric keys only.
    pub material_id: Option<MaterialId>,
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
    /// Its id; symmetric keys only.
    pub material_id: Option<MaterialId>,
}

/// The arguments of ReEncrypt.
#[derive(Debug, Clone)]
pub struct ReEncrypt<'a> {
    /// The ciphertext.
    pub blob: &'a [u8],
    /// The key it must have been made by; any symmetric key, if none is given.
    pub source_key: Option<&'a str>,
    /// How it was made.
    pub source_algorithm: EncryptionAlgorithm,
    /// The context it was made in.
    pub source_context: &'a EncryptionContext,
    /// The key to encrypt with.
    pub destination_key: &'a str,
    /// How to encrypt.
    pub destination_algorithm: EncryptionAlgorithm,
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
    /// Its id; symmetric keys only.
    pub source_material_id: Option<MaterialId>,
}

/// A ciphertext and what it takes to decrypt it.
struct Source<'a> {
    blob: &'a [u8],
    key: Option<&'a str>,
    algorithm: EncryptionAlgorithm,
    context: &'a EncryptionContext,
}

impl Kms {
    /// Encrypt: 1 to 4096 bytes, with the current version of the key's material. RSA keys encrypt less, and know no
    /// encryption context.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `DisabledException`, `KMSInvalidStateException`,
    /// `InvalidKeyUsageException`, `AccessDeniedException`, `KeyUnavailableException`.
    pub fn encrypt(
        &self,
        call: &Call<'_>,
        key: &str,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Encrypted> {
        check_length(plaintext.len(), "plaintext", 1..=PLAINTEXT_MAX)?;
        check_context(algorithm, context)?;
        let facts = facts(algorithm, context);
        let entry = self.usable(call, Operation::Encrypt, key, KeyUsage::EncryptDecrypt, &facts)?;
        let encrypted = self.seal(&entry, algorithm, plaintext, context)?;
        call.end_dry_run()?;
        self.core.used(&entry, call, Operation::Encrypt);
        Ok(encrypted)
    }

    /// Decrypt. A symmetric ciphertext names its key; if `key` is given, it must be that one. An RSA ciphertext names
    /// none, so `key` must be given.
    ///
    /// # Errors
    /// `InvalidCiphertextException` if the ciphertext or the context is not the original one,
    /// `IncorrectKeyException`, otherwise as [`Kms::encrypt`].
    ///
    /// [`Call::ignore_ciphertext`] is for who may decrypt in general: `blob` counts for nothing then.
    pub fn decrypt(
        &self,
        call: &Call<'_>,
        key: Option<&str>,
        algorithm: EncryptionAlgorithm,
        blob: &[u8],
        context: &EncryptionContext,
    ) -> Result<Plaintext> {
        let source = Source { blob, key, algorithm, context };
        let entry = self.source(call, Operation::Decrypt, &source, &facts(algorithm, context))?;
        if ignores_ciphertext(call) {
            return Err(Error::DryRun);
        }
        let plaintext = self.unseal(&entry, &source)?;
        call.end_dry_run()?;
        self.core.used(&entry, call, Operation::Decrypt);
        Ok(plaintext)
    }

    /// ReEncrypt: decrypts and encrypts again; the plaintext does not leave the KMS.
    ///
    /// # Errors
    /// As [`Kms::decrypt`], for either key.
    pub fn re_encrypt(&self, call: &Call<'_>, request: &ReEncrypt<'_>) -> Result<ReEncrypted> {
        let ReEncrypt { destination_algorithm, destination_context, .. } = *request;
        check_context(destination_algorithm, destination_context)?;
        let source = Source {
            blob: request.blob,
            key: request.source_key,
            algorithm: request.source_algorithm,
            context: request.source_context,
        };
        let same_key = Some(self.is_same_key(call, &source, request.destination_key)?);
        let source_facts = Facts { same_key, ..facts(source.algorithm, source.context) };
        let from = self.source(call, Operation::ReEncryptFrom, &source, &source_facts)?;
        let facts = Facts { same_key, ..facts(destination_algorithm, destination_context) };
        let usage = KeyUsage::EncryptDecrypt;
        let to = self.usable(call, Operation::ReEncryptTo, request.destination_key, usage, &facts)?;
        if ignores_ciphertext(call) {
            return Err(Error::DryRun);
        }
        let opened = self.unseal(&from, &source)?;
        let plaintext = opened.plaintext.expose();
        let encrypted = self.seal(&to, destination_algorithm, plaintext, destination_context)?;
        call.end_dry_run()?;
        self.core.used(&from, call, Operation::ReEncryptFrom);
        self.core.used(&to, call, Operation::ReEncryptTo);
        Ok(ReEncrypted {
            encrypted,
            source_key: opened.key,
            source_material: opened.material,
            source_material_id: opened.material_id,
        })
    }

    /// The key that decrypts a ciphertext, if the call may use it so.
    fn source<'a>(
        &self,
        call: &Call<'_>,
        operation: Operation,
        source: &Source<'a>,
        facts: &Facts<'a>,
    ) -> Result<Arc<Entry>> {
        check_context(source.algorithm, source.context)?;
        let usage = KeyUsage::EncryptDecrypt;
        if source.algorithm.oaep().is_some() || ignores_ciphertext(call) {
            let key = source.key.ok_or_else(|| {
                Error::Validation("KeyId is required where the ciphertext does not name its key.".into())
            })?;
            let entry = self.usable(call, operation, key, usage, facts)?;
            check_algorithm(&entry.record, source.algorithm, entry.record.spec.encryption_algorithms())?;
            return Ok(entry);
        }
        let named = BlobHeader::parse(source.blob)?.key;
        let table = self.core.table_for(call)?;
        let entry = match source.key {
            Some(key) => Arc::clone(super::find(&table, call, key)?),
            None => Arc::clone(table.find_id(call, named)?),
        };
        super::check(&table, call, operation, &entry, &Facts { named: source.key, ..facts.clone() })?;
        if entry.record.id != named {
            return Err(incorrect_key());
        }
        check_usage(&table, call, operation, &entry, usage)?;
        Ok(entry)
    }

    /// Whether a ciphertext and the key to encrypt it with anew name the same key. What does not exist is found out
    /// later.
    fn is_same_key(&self, call: &Call<'_>, source: &Source<'_>, destination: &str) -> Result<bool> {
        let table = self.core.table_for(call)?;
        let id = |key: &str| super::find(&table, call, key).ok().map(|entry| entry.record.id);
        let from = match source.algorithm.oaep().is_some() || ignores_ciphertext(call) {
            true => source.key.and_then(id),
            false => Some(BlobHeader::parse(source.blob)?.key),
        };
        Ok(from.is_some() && from == id(destination))
    }

    /// Encrypts with the current version of the key's material.
    pub(super) fn seal(
        &self,
        entry: &Entry,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Encrypted> {
        let record = &entry.record;
        check_algorithm(record, algorithm, record.spec.encryption_algorithms())?;
        let Some(current) = record.current() else { unreachable!("a key that can be used has material") };
        let (key, material) = (record.id, current.version);
        let Some(hash) = algorithm.oaep() else {
            let secret = entry.material(material).and_then(|material| material.key());
            let secret = secret.expect("a symmetric key that can be used has a 256-bit key");
            let blob = blob::seal(BlobHeader { key, material }, secret, plaintext, context)?;
            return Ok(Encrypted { blob, key, material, material_id: Some(current.id) });
        };
        let pair = self.core.key_pairs.get(entry)?;
        let blob = pair.public().encrypt_oaep(hash, plaintext).map_err(|error| match error {
            asymmetric::Error::TooLong { max } => Error::Validation(format!(
                "Algorithm {algorithm} and key spec {} cannot encrypt data larger than {max} bytes.",
                record.spec
            )),
            other => other.into(),
        })?;
        Ok(Encrypted { blob, key, material, material_id: None })
    }

    /// Decrypts with the key of a ciphertext.
    fn unseal(&self, entry: &Entry, source: &Source<'_>) -> Result<Plaintext> {
        let record = &entry.record;
        check_algorithm(record, source.algorithm, record.spec.encryption_algorithms())?;
        let Some(hash) = source.algorithm.oaep() else {
            let version = BlobHeader::parse(source.blob)?.material;
            let info = record.associated().find(|material| material.version == version);
            let secret = entry.material(version).and_then(|material| material.key());
            let (Some(info), Some(secret)) = (info, secret) else { return Err(Error::InvalidCiphertext) };
            let plaintext = blob::open(source.blob, secret, source.context)?;
            return Ok(Plaintext {
                plaintext,
                key: record.id,
                material: version,
                material_id: Some(info.id),
            });
        };
        let opened = self.core.key_pairs.get(entry)?.decrypt_oaep(hash, source.blob);
        let plaintext = opened.map_err(|error| match error {
            asymmetric::Error::BadCiphertext => Error::InvalidCiphertext,
            other => other.into(),
        })?;
        Ok(Plaintext { plaintext, key: record.id, material: record.current_material(), material_id: None })
    }
}

/// What an encryption or decryption says.
pub(super) fn facts(algorithm: EncryptionAlgorithm, context: &EncryptionContext) -> Facts<'_> {
    Facts { context: Some(context), encryption_algorithm: Some(algorithm), ..Facts::default() }
}

fn ignores_ciphertext(call: &Call<'_>) -> bool {
    call.dry_run && call.ignore_ciphertext
}

/// RSA has no associated data: who gives a context must not believe that it protects anything.
fn check_context(algorithm: EncryptionAlgorithm, context: &EncryptionContext) -> Result<()> {
    if algorithm.oaep().is_some() && context.pairs().next().is_some() {
        return Err(Error::Validation(
            "EncryptionContext is not supported for asymmetric encryption algorithms.".into(),
        ));
    }
    Ok(())
}

fn incorrect_key() -> Error {
    Error::IncorrectKey(
        "The key ID in the request does not identify a CMK that can perform this operation.".into(),
    )
}
