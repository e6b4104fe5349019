//! Who may call the KMS: users and roles, with their access keys and identity policies.

use super::clock::Timestamp;
use crate::crypto::SecretBytes;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

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

/// The secret half of an access key: text, kept in locked memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccessKeySecret(Arc<SecretBytes>);

impl AccessKeySecret {
    /// Takes over `text`, which is zeroed.
    pub(super) fn new(text: String) -> AccessKeySecret {
        AccessKeySecret(Arc::new(SecretBytes::from(text)))
    }

    /// The text's bytes.
    pub(super) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl Serialize for AccessKeySecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(self.expose()).map_err(S::Error::custom)?)
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
    /// JSON.
    pub(super) document: String,
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
