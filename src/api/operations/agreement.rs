//! DeriveSharedSecret, Encapsulate, Decapsulate.

use super::{Request, refuse, required_choice};
use crate::api::error::Result;
use crate::api::wire::{Input, Object};
use crate::kms::{EncapsulationAlgorithm, KeyAgreementAlgorithm};

pub(super) fn derive_shared_secret(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    refuse(input, &["Recipient"])?;
    let algorithm: KeyAgreementAlgorithm = required_choice(input, "KeyAgreementAlgorithm")?;
    let (key, peer) = (input.required_text("KeyId"), input.required_blob("PublicKey"));
    let agreed = request.kms.derive_shared_secret(request.call, key, algorithm, peer)?;
    output.text("KeyId", &request.arn(agreed.key));
    output.blob("SharedSecret", agreed.secret.expose());
    output.text("KeyAgreementAlgorithm", algorithm.name());
    output.text("KeyOrigin", agreed.origin.name());
    Ok(())
}

pub(super) fn encapsulate(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let algorithm: EncapsulationAlgorithm = required_choice(input, "EncapsulationAlgorithm")?;
    let made = request.kms.encapsulate(request.call, input.required_text("KeyId"), algorithm)?;
    output.text("KeyId", &request.arn(made.key));
    output.blob("SharedSecret", made.secret.expose());
    output.blob("SharedSecretCiphertextBlob", &made.ciphertext);
    output.text("EncapsulationAlgorithm", algorithm.name());
    Ok(())
}

pub(super) fn decapsulate(request: &Request<'_>, input: &Input<'_>, output: &mut Object<'_>) -> Result<()> {
    let algorithm: EncapsulationAlgorithm = required_choice(input, "EncapsulationAlgorithm")?;
    let ciphertext = input.required_blob("SharedSecretCiphertextBlob");
    let opened =
        request.kms.decapsulate(request.call, input.required_text("KeyId"), algorithm, ciphertext)?;
    output.text("KeyId", &request.arn(opened.key));
    output.blob("SharedSecret", opened.secret.expose());
    output.text("EncapsulationAlgorithm", algorithm.name());
    Ok(())
}
