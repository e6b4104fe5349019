//! `kmsfs init`: a new volume, and the keystore with it where there is none.

use std::{
    fs::{DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;

use super::{
    Exit, Failure, Global, access, output,
    provider::{Kms, KmsArgs},
    secret::UnlockArgs,
    show,
};
use crate::{
    crypto::Cipher,
    keys::{KeyProvider, LocalProvider, WrapMode},
    kms::{self, DEFAULT_ALIAS},
    volume::{self, Volume, config::CONFIG},
};

/// Arguments of `kmsfs init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ciphers:
  aes-256-gcm-siv     safest: a repeated nonce reveals no more than equality
  aes-256-gcm         fastest where the processor has AES
  chacha20-poly1305   fast where it has not

Examples:
  kmsfs init ~/vault.enc
  kmsfs init --key alias/work --cipher aes-256-gcm ~/work.enc
  kmsfs init --passphrase-file pw ~/vault.enc

If there is no keystore and no --key is named, the keystore is made too, and the
passphrase given or asked for becomes its first slot.")]
pub struct Args {
    /// An empty directory for the ciphertext; made if it does not exist
    lower: PathBuf,
    /// The key that wraps the volume's keys: an id, an ARN or an alias; in a token, a label
    #[arg(long, visible_alias = "cmk", value_name = "KEY", default_value = DEFAULT_ALIAS)]
    key: String,
    /// The cipher of file contents
    #[arg(long, default_value = "aes-256-gcm-siv", value_parser = str::parse::<Cipher>)]
    cipher: Cipher,
    /// What wraps the keys of files: the CMK itself (direct), or keys between it and them, so that one call to the KMS
    /// serves many files (zone-key) [default: zone-key where the KMS is behind a network, else direct]
    #[arg(long, value_name = "MODE", value_parser = str::parse::<WrapMode>)]
    wrap: Option<WrapMode>,
    /// Mix a secret of each file's own, kept in the KMS's keystore, into its wrapped key: once that is destroyed, no copy of
    /// the file opens (`kmsfs shred`). With local: or a kmsfs service only
    #[arg(long)]
    shreddable: bool,
    #[command(flatten)]
    kms: KmsArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Runs the command.
///
/// # Errors
/// The directory is not empty, the keystore does not open, the key cannot serve, or nothing can be written.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    // Before anybody is asked for a passphrase, and before a keystore is made for nothing.
    refuse_occupied(&args.lower)?;
    let kms = match &*args.kms.kms {
        [] => Kms::Local,
        [kms] => kms.clone(),
        _ => {
            return Err(Failure::new(
                Exit::Usage,
                "a new volume has its key in one KMS: name one with --kms",
            ));
        }
    };
    let provider: Arc<dyn KeyProvider> = match &kms {
        Kms::Local => Arc::new(LocalProvider::new(Arc::new(keystore(args, global)?))),
        Kms::Service(_) | Kms::Token(_) => kms.open(global, &args.unlock, args.kms.pin_fd)?,
    };
    make_directory(&args.lower)?;
    let config = Volume::create(
        &args.lower,
        &*provider,
        &kms.to_string(),
        &args.key,
        args.cipher,
        args.wrap,
        args.shreddable,
    )
    .map_err(|err| Failure::from(err).context(args.lower.display()))?;
    if global.json {
        return output::json(&json!({
            "lower": args.lower, "volume": show::hex(config.volume_id()), "cipher": config.cipher().to_string(),
            "cmk": config.cmk(), "kms": provider.description(), "wrap": config.settings().wrap.to_string(),
            "shreddable": config.settings().shreddable,
        }));
    }
    let named = match &kms {
        Kms::Local => String::new(),
        Kms::Service(_) | Kms::Token(_) => format!("--kms {} ", kms.argument()),
    };
    output::note(format_args!(
        "Made the volume {}, {} under {}.\nTo mount it: kmsfs mount {named}{} MOUNTPOINT",
        args.lower.display(),
        config.cipher(),
        if let Kms::Token(_) = kms { config.cmk() } else { &args.key },
        args.lower.display()
    ));
    Ok(())
}

/// The keystore; a new one if there is none and no key of it is named.
fn keystore(args: &Args, global: &Global) -> Result<kms::Kms, Failure> {
    let location = access::location(global)?;
    if args.key != DEFAULT_ALIAS || location.exists()? {
        return access::open(global, &args.unlock);
    }
    let kms = access::create(&location, &args.unlock.source(), "", None)?;
    output::note(format_args!(
        "Made the keystore {location}. Back it up: without it the volume cannot be read."
    ));
    Ok(kms)
}

fn refuse_occupied(lower: &Path) -> Result<(), Failure> {
    match Volume::occupant(lower) {
        Ok(None) => Ok(()),
        Ok(Some(name)) if name == CONFIG => {
            let message = format!("{} is a volume already", lower.display());
            Err(Failure::new(Exit::NotEmpty, message).hint("To see what it is: kmsfs info"))
        }
        Ok(Some(_)) => Err(Failure::new(Exit::NotEmpty, format_args!("{} is not empty", lower.display()))
            .hint("A volume begins in an empty directory; copy files into its mount afterwards.")),
        Err(volume::Error::Os(err)) if err.kind() == ErrorKind::NotFound => Ok(()),
        Err(volume::Error::Os(err)) => Err(Failure::io("use the directory", lower, &err)),
        Err(err) => Err(err.into()),
    }
}

/// Makes the directory, for its owner alone, and its name durable.
fn make_directory(lower: &Path) -> Result<(), Failure> {
    if lower.is_dir() {
        return Ok(());
    }
    let parent = lower.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(lower);
    made.and_then(|()| File::open(parent)?.sync_all())
        .map_err(|err| Failure::io("make the directory", lower, &err))
}
