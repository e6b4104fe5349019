//! Key pairs: public keys, signatures, shared secrets.

use std::path::PathBuf;

use serde_json::json;

use super::{
    OPERATOR, show,
    stdio::{Input, Output, base64, read_file, read_pem, write_pem},
};
use crate::{
    cli::{Failure, output},
    kms::{KeyAgreementAlgorithm, KeyMetadata, Kms, MessageType, SigningAlgorithm, ToSign},
};

/// Arguments of `kmsfs key public-key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  kmsfs key public-key alias/release > release.pem
  openssl pkey -pubin -in release.pem -noout -text")]
pub struct PublicKeyArgs {
    /// The key
    key: String,
    /// Write binary DER instead of PEM
    #[arg(long)]
    der: bool,
    #[command(flatten)]
    output: Output,
}

/// How a message is signed.
#[derive(Debug, Clone, clap::Args)]
pub struct SchemeArgs {
    /// How to sign [default: what the key's spec allows; for RSA keys RSASSA_PSS_SHA_256]
    #[arg(long, value_name = "ALGORITHM")]
    algorithm: Option<SigningAlgorithm>,
    /// The input is the message's digest, in binary
    #[arg(long)]
    digest: bool,
}

/// Arguments of `kmsfs key sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, for a file of any size:
  openssl dgst -sha256 -binary big.iso | kmsfs key sign alias/release --digest --raw --out big.sig
  openssl dgst -sha256 -verify release.pem -signature big.sig big.iso")]
pub struct SignArgs {
    /// The key
    key: String,
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    output: Output,
    /// Write binary instead of base64
    #[arg(long)]
    raw: bool,
}

/// Arguments of `kmsfs key verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The key
    key: String,
    /// File with the signature
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    input: Input,
    /// The signature is binary instead of base64
    #[arg(long)]
    raw: bool,
}

/// Arguments of `kmsfs key derive-shared-secret`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Put the secret through a key derivation function before you use it as a key.")]
pub struct DeriveArgs {
    /// The key
    key: String,
    /// File with the other side's public key, PEM or DER
    #[arg(long, value_name = "FILE")]
    peer: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// `kmsfs key public-key`.
pub fn public_key(kms: &Kms, args: &PublicKeyArgs, json: bool) -> Result<(), Failure> {
    let public = kms.public_key(&OPERATOR, &args.key)?;
    if json {
        return output::json(&show::public_key_json(&public));
    }
    match args.der {
        true => args.output.write_binary(&public.spki),
        false => args.output.write_text(&write_pem("PUBLIC KEY", &public.spki)),
    }
}

/// `kmsfs key sign`.
pub fn sign(kms: &Kms, args: &SignArgs, json: bool) -> Result<(), Failure> {
    let key = kms.describe_key(&OPERATOR, &args.key)?;
    let message = args.input.read()?;
    let to_sign = args.scheme.to_sign(&key, &message);
    let made = kms.sign(&OPERATOR, &args.key, &to_sign)?;
    if json {
        return output::json(&json!({
            "KeyId": key.arn, "Signature": base64(&made.signature), "SigningAlgorithm": to_sign.algorithm,
        }));
    }
    args.output.write_ciphertext(&made.signature, args.raw)
}

/// `kmsfs key verify`.
pub fn verify(kms: &Kms, args: &VerifyArgs, json: bool) -> Result<(), Failure> {
    let key = kms.describe_key(&OPERATOR, &args.key)?;
    let signature = read_file(&args.signature, args.raw)?;
    let message = args.input.read()?;
    let signed = args.scheme.to_sign(&key, &message);
    kms.verify(&OPERATOR, &args.key, &signed, &signature)?;
    if json {
        return output::json(&json!({
            "KeyId": key.arn, "SignatureValid": true, "SigningAlgorithm": signed.algorithm,
        }));
    }
    output::note(format_args!("The signature is valid."));
    Ok(())
}

/// `kmsfs key derive-shared-secret`.
pub fn derive(kms: &Kms, args: &DeriveArgs, json: bool) -> Result<(), Failure> {
    let peer = read_pem(&args.peer)?;
    let algorithm = KeyAgreementAlgorithm::Ecdh;
    let shared = kms.derive_shared_secret(&OPERATOR, &args.key, algorithm, &peer)?;
    if json {
        return output::json(&json!({
            "KeyId": kms.key_arn(&OPERATOR, shared.key), "SharedSecret": base64(shared.secret.expose()),
            "KeyAgreementAlgorithm": algorithm, "KeyOrigin": shared.origin,
        }));
    }
    args.output.write_plaintext(shared.secret.expose())
}

impl SchemeArgs {
    /// The message with the scheme that was asked for, or the first that suits the key.
    fn to_sign<'a>(&self, key: &KeyMetadata, message: &'a [u8]) -> ToSign<'a> {
        let suits = |algorithm: &SigningAlgorithm| match algorithm {
            SigningAlgorithm::Ed25519 => !self.digest,
            SigningAlgorithm::Ed25519ph => self.digest,
            _ => true,
        };
        let preferred = key.spec.is_rsa().then_some(SigningAlgorithm::PssSha256);
        let first = || key.signing_algorithms().iter().copied().find(suits);
        // For a key that does not sign any will do: the KMS says why not.
        let algorithm = self.algorithm.or(preferred).or_else(first).unwrap_or(SigningAlgorithm::PssSha256);
        let message_type = if self.digest { MessageType::Digest } else { MessageType::Raw };
        ToSign { message_type, message, algorithm }
    }
}
