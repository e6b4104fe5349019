//! GetPublicKey, Sign, Verify, GenerateMac, VerifyMac.

use super::keys::algorithms;
use super::{Place, Request, choice, required_choice};
use crate::api::error::Result;
use crate::api::wire::{Input, Object};
use crate::kms::{MacAlgorithm, MessageType, ToSign};

pub(super) fn get_public_key(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let public = request.kms.public_key(request.call, input.required_text("KeyId"))?;
    let key = &public.metadata;
    output.text("KeyId", &key.arn);
    output.blob("PublicKey", &public.spki);
    if super::keys::has_old_name(key.spec) {
        output.text("CustomerMasterKeySpec", key.spec.name());
    }
    output.text("KeySpec", key.spec.name());
    output.text("KeyUsage", key.usage.name());
    algorithms(key, output);
    Ok(())
}

pub(super) fn sign(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let to_sign = to_sign(input)?;
    let signed = request.kms.sign(request.call, input.required_text("KeyId"), &to_sign)?;
    output.text("KeyId", &request.arn(signed.key));
    output.blob("Signature", &signed.signature);
    output.text("SigningAlgorithm", to_sign.algorithm.name());
    Ok(())
}

/// Signing takes a private RSA key a millisecond, a post-quantum one some of it, a curve microseconds.
pub(super) fn place_of_sign(input: &Input<'_>) -> Place {
    match input.text("SigningAlgorithm") {
        Some(name) if name.starts_with("RSA") || name.starts_with("ML_DSA") => Place::Compute,
        _ => Place::Here,
    }
}

pub(super) fn verify(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let signed = to_sign(input)?;
    let (key, signature) = (input.required_text("KeyId"), input.required_blob("Signature"));
    let key = request.kms.verify(request.call, key, &signed, signature)?;
    output.text("KeyId", &request.arn(key));
    output.flag("SignatureValid", true);
    output.text("SigningAlgorithm", signed.algorithm.name());
    Ok(())
}

fn to_sign<'i>(input: &'i Input<'_>) -> Result<ToSign<'i>> {
    Ok(ToSign {
        message_type: choice(input, "MessageType")?.unwrap_or(MessageType::Raw),
        message: input.required_blob("Message"),
        algorithm: required_choice(input, "SigningAlgorithm")?,
    })
}

pub(super) fn generate_mac(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let algorithm: MacAlgorithm = required_choice(input, "MacAlgorithm")?;
    let (key, message) = (input.required_text("KeyId"), input.required_blob("Message"));
    let made = request.kms.generate_mac(request.call, key, message, algorithm)?;
    output.blob("Mac", &made.mac);
    output.text("MacAlgorithm", algorithm.name());
    output.text("KeyId", &request.arn(made.key));
    Ok(())
}

pub(super) fn verify_mac(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let algorithm: MacAlgorithm = required_choice(input, "MacAlgorithm")?;
    let (key, message) = (input.required_text("KeyId"), input.required_blob("Message"));
    let key = request.kms.verify_mac(request.call, key, message, algorithm, input.required_blob("Mac"))?;
    output.text("KeyId", &request.arn(key));
    output.flag("MacValid", true);
    output.text("MacAlgorithm", algorithm.name());
    Ok(())
}
