//! temp
use super::{Failure, Global, access, secret::UnlockArgs};
use crate::keys::{KeyProvider, LocalProvider};
use std::path::PathBuf;
use std::sync::Arc;
/// args
#[derive(Debug, clap::Args)]
pub struct Args {
    lower: PathBuf,
    #[arg(long, default_value = "aes-256-gcm-siv")]
    cipher: String,
    #[arg(long, default_value = "alias/kmsfs/default")]
    key: String,
    #[command(flatten)]
    unlock: UnlockArgs,
}
/// run
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let path = access::path(global)?;
    let kms = if path.exists() {
        access::open(global, &args.unlock)?
    } else {
        access::create(&path, &args.unlock.source(), "first", None)?
    };
    let kms = Arc::new(kms);
    let provider = LocalProvider::new(Arc::clone(&kms));
    if args.key == "alias/kmsfs/default" {
        let _ = kms.service_key();
    }
    let _ = provider.resolve(&args.key)?;
    crate::volume::Volume::create(
        &args.lower,
        &provider,
        "local:",
        &args.key,
        args.cipher.parse().unwrap_or(crate::crypto::Cipher::Aes256GcmSiv),
    )?;
    Ok(())
}
