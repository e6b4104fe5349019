//! Users and roles: AWS has them in IAM, here they belong to the keystore.
//!
//! Only the account's root and whoever unlocked the keystore manage them, whatever policies say: who may change
//! principals may become any of them.

use super::credentials::new_access_key;
use crate::crypto::random;
use crate::crypto::secret::SecretBytes;
use crate::kms::Kms;
use crate::kms::call::{Call, Caller};
use crate::kms::clock::Timestamp;
use crate::kms::error::{Error, Result};
use crate::kms::keystore::RecordKey;
use crate::kms::policy::{Kind, Written};
use crate::kms::principal::{
    AccessKey, IdentityPolicy, PrincipalId, PrincipalKind, PrincipalName, PrincipalRecord, check_name,
};
use crate::kms::table::Table;
use std::fmt::Display;
use std::sync::Arc;

/// Most access keys of a user: one in use, and its successor.
const ACCESS_KEYS_MAX: usize = 2;
/// Most identity policies of a user or role.
const POLICIES_MAX: usize = 20;
/// Most users of the machine who are one principal.
const UIDS_MAX: usize = 100;

/// What is known of a user or role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalInfo {
    /// Its kind and name.
    pub name: PrincipalName,
    /// Its ARN, as policies and grants name it.
    pub arn: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its access keys; a role has none.
    pub access_keys: Vec<AccessKeyInfo>,
    /// The names of its identity policies, ascending.
    pub policies: Vec<String>,
    /// The users of this machine who are it on the unix socket.
    pub unix_uids: Vec<u32>,
}

/// What is known of an access key, apart from its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeyInfo {
    /// `AKIA…`, 20 characters.
    pub id: String,
    /// Whether requests signed with it are accepted.
    pub active: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// A new access key. The secret is shown once: to whoever made it.
#[derive(Debug, Clone)]
pub struct NewAccessKey {
    /// `AKIA…`, 20 characters.
    pub id: String,
    /// The secret access key, 40 characters.
    pub secret: Arc<SecretBytes>,
}

impl Kms {
    /// Makes a user or role.
    ///
    /// # Errors
    /// `AlreadyExistsException` if there is one whose name differs in case at most, `AccessDeniedException`.
    pub fn create_principal(&self, call: &Call<'_>, name: &PrincipalName) -> Result<PrincipalInfo> {
        check_administrator(call, format_args!("iam:Create{:?}", name.kind()))?;
        self.core.change(|draft| {
            let mut all = draft.table.principals().all().map(|stored| &stored.record);
            let taken = all.find(|one| one.kind == name.kind() && one.name.eq_ignore_ascii_case(name.name()));
            if let Some(taken) = taken {
                return Err(Error::AlreadyExists(format!("there is a {} already", PrincipalName::of(taken))));
            }
            let record = PrincipalRecord {
                id: PrincipalId::from_bytes(random::array()),
                kind: name.kind(),
                name: name.name().to_owned(),
                created: draft.now,
                access_keys: Vec::new(),
                policies: Vec::new(),
                unix_uids: Vec::new(),
            };
            let info = info(&record, draft.table.account());
            draft.put_principal(record);
            Ok(info)
        })
    }

    /// Removes a user or role, with the grants to it. Its access keys, temporary credentials and open connections are
    /// refused at once.
    ///
    /// # Errors
    /// `ConflictException` while a key policy names it, since the next one of that name would inherit its rights;
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn delete_principal(&self, call: &Call<'_>, name: &PrincipalName) -> Result<()> {
        check_administrator(call, format_args!("iam:Delete{:?}", name.kind()))?;
        self.core.change(|draft| {
            let table = draft.table;
            let id = find(table, name)?.id;
            let (arn, sessions) = (name.arn(table.account()), name.sessions(table.account()));
            let is_meant = |other: &str| other == arn || other.starts_with(&sessions);
            let named_by = table.entries_after(None).find(|entry| {
                let policy = entry.record.policy.as_ref();
                policy.is_some_and(|policy| policy.policy().named().any(is_meant))
            });
            if let Some(entry) = named_by {
                let key = table.naming(call).key(entry.record.id);
                return Err(Error::Conflict(format!("{name} is named in the key policy of {key}")));
            }
            for grant in table.grants().all().filter(|grant| is_meant(&grant.grantee)) {
                draft.remove(RecordKey::Grant(grant.id));
            }
            // Of the token, too: another principal of that name must not find them.
            for object in table.objects().of_owners(is_meant) {
                draft.remove_object(object);
            }
            draft.remove(RecordKey::Principal(id));
            Ok(())
        })
    }

