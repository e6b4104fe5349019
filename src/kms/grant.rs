//! What a grant is: leave for one principal to use one CMK, given apart from the key policy.
//!
//! Grants only ever allow. They are in force at once, everywhere: a *grant token*, which AWS KMS needs until a grant
//! has got around, names its grant and is otherwise worth nothing.

use super::arn::KeyId;
use super::clock::Timestamp;
use super::context::EncryptionContext;
use super::error::{Error, Result};
use super::principal::Principal;
use super::spec::{KeySpec, KeyUsage, named};
use super::state::Operation;
use crate::crypto::random;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Most pairs of one constraint.
const CONSTRAINT_PAIRS: usize = 8;
/// Longest value in a constraint, in characters.
const CONSTRAINT_VALUE: usize = 384;

/// The version of grant tokens: `version 1 | grant id 32 | random 16`, in base64url.
const TOKEN_VERSION: u8 = 1;

/// The id of a grant: 32 random bytes, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct GrantId([u8; 32]);

impl GrantId {
    /// A new random id.
    pub(super) fn random() -> GrantId {
        GrantId(random::array())
    }

    /// The id with these bytes.
    pub(super) fn from_bytes(bytes: [u8; 32]) -> GrantId {
        GrantId(bytes)
    }

    /// The id's 32 bytes.
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A grant token. All tokens of a grant differ, and serve alike.
    pub(super) fn token(&self) -> String {
        let mut bytes = vec![TOKEN_VERSION];
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(&random::array::<16>());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The grant that a token names, which need not exist; `None` if it is no grant token.
    pub(super) fn of_token(token: &str) -> Option<GrantId> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        match bytes.split_first_chunk::<33>() {
            Some(([TOKEN_VERSION, id @ ..], rest)) if rest.len() == 16 => Some(GrantId(*id)),
            _ => None,
        }
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantId({self})")
    }
}

impl FromStr for GrantId {
    type Err = Error;

    /// # Errors
    /// `InvalidGrantIdException`
    fn from_str(text: &str) -> Result<GrantId> {
        let digits: Option<Vec<u8>> =
            text.bytes().map(|digit| char::from(digit).to_digit(16).map(|value| value as u8)).collect();
        let bytes: Option<Vec<u8>> = digits
            .filter(|digits| digits.len() == 64)
            .map(|digits| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect());
        let id = bytes.and_then(|bytes| Some(GrantId(bytes.try_into().ok()?)));
        id.ok_or_else(|| Error::InvalidGrantId(format!("Grant ID {text} is not valid")))
    }
}

named! {
    /// What a grant may allow.
    GrantOperation {
        /// Decrypt
        Decrypt = "Decrypt",
        /// Encrypt
        Encrypt = "Encrypt",
        /// GenerateDataKey
        GenerateDataKey = "GenerateDataKey",
        /// GenerateDataKeyWithoutPlaintext
        GenerateDataKeyWithoutPlaintext = "GenerateDataKeyWithoutPlaintext",
        /// To decrypt in ReEncrypt.
        ReEncryptFrom = "ReEncryptFrom",
        /// To encrypt in ReEncrypt.
        ReEncryptTo = "ReEncryptTo",
        /// Sign
        Sign = "Sign",
        /// Verify
        Verify = "Verify",
        /// GetPublicKey
        GetPublicKey = "GetPublicKey",
        /// To give others no more than the grant gives.
        CreateGrant = "CreateGrant",
        /// To give the grant back.
        RetireGrant = "RetireGrant",
        /// DescribeKey
        DescribeKey = "DescribeKey",
        /// GenerateDataKeyPair
        GenerateDataKeyPair = "GenerateDataKeyPair",
        /// GenerateDataKeyPairWithoutPlaintext
        GenerateDataKeyPairWithoutPlaintext = "GenerateDataKeyPairWithoutPlaintext",
        /// GenerateMac
        GenerateMac = "GenerateMac",
        /// VerifyMac
        VerifyMac = "VerifyMac",
        /// DeriveSharedSecret
        DeriveSharedSecret = "DeriveSharedSecret",
        /// Encapsulate
        Encapsulate = "Encapsulate",
        /// Decapsulate
        Decapsulate = "Decapsulate",
    }
}

