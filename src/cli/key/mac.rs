//! Message authentication codes.

use std::path::PathBuf;

use serde_json::json;

use super::{
    OPERATOR,
    stdio::{Input, Output, base64, read_file},
};
use crate::{
    cli::{Failure, output},
    kms::{Kms, MacAlgorithm},
};

/// Arguments of `kmsfs key mac`.
#[derive(Debug, clap::Args)]
pub struct MacArgs {
    /// The key
    key: String,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    output: Output,
    /// Write binary instead of base64
    #[arg(long)]
    raw: bool,
}

/// Arguments of `kmsfs key verify-mac`.
#[derive(Debug, clap::Args)]
pub struct VerifyMacArgs {
    /// The key
    key: String,
    /// File with the MAC
    #[arg(long, value_name = "FILE")]
    mac: PathBuf,
    #[command(flatten)]
    input: Input,
    /// The MAC is binary instead of base64
    #[arg(long)]
    raw: bool,
}

/// `kmsfs key mac`.
pub fn generate(kms: &Kms, args: &MacArgs, json: bool) -> Result<(), Failure> {
    let (arn, algorithm) = algorithm(kms, &args.key)?;
    let made = kms.generate_mac(&OPERATOR, &args.key, &args.input.read()?, algorithm)?;
    if json {
        return output::json(&json!({
            "KeyId": arn, "Mac": base64(&made.mac), "MacAlgorithm": algorithm,
        }));
    }
    args.output.write_ciphertext(&made.mac, args.raw)
}

/// `kmsfs key verify-mac`.
pub fn verify(kms: &Kms, args: &VerifyMacArgs, json: bool) -> Result<(), Failure> {
    let (arn, algorithm) = algorithm(kms, &args.key)?;
    let mac = read_file(&args.mac, args.raw)?;
    kms.verify_mac(&OPERATOR, &args.key, &args.input.read()?, algorithm, &mac)?;
    if json {
        return output::json(&json!({ "KeyId": arn, "MacValid": true, "MacAlgorithm": algorithm }));
    }
    output::note(format_args!("The MAC is valid."));
    Ok(())
}

/// A key's ARN, and the one algorithm that an HMAC key has. For another key any will do: the KMS says why not.
fn algorithm(kms: &Kms, key: &str) -> Result<(String, MacAlgorithm), Failure> {
    let key = kms.describe_key(&OPERATOR, key)?;
    let algorithm = key.mac_algorithm().unwrap_or(MacAlgorithm::HmacSha256);
    Ok((key.arn, algorithm))
}
