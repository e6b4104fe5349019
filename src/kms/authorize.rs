//! Who may do what to a key: the one place where a call is allowed or refused.
//!
//! For a principal, in this order:
//!
//! 1. An explicit denial, in the key policy or an identity policy, refuses.
//! 2. The key policy may allow it to the principal by name.
//! 3. Where the key policy allows it to the account, the account's root may, and whoever has an identity policy that
//!    allows it.
//! 4. A grant of the key to the principal may allow it.
//!
//! What is about no key is for identity policies alone to allow. Source: AWS KMS Developer Guide, *Troubleshooting AWS
//! KMS permissions*.

use super::call::{Call, Caller};
use super::clock::Timestamp;
use super::context::EncryptionContext;
use super::error::{Error, Result};
use super::grant::{GrantId, GrantOperation, GrantRecord, Terms, is_named};
use super::key::{KeyManager, KeyRecord, Tag};
use super::keystore::Entry;
use super::policy::{Policy, Verdict};
use super::principal::Principal;
use super::question::Question;
use super::spec::{
    EncapsulationAlgorithm, EncryptionAlgorithm, ExpirationModel, KeyAgreementAlgorithm, KeySpec, KeyUsage,
    MacAlgorithm, MessageType, Origin, SigningAlgorithm, WrappingAlgorithm,
};
use super::state::{Class, Operation};
use super::table::Table;
use std::fmt::Display;

/// What a call says, as far as policies and grants may ask about it. Whatever a call does not have is `None` or
/// empty.
#[derive(Debug, Clone, Default)]
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
    /// Whether the check is switched off that a new key policy locks nobody out.
    pub(super) bypass_lockout_check: bool,
    /// Of a key policy.
    pub(super) policy_name: Option<&'a str>,
    /// What CreateGrant is to give.
    pub(super) terms: Option<&'a Terms>,
    /// Of ListRetirableGrants, which is about a principal.
    pub(super) retiring_principal: Option<&'a str>,
}

/// What CreateKey is to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewKey {
    pub(super) spec: KeySpec,
    pub(super) usage: KeyUsage,
    pub(super) origin: Origin,
}

/// Says whether the call may do `operation`: on a key, or, without one, at all.
///
/// # Errors
/// `AccessDeniedException`; `NotFoundException` for an owned key, of which principals see nothing;
/// `InvalidGrantTokenException`.
pub(super) fn authorize(
    table: &Table,
    call: &Call<'_>,
    operation: Operation,
    entry: Option<&Entry>,
    facts: &Facts<'_>,
) -> Result<()> {
    if call.grant_tokens.iter().any(|token| GrantId::of_token(token).is_none()) {
        return Err(Error::InvalidGrantToken("Invalid grant token".into()));
    }
    let record = entry.map(|entry| &entry.record);
    if let (Some(trace), Some(record)) = (call.trace, record) {
        let spec = facts.key_pair_spec.unwrap_or(record.spec);
        trace.key(operation, table.naming(call).key(record.id), spec, facts.context);
    }
    match &call.caller {
        Caller::Principal(principal) => {
            let question = Question { table, call, principal, operation, record, facts };
            question.check_visible()?;
            question.decide()?;
            question.decide_besides()
        }
        Caller::Operator | Caller::Filesystem => check_manager(table, call, operation, record),
    }
}

/// Says whether the call may retire `grant`, which is of the key of `record`. That is for the grant to say: its retiring
/// principal may, its grantee if it says so, the account, and to whom the account's identity policies allow it.
///
/// # Errors
/// `AccessDeniedException`.
pub(super) fn authorize_retiring(
    table: &Table,
    call: &Call<'_>,
    record: &KeyRecord,
    grant: &GrantRecord,
) -> Result<()> {
    let operation = Operation::RetireGrant;
    if let Some(trace) = call.trace {
        trace.key(operation, table.naming(call).key(record.id), record.spec, None);
    }
    let Caller::Principal(principal) = &call.caller else {
        return check_manager(table, call, operation, Some(record));
    };
    let facts = Facts::default();
    let question = Question { table, call, principal, operation, record: Some(record), facts: &facts };
    question.check_visible()?;
    let (_, by_identity) = question.check_denials()?;
    let by_grant = grant.retiring.as_ref().is_some_and(|retiring| is_named(principal, retiring))
        || (is_named(principal, &grant.grantee) && grant.operations.contains(&GrantOperation::RetireGrant));
    if let (Some(trace), true) = (call.trace, by_grant) {
        trace.grant(grant.id);
    }
    match by_grant || question.is_allowed(None, by_identity) {
        true => Ok(()),
        false => Err(question.refusal("because no identity-based policy allows the kms:RetireGrant action")),
    }
}

/// Says whether the call could do PutKeyPolicy again once the key of `record` has the policy that `record` says.
pub(super) fn keeps_policy(table: &Table, call: &Call<'_>, record: &KeyRecord) -> bool {
    let Caller::Principal(principal) = &call.caller else {
        return true; // who is above policies is not locked out by one
    };
    let facts = Facts { policy_name: Some("default"), ..Facts::default() };
    let operation = Operation::PutKeyPolicy;
    let question = Question { table, call, principal, operation, record: Some(record), facts: &facts };
    question.check_denials().is_ok_and(|(by_key, by_identity)| question.is_allowed(by_key, by_identity))
}

