//! Data keys and random bytes.

use serde_json::json;

use super::{
    OPERATOR,
    crypt::ContextArgs,
    stdio::{Output, base64},
};
use crate::{
    cli::{Exit, Failure, output},
    kms::Kms,
};

/// Arguments of `kmsfs key generate-data-key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints two lines, the data key in the clear and encrypted, both in base64:

  plaintext   b64…
  ciphertext  b64…

Use the first and forget it; keep the second beside the data.
`kmsfs key decrypt` turns it into the first again.")]
pub struct DataKeyArgs {
    /// The key to encrypt the data key under
    key: String,
    /// Length of the data key in bytes, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 32)]
    bytes: usize,
    #[command(flatten)]
    context: ContextArgs,
    /// Make it for later: print the ciphertext alone
    #[arg(long)]
    without_plaintext: bool,
    /// Show the data key even on a terminal
    #[arg(long)]
    force: bool,
}

/// Arguments of `kmsfs key random`.
#[derive(Debug, clap::Args)]
pub struct RandomArgs {
    /// How many bytes, 1 to 1024
    bytes: usize,
    #[command(flatten)]
    output: Output,
    /// Write binary instead of base64
    #[arg(long)]
    raw: bool,
}

/// `kmsfs key generate-data-key`.
pub fn generate(kms: &Kms, args: &DataKeyArgs, json: bool) -> Result<(), Failure> {
    if output::is_terminal() && !args.without_plaintext && !args.force {
        return Err(Failure::new(Exit::Failure, "a data key would stay readable on this terminal")
            .hint("Use a pipe, or --without-plaintext, or --force to see it all the same."));
    }
    let made = kms.generate_data_key(&OPERATOR, &args.key, args.bytes, &args.context.context())?;
    let ciphertext = base64(&made.encrypted.blob);
    let plaintext = (!args.without_plaintext).then(|| base64(made.plaintext.expose()));
    if json {
        let mut value =
            json!({ "CiphertextBlob": ciphertext, "KeyId": kms.key_arn(&OPERATOR, made.encrypted.key) });
        if let (Some(plaintext), Some(fields)) = (plaintext, value.as_object_mut()) {
            fields.insert("Plaintext".to_owned(), plaintext.into());
        }
        return output::json(&value);
    }
    match plaintext {
        Some(plaintext) => output::line(format_args!("plaintext   {plaintext}\nciphertext  {ciphertext}")),
        None => output::line(format_args!("{ciphertext}")),
    }
}

/// `kmsfs key random`.
pub fn random(kms: &Kms, args: &RandomArgs, json: bool) -> Result<(), Failure> {
    let bytes = kms.generate_random(&OPERATOR, args.bytes)?;
    if json {
        return output::json(&json!({ "Plaintext": base64(bytes.expose()) }));
    }
    args.output.write_ciphertext(bytes.expose(), args.raw)
}
