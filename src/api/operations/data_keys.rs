//! GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext,
//! GenerateRandom.

use super::{Request, choice, refuse, required_choice, unsigned};
use crate::api::error::{Error, Result};
use crate::api::wire::{Input, Object};
use crate::kms::{Encrypted, KeySpec, data_key_length};

pub(super) fn generate_data_key(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    refuse(input, &["Recipient"])?;
    let context = input.context("EncryptionContext").unwrap_or_default();
    let (key, length) = (input.required_text("KeyId"), length(input)?);
    let made = request.kms.generate_data_key(request.call, key, length, &context)?;
    output.blob("CiphertextBlob", &made.encrypted.blob);
    output.blob("Plaintext", made.plaintext.expose());
    origin(request, &made.encrypted, output);
    Ok(())
}

pub(super) fn generate_data_key_without_plaintext(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let context = input.context("EncryptionContext").unwrap_or_default();
    let (key, length) = (input.required_text("KeyId"), length(input)?);
    let made = request.kms.generate_data_key_without_plaintext(request.call, key, length, &context)?;
    output.blob("CiphertextBlob", &made.blob);
    origin(request, &made, output);
    Ok(())
}

pub(super) fn generate_data_key_pair(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    refuse(input, &["Recipient"])?;
    let context = input.context("EncryptionContext").unwrap_or_default();
    let (key, spec) = (input.required_text("KeyId"), required_choice::<KeySpec>(input, "KeyPairSpec")?);
    let made = request.kms.generate_data_key_pair(request.call, key, spec, &context)?;
    output.blob("PrivateKeyCiphertextBlob", &made.encrypted.blob);
    output.blob("PrivateKeyPlaintext", made.private_key.expose());
    output.blob("PublicKey", &made.public_key);
    origin(request, &made.encrypted, output);
    output.text("KeyPairSpec", spec.name());
    Ok(())
}

pub(super) fn generate_data_key_pair_without_plaintext(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let context = input.context("EncryptionContext").unwrap_or_default();
    let (key, spec) = (input.required_text("KeyId"), required_choice::<KeySpec>(input, "KeyPairSpec")?);
    let (encrypted, public_key) =
        request.kms.generate_data_key_pair_without_plaintext(request.call, key, spec, &context)?;
    output.blob("PrivateKeyCiphertextBlob", &encrypted.blob);
    output.blob("PublicKey", &public_key);
    origin(request, &encrypted, output);
    output.text("KeyPairSpec", spec.name());
    Ok(())
}

pub(super) fn generate_random(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    refuse(input, &["CustomKeyStoreId", "Recipient"])?;
    let length = input.integer("NumberOfBytes").map(unsigned);
    let length = length.ok_or_else(|| Error::new("ValidationException", "NumberOfBytes is required."))?;
    let bytes = request.kms.generate_random(request.call, length)?;
    output.blob("Plaintext", bytes.expose());
    Ok(())
}

fn length(input: &Input<'_>) -> Result<usize> {
    let number_of_bytes = input.integer("NumberOfBytes").map(unsigned);
    Ok(data_key_length(number_of_bytes, choice(input, "KeySpec")?)?)
}

/// The key that encrypted, and which of its materials.
fn origin(request: &Request<'_>, encrypted: &Encrypted, output: &mut Object<'_>) {
    output.text("KeyId", &request.arn(encrypted.key));
    if let Some(id) = encrypted.material_id {
        output.text("KeyMaterialId", &id.to_string());
    }
}