    /// What is known of a user or role.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn describe_principal(&self, call: &Call<'_>, name: &PrincipalName) -> Result<PrincipalInfo> {
        check_administrator(call, format_args!("iam:Get{:?}", name.kind()))?;
        let table = self.core.table()?;
        Ok(info(find(&table, name)?, table.account()))
    }

    /// All users and roles: users first, by name.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn list_principals(&self, call: &Call<'_>) -> Result<Vec<PrincipalInfo>> {
        check_administrator(call, "iam:ListUsers")?;
        let table = self.core.table()?;
        Ok(table.principals().all().map(|stored| info(&stored.record, table.account())).collect())
    }

    /// Makes an access key for a user. A role has none: see [`Kms::issue_session`].
    ///
    /// # Errors
    /// `LimitExceededException` if there are two, `ValidationException` for a role, `NotFoundException`,
    /// `AccessDeniedException`.
    pub fn create_access_key(&self, call: &Call<'_>, name: &PrincipalName) -> Result<NewAccessKey> {
        check_administrator(call, "iam:CreateAccessKey")?;
        if name.kind() == PrincipalKind::Role {
            return Err(Error::Validation(format!(
                "{name} is a role: it has no access keys, only temporary credentials"
            )));
        }
        let (id, secret) = new_access_key("AKIA");
        self.change_principal(name, |record, created| {
            if record.access_keys.len() >= ACCESS_KEYS_MAX {
                return Err(Error::LimitExceeded(format!(
                    "{name} has {ACCESS_KEYS_MAX} access keys already"
                )));
            }
            let secret = Arc::clone(&secret).into();
            record.access_keys.push(AccessKey { id: id.clone(), secret, active: true, created });
            Ok(())
        })?;
        Ok(NewAccessKey { id, secret })
    }

    /// Has requests signed with the access key `id` accepted or refused.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn set_access_key_active(
        &self,
        call: &Call<'_>,
        name: &PrincipalName,
        id: &str,
        active: bool,
    ) -> Result<()> {
        check_administrator(call, "iam:UpdateAccessKey")?;
        self.change_principal(name, |record, _| {
            let key = record.access_keys.iter_mut().find(|key| key.id == id);
            key.ok_or_else(|| no_access_key(name, id))?.active = active;
            Ok(())
        })
    }

    /// Removes the access key `id`.
    ///
    /// # Errors
    /// As [`Kms::set_access_key_active`].
    pub fn delete_access_key(&self, call: &Call<'_>, name: &PrincipalName, id: &str) -> Result<()> {
        check_administrator(call, "iam:DeleteAccessKey")?;
        self.change_principal(name, |record, _| {
            let before = record.access_keys.len();
            record.access_keys.retain(|key| key.id != id);
            if record.access_keys.len() == before {
                return Err(no_access_key(name, id));
            }
            Ok(())
        })
    }

    /// Hangs an identity policy on a user or role, or exchanges the one of this name.
    ///
    /// # Errors
    /// `MalformedPolicyDocumentException`, `ValidationException` for the policy's name, `LimitExceededException`,
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn put_identity_policy(
        &self,
        call: &Call<'_>,
        name: &PrincipalName,
        policy: &str,
        document: &str,
    ) -> Result<()> {
        check_administrator(call, format_args!("iam:Put{:?}Policy", name.kind()))?;
        check_name(policy)?;
        let document = Written::parse(Kind::Identity, document);
        let document = document.map_err(|why| Error::MalformedPolicy(why.to_string()))?;
        self.change_principal(name, |record, _| {
            record.policies.retain(|known| known.name != policy);
            if record.policies.len() >= POLICIES_MAX {
                return Err(Error::LimitExceeded(format!("{name} has {POLICIES_MAX} policies already")));
            }
            record.policies.push(IdentityPolicy { name: policy.to_owned(), document });
            record.policies.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(())
        })
    }

    /// The text of an identity policy, as it was given.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn identity_policy(&self, call: &Call<'_>, name: &PrincipalName, policy: &str) -> Result<String> {
        check_administrator(call, format_args!("iam:Get{:?}Policy", name.kind()))?;
        let table = self.core.table()?;
        let known = find(&table, name)?.policies.iter().find(|known| known.name == policy);
        Ok(known.ok_or_else(|| no_policy(name, policy))?.document.text().to_owned())
    }

    /// Takes an identity policy off a user or role.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn delete_identity_policy(&self, call: &Call<'_>, name: &PrincipalName, policy: &str) -> Result<()> {
        check_administrator(call, format_args!("iam:Delete{:?}Policy", name.kind()))?;
        self.change_principal(name, |record, _| {
            let before = record.policies.len();
            record.policies.retain(|known| known.name != policy);
            if record.policies.len() == before {
                return Err(no_policy(name, policy));
            }
            Ok(())
        })
    }

    /// Has the user `uid` of this machine be `name` on the unix socket, and nobody else.
    ///
    /// # Errors
    /// `LimitExceededException`, `NotFoundException`, `AccessDeniedException`.
    pub fn map_uid(&self, call: &Call<'_>, name: &PrincipalName, uid: u32) -> Result<()> {
        check_administrator(call, "kmsfs:MapUid")?;
        self.core.change(|draft| {
            let mut record = find(draft.table, name)?.clone();
            if let Some(before) =
                draft.table.principals().of_uid(uid).filter(|one| one.record.id != record.id)
            {
                let mut before = before.record.clone();
                before.unix_uids.retain(|other| *other != uid);
                draft.put_principal(before);
            }
            if !record.unix_uids.contains(&uid) {
                record.unix_uids.push(uid);
            }
            if record.unix_uids.len() > UIDS_MAX {
                return Err(Error::LimitExceeded(format!("{name} has {UIDS_MAX} user ids already")));
            }
            draft.put_principal(record);
            Ok(())
        })
    }

    /// Has the user `uid` of this machine be nobody on the unix socket, or, as the superuser, the account's root.
    ///
    /// # Errors
    /// `NotFoundException` if they are nobody, `AccessDeniedException`.
    pub fn unmap_uid(&self, call: &Call<'_>, uid: u32) -> Result<()> {
        check_administrator(call, "kmsfs:UnmapUid")?;
        self.core.change(|draft| {
            let owner = draft.table.principals().of_uid(uid);
            let owner = owner.ok_or_else(|| Error::NotFound(format!("user id {uid} is no principal's")))?;
            let mut record = owner.record.clone();
            record.unix_uids.retain(|other| *other != uid);
            draft.put_principal(record);
            Ok(())
        })
    }

    fn change_principal(
        &self,
        name: &PrincipalName,
        edit: impl FnOnce(&mut PrincipalRecord, Timestamp) -> Result<()>,
    ) -> Result<()> {
        self.core.change(|draft| {
            let mut record = find(draft.table, name)?.clone();
            edit(&mut record, draft.now)?;
            draft.put_principal(record);
            Ok(())
        })
    }
}

