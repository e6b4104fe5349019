//! GetPublicKey, Sign, Verify.

use super::{check, check_algorithm, check_length};
use crate::crypto::asymmetric::{self, Message};
use crate::kms::Kms;
use crate::kms::arn::KeyId;
use crate::kms::authorize::Facts;
use crate::kms::call::Call;
use crate::kms::error::{Error, Result};
use crate::kms::key::{KeyMetadata, KeyRecord};
use crate::kms::spec::{KeyUsage, MessageType, SigningAlgorithm};
use crate::kms::state::Operation;
use std::sync::Arc;

/// Longest message of Sign, in bytes.
const MESSAGE_MAX: usize = 4096;

/// Length of an external μ, in bytes.
const MU_LEN: usize = 64;

/// Longest signature that Verify looks at, in bytes; ML-DSA-87's has 4627.
const SIGNATURE_MAX: usize = 6144;

/// What GetPublicKey returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeyOf {
    /// The key.
    pub metadata: KeyMetadata,
    /// Its public key, DER SubjectPublicKeyInfo (RFC 5280).
    pub spki: Vec<u8>,
}

/// A message to sign, or that was signed.
#[derive(Debug, Clone, Copy)]
pub struct ToSign<'a> {
    /// What `message` is.
    pub message_type: MessageType,
    /// 1 to 4096 bytes; a digest as long as the algorithm's hash.
    pub message: &'a [u8],
    /// How to sign it.
    pub algorithm: SigningAlgorithm,
}

/// What Sign returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// RSA: as long as the modulus (RFC 8017). ECDSA: DER (RFC 3279, section 2.2.3). Others: of fixed length.
    pub signature: Vec<u8>,
    /// The key that made it.
    pub key: KeyId,
}

impl Kms {
    /// GetPublicKey of a key pair.
    ///
    /// # Errors
    /// `UnsupportedOperationException` if it is no key pair, `NotFoundException`, `DisabledException`,
    /// `KMSInvalidStateException`, `AccessDeniedException`, `KeyUnavailableException`.
    pub fn public_key(&self, call: &Call<'_>, key: &str) -> Result<PublicKeyOf> {
        let table = self.core.table_for(call)?;
        let entry = Arc::clone(table.find(call, key)?);
        let facts = Facts { named: Some(key), ..Facts::default() };
        check(&table, call, Operation::GetPublicKey, &entry, &facts)?;
        let metadata = entry.record.metadata(table.naming(call));
        drop(table);
        let spki = self.core.key_pairs.get(&entry)?.public_spki().to_vec();
        Ok(PublicKeyOf { metadata, spki })
    }

    /// Sign.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `DisabledException`, `KMSInvalidStateException`,
    /// `InvalidKeyUsageException`, `AccessDeniedException`, `KeyUnavailableException`.
    pub fn sign(&self, call: &Call<'_>, key: &str, to_sign: &ToSign<'_>) -> Result<Signature> {
        check_length(to_sign.message.len(), "message", 1..=MESSAGE_MAX)?;
        let entry = self.usable(call, Operation::Sign, key, KeyUsage::SignVerify, &facts(to_sign))?;
        let message = message(&entry.record, to_sign)?;
        call.end_dry_run()?;
        let signature = self.core.key_pairs.get(&entry)?.sign(to_sign.algorithm.scheme(), message)?;
        self.core.used(&entry, call, Operation::Sign);
        Ok(Signature { signature, key: entry.record.id })
    }

    /// Verify: succeeds if `signature` is one of the message by the key, which it returns.
    ///
    /// # Errors
    /// `KMSInvalidSignatureException` if it is not, otherwise as [`Kms::sign`].
    pub fn verify(&self, call: &Call<'_>, key: &str, signed: &ToSign<'_>, signature: &[u8]) -> Result<KeyId> {
        check_length(signed.message.len(), "message", 1..=MESSAGE_MAX)?;
        check_length(signature.len(), "signature", 1..=SIGNATURE_MAX)?;
        let entry = self.usable(call, Operation::Verify, key, KeyUsage::SignVerify, &facts(signed))?;
        let message = message(&entry.record, signed)?;
        let pair = self.core.key_pairs.get(&entry)?;
        pair.public().verify(signed.algorithm.scheme(), message, signature).map_err(|error| match error {
            asymmetric::Error::BadSignature => Error::InvalidSignature,
            other => other.into(),
        })?;
        call.end_dry_run()?;
        self.core.used(&entry, call, Operation::Verify);
        Ok(entry.record.id)
    }
}

fn facts(signed: &ToSign<'_>) -> Facts<'static> {
    Facts {
        signing_algorithm: Some(signed.algorithm),
        message_type: Some(signed.message_type),
        ..Facts::default()
    }
}

/// The message as it is signed, if the key signs so.
fn message<'a>(record: &KeyRecord, signed: &ToSign<'a>) -> Result<Message<'a>> {
    let ToSign { message_type, message, algorithm } = *signed;
    check_algorithm(record, algorithm, record.spec.signing_algorithms())?;
    let wrong_type = || {
        Error::Validation(format!("MessageType {message_type} is not supported for algorithm {algorithm}."))
    };
    match message_type {
        MessageType::Raw if algorithm == SigningAlgorithm::Ed25519ph => Err(wrong_type()),
        MessageType::Raw => Ok(Message::Raw(message)),
        MessageType::Digest => match algorithm.digest_len() {
            None => Err(wrong_type()),
            Some(length) if length != message.len() => {
                Err(Error::Validation(format!("Digest is invalid length for algorithm {algorithm}.")))
            }
            // As AWS KMS has it, the digest is the message of Ed25519ph, which hashes it once more.
            Some(_) if algorithm == SigningAlgorithm::Ed25519ph => Ok(Message::Raw(message)),
            Some(_) => Ok(Message::Digest(message)),
        },
        MessageType::ExternalMu if algorithm != SigningAlgorithm::MlDsa => Err(wrong_type()),
        MessageType::ExternalMu if message.len() != MU_LEN => {
            Err(Error::Validation(format!("Message is invalid length for MessageType {message_type}.")))
        }
        MessageType::ExternalMu => Ok(Message::ExternalMu(message)),
    }
}
