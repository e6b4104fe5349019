//! Key material from elsewhere.

use std::path::PathBuf;

use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    OPERATOR,
    manage::key_id,
    stdio::{Input, base64, read_file, write_file},
};
use crate::{
    cli::{
        Failure, output,
        show::{date, timestamp},
    },
    kms::{ExpirationModel, ImportKeyMaterial, ImportType, KeySpec, Kms, WrappingAlgorithm},
};

/// Arguments of `kmsfs key import-parameters`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, for a 256-bit key:
  id=$(kmsfs key create --origin EXTERNAL)
  kmsfs key import-parameters $id --public-key wrap.der --token token.bin
  openssl pkeyutl -encrypt -pubin -inkey wrap.der -keyform DER -in material.bin \\
      -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -out wrapped.bin
  kmsfs key import $id --token token.bin --in wrapped.bin")]
pub struct ParametersArgs {
    /// The key, made with --origin EXTERNAL
    key: String,
    /// File for the public key to wrap the material with, in DER
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// File for the token that the import needs
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// What kind of key wraps
    #[arg(long, value_name = "SPEC", default_value_t = KeySpec::Rsa4096)]
    wrapping_spec: KeySpec,
    /// How it wraps; private RSA keys need RSA_AES_KEY_WRAP_SHA_256
    #[arg(long, value_name = "ALGORITHM", default_value_t = WrappingAlgorithm::RsaesOaepSha256)]
    algorithm: WrappingAlgorithm,
}

/// Arguments of `kmsfs key import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The key
    key: String,
    /// File with the token of import-parameters
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// When the material goes away by itself, as in 2027-01-31T00:00:00Z; never, if not given
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    valid_to: Option<OffsetDateTime>,
    /// It is material the key never had, for the next rotation
    #[arg(long)]
    new: bool,
    /// What the material is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    input: Input,
}

/// Arguments of `kmsfs key delete-material`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// The key
    key: String,
    /// Delete this material instead of the current one; see `kmsfs key rotation status --json`
    #[arg(long, value_name = "ID")]
    material: Option<String>,
}

fn parse_date(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "expected a date as in 2027-01-31T00:00:00Z".to_owned())
}

/// `kmsfs key import-parameters`.
pub fn parameters(kms: &Kms, args: &ParametersArgs, json: bool) -> Result<(), Failure> {
    let id = key_id(kms, &args.key)?;
    let made = kms.parameters_for_import(&OPERATOR, &id, args.wrapping_spec, args.algorithm)?;
    write_file(&args.public_key, &made.public_key)?;
    write_file(&args.token, &made.token)?;
    if json {
        return output::json(&json!({
            "KeyId": kms.key_arn(&OPERATOR, made.key), "ImportToken": base64(&made.token),
            "PublicKey": base64(&made.public_key), "ParametersValidTo": timestamp(made.valid_to),
        }));
    }
    output::note(format_args!("Good until {}.", date(made.valid_to)));
    Ok(())
}

/// `kmsfs key import`.
pub fn import(kms: &Kms, args: &ImportArgs, json: bool) -> Result<(), Failure> {
    let id = key_id(kms, &args.key)?;
    let (token, encrypted) = (read_file(&args.token, true)?, args.input.read()?);
    let request = ImportKeyMaterial {
        token: &token,
        encrypted: &encrypted,
        expiration: args.valid_to.is_none().then_some(ExpirationModel::DoesNotExpire),
        valid_to: args.valid_to,
        import_type: args.new.then_some(ImportType::New),
        description: args.description.as_deref(),
        material_id: None,
    };
    let imported = kms.import_key_material(&OPERATOR, &id, &request)?;
    if json {
        return output::json(&json!({
            "KeyId": kms.key_arn(&OPERATOR, imported.key),
            "KeyMaterialId": imported.material_id.map(|id| id.to_string()),
        }));
    }
    output::note(format_args!(
        "Keep the material: should it expire or be deleted, only the same can come back."
    ));
    Ok(())
}

/// `kmsfs key delete-material`.
pub fn delete(kms: &Kms, args: &DeleteArgs, json: bool) -> Result<(), Failure> {
    let id = key_id(kms, &args.key)?;
    let deleted = kms.delete_imported_key_material(&OPERATOR, &id, args.material.as_deref())?;
    if json {
        return output::json(&json!({
            "KeyId": kms.key_arn(&OPERATOR, deleted.key),
            "KeyMaterialId": deleted.material_id.map(|id| id.to_string()),
        }));
    }
    Ok(())
}