/// Refuses whoever may not manage principals.
///
/// # Errors
/// `AccessDeniedException`, with IAM's name of the action.
pub(super) fn check_administrator(call: &Call<'_>, action: impl Display) -> Result<()> {
    let who = match &call.caller {
        Caller::Operator => return Ok(()),
        Caller::Principal(principal) if principal.is_root() => return Ok(()),
        Caller::Principal(principal) => &principal.arn,
        Caller::Filesystem => "the filesystem",
    };
    Err(Error::AccessDenied(format!(
        "User: {who} is not authorized to perform: {action}: only the account's root does"
    )))
}

/// The user or role of this name.
pub(super) fn find<'a>(table: &'a Table, name: &PrincipalName) -> Result<&'a PrincipalRecord> {
    let found = table.principals().named(name.kind(), name.name());
    found.map(|stored| &stored.record).ok_or_else(|| Error::NotFound(format!("there is no {name}")))
}

fn no_policy(name: &PrincipalName, policy: &str) -> Error {
    Error::NotFound(format!("{name} has no policy {policy}"))
}

fn no_access_key(name: &PrincipalName, id: &str) -> Error {
    Error::NotFound(format!("{name} has no access key {id}"))
}

fn info(record: &PrincipalRecord, account: &str) -> PrincipalInfo {
    let access_key =
        |key: &AccessKey| AccessKeyInfo { id: key.id.clone(), active: key.active, created: key.created };
    let name = PrincipalName::of(record);
    PrincipalInfo {
        arn: name.arn(account),
        name,
        created: record.created,
        access_keys: record.access_keys.iter().map(access_key).collect(),
        policies: record.policies.iter().map(|policy| policy.name.clone()).collect(),
        unix_uids: record.unix_uids.clone(),
    }
}
