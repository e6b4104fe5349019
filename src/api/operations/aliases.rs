//! CreateAlias, UpdateAlias, DeleteAlias, ListAliases.

use super::{Request, next, page};
use crate::api::error::Result;
use crate::api::wire::{Input, Object};

pub(super) fn create_alias(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let (name, target) = (input.required_text("AliasName"), input.required_text("TargetKeyId"));
    Ok(request.kms.create_alias(request.call, name, target)?)
}

pub(super) fn update_alias(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let (name, target) = (input.required_text("AliasName"), input.required_text("TargetKeyId"));
    Ok(request.kms.update_alias(request.call, name, target)?)
}

pub(super) fn delete_alias(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    Ok(request.kms.delete_alias(request.call, input.required_text("AliasName"))?)
}

pub(super) fn list_aliases(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let aliases = request.kms.list_aliases(request.call, input.text("KeyId"), page(input))?;
    output.structures("Aliases", &aliases.items, |output, alias| {
        output.text("AliasName", &alias.name);
        output.text("AliasArn", &alias.arn);
        output.text("TargetKeyId", &alias.target.to_string());
        output.timestamp("CreationDate", alias.created);
        output.timestamp("LastUpdatedDate", alias.updated);
    });
    next(&aliases, output);
    Ok(())
}