impl GrantOperation {
    /// What of grants `operation` is, if anything.
    pub(super) fn of(operation: Operation) -> Option<GrantOperation> {
        use Operation as O;
        Some(match operation {
            O::Decrypt => GrantOperation::Decrypt,
            O::Encrypt => GrantOperation::Encrypt,
            O::GenerateDataKey => GrantOperation::GenerateDataKey,
            O::GenerateDataKeyWithoutPlaintext => GrantOperation::GenerateDataKeyWithoutPlaintext,
            O::ReEncryptFrom => GrantOperation::ReEncryptFrom,
            O::ReEncryptTo => GrantOperation::ReEncryptTo,
            O::Sign => GrantOperation::Sign,
            O::Verify => GrantOperation::Verify,
            O::GetPublicKey => GrantOperation::GetPublicKey,
            O::CreateGrant => GrantOperation::CreateGrant,
            O::RetireGrant => GrantOperation::RetireGrant,
            O::DescribeKey => GrantOperation::DescribeKey,
            O::GenerateDataKeyPair => GrantOperation::GenerateDataKeyPair,
            O::GenerateDataKeyPairWithoutPlaintext => GrantOperation::GenerateDataKeyPairWithoutPlaintext,
            O::GenerateMac => GrantOperation::GenerateMac,
            O::VerifyMac => GrantOperation::VerifyMac,
            O::DeriveSharedSecret => GrantOperation::DeriveSharedSecret,
            O::Encapsulate => GrantOperation::Encapsulate,
            O::Decapsulate => GrantOperation::Decapsulate,
            _ => return None,
        })
    }

    /// Whether a key of this kind can be granted for it.
    pub(super) fn fits(self, spec: KeySpec, usage: KeyUsage) -> bool {
        use GrantOperation::*;
        match self {
            CreateGrant | RetireGrant | DescribeKey => true,
            Decrypt | Encrypt | ReEncryptFrom | ReEncryptTo => usage == KeyUsage::EncryptDecrypt,
            GenerateDataKey
            | GenerateDataKeyWithoutPlaintext
            | GenerateDataKeyPair
            | GenerateDataKeyPairWithoutPlaintext => spec.is_symmetric(),
            Sign | Verify => usage == KeyUsage::SignVerify,
            GetPublicKey => spec.is_asymmetric(),
            GenerateMac | VerifyMac => usage == KeyUsage::GenerateVerifyMac,
            DeriveSharedSecret => usage == KeyUsage::KeyAgreement,
            Encapsulate | Decapsulate => usage == KeyUsage::EncapsulateDecapsulate,
        }
    }

    /// Whether it goes with an encryption context, so that constraints bind it; CreateGrant hands them on.
    fn is_constrained(self) -> bool {
        !matches!(self, GrantOperation::RetireGrant | GrantOperation::DescribeKey)
    }
}

/// The encryption contexts that a grant is good for. Names are compared without regard to case, values exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct GrantConstraints {
    /// The call's context must be exactly this.
    pub encryption_context_equals: Option<BTreeMap<String, String>>,
    /// The call's context must contain all of this.
    pub encryption_context_subset: Option<BTreeMap<String, String>>,
}

impl GrantConstraints {
    /// Whether they exclude nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.encryption_context_equals.is_none() && self.encryption_context_subset.is_none()
    }

    /// Every pair of both.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let both = [&self.encryption_context_equals, &self.encryption_context_subset];
        both.into_iter().flatten().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses what AWS KMS has no room for.
    ///
    /// # Errors
    /// `ValidationException`
    pub(super) fn check(&self) -> Result<()> {
        for pairs in [&self.encryption_context_equals, &self.encryption_context_subset].into_iter().flatten()
        {
            if pairs.len() > CONSTRAINT_PAIRS {
                return Err(Error::Validation(format!(
                    "a grant constraint has at most {CONSTRAINT_PAIRS} encryption context pairs"
                )));
            }
            let names: BTreeSet<String> = pairs.keys().map(|name| name.to_ascii_lowercase()).collect();
            if names.len() < pairs.len() {
                return Err(Error::Validation(
                    "the encryption context names in a grant constraint must differ in more than case".into(),
                ));
            }
            if pairs.values().any(|value| value.chars().count() > CONSTRAINT_VALUE) {
                return Err(Error::Validation(format!(
                    "an encryption context value in a grant constraint has at most {CONSTRAINT_VALUE} characters"
                )));
            }
        }
        Ok(())
    }

    fn allow(&self, context: &EncryptionContext) -> bool {
        let given: Vec<(&str, &str)> = context.pairs().collect();
        let equals = self.encryption_context_equals.as_ref();
        let subset = self.encryption_context_subset.as_ref();
        equals.is_none_or(|wanted| wanted.len() == given.len() && has_all(&given, wanted))
            && subset.is_none_or(|wanted| has_all(&given, wanted))
    }

    /// Whether every context that `self` allows is allowed by `other` too.
    fn are_as_strict_as(&self, other: &GrantConstraints) -> bool {
        let own: Vec<(&str, &str)> = self.pairs().collect();
        let equals = other.encryption_context_equals.as_ref().is_none_or(|wanted| {
            let exact = self.encryption_context_equals.as_ref();
            exact.is_some_and(|exact| {
                let exact: Vec<_> = exact.iter().map(|(name, value)| (&**name, &**value)).collect();
                exact.len() == wanted.len() && has_all(&exact, wanted)
            })
        });
        equals && other.encryption_context_subset.as_ref().is_none_or(|wanted| has_all(&own, wanted))
    }
}

