//! Who may do what to a key: the one place where a call is allowed or refused.

use super::call::{Call, Caller};
use super::context::EncryptionContext;
use super::error::{Error, Result};
use super::key::KeyManager;
use super::keystore::Entry;
use super::spec::{
    EncryptionAlgorithm, KeyAgreementAlgorithm, KeySpec, MacAlgorithm, MessageType, SigningAlgorithm,
};
use super::state::{Class, Operation};
use super::table::Table;

/// What a call says, as far as policies and grants may ask about it. Whatever a call does not have is `None` or
/// empty.
#[derive(Debug, Clone, Default)]
#[allow(dead_code, reason = "for the evaluation of policies, which is being written")]
pub(super) struct Facts<'a> {
    /// The key as the caller named it.
    pub(super) named: Option<&'a str>,
    /// Of the ciphertext, or of the one to make.
    pub(super) context: Option<&'a EncryptionContext>,
    pub(super) encryption_algorithm: Option<EncryptionAlgorithm>,
    pub(super) signing_algorithm: Option<SigningAlgorithm>,
    pub(super) message_type: Option<MessageType>,
    pub(super) mac_algorithm: Option<MacAlgorithm>,
    pub(super) key_agreement_algorithm: Option<KeyAgreementAlgorithm>,
    /// Of a data key pair.
    pub(super) key_pair_spec: Option<KeySpec>,
    /// Whether ReEncrypt decrypts and encrypts with one and the same key.
    pub(super) same_key: Option<bool>,
}

/// Says whether the call may do `operation`: on a key, or, without one, at all.
///
/// # Errors
/// `AccessDeniedException`.
pub(super) fn authorize(
    _table: &Table,
    call: &Call<'_>,
    operation: Operation,
    entry: Option<&Entry>,
    _facts: &Facts<'_>,
) -> Result<()> {
    let manager = entry.map_or(KeyManager::Customer, |entry| entry.record.manager);
    let permitted = match (&call.caller, operation.class()) {
        (Caller::Principal(_), _) => false,
        (_, Class::View) => true,
        (Caller::Filesystem, class) => class == Class::Use,
        (Caller::Operator, _) => manager == KeyManager::Customer,
    };
    if permitted {
        return Ok(());
    }
    let arn = entry.map_or_else(|| "*".to_owned(), |entry| entry.record.id.arn());
    Err(Error::AccessDenied(match &call.caller {
        Caller::Operator => {
            format!("{operation} is not allowed on {arn}: only the filesystem uses and manages this key")
        }
        Caller::Filesystem => format!("{operation} is not allowed to the filesystem, on {arn}"),
        Caller::Principal(principal) => {
            format!("User: {} is not authorized to perform: {operation} on resource: {arn}", principal.arn)
        }
    }))
}
