//! Who may call the KMS: users and roles, with their access keys and identity policies, and the account's root.
//!
//! A *principal* is what the keystore holds, under a name; a [`Principal`] is somebody who calls as one. Roles have
//! no access keys: whoever acts as a role does so in a *session*, which has a name of its own.

use super::clock::Timestamp;
use super::error::Error;
use super::policy::Written;
use crate::crypto::SecretBytes;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a principal, a session or an identity policy, in characters.
const NAME_MAX: usize = 64;

/// The id of a principal: 16 random bytes, since a row's id can be read by whoever has the keystore and a name
/// should not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PrincipalId([u8; 16]);

impl PrincipalId {
    /// The id with these bytes.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> PrincipalId {
        PrincipalId(bytes)
    }

    /// The id's 16 bytes.
    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrincipalId({self})")
    }
}

/// What kind of principal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum PrincipalKind {
    /// `arn:aws:iam::ACCOUNT:user/NAME`
    User,
    /// `arn:aws:iam::ACCOUNT:role/NAME`
    Role,
}

/// The name of a principal with its kind, written `user/NAME` or `role/NAME`, as in its ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalName {
    kind: PrincipalKind,
    name: String,
}

impl PrincipalName {
    pub(super) fn of(record: &PrincipalRecord) -> PrincipalName {
        PrincipalName { kind: record.kind, name: record.name.clone() }
    }

    /// User or role.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The name alone.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ARN in this account.
    pub(super) fn arn(&self, account: &str) -> String {
        format!("arn:aws:iam::{account}:{self}")
    }

    /// What the ARNs of a role's sessions in this account begin with.
    pub(super) fn sessions(&self, account: &str) -> String {
        format!("arn:aws:sts::{account}:assumed-role/{}/", self.name)
    }
}

/// Whose ARN it is, if it is that of a user, a role or a session of a role in `account`.
pub(super) fn of_arn(arn: &str, account: &str) -> Option<PrincipalName> {
    let (service, rest) = arn.strip_prefix("arn:aws:")?.split_once("::")?;
    let name = rest.strip_prefix(account)?.strip_prefix(':')?;
    match service {
        "iam" => name.parse().ok(),
        "sts" => {
            let (role, session) = name.strip_prefix("assumed-role/")?.split_once('/')?;
            check_name(session).ok()?;
            format!("role/{role}").parse().ok()
        }
        _ => None,
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PrincipalKind::User => "user",
            PrincipalKind::Role => "role",
        };
        write!(f, "{kind}/{}", self.name)
    }
}

impl FromStr for PrincipalName {
    type Err = Error;

    fn from_str(text: &str) -> Result<PrincipalName, Error> {
        let (kind, name) = match text.split_once('/') {
            Some(("user", name)) => (PrincipalKind::User, name),
            Some(("role", name)) => (PrincipalKind::Role, name),
            _ => return Err(Error::Validation(format!("'{text}' is neither user/NAME nor role/NAME"))),
        };
        check_name(name)?;
        Ok(PrincipalName { kind, name: name.to_owned() })
    }
}

/// Checks the name of a principal, a session or an identity policy: what IAM allows.
///
/// # Errors
/// `ValidationException`.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    match (1..=NAME_MAX).contains(&name.len()) && name.chars().all(valid) {
        true => Ok(()),
        false => Err(Error::Validation(format!(
            "the name '{name}' must be 1 to {NAME_MAX} letters, digits, or characters of _+=,.@-"
        ))),
    }
}

/// Somebody who calls: the account's root, a user, or a session of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `arn:aws:iam::ACCOUNT:root`, `arn:aws:iam::ACCOUNT:user/NAME` or, for a session,
    /// `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`.
    pub arn: String,
    /// The account's twelve digits.
    pub account: String,
    pub(super) identity: Identity,
    /// When the temporary credentials were issued that it uses, if it does.
    pub(super) session_began: Option<Timestamp>,
}

/// As what somebody calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    Root,
    User(PrincipalId),
    Role {
        id: PrincipalId,
        /// Of the role, whatever the session.
        arn: String,
    },
}

impl Principal {
    /// The account's root.
    pub(super) fn root(account: &str) -> Principal {
        Principal {
            arn: format!("arn:aws:iam::{account}:root"),
            account: account.to_owned(),
            identity: Identity::Root,
            session_began: None,
        }
    }

    /// The user of `record`, or a session of the role of `record`.
    pub(super) fn new(account: &str, record: &PrincipalRecord, session: &str) -> Principal {
        let arn = PrincipalName::of(record).arn(account);
        let (arn, identity) = match record.kind {
            PrincipalKind::User => (arn, Identity::User(record.id)),
            PrincipalKind::Role => (
                format!("arn:aws:sts::{account}:assumed-role/{}/{session}", record.name),
                Identity::Role { id: record.id, arn },
            ),
        };
        Principal { arn, account: account.to_owned(), identity, session_began: None }
    }

    /// The ARN that policies and grants name: that of the role, whatever the session.
    pub(super) fn identity_arn(&self) -> &str {
        match &self.identity {
            Identity::Root | Identity::User(_) => &self.arn,
            Identity::Role { arn, .. } => arn,
        }
    }

    /// The user or role; the account's root is neither.
    pub(super) fn id(&self) -> Option<PrincipalId> {
        match &self.identity {
            Identity::Root => None,
            Identity::User(id) | Identity::Role { id, .. } => Some(*id),
        }
    }

    /// Whether it is the account's root.
    pub fn is_root(&self) -> bool {
        self.identity == Identity::Root
    }
}

/// The secret half of an access key: text, kept in locked memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccessKeySecret(Arc<SecretBytes>);

impl AccessKeySecret {
    /// Takes over `text`, which is zeroed.
    pub(super) fn new(text: String) -> AccessKeySecret {
        AccessKeySecret(Arc::new(SecretBytes::from(text)))
    }

    /// The text's bytes.
    pub(super) fn bytes(&self) -> &Arc<SecretBytes> {
        &self.0
    }
}

impl From<Arc<SecretBytes>> for AccessKeySecret {
    fn from(text: Arc<SecretBytes>) -> AccessKeySecret {
        AccessKeySecret(text)
    }
}

impl Serialize for AccessKeySecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(self.0.expose()).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for AccessKeySecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AccessKeySecret, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = AccessKeySecret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the secret of an access key")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AccessKeySecret, E> {
                Ok(AccessKeySecret::new(text.to_owned()))
            }
            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<AccessKeySecret, E> {
                Ok(AccessKeySecret::new(text))
            }
        }
        deserializer.deserialize_str(Visitor).map_err(D::Error::custom)
    }
}

/// An access key: what a client signs its requests with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct AccessKey {
    /// The public half, unique among all principals.
    pub(super) id: String,
    pub(super) secret: AccessKeySecret,
    /// Whether requests signed with it are accepted.
    pub(super) active: bool,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(super) created: Timestamp,
}

/// An identity policy: an IAM policy document that hangs on a principal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct IdentityPolicy {
    pub(super) name: String,
    #[serde(deserialize_with = "Written::identity_policy")]
    pub(super) document: Written,
}

/// A principal as the keystore holds it, sealed, as one row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct PrincipalRecord {
    pub(super) id: PrincipalId,
    pub(super) kind: PrincipalKind,
    /// Unique among the principals of its kind.
    pub(super) name: String,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(super) created: Timestamp,
    pub(super) access_keys: Vec<AccessKey>,
    pub(super) policies: Vec<IdentityPolicy>,
    /// The user ids of the machine's users who are this principal on the unix socket; each names one principal.
    pub(super) unix_uids: Vec<u32>,
}