/// What the management type of a key leaves to those whom no policy binds.
fn check_manager(
    table: &Table,
    call: &Call<'_>,
    operation: Operation,
    record: Option<&KeyRecord>,
) -> Result<()> {
    let caller = &call.caller;
    let manager = record.map_or(KeyManager::Customer, |record| record.manager);
    let permitted = match (caller, operation.class()) {
        (_, Class::View) => true,
        (Caller::Filesystem, class) => class == Class::Use,
        (_, _) => manager == KeyManager::Customer,
    };
    if permitted {
        return Ok(());
    }
    let arn = record.map_or_else(|| "*".to_owned(), |record| table.naming(call).key(record.id));
    Err(Error::AccessDenied(match caller {
        Caller::Filesystem => format!("{operation} is not allowed to the filesystem, on {arn}"),
        _ => format!("{operation} is not allowed on {arn}: only the filesystem uses and manages this key"),
    }))
}

impl Question<'_> {
    /// Refuses to know of a key that is none of a principal's business.
    fn check_visible(&self) -> Result<()> {
        match self.record {
            Some(record) if record.manager == KeyManager::Owned && !self.call.is_for_volume() => {
                Err(Error::NotFound(format!("Key '{}' does not exist", self.arn())))
            }
            _ => Ok(()),
        }
    }

    fn decide(&self) -> Result<()> {
        let (by_key, by_identity) = self.check_denials()?;
        if self.is_allowed(by_key, by_identity) || self.is_granted() {
            return Ok(());
        }
        let kind = match by_key {
            Some(Verdict::Silent) => "resource-based",
            _ => "identity-based",
        };
        let action = self.operation;
        Err(self.refusal(format_args!("because no {kind} policy allows the {action} action")))
    }

    /// What some operations need besides: to manage an alias takes leave to do so on the alias too, and to make a key
    /// with tags leave to tag. Both are for identity policies to give.
    fn decide_besides(&self) -> Result<()> {
        use Operation::*;
        let besides = match self.operation {
            CreateAlias | UpdateAlias | DeleteAlias if self.facts.alias.is_some() => {
                Question { record: None, ..*self }
            }
            CreateKey if !self.facts.tags.is_empty() => Question { operation: TagResource, ..*self },
            _ => return Ok(()),
        };
        besides.decide()
    }

    /// What the key policy, if the question is about a key, and the identity policies say.
    ///
    /// # Errors
    /// `AccessDeniedException` if either denies.
    fn check_denials(&self) -> Result<(Option<Verdict>, Verdict)> {
        let by_key = self.by_key();
        let by_identity = self.by_identity()?;
        for (verdict, kind) in [(by_key, "a resource-based"), (Some(by_identity), "an identity-based")] {
            if verdict == Some(Verdict::Denied) {
                return Err(self.refusal(format_args!("with an explicit deny in {kind} policy")));
            }
        }
        Ok((by_key, by_identity))
    }

    fn by_key(&self) -> Option<Verdict> {
        let record = self.record?;
        Some(self.table.policy(record).policy().evaluate(&self.request()))
    }

    /// What all identity policies of the principal say together.
    ///
    /// # Errors
    /// `AccessDeniedException` if the principal was removed since it was authenticated.
    fn by_identity(&self) -> Result<Verdict> {
        let Some(id) = self.principal.id() else { return Ok(Verdict::Silent) };
        let record = self.table.principals().get(id);
        let record = record.ok_or_else(|| self.refusal("because it does not exist any more"))?;
        let request = self.request();
        let mut verdict = Verdict::Silent;
        for policy in &record.policies {
            match Policy::evaluate(policy.document.policy(), &request) {
                Verdict::Denied => return Ok(Verdict::Denied),
                Verdict::Silent => {}
                Verdict::Allowed | Verdict::Delegated => verdict = Verdict::Allowed,
            }
        }
        Ok(verdict)
    }

    /// What verdicts of the key policy and of the identity policies, none of them a denial, come to.
    fn is_allowed(&self, by_key: Option<Verdict>, by_identity: Verdict) -> bool {
        match by_key {
            Some(Verdict::Allowed) => true,
            Some(Verdict::Silent | Verdict::Denied) => false,
            Some(Verdict::Delegated) | None => self.principal.is_root() || by_identity == Verdict::Allowed,
        }
    }

    /// Whether a grant of the key allows it.
    fn is_granted(&self) -> bool {
        let (Some(record), Some(operation)) = (self.record, GrantOperation::of(self.operation)) else {
            return false;
        };
        let names = [self.principal.arn.as_str(), self.principal.identity_arn()];
        let names = if names[0] == names[1] { &names[..1] } else { &names[..] };
        let mut grants = names.iter().flat_map(|name| self.table.grants().to(record.id, name));
        let granting = match self.facts.terms {
            Some(terms) => grants.find(|grant| grant.allows_to_grant(terms)),
            None => grants.find(|grant| grant.allows(operation, self.facts.context)),
        };
        if let (Some(trace), Some(grant)) = (self.call.trace, granting) {
            trace.grant(grant.id);
        }
        granting.is_some()
    }

    /// The error that the call is refused, in AWS's words.
    fn refusal(&self, why: impl Display) -> Error {
        let Principal { arn, .. } = self.principal;
        let (operation, resource) = (self.operation, self.arn());
        Error::AccessDenied(format!(
            "User: {arn} is not authorized to perform: {operation} on resource: {resource} {why}"
        ))
    }
}
