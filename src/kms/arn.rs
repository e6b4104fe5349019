//! Key ids, alias names and ARNs.
//!
//! A key is named by its id (a UUID) or its ARN, and in operations that use or describe it also by an alias
//! name (`alias/backup`) or an alias ARN. Parsed once, here.

use super::error::{Error, Result};
use std::fmt;
use uuid::Uuid;

/// What every alias name begins with.
const ALIAS: &str = "alias/";

/// Alias names reserved for service-managed keys.
pub(super) const RESERVED_ALIASES: &str = "alias/kmsfs/";

/// The alias of the service-managed key, made on its first use by the filesystem.
pub const DEFAULT_ALIAS: &str = "alias/kmsfs/default";

/// The alias of the owned key, made on its first use by the filesystem.
pub const OWNED_ALIAS: &str = "alias/kmsfs/owned";

/// Longest alias name, in bytes.
const ALIAS_MAX: usize = 256;

/// The region in ARNs of a keystore that was told no other.
pub(super) const DEFAULT_REGION: &str = "local";

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
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key as a caller named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyRef<'a> {
    Id(KeyId),
    /// An alias name, `alias/` included.
    Alias(&'a str),
}

/// How ARNs are written and read during one call. Keys belong to no region: the region of an ARN is the one that the
/// call was signed for, so that clients set up for any region find what they expect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming<'a> {
    /// The region of ARNs that are given out.
    pub(super) region: &'a str,
    /// The account of all ARNs.
    pub(super) account: &'a str,
    /// The keystore's own region, which an ARN may name as well.
    pub(super) own_region: &'a str,
    /// Whether an ARN may name any region and account: those recorded in volumes outlive every setting.
    pub(super) anywhere: bool,
}

impl Naming<'_> {
    /// The ARN of a key.
    pub(super) fn key(&self, id: KeyId) -> String {
        self.arn(format_args!("key/{id}"))
    }

    /// The ARN of an alias, `alias/` included.
    pub(super) fn alias(&self, name: &str) -> String {
        self.arn(name)
    }

    fn arn(&self, resource: impl fmt::Display) -> String {
        format!("arn:aws:kms:{}:{}:{resource}", self.region, self.account)
    }

    /// Parses a key id, key ARN, alias name or alias ARN.
    ///
    /// # Errors
    /// `InvalidArnException` for what is no ARN of a key or alias, `NotFoundException` for what cannot name one here.
    pub(super) fn parse<'a>(&self, text: &'a str) -> Result<KeyRef<'a>> {
        let Some(arn) = text.strip_prefix("arn:") else { return parse_name(text, text) };
        let malformed = || Error::InvalidArn(format!("Invalid arn {text}"));
        let mut parts = arn.splitn(5, ':');
        let mut part = || parts.next().ok_or_else(malformed);
        let (partition, service, region, account, resource) = (part()?, part()?, part()?, part()?, part()?);
        if !partition.starts_with("aws") || service != "kms" {
            return Err(malformed());
        }
        let name = match resource.strip_prefix("key/") {
            Some(id) => id,
            None if resource.starts_with(ALIAS) => resource,
            None => return Err(malformed()),
        };
        if !self.anywhere {
            if region != self.region && region != self.own_region {
                return Err(Error::NotFound(format!("Invalid arn {region}")));
            }
            if account != self.account {
                return Err(Error::NotFound(format!(
                    "'{text}' does not exist: account {account} is not here"
                )));
            }
        }
        match (parse_name(name, text)?, name.len() == resource.len()) {
            (KeyRef::Alias(_), false) => Err(malformed()), // key/alias/…
            (named, _) => Ok(named),
        }
    }

    /// Parses the name of a key in an operation that manages it: an alias is refused, so that repointing an
    /// alias never changes which key a management command hits.
    pub(super) fn parse_id(&self, text: &str) -> Result<KeyId> {
        match self.parse(text)? {
            KeyRef::Id(id) => Ok(id),
            KeyRef::Alias(_) => Err(Error::NotFound(format!(
                "Invalid keyId '{text}': this operation takes a key id or key ARN, not an alias"
            ))),
        }
    }
}

/// Parses a key id or alias name, which stands in `text`.
fn parse_name<'a>(name: &'a str, text: &str) -> Result<KeyRef<'a>> {
    if name.starts_with(ALIAS) {
        return Ok(KeyRef::Alias(name));
    }
    // Only the hyphenated form: the id in an ARN has one spelling.
    match Uuid::try_parse(name) {
        Ok(uuid) if name.len() == 36 => Ok(KeyRef::Id(KeyId(uuid))),
        _ => Err(Error::NotFound(format!("Invalid keyId '{text}'"))),
    }
}

