//! Encrypting small things under a key.

use serde_json::json;

use super::{
    OPERATOR,
    manage::parse_pair,
    stdio::{Input, Output, base64},
};
use crate::{
    cli::{Failure, output},
    kms::{EncryptionAlgorithm, EncryptionContext, Kms, ReEncrypt},
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
    /// How to encrypt [default: SYMMETRIC_DEFAULT; for RSA keys RSAES_OAEP_SHA_256]
    #[arg(long, value_name = "ALGORITHM")]
    algorithm: Option<EncryptionAlgorithm>,
}

/// Arguments of `kmsfs key decrypt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The plaintext comes out as it went in. A terminal gets it only if it is text.")]
pub struct DecryptArgs {
    /// Refuse ciphertexts of any other key; needed for an RSA key, which its ciphertexts do not name
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
    /// How it was encrypted [default: SYMMETRIC_DEFAULT; for RSA keys RSAES_OAEP_SHA_256]
    #[arg(long, value_name = "ALGORITHM")]
    algorithm: Option<EncryptionAlgorithm>,
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
    let algorithm = algorithm(kms, Some(&args.key), args.algorithm)?;
    let done = kms.encrypt(&OPERATOR, &args.key, algorithm, &plaintext, &args.context.context())?;
    if json {
        return output::json(&json!({
            "CiphertextBlob": base64(&done.blob), "KeyId": kms.key_arn(&OPERATOR, done.key),
            "EncryptionAlgorithm": algorithm,
        }));
    }
    args.output.write_ciphertext(&done.blob, args.raw)
}

/// `kmsfs key decrypt`.
pub fn decrypt(kms: &Kms, args: &DecryptArgs, json: bool) -> Result<(), Failure> {
    let ciphertext = args.input.read_ciphertext(args.raw)?;
    let (key, context) = (args.key.as_deref(), args.context.context());
    let algorithm = algorithm(kms, key, args.algorithm)?;
    let done = kms.decrypt(&OPERATOR, key, algorithm, &ciphertext, &context)?;
    if json {
        return output::json(&json!({
            "KeyId": kms.key_arn(&OPERATOR, done.key), "Plaintext": base64(done.plaintext.expose()),
            "EncryptionAlgorithm": algorithm,
        }));
    }
    args.output.write_plaintext(done.plaintext.expose())
}

/// `kmsfs key re-encrypt`.
pub fn re_encrypt(kms: &Kms, args: &ReEncryptArgs, json: bool) -> Result<(), Failure> {
    let ciphertext = args.input.read_ciphertext(args.raw)?;
    let source_algorithm = algorithm(kms, args.source_key.as_deref(), None)?;
    let destination_algorithm = algorithm(kms, Some(&args.key), None)?;
    let request = ReEncrypt {
        blob: &ciphertext,
        source_key: args.source_key.as_deref(),
        source_algorithm,
        destination_algorithm,
        source_context: &context(&args.source_context),
        destination_key: &args.key,
        destination_context: &args.context.context(),
    };
    let done = kms.re_encrypt(&OPERATOR, &request)?;
    let made = done.encrypted;
    if json {
        return output::json(&json!({
            "CiphertextBlob": base64(&made.blob), "SourceKeyId": kms.key_arn(&OPERATOR, done.source_key),
            "KeyId": kms.key_arn(&OPERATOR, made.key), "SourceEncryptionAlgorithm": source_algorithm,
            "DestinationEncryptionAlgorithm": destination_algorithm,
        }));
    }
    args.output.write_ciphertext(&made.blob, args.raw)
}

/// The algorithm that was asked for, or the best one of the key.
fn algorithm(
    kms: &Kms,
    key: Option<&str>,
    asked: Option<EncryptionAlgorithm>,
) -> Result<EncryptionAlgorithm, Failure> {
    let is_rsa = match (asked, key) {
        (Some(asked), _) => return Ok(asked),
        (None, Some(key)) => kms.describe_key(&OPERATOR, key)?.spec.is_rsa(),
        (None, None) => false,
    };
    Ok(if is_rsa { EncryptionAlgorithm::RsaesOaepSha256 } else { EncryptionAlgorithm::SymmetricDefault })
}