/// Whether `given` has every pair of `wanted`.
fn has_all(given: &[(&str, &str)], wanted: &BTreeMap<String, String>) -> bool {
    wanted
        .iter()
        .all(|(name, value)| given.iter().any(|(other, given)| same_name(other, name) && given == value))
}

/// Whether two names of an encryption context are the same but for case.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// What CreateGrant is to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    /// The ARN of who may use the key.
    pub(super) grantee: String,
    /// The ARN of who may retire the grant.
    pub(super) retiring: Option<String>,
    /// Ascending, each once.
    pub(super) operations: Vec<GrantOperation>,
    pub(super) constraints: GrantConstraints,
}

/// A grant as the keystore holds it, sealed, as one row. Never changed once made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct GrantRecord {
    pub(super) id: GrantId,
    /// The CMK it belongs to, and with which it goes.
    pub(super) key: KeyId,
    /// The caller's name for it; a repeated request of the same name makes no second grant.
    pub(super) name: Option<String>,
    /// The ARN of who may use the key.
    pub(super) grantee: String,
    /// The ARN of who may retire the grant.
    pub(super) retiring: Option<String>,
    /// What is granted.
    pub(super) operations: Vec<GrantOperation>,
    pub(super) constraints: GrantConstraints,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(super) created: Timestamp,
    /// The ARN of the account that it was made in.
    pub(super) issuing_account: String,
}

impl GrantRecord {
    /// Whether it allows `operation` in an encryption context, if the operation has one.
    pub(super) fn allows(&self, operation: GrantOperation, context: Option<&EncryptionContext>) -> bool {
        let empty = EncryptionContext::new();
        self.operations.contains(&operation)
            && (!operation.is_constrained()
                || self.constraints.is_empty()
                || self.constraints.allow(context.unwrap_or(&empty)))
    }

    /// Whether its grantee may give on what `terms` say: never more than the grant itself gives.
    pub(super) fn allows_to_grant(&self, terms: &Terms) -> bool {
        self.operations.contains(&GrantOperation::CreateGrant)
            && terms.operations.iter().all(|operation| self.operations.contains(operation))
            && terms.constraints.are_as_strict_as(&self.constraints)
    }

    /// Whether it has these terms.
    pub(super) fn has(&self, terms: &Terms) -> bool {
        self.grantee == terms.grantee
            && self.retiring == terms.retiring
            && self.operations == terms.operations
            && self.constraints == terms.constraints
    }
}

/// Whether an ARN in a grant is that of `principal`: its own, or that of the session in which it acts.
pub(super) fn is_named(principal: &Principal, arn: &str) -> bool {
    arn == principal.arn || arn == principal.identity_arn()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(("[aAbB]", "[12]"), 0..4)
    }

    fn constraints() -> impl Strategy<Value = GrantConstraints> {
        let side = || proptest::option::of(pairs().prop_map(BTreeMap::from_iter));
        (side(), side()).prop_map(|(encryption_context_equals, encryption_context_subset)| GrantConstraints {
            encryption_context_equals,
            encryption_context_subset,
        })
    }

    #[test]
    fn ids_and_tokens_read_back() {
        let id = GrantId::random();
        assert_eq!(id.to_string().parse::<GrantId>().unwrap(), id);
        assert_eq!(GrantId::of_token(&id.token()), Some(id));
        assert_ne!(id.token(), id.token());
    }

    #[test]
    fn no_operation_of_a_grant_is_another() {
        let all: BTreeSet<&str> = GrantOperation::ALL.iter().map(|operation| operation.name()).collect();
        assert_eq!(all.len(), GrantOperation::ALL.len());
        assert_eq!(GrantOperation::of(Operation::Decrypt), Some(GrantOperation::Decrypt));
        assert_eq!(GrantOperation::of(Operation::ReEncryptTo), Some(GrantOperation::ReEncryptTo));
        for never in [Operation::PutKeyPolicy, Operation::ScheduleKeyDeletion, Operation::RevokeGrant] {
            assert_eq!(GrantOperation::of(never), None, "{never}");
        }
    }

    proptest! {
        #[test]
        fn what_is_as_strict_allows_no_context_more(
            strict in constraints(),
            loose in constraints(),
            context in pairs(),
        ) {
            prop_assume!(strict.check().is_ok() && loose.check().is_ok());
            prop_assert!(strict.are_as_strict_as(&strict));
            let context: EncryptionContext = context.into_iter().collect();
            if strict.are_as_strict_as(&loose) && strict.allow(&context) {
                prop_assert!(loose.allow(&context), "{strict:?} {loose:?} {context:?}");
            }
        }

        #[test]
        fn no_text_is_taken_for_a_token_or_an_id(text in "\\PC{0,80}") {
            prop_assert!(GrantId::of_token(&text).is_none());
            prop_assert!(text.parse::<GrantId>().is_err());
        }
    }
}
