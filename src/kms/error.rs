//! The KMS's errors, under AWS KMS's names.
//!
//! Messages are for the person at the keyboard or in the log: they name the key and what to do. None of
//! them ever holds a plaintext, a passphrase or key material. `InvalidCiphertextException` carries no
//! message, as in AWS KMS: why a ciphertext does not open is nobody's business but its owner's.

use super::keystore;

/// The result of a KMS operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the KMS core.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller may not do this.
    #[error("{0}")]
    AccessDenied(String),
    /// The name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The key is disabled.
    #[error("{0}")]
    Disabled(String),
    /// The ciphertext was made by another key than the one named.
    #[error("{0}")]
    IncorrectKey(String),
    /// The alias name is malformed or reserved.
    #[error("{0}")]
    InvalidAliasName(String),
    /// The ARN is malformed or belongs elsewhere.
    #[error("{0}")]
    InvalidArn(String),
    /// The ciphertext was altered, is no ciphertext of this KMS, or its encryption context differs.
    #[error("the ciphertext is invalid, or its encryption context differs")]
    InvalidCiphertext,
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
    /// No such key or alias.
    #[error("{0}")]
    NotFound(String),
    /// A tag is malformed.
    #[error("{0}")]
    Tag(String),
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
            Error::Disabled(_) => "DisabledException",
            Error::IncorrectKey(_) => "IncorrectKeyException",
            Error::InvalidAliasName(_) => "InvalidAliasNameException",
            Error::InvalidArn(_) => "InvalidArnException",
            Error::InvalidCiphertext => "InvalidCiphertextException",
            Error::InvalidState(_) => "KMSInvalidStateException",
            Error::KeyUnavailable(_) => "KeyUnavailableException",
            Error::Keystore(_) => "KMSInternalException",
            Error::LimitExceeded(_) => "LimitExceededException",
            Error::NotFound(_) => "NotFoundException",
            Error::Tag(_) => "TagException",
            Error::Validation(_) => "ValidationException",
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        Error::Keystore(error.into())
    }
}
