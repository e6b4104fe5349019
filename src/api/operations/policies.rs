//! GetKeyPolicy, PutKeyPolicy, ListKeyPolicies.

use super::Request;
use crate::api::error::Result;
use crate::api::wire::{Input, Object};
use crate::kms::POLICY_NAME;

pub(super) fn get_key_policy(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let (key, name) = (input.required_text("KeyId"), input.text("PolicyName"));
    output.text("Policy", &request.kms.get_key_policy(request.call, key, name)?);
    output.text("PolicyName", POLICY_NAME);
    Ok(())
}

pub(super) fn put_key_policy(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let (key, name) = (input.required_text("KeyId"), input.text("PolicyName"));
    let (policy, bypass) = (input.required_text("Policy"), input.flag("BypassPolicyLockoutSafetyCheck"));
    Ok(request.kms.put_key_policy(request.call, key, name, policy, bypass)?)
}

/// There is one: `Limit` and `Marker` have nothing to cut.
pub(super) fn list_key_policies(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let names = request.kms.list_key_policies(request.call, input.required_text("KeyId"))?;
    output.texts("PolicyNames", names);
    output.flag("Truncated", false);
    Ok(())
}
