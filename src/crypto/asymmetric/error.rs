//! What can go wrong with a key pair.

use super::{KeyType, SignatureScheme};

/// The result of an operation with a key pair.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation with a key pair was not done. No variant tells more about a ciphertext or a signature than that
/// it is wrong: more would help whoever forges them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a key of the type that was expected, or not one that may be used.
    #[error("not a usable {key_type} key: {reason}")]
    BadKey {
        /// The type that was expected.
        key_type: KeyType,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Keys of this type do not sign with this scheme.
    #[error("{key_type} keys do not sign with {scheme}")]
    WrongScheme {
        /// The key's type.
        key_type: KeyType,
        /// The scheme that was asked for.
        scheme: SignatureScheme,
    },
    /// Keys of this type do not encrypt, agree on a secret, or encapsulate one.
    #[error("{key_type} keys cannot {operation}")]
    WrongOperation {
        /// The key's type.
        key_type: KeyType,
        /// What was asked for, as a verb.
        operation: &'static str,
    },
    /// The scheme takes the message itself and was given its digest, or takes another digest.
    #[error("{scheme} does not sign {given}")]
    WrongMessage {
        /// The scheme.
        scheme: SignatureScheme,
        /// What was given, as in "does not sign digests".
        given: &'static str,
    },
    /// A digest of another length than the scheme's hash has.
    #[error("the digest is {given} bytes long; {scheme} signs digests of {expected} bytes")]
    DigestLength {
        /// The scheme.
        scheme: SignatureScheme,
        /// The length of the digest given.
        given: usize,
        /// The length it should have.
        expected: usize,
    },
    /// More plaintext than RSA can encrypt under this key.
    #[error("the message is longer than the {max} bytes that this key and padding can encrypt")]
    TooLong {
        /// How many bytes it can.
        max: usize,
    },
    /// The signature is not one of this message by this key.
    #[error("the signature does not match")]
    BadSignature,
    /// The ciphertext was not made for this key, or was altered.
    #[error("the ciphertext cannot be decrypted with this key")]
    BadCiphertext,
    /// AWS-LC reported a failure that no input explains: memory, or random numbers.
    #[error("the cryptographic library failed to {0}")]
    Library(&'static str),
}
