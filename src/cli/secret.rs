//! Where passphrases and key files come from. Never from an argument, never into a log.

use std::path::PathBuf;

/// How to open the keystore. Flattened into every command that opens one.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Unlocking the keystore")]
pub struct UnlockArgs {
    /// Read the passphrase from FILE [env: KMSFS_PASSPHRASE_FILE]
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Read the passphrase from the open file descriptor FD
    #[arg(long, value_name = "FD", conflicts_with = "passphrase_file")]
    pub passphrase_fd: Option<i32>,
    /// Unlock with a key file's slot instead of a passphrase
    #[arg(long, value_name = "FILE", conflicts_with_all = ["passphrase_file", "passphrase_fd"])]
    pub key_file: Option<PathBuf>,
}
