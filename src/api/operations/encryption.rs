//! Encrypt, Decrypt, ReEncrypt.

use super::{Place, Request, choice, refuse};
use crate::api::error::Result;
use crate::api::wire::{Input, Object};
use crate::kms::{EncryptionAlgorithm, ReEncrypt};

pub(super) fn encrypt(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let context = input.context("EncryptionContext").unwrap_or_default();
    let (key, plaintext) = (input.required_text("KeyId"), input.required_blob("Plaintext"));
    let algorithm = algorithm(input, "EncryptionAlgorithm")?;
    let encrypted = request.kms.encrypt(request.call, key, algorithm, plaintext, &context)?;
    output.blob("CiphertextBlob", &encrypted.blob);
    output.text("KeyId", &request.arn(encrypted.key));
    output.text("EncryptionAlgorithm", algorithm.name());
    Ok(())
}

pub(super) fn decrypt(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    refuse(input, &["Recipient", "DryRunModifiers"])?;
    let context = input.context("EncryptionContext").unwrap_or_default();
    let algorithm = algorithm(input, "EncryptionAlgorithm")?;
    let blob = super::given(input, "CiphertextBlob")?;
    let opened = request.kms.decrypt(request.call, input.text("KeyId"), algorithm, blob, &context)?;
    output.text("KeyId", &request.arn(opened.key));
    output.blob("Plaintext", opened.plaintext.expose());
    output.text("EncryptionAlgorithm", algorithm.name());
    if let Some(id) = opened.material_id {
        output.text("KeyMaterialId", &id.to_string());
    }
    Ok(())
}

/// Decrypting with a private RSA key takes a millisecond, with a symmetric one microseconds.
pub(super) fn place_of_decrypt(input: &Input<'_>) -> Place {
    rsa(input, "EncryptionAlgorithm")
}

pub(super) fn re_encrypt(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    refuse(input, &["DryRunModifiers"])?;
    let source_context = input.context("SourceEncryptionContext").unwrap_or_default();
    let destination_context = input.context("DestinationEncryptionContext").unwrap_or_default();
    let done = ReEncrypt {
        blob: super::given(input, "CiphertextBlob")?,
        source_key: input.text("SourceKeyId"),
        source_algorithm: algorithm(input, "SourceEncryptionAlgorithm")?,
        source_context: &source_context,
        destination_key: input.required_text("DestinationKeyId"),
        destination_algorithm: algorithm(input, "DestinationEncryptionAlgorithm")?,
        destination_context: &destination_context,
    };
    let (from, to) = (done.source_algorithm, done.destination_algorithm);
    let done = request.kms.re_encrypt(request.call, &done)?;
    output.blob("CiphertextBlob", &done.encrypted.blob);
    output.text("SourceKeyId", &request.arn(done.source_key));
    output.text("KeyId", &request.arn(done.encrypted.key));
    output.text("SourceEncryptionAlgorithm", from.name());
    output.text("DestinationEncryptionAlgorithm", to.name());
    if let Some(id) = done.source_material_id {
        output.text("SourceKeyMaterialId", &id.to_string());
    }
    if let Some(id) = done.encrypted.material_id {
        output.text("DestinationKeyMaterialId", &id.to_string());
    }
    Ok(())
}

pub(super) fn place_of_re_encrypt(input: &Input<'_>) -> Place {
    rsa(input, "SourceEncryptionAlgorithm")
}

fn algorithm(input: &Input<'_>, member: &str) -> Result<EncryptionAlgorithm> {
    Ok(choice(input, member)?.unwrap_or(EncryptionAlgorithm::SymmetricDefault))
}

fn rsa(input: &Input<'_>, member: &str) -> Place {
    match input.text(member) {
        Some(name) if name.starts_with("RSA") => Place::Compute,
        _ => Place::Here,
    }
}
