//! GetParametersForImport, ImportKeyMaterial, DeleteImportedKeyMaterial.

use super::{Request, choice, required_choice};
use crate::api::error::Result;
use crate::api::wire::{Input, Object};
use crate::kms::{ImportKeyMaterial, ImportType, ImportedKeyMaterial};

pub(super) fn get_parameters_for_import(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let spec = required_choice(input, "WrappingKeySpec")?;
    let algorithm = required_choice(input, "WrappingAlgorithm")?;
    let key = input.required_text("KeyId");
    let parameters = request.kms.parameters_for_import(request.call, key, spec, algorithm)?;
    output.text("KeyId", &request.arn(parameters.key));
    output.blob("ImportToken", &parameters.token);
    output.blob("PublicKey", &parameters.public_key);
    output.timestamp("ParametersValidTo", parameters.valid_to);
    Ok(())
}

pub(super) fn import_key_material(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let import = ImportKeyMaterial {
        token: input.required_blob("ImportToken"),
        encrypted: input.required_blob("EncryptedKeyMaterial"),
        expiration: choice(input, "ExpirationModel")?,
        valid_to: input.timestamp("ValidTo"),
        import_type: input.text("ImportType").map(|name| match name {
            "NEW_KEY_MATERIAL" => ImportType::New,
            _ => ImportType::Existing,
        }),
        description: input.text("KeyMaterialDescription"),
        material_id: input.text("KeyMaterialId"),
    };
    let imported = request.kms.import_key_material(request.call, input.required_text("KeyId"), &import)?;
    write(request, imported, output);
    Ok(())
}

pub(super) fn delete_imported_key_material(
    request: &Request<'_>,
    input: &Input<'_>,
    output: &mut Object<'_>,
) -> Result<()> {
    let (key, material) = (input.required_text("KeyId"), input.text("KeyMaterialId"));
    let deleted = request.kms.delete_imported_key_material(request.call, key, material)?;
    write(request, deleted, output);
    Ok(())
}

fn write(request: &Request<'_>, material: ImportedKeyMaterial, output: &mut Object<'_>) {
    output.text("KeyId", &request.arn(material.key));
    if let Some(id) = material.material_id {
        output.text("KeyMaterialId", &id.to_string());
    }
}