/// Checks the name of an alias that a customer wants to make, change or delete.
pub fn check_alias_name(name: &str) -> Result<()> {
    let Some(rest) = name.strip_prefix(ALIAS) else {
        return Err(Error::Validation(
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
                .into(),
        ));
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
    if !rest.chars().all(valid) {
        return Err(Error::Validation(format!("{name} contains invalid characters for an alias")));
    }
    if rest.is_empty() || name.len() > ALIAS_MAX {
        let most = ALIAS_MAX - ALIAS.len();
        return Err(Error::Validation(format!("{ALIAS} must be followed by 1 to {most} characters")));
    }
    if name.starts_with(RESERVED_ALIASES) || name.starts_with("alias/aws/") {
        return Err(Error::ReservedAlias(format!(
            "alias name '{name}' is reserved for service-managed keys"
        )));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const HERE: Naming<'static> =
        Naming { region: "eu-west-1", account: "111122223333", own_region: "local", anywhere: false };

    #[test]
    fn a_key_has_four_kinds_of_names() {
        let id = KeyId::random();
        assert_eq!(HERE.key(id), format!("arn:aws:kms:eu-west-1:111122223333:key/{id}"));
        let own = format!("arn:aws:kms:local:111122223333:key/{id}");
        for name in [id.to_string(), HERE.key(id), own] {
            assert_eq!(HERE.parse(&name).unwrap(), KeyRef::Id(id));
            assert_eq!(HERE.parse_id(&name).unwrap(), id);
        }
        for name in ["alias/a/b".to_owned(), HERE.alias("alias/a/b")] {
            assert_eq!(HERE.parse(&name).unwrap(), KeyRef::Alias("alias/a/b"));
            assert_eq!(HERE.parse_id(&name).unwrap_err().name(), "NotFoundException");
        }
    }

    #[test]
    fn other_names_are_refused() {
        let id = KeyId::random();
        let simple = id.to_string().replace('-', "");
        let arn = HERE.key(id);
        for (name, error) in [
            ("", "NotFoundException"),
            ("backup", "NotFoundException"),
            (&simple, "NotFoundException"),
            (&format!("key/{id}"), "NotFoundException"),
            (&arn.replace(&id.to_string(), &simple), "NotFoundException"),
            (&arn.replace("eu-west-1", "eu-west-2"), "NotFoundException"),
            (&arn.replace("3333", "4444"), "NotFoundException"),
            (&arn.replace("key/", ""), "InvalidArnException"),
            (&arn.replace("key/", "grant/"), "InvalidArnException"),
            (&arn.replace(&id.to_string(), "alias/x"), "InvalidArnException"),
            (&arn.replace("kms", "s3"), "InvalidArnException"),
            (&arn.replace("arn:aws", "arn:gcp"), "InvalidArnException"),
            ("arn:aws:s3:::bucket", "InvalidArnException"),
            ("arn:aws:kms", "InvalidArnException"),
            ("arn:", "InvalidArnException"),
        ] {
            assert_eq!(HERE.parse(name).unwrap_err().name(), error, "{name}");
        }
    }

    #[test]
    fn an_arn_that_a_volume_recorded_is_good_in_any_region_and_account() {
        let id = KeyId::random();
        let anywhere = Naming { anywhere: true, ..HERE };
        let recorded = format!("arn:aws:kms:local:000000000000:key/{id}");
        assert_eq!(anywhere.parse(&recorded).unwrap(), KeyRef::Id(id));
        assert_eq!(HERE.parse(&recorded).unwrap_err().name(), "NotFoundException");
    }

    #[test]
    fn alias_names_are_checked() {
        let longest = format!("alias/{}", "x".repeat(ALIAS_MAX - ALIAS.len()));
        for name in ["alias/x", "alias/Backup_2026/-", &longest] {
            check_alias_name(name).unwrap();
        }
        for (name, error) in [
            ("backup", "ValidationException"),
            ("alias/", "ValidationException"),
            ("alias/a b", "ValidationException"),
            ("alias/ä", "ValidationException"),
            (&format!("{longest}x"), "ValidationException"),
            ("alias/kmsfs/mine", "NotAuthorizedException"),
            ("alias/aws/s3", "NotAuthorizedException"),
        ] {
            assert_eq!(check_alias_name(name).unwrap_err().name(), error, "{name}");
        }
    }
}
