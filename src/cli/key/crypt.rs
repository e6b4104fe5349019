//! Encrypting small things under a key.

use serde_json::json;

use super::{
    OPERATOR,
    manage::parse_pair,
    stdio::{Input, Output, base64},
};
use crate::{
    cli::{Failure, output},
    kms::{EncryptionContext, Kms, ReEncrypt},
};

/// The encryption context of an operation.
#[derive(Debug, Clone, clap::Args)]
pub struct ContextArgs {
    /// Bind the ciphertext to this pair; decrypting needs the same pairs. Repeat for more. Not secret
    #[arg(long = "context", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pairs: Vec<(String, String)>,
}

impl ContextArgs {
    /// As the KMS takes it.
    pub fn context(&self) -> EncryptionContext {
        context(&self.pairs)
    }
}

fn context(pairs: &[(String, String)]) -> EncryptionContext {
    pairs.iter().cloned().collect()
}

/// Arguments of `kmsfs key encrypt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  printf %s \"$TOKEN\" | kmsfs key encrypt alias/work --context app=web > token.b64
  kmsfs key decrypt --context app=web < token.b64")]
pub struct EncryptArgs {
    /// The key
    key: String,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    output: Output,
    /// Write binary instead of base64
    #[arg(long)]
    raw: bool,
}

/// Arguments of `kmsfs key decrypt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The plaintext comes out as it went in. A terminal gets it only if it is text.")]
pub struct DecryptArgs {
    /// Refuse ciphertexts of any other key
    key: Option<String>,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    output: Output,
    /// Read binary instead of base64
    #[arg(long)]
    raw: bool,
}

/// Arguments of `kmsfs key re-encrypt`.
#[derive(Debug, clap::Args)]
pub struct ReEncryptArgs {
    /// The key to encrypt under
    key: String,
    /// Refuse ciphertexts of any key but this
    #[arg(long, value_name = "KEY")]
    source_key: Option<String>,
    /// The encryption context the ciphertext has; repeat for more pairs
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    source_context: Vec<(String, String)>,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    output: Output,
    /// Read and write binary instead of base64
    #[arg(long)]
    raw: bool,
}

/// `kmsfs key encrypt`.
pub fn encrypt(kms: &Kms, args: &EncryptArgs, json: bool) -> Result<(), Failure> {
    let plaintext = args.input.read()?;
    let done = kms.encrypt(&OPERATOR, &args.key, &plaintext, &args.context.context())?;
    if json {
        return output::json(&json!({
            "CiphertextBlob": base64(&done.blob), "KeyId": done.key.arn(),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }));
    }
    args.output.write_ciphertext(&done.blob, args.raw)
}

/// `kmsfs key decrypt`.
pub fn decrypt(kms: &Kms, args: &DecryptArgs, json: bool) -> Result<(), Failure> {
    let ciphertext = args.input.read_ciphertext(args.raw)?;
    let done = kms.decrypt(&OPERATOR, args.key.as_deref(), &ciphertext, &args.context.context())?;
    if json {
        return output::json(&json!({
            "KeyId": done.key.arn(), "Plaintext": base64(done.plaintext.expose()),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }));
    }
    args.output.write_plaintext(done.plaintext.expose())
}

/// `kmsfs key re-encrypt`.
pub fn re_encrypt(kms: &Kms, args: &ReEncryptArgs, json: bool) -> Result<(), Failure> {
    let ciphertext = args.input.read_ciphertext(args.raw)?;
    let request = ReEncrypt {
        blob: &ciphertext,
        source_key: args.source_key.as_deref(),
        source_context: &context(&args.source_context),
        destination_key: &args.key,
        destination_context: &args.context.context(),
    };
    let done = kms.re_encrypt(&OPERATOR, &request)?;
    let made = done.encrypted;
    if json {
        return output::json(&json!({
            "CiphertextBlob": base64(&made.blob), "SourceKeyId": done.source_key.arn(), "KeyId": made.key.arn(),
            "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT", "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }));
    }
    args.output.write_ciphertext(&made.blob, args.raw)
}
