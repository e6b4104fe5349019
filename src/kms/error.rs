//! The KMS's errors, under AWS KMS's names.
//!
//! Messages are for the person at the keyboard or in the log: they name the key and what to do. None of
//! them ever holds a plaintext, a passphrase or key material. `InvalidCiphertextException`,
//! `KMSInvalidMacException` and `KMSInvalidSignatureException` reach AWS's clients without a message
//! ([`Error::public_message`]): why something does not verify is nobody's business but its owner's.

use super::approvals::Refusal;
use super::keystore;

/// The result of a KMS operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the KMS core.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller may not do this.
    #[error("{0}")]
    AccessDenied(String),
    /// The name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// Something else is under way on the same key.
    #[error("{0}")]
    Conflict(String),
    /// The keystore did not answer in time.
    #[error("{0}")]
    DependencyTimeout(String),
    /// The key is disabled.
    #[error("{0}")]
    Disabled(String),
    /// The call would have succeeded.
    #[error("The request would have succeeded, but the DryRun option is set.")]
    DryRun,
    /// The parameters of an import are too old.
    #[error("{0}")]
    ExpiredImportToken(String),
    /// The ciphertext was made by another key than the one named.
    #[error("{0}")]
    IncorrectKey(String),
    /// The key material to import is not the one that the key had, or none of the key's spec.
    #[error("{0}")]
    IncorrectKeyMaterial(String),
    /// Something failed that no caller can do anything about.
    #[error("{0}")]
    Internal(String),
    /// The ARN is malformed or belongs elsewhere.
    #[error("{0}")]
    InvalidArn(String),
    /// The ciphertext was altered, is no ciphertext of this KMS, or its encryption context differs.
    #[error("the ciphertext is invalid, or its encryption context differs")]
    InvalidCiphertext,
    /// That is not the id of a grant.
    #[error("{0}")]
    InvalidGrantId(String),
    /// The grant token is malformed, or its grant is gone.
    #[error("{0}")]
    InvalidGrantToken(String),
    /// The import token is none, or another key's.
    #[error("{0}")]
    InvalidImportToken(String),
    /// The key's usage, or the algorithm, does not go with the operation.
    #[error("{0}")]
    InvalidKeyUsage(String),
    /// The MAC is not that of the message.
    #[error("the MAC is not that of the message under this key")]
    InvalidMac,
    /// The marker of a listing did not come from that listing.
    #[error("{0}")]
    InvalidMarker(String),
    /// The signature is not that of the message.
    #[error("the signature is not that of the message under this key")]
    InvalidSignature,
    /// The key's state does not allow this.
    #[error("{0}")]
    InvalidState(String),
    /// The keystore cannot be read just now, or not any more.
    #[error("{0}")]
    KeyUnavailable(String),
    /// The keystore failed.
    #[error("{0}")]
    Keystore(#[from] keystore::Error),
    /// A quota is used up.
    #[error("{0}")]
    LimitExceeded(String),
    /// The policy cannot be understood.
    #[error("{0}")]
    MalformedPolicy(String),
    /// Custodians do not approve it.
    #[error(transparent)]
    NotApproved(#[from] Refusal),
    /// No such key or alias.
    #[error("{0}")]
    NotFound(String),
    /// The alias name is one of those that only services give.
    #[error("{0}")]
    ReservedAlias(String),
    /// A tag is malformed.
    #[error("{0}")]
    Tag(String),
    /// Too many calls.
    #[error("{0}")]
    Throttling(String),
    /// The operation is not for keys of this kind.
    #[error("{0}")]
    Unsupported(String),
    /// An argument is out of its bounds.
    #[error("{0}")]
    Validation(String),
}

impl Error {
    /// AWS KMS's name for this error.
    pub fn name(&self) -> &'static str {
        match self {
            Error::AccessDenied(_) => "AccessDeniedException",
            Error::AlreadyExists(_) => "AlreadyExistsException",
            Error::Conflict(_) => "ConflictException",
            Error::DependencyTimeout(_) => "DependencyTimeoutException",
            Error::Disabled(_) => "DisabledException",
            Error::DryRun => "DryRunOperationException",
            Error::ExpiredImportToken(_) => "ExpiredImportTokenException",
            Error::IncorrectKey(_) => "IncorrectKeyException",
            Error::IncorrectKeyMaterial(_) => "IncorrectKeyMaterialException",
            Error::Internal(_) => "KMSInternalException",
            Error::InvalidArn(_) => "InvalidArnException",
            Error::InvalidCiphertext => "InvalidCiphertextException",
            Error::InvalidGrantId(_) => "InvalidGrantIdException",
            Error::InvalidGrantToken(_) => "InvalidGrantTokenException",
            Error::InvalidImportToken(_) => "InvalidImportTokenException",
            Error::InvalidKeyUsage(_) => "InvalidKeyUsageException",
            Error::InvalidMac => "KMSInvalidMacException",
            Error::InvalidMarker(_) => "InvalidMarkerException",
            Error::InvalidSignature => "KMSInvalidSignatureException",
            Error::InvalidState(_) => "KMSInvalidStateException",
            Error::KeyUnavailable(_) => "KeyUnavailableException",
            Error::Keystore(_) => "KMSInternalException",
            Error::LimitExceeded(_) => "LimitExceededException",
            Error::MalformedPolicy(_) => "MalformedPolicyDocumentException",
            Error::NotApproved(refusal) => refusal.name,
            Error::NotFound(_) => "NotFoundException",
            Error::ReservedAlias(_) => "NotAuthorizedException",
            Error::Tag(_) => "TagException",
            Error::Throttling(_) => "ThrottlingException",
            Error::Unsupported(_) => "UnsupportedOperationException",
            Error::Validation(_) => "ValidationException",
        }
    }

    /// What AWS KMS would tell its client; `None` where it says nothing.
    pub fn public_message(&self) -> Option<String> {
        match self {
            Error::InvalidCiphertext
            | Error::InvalidMac
            | Error::InvalidSignature
            | Error::ReservedAlias(_) => None,
            other => Some(other.to_string()),
        }
    }
}
