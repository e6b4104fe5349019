//! A call as policies see it: who asks to do what, and the values of condition keys.
//!
//! Source: AWS KMS Developer Guide, *Condition keys for AWS KMS*; IAM User Guide, *Global condition context keys*. Keys
//! that are not here are absent from every call.

use super::authorize::Facts;
use super::call::Call;
use super::clock::Timestamp;
use super::grant::same_name;
use super::key::KeyRecord;
use super::policy::{Attributes, Request};
use super::principal::{Identity, Principal};
use super::spec::{KeySpec, KeyUsage, Origin};
use super::state::Operation;
use super::table::Table;
use std::borrow::Cow;
use time::format_description::well_known::Rfc3339;

/// Whether a principal may do an operation: on the key of `record`, or, without one, at all.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) table: &'a Table,
    pub(super) call: &'a Call<'a>,
    pub(super) principal: &'a Principal,
    pub(super) operation: Operation,
    pub(super) record: Option<&'a KeyRecord>,
    pub(super) facts: &'a Facts<'a>,
}

/// The values of a condition key; `None` if there are none.
type Values<'a> = Option<Vec<Cow<'a, str>>>;

impl<'a> Question<'a> {
    /// The question to a policy.
    pub(super) fn request(&self) -> Request<'_> {
        let principal = self.principal;
        Request {
            principal: principal.identity_arn(),
            session: matches!(principal.identity, Identity::Role { .. }).then_some(&*principal.arn),
            account: &principal.account,
            action: self.operation.action(),
            attributes: self,
        }
    }

    /// The ARN of what it is about; `*` if it is about nothing in particular.
    pub(super) fn arn(&self) -> Cow<'_, str> {
        let Facts { alias, retiring_principal, .. } = self.facts;
        match (self.record, alias, retiring_principal) {
            (Some(record), _, _) => self.table.naming(self.call).key(record.id).into(),
            (None, Some(alias), _) => self.table.naming(self.call).alias(alias).into(),
            (None, None, Some(principal)) => (*principal).into(),
            (None, None, None) => "*".into(),
        }
    }

    fn kms(&self, key: &str) -> Values<'_> {
        let facts = self.facts;
        match key {
            "bypasspolicylockoutsafetycheck" => flag(facts.bypass_lockout_check.then_some(true)),
            "calleraccount" => one(self.record.map(|_| &*self.principal.account)),
            "datakeypairspec" => one(facts.key_pair_spec.map(KeySpec::name)),
            "encapsulationalgorithm" => one(facts.encapsulation_algorithm.map(|algorithm| algorithm.name())),
            "encryptionalgorithm" => one(facts.encryption_algorithm.map(|algorithm| algorithm.name())),
            "encryptioncontextkeys" => many(self.context().map(|(name, _)| name.into())),
            "expirationmodel" => one(facts.expiration_model.map(|model| model.name())),
            "keyagreementalgorithm" => one(facts.key_agreement_algorithm.map(|algorithm| algorithm.name())),
            "keyspec" | "customermasterkeyspec" => one(self.kind().map(|(spec, _, _)| spec.name())),
            "keyusage" | "customermasterkeyusage" => one(self.kind().map(|(_, usage, _)| usage.name())),
            "keyorigin" => one(self.kind().map(|(_, _, origin)| origin.name())),
            "macalgorithm" => one(facts.mac_algorithm.map(|algorithm| algorithm.name())),
            "messagetype" => one(facts.message_type.map(|kind| kind.name())),
            "multiregion" => flag(self.kind().map(|_| false)),
            "policyname" => one(facts.policy_name),
            "reencryptonsamekey" => flag(facts.same_key),
            "requestalias" => one(self.requested_alias()),
            "resourcealiases" => {
                many(self.record.into_iter().flat_map(|record| record.aliases.keys()).map(|name| name.into()))
            }
            "rotationperiodindays" => number(facts.rotation_period_in_days),
            "schedulekeydeletionpendingwindowindays" => number(facts.pending_window_in_days),
            "signingalgorithm" => one(facts.signing_algorithm.map(|algorithm| algorithm.name())),
            "validto" => date(facts.valid_to),
            "viaservice" => one(self.call.via_service),
            "wrappingalgorithm" => one(facts.wrapping_algorithm.map(|algorithm| algorithm.name())),
            "wrappingkeyspec" => one(facts.wrapping_key_spec.map(KeySpec::name)),
            _ => self.kms_grant(key),
        }
    }

    fn kms_grant(&self, key: &str) -> Values<'_> {
        let terms = self.facts.terms;
        match key {
            "grantconstrainttype" => {
                let constraints = &terms?.constraints;
                let kinds = [
                    ("EncryptionContextEquals", &constraints.encryption_context_equals),
                    ("EncryptionContextSubset", &constraints.encryption_context_subset),
                ];
                many(kinds.into_iter().filter(|(_, pairs)| pairs.is_some()).map(|(name, _)| name.into()))
            }
            "granteeprincipal" => one(terms.map(|terms| &*terms.grantee)),
            "grantisforawsresource" => {
                use Operation::*;
                let is_about_grants = matches!(self.operation, CreateGrant | ListGrants | RevokeGrant);
                flag(is_about_grants.then_some(self.call.via_service.is_some()))
            }
            "grantoperations" => many(terms?.operations.iter().map(|operation| operation.name().into())),
            "retiringprincipal" => one(terms.and_then(|terms| terms.retiring.as_deref())),
            _ => {
                let wanted = key.strip_prefix("encryptioncontext:")?;
                many(
                    self.context().filter(|(name, _)| same_name(name, wanted)).map(|(_, value)| value.into()),
                )
            }
        }
    }

    fn aws(&self, key: &str) -> Values<'_> {
        let principal = self.principal;
        match key {
            "currenttime" => date(Some(self.table.now())),
            "epochtime" => number(Some(self.table.now().unix_timestamp())),
            "principalaccount" => one(Some(&*principal.account)),
            "principalarn" => one(Some(principal.identity_arn())),
            "principalisawsservice" | "viaawsservice" => flag(Some(false)),
            "principaltype" => one(Some(match principal.identity {
                Identity::Root => "Account",
                Identity::User(_) => "User",
                Identity::Role { .. } => "AssumedRole",
            })),
            "requestedregion" => one(Some(self.table.naming(self.call).region)),
            "resourceaccount" => one(self.record.map(|_| self.table.account())),
            "securetransport" => flag(Some(self.call.is_private)),
            "sourceip" => Some(vec![self.call.source_ip?.to_canonical().to_string().into()]),
            "tagkeys" => {
                let of_tags = self.facts.tags.iter().map(|tag| &tag.key);
                many(of_tags.chain(self.facts.tag_keys).map(|key| key.into()))
            }
            "tokenissuetime" => date(principal.session_began),
            "username" => match principal.identity {
                Identity::User(_) => one(principal.arn.split_once(":user/").map(|(_, name)| name)),
                Identity::Root | Identity::Role { .. } => None,
            },
            _ => self.aws_tag(key),
        }
    }

    fn aws_tag(&self, key: &str) -> Values<'_> {
        let (of, wanted) = key.split_once('/')?;
        match of {
            "requesttag" => {
                let tags = self.facts.tags.iter().filter(|tag| same_name(&tag.key, wanted));
                many(tags.map(|tag| (&tag.value).into()))
            }
            "resourcetag" => {
                let tags = self.record.into_iter().flat_map(|record| record.tags.iter());
                many(tags.filter(|(key, _)| same_name(key, wanted)).map(|(_, value)| value.into()))
            }
            _ => None,
        }
    }

    /// The kind of the key, or of the one to be made.
    fn kind(&self) -> Option<(KeySpec, KeyUsage, Origin)> {
        let made = self.facts.new_key.map(|new| (new.spec, new.usage, new.origin));
        self.record.map(|record| (record.spec, record.usage, record.origin)).or(made)
    }

    /// The encryption context: that of the call, or those that a grant is to be good for.
    fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        let of_call = self.facts.context.into_iter().flat_map(|context| context.pairs());
        of_call.chain(self.facts.terms.into_iter().flat_map(|terms| terms.constraints.pairs()))
    }

    /// The alias by which the call names the key.
    fn requested_alias(&self) -> Option<&'a str> {
        let named = self.facts.named?;
        let resource = named.strip_prefix("arn:").and_then(|arn| arn.splitn(5, ':').last());
        Some(resource.unwrap_or(named)).filter(|name| name.starts_with("alias/"))
    }
}

impl Attributes for Question<'_> {
    fn resource(&self) -> Cow<'_, str> {
        self.arn()
    }

    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        match key.split_once(':')? {
            ("kms", key) => self.kms(key),
            ("aws", key) => self.aws(key),
            _ => None,
        }
    }
}

fn one(value: Option<&str>) -> Values<'_> {
    Some(vec![value?.into()])
}

fn many<'a>(values: impl Iterator<Item = Cow<'a, str>>) -> Values<'a> {
    Some(values.collect::<Vec<_>>()).filter(|values| !values.is_empty())
}

fn flag(value: Option<bool>) -> Values<'static> {
    one(value.map(|value| if value { "true" } else { "false" }))
}

fn number(value: Option<impl ToString>) -> Values<'static> {
    Some(vec![value?.to_string().into()])
}

fn date(value: Option<Timestamp>) -> Values<'static> {
    Some(vec![value?.format(&Rfc3339).ok()?.into()])
}
