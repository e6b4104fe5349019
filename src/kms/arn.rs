//! Key ids, alias names and ARNs.
//!
//! A key is named by its id (a UUID) or its ARN, and in operations that use or describe it also by an alias
//! name (`alias/backup`) or an alias ARN. Parsed once, here.

use super::error::{Error, Result};
use std::fmt;
use uuid::Uuid;

/// What stands before a resource in an ARN of this KMS. Account and region are fixed for an embedded KMS.
const PREFIX: &str = "arn:aws:kms:local:000000000000:";

/// What every alias name begins with.
const ALIAS: &str = "alias/";

/// Alias names reserved for service-managed keys.
pub(super) const RESERVED_ALIASES: &str = "alias/kmsfs/";

/// The alias of the service-managed key, made on its first use by the filesystem.
pub const DEFAULT_ALIAS: &str = "alias/kmsfs/default";

/// Longest alias name, in bytes.
const ALIAS_MAX: usize = 256;

/// The account in ARNs of a keystore that was told no other.
pub(super) const DEFAULT_ACCOUNT: &str = "000000000000";

/// The id of a CMK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct KeyId(Uuid);

impl KeyId {
    /// A new random id.
    pub(super) fn random() -> KeyId {
        KeyId(Uuid::new_v4())
    }

    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> KeyId {
        KeyId(Uuid::from_bytes(bytes))
    }

    /// The id's 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The key's ARN.
    pub fn arn(&self) -> String {
        format!("{PREFIX}key/{}", self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ARN of an alias.
pub(super) fn alias_arn(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// A key as a caller named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyRef<'a> {
    Id(KeyId),
    /// An alias name, `alias/` included.
    Alias(&'a str),
}

impl<'a> KeyRef<'a> {
    /// Parses a key id, key ARN, alias name or alias ARN.
    pub(super) fn parse(text: &'a str) -> Result<KeyRef<'a>> {
        let resource = match text.strip_prefix(PREFIX) {
            Some(resource) => resource,
            None if text.starts_with("arn:") => {
                return Err(Error::InvalidArn(format!("{text} is not an ARN of this KMS ({PREFIX}…)")));
            }
            None => text,
        };
        if resource.starts_with(ALIAS) {
            return Ok(KeyRef::Alias(resource));
        }
        let id = match (resource.strip_prefix("key/"), text.len() == resource.len()) {
            (Some(id), false) => id,
            (None, true) => resource,
            _ => return Err(Error::InvalidArn(format!("{text} names neither a key nor an alias"))),
        };
        // Only the hyphenated form: the id in an ARN has one spelling.
        match Uuid::try_parse(id) {
            Ok(uuid) if id.len() == 36 => Ok(KeyRef::Id(KeyId(uuid))),
            _ => Err(Error::NotFound(format!("Invalid keyId '{text}'"))),
        }
    }

    /// Parses the name of a key in an operation that manages it: an alias is refused, so that repointing an
    /// alias never changes which key a management command hits.
    pub(super) fn parse_id(text: &str) -> Result<KeyId> {
        match KeyRef::parse(text)? {
            KeyRef::Id(id) => Ok(id),
            KeyRef::Alias(_) => Err(Error::NotFound(format!(
                "Invalid keyId '{text}': this operation takes a key id or key ARN, not an alias"
            ))),
        }
    }
}

/// Checks the name of an alias that a customer wants to make or change.
pub fn check_alias_name(name: &str) -> Result<()> {
    let Some(rest) = name.strip_prefix(ALIAS) else {
        return Err(Error::Validation(format!("alias name '{name}' does not begin with {ALIAS}")));
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
    if rest.is_empty() || name.len() > ALIAS_MAX || !rest.chars().all(valid) {
        return Err(Error::InvalidAliasName(format!(
            "alias name '{name}' must be {ALIAS} and 1 to {} letters, digits, '/', '_' or '-'",
            ALIAS_MAX - ALIAS.len()
        )));
    }
    if name.starts_with(RESERVED_ALIASES) || name.starts_with("alias/aws/") {
        return Err(Error::InvalidAliasName(format!(
            "alias name '{name}' is reserved for service-managed keys"
        )));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_four_kinds_of_names() {
        let id = KeyId::random();
        for name in [id.to_string(), id.arn()] {
            assert_eq!(KeyRef::parse(&name).unwrap(), KeyRef::Id(id));
            assert_eq!(KeyRef::parse_id(&name).unwrap(), id);
        }
        for name in ["alias/a/b".to_owned(), alias_arn("alias/a/b")] {
            assert_eq!(KeyRef::parse(&name).unwrap(), KeyRef::Alias("alias/a/b"));
            assert_eq!(KeyRef::parse_id(&name).unwrap_err().name(), "NotFoundException");
        }
    }

    #[test]
    fn other_names_are_refused() {
        let id = KeyId::random();
        let simple = id.to_string().replace('-', "");
        for (name, error) in [
            ("", "NotFoundException"),
            ("backup", "NotFoundException"),
            (&simple, "NotFoundException"),
            (&format!("key/{id}"), "InvalidArnException"),
            (&format!("{PREFIX}{id}"), "InvalidArnException"),
            (&format!("arn:aws:kms:eu-west-1:000000000000:key/{id}"), "InvalidArnException"),
            ("arn:aws:s3:::bucket", "InvalidArnException"),
        ] {
            assert_eq!(KeyRef::parse(name).unwrap_err().name(), error, "{name}");
        }
    }

    #[test]
    fn alias_names_are_checked() {
        let longest = format!("alias/{}", "x".repeat(ALIAS_MAX - ALIAS.len()));
        for name in ["alias/x", "alias/Backup_2026/-", &longest] {
            check_alias_name(name).unwrap();
        }
        for (name, error) in [
            ("backup", "ValidationException"),
            ("alias/", "InvalidAliasNameException"),
            ("alias/a b", "InvalidAliasNameException"),
            ("alias/ä", "InvalidAliasNameException"),
            (&format!("{longest}x"), "InvalidAliasNameException"),
            ("alias/kmsfs/mine", "InvalidAliasNameException"),
            ("alias/aws/s3", "InvalidAliasNameException"),
        ] {
            assert_eq!(check_alias_name(name).unwrap_err().name(), error, "{name}");
        }
    }
}
