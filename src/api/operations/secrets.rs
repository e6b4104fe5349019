//! CreateSecrets, GetSecret, BindSecrets, DestroySecrets.

use super::{Request, unsigned};
use crate::api::error::{Error, Result};
use crate::api::wire::{Input, Object};
use crate::crypto::{KEY_LEN, SecretBytes};
use crate::kms::SecretId;

pub(super) fn create_secrets(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let context = input.context("EncryptionContext").unwrap_or_default();
    let count = unsigned(input.required_integer("NumberOfSecrets"));
    let made = request.kms.create_secrets(request.call, input.required_text("KeyId"), count, &context)?;
    let mut secrets = SecretBytes::zeroed(made.len() * KEY_LEN);
    for (out, (_, secret)) in secrets.expose_mut().chunks_exact_mut(KEY_LEN).zip(&made) {
        out.copy_from_slice(secret.expose());
    }
    let ids: Vec<[u8; 16]> = made.iter().map(|(id, _)| *id.as_bytes()).collect();
    output.blob("SecretIds", ids.as_flattened());
    output.blob("Secrets", secrets.expose());
    Ok(())
}

pub(super) fn get_secret(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let context = input.context("EncryptionContext").unwrap_or_default();
    let id = input.required_blob("SecretId").try_into().expect("the model wants 16 bytes");
    let secret = request.kms.get_secret(request.call, SecretId::from_bytes(id), &context)?;
    output.blob("Secret", secret.expose());
    Ok(())
}

pub(super) fn bind_secrets(request: &Request<'_>, input: &Input<'_>, _: &mut Object<'_>) -> Result<()> {
    let context = input.context("EncryptionContext").unwrap_or_default();
    Ok(request.kms.bind_secrets(request.call, &ids(input)?, input.required_text("KeyId"), &context)?)
}

pub(super) fn destroy_secrets(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let destroyed = request.kms.destroy_secrets(request.call, &ids(input)?)?;
    output.integer("NumberDestroyed", i64::try_from(destroyed).unwrap_or(i64::MAX));
    Ok(())
}

fn ids(input: &Input<'_>) -> Result<Vec<SecretId>> {
    let (ids, rest) = input.required_blob("SecretIds").as_chunks();
    match rest {
        [] => Ok(ids.iter().map(|id| SecretId::from_bytes(*id)).collect()),
        _ => Err(Error::new("ValidationException", "An id of a secret has 16 bytes.")),
    }
}
