//! CreateGrant, ListGrants, ListRetirableGrants, RetireGrant, RevokeGrant.

use super::{Request, next, page, refuse};
use crate::api::error::{Error, Result};
use crate::api::wire::{Input, Object};
use crate::kms::{self, CreateGrant, GrantConstraints, GrantEntry, GrantOperation, Listed};
use std::collections::BTreeMap;

/// Members about AWS's own services as principals.
const SERVICES: &[&str] = &["GranteeServicePrincipal", "RetiringServicePrincipal"];

pub(super) fn create_grant(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    refuse(input, SERVICES)?;
    let operations = input.texts("Operations");
    let operations = operations.iter().map(|name| name.parse());
    let operations = operations.collect::<kms::Result<Vec<GrantOperation>>>()?;
    let created = request.kms.create_grant(
        request.call,
        &CreateGrant {
            key: input.required_text("KeyId"),
            grantee: needed(input, "GranteePrincipal")?,
            retiring: input.text("RetiringPrincipal"),
            operations: &operations,
            constraints: input.structure("Constraints").map(constraints).transpose()?.unwrap_or_default(),
            name: input.text("Name"),
        },
    )?;
    output.text("GrantToken", &created.token);
    output.text("GrantId", &created.id.to_string());
    Ok(())
}

fn constraints(input: &Input<'_>) -> Result<GrantConstraints> {
    refuse(input, &["SourceArn"])?;
    let pairs = |member: &str| {
        let context = input.context(member)?;
        Some(context.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    };
    Ok(GrantConstraints {
        encryption_context_equals: pairs("EncryptionContextEquals"),
        encryption_context_subset: pairs("EncryptionContextSubset"),
    })
}

pub(super) fn list_grants(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    refuse(input, &["GranteeServicePrincipal"])?;
    let key = input.required_text("KeyId");
    let (grant, grantee) = (input.text("GrantId"), input.text("GranteePrincipal"));
    let grants = request.kms.list_grants(request.call, key, grant, grantee, page(input))?;
    write(&grants, output);
    Ok(())
}

pub(super) fn list_retirable_grants(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    refuse(input, &["RetiringServicePrincipal"])?;
    let retiring = needed(input, "RetiringPrincipal")?;
    let grants = request.kms.list_retirable_grants(request.call, retiring, page(input))?;
    write(&grants, output);
    Ok(())
}

pub(super) fn retire_grant(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    match (input.text("GrantToken"), input.text("KeyId"), input.text("GrantId")) {
        (Some(token), None, None) => request.kms.retire_grant_by_token(request.call, token)?,
        (None, Some(key), Some(grant)) => request.kms.retire_grant(request.call, key, grant)?,
        _ => {
            return Err(Error::new(
                "ValidationException",
                "Either the grant token, or both the key ID and the grant ID, must be specified.",
            ));
        }
    }
    Ok(())
}

pub(super) fn revoke_grant(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let (key, grant) = (input.required_text("KeyId"), input.required_text("GrantId"));
    Ok(request.kms.revoke_grant(request.call, key, grant)?)
}

/// A principal that AWS's model does not require, since a service could be in its place.
fn needed<'i>(input: &'i Input<'_>, member: &str) -> Result<&'i str> {
    let missing = || Error::new("ValidationException", format!("{member} is required."));
    input.text(member).ok_or_else(missing)
}

fn write(grants: &Listed<GrantEntry>, output: &mut Object<'_>) {
    output.structures("Grants", &grants.items, |output, grant| {
        output.text("KeyId", &grant.key_arn);
        output.text("GrantId", &grant.id.to_string());
        if let Some(name) = &grant.name {
            output.text("Name", name);
        }
        output.timestamp("CreationDate", grant.created);
        output.text("GranteePrincipal", &grant.grantee);
        if let Some(retiring) = &grant.retiring {
            output.text("RetiringPrincipal", retiring);
        }
        output.text("IssuingAccount", &grant.issuing_account);
        output.texts("Operations", grant.operations.iter().map(|operation| operation.name()));
        let GrantConstraints { encryption_context_equals, encryption_context_subset } = &grant.constraints;
        if encryption_context_equals.is_some() || encryption_context_subset.is_some() {
            output.structure("Constraints", |output| {
                if let Some(pairs) = encryption_context_subset {
                    output.pairs("EncryptionContextSubset", text(pairs));
                }
                if let Some(pairs) = encryption_context_equals {
                    output.pairs("EncryptionContextEquals", text(pairs));
                }
            });
        }
    });
    next(grants, output);
}

fn text(pairs: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}
