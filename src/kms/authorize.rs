//! Who may do what to a key: the one place where a call is allowed or refused.

use super::call::{Call, Caller};
use super::clock::Timestamp;
use super::context::EncryptionContext;
use super::error::{Error, Result};
use super::key::{KeyManager, Tag};
use super::keystore::Entry;
use super::spec::{
    EncapsulationAlgorithm, EncryptionAlgorithm, ExpirationModel, KeyAgreementAlgorithm, KeySpec, KeyUsage,
    MacAlgorithm, MessageType, Origin, SigningAlgorithm, WrappingAlgorithm,
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
    pub(super) encapsulation_algorithm: Option<EncapsulationAlgorithm>,
    /// Of a data key pair.
    pub(super) key_pair_spec: Option<KeySpec>,
    /// Whether ReEncrypt decrypts and encrypts with one and the same key.
    pub(super) same_key: Option<bool>,
    /// Of CreateKey.
    pub(super) new_key: Option<NewKey>,
    /// Of CreateKey and TagResource.
    pub(super) tags: &'a [Tag],
    /// Of UntagResource.
    pub(super) tag_keys: &'a [String],
    /// The alias that is made, moved or deleted.
    pub(super) alias: Option<&'a str>,
    pub(super) rotation_period_in_days: Option<u32>,
    pub(super) pending_window_in_days: Option<u32>,
    pub(super) wrapping_key_spec: Option<KeySpec>,
    pub(super) wrapping_algorithm: Option<WrappingAlgorithm>,
    pub(super) expiration_model: Option<ExpirationModel>,
    /// When material to import expires.
    pub(super) valid_to: Option<Timestamp>,
}

/// What CreateKey is to make.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "for the evaluation of policies, which is being written")]
pub(super) struct NewKey {
    pub(super) spec: KeySpec,
    pub(super) usage: KeyUsage,
    pub(super) origin: Origin,
}

/// Says whether the call may do `operation`: on a key, or, without one, at all.
///
/// # Errors
/// `AccessDeniedException`.
pub(super) fn authorize(
    table: &Table,
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
    let arn = entry.map_or_else(|| "*".to_owned(), |entry| table.naming(call).key(entry.record.id));
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
