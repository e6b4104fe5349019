//! `kmsfs key`: the operations of the KMS, under the names people know from AWS KMS.
//!
//! With `--json` each command prints the document the AWS CLI prints for the same operation, or, where that prints
//! nothing, the key and its state.

mod alias;
mod asymmetric;
mod crypt;
mod data_key;
mod grant;
mod import;
mod mac;
mod manage;
mod policy;
mod rotation;
mod show;
pub mod stdio;
mod tag;
mod usage;

use clap::Subcommand;

use super::{Failure, Global, access, secret::AdministerArgs};
use crate::kms::Call;

/// On whose behalf everything here runs.
const OPERATOR: Call<'static> = Call::operator();

/// The groups of `kmsfs key --help`.
pub const GROUPS: &[super::help::Group] = &[
    ("Keys", &["create", "list", "describe", "last-usage", "usage", "update-description"]),
    ("Switching", &["disable", "enable", "schedule-deletion", "cancel-deletion"]),
    ("Key material", &["rotate", "rotation", "import-parameters", "import", "delete-material"]),
    ("Who may use it", &["policy", "grant"]),
    ("Names and labels", &["alias", "tag", "untag"]),
    ("Encrypting", &["encrypt", "decrypt", "re-encrypt", "generate-data-key", "random"]),
    ("Signing and agreeing", &["public-key", "sign", "verify", "mac", "verify-mac", "derive-shared-secret"]),
];

const ABOUT_KEYS: &str = "\
A KEY is a key id, a key ARN, an alias (alias/work) or an alias ARN.

The key alias/kmsfs/default is made and used by the filesystem alone. The list
shows it, but nobody can encrypt or decrypt with it, disable it or delete it.
Create a key of your own for that. alias/kmsfs/owned is such a key too, which
no list shows.

A mount that uses the same keystore notices every change within a second.";

/// Arguments of `kmsfs key`.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT_KEYS)]
pub struct Args {
    #[command(flatten)]
    administer: AdministerArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a customer managed key
    Create(manage::CreateArgs),
    /// List all keys
    List,
    /// Show everything about a key but its material
    Describe(manage::KeyArg),
    /// Show when a key was last used, and for what
    LastUsage(manage::KeyArg),
    /// Tell whether volumes still need a key, or old versions of its material
    Usage(usage::Args),
    /// Change a key's description
    UpdateDescription(manage::DescriptionArgs),
    /// Switch a key off: what it protects stops opening within a second
    Disable(manage::KeyArg),
    /// Switch a key on again
    Enable(manage::KeyArg),
    /// Destroy a key after a waiting period of 7 to 30 days
    ScheduleDeletion(manage::DeletionArgs),
    /// Keep a key that is pending deletion; it is disabled afterwards
    CancelDeletion(manage::KeyArg),
    /// Give a key new material now; old ciphertexts still open
    Rotate(manage::KeyArg),
    /// Rotate a key by the calendar, or show its rotations
    #[command(subcommand)]
    Rotation(rotation::Command),
    /// Get a public key to wrap key material with, good for 24 hours
    ImportParameters(import::ParametersArgs),
    /// Import key material that was wrapped so
    Import(import::ImportArgs),
    /// Delete imported key material; the key cannot be used until it is imported again
    DeleteMaterial(import::DeleteArgs),
    /// Make, move, delete and list aliases
    #[command(subcommand)]
    Alias(alias::Command),
    /// Print or exchange a key's policy: who may do what with it over a service
    #[command(subcommand)]
    Policy(policy::Command),
    /// Let a principal use a key, list who may, and take it back
    #[command(subcommand)]
    Grant(grant::Command),
    /// Put labels on a key
    Tag(tag::TagArgs),
    /// Take labels off a key
    Untag(tag::UntagArgs),
    /// Encrypt up to 4096 bytes
    Encrypt(crypt::EncryptArgs),
    /// Decrypt what encrypt, re-encrypt or generate-data-key made
    Decrypt(crypt::DecryptArgs),
    /// Decrypt and encrypt under another key, without showing the plaintext
    ReEncrypt(crypt::ReEncryptArgs),
    /// Make a data key: in the clear for use now, encrypted to keep
    GenerateDataKey(data_key::DataKeyArgs),
    /// Print random bytes
    Random(data_key::RandomArgs),
    /// Print a key pair's public key
    PublicKey(asymmetric::PublicKeyArgs),
    /// Sign up to 4096 bytes, or a digest
    Sign(asymmetric::SignArgs),
    /// Verify a signature
    Verify(asymmetric::VerifyArgs),
    /// Compute the MAC of up to 4096 bytes
    Mac(mac::MacArgs),
    /// Verify a MAC
    VerifyMac(mac::VerifyMacArgs),
    /// Agree on a secret with the owner of another key pair
    DeriveSharedSecret(asymmetric::DeriveArgs),
}

/// Opens the keystore and runs the command.
///
/// # Errors
/// The keystore cannot be opened, or the KMS refuses.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    if let Command::Usage(usage) = &args.command {
        return usage::run(usage, global, &args.administer.unlock);
    }
    let kms = access::administer(global, &args.administer)?;
    let json = global.json;
    match &args.command {
        Command::Usage(_) => unreachable!("done without the keystore"),
        Command::Create(args) => manage::create(&kms, args, json),
        Command::List => manage::list(&kms, json),
        Command::Describe(args) => manage::describe(&kms, args, json),
        Command::LastUsage(args) => manage::last_usage(&kms, args, json),
        Command::UpdateDescription(args) => manage::update_description(&kms, args, json),
        Command::Disable(args) => manage::disable(&kms, args, json),
        Command::Enable(args) => manage::enable(&kms, args, json),
        Command::ScheduleDeletion(args) => manage::schedule_deletion(&kms, args, json),
        Command::CancelDeletion(args) => manage::cancel_deletion(&kms, args, json),
        Command::Rotate(args) => rotation::rotate(&kms, args, json),
        Command::Rotation(command) => rotation::run(&kms, command, json),
        Command::ImportParameters(args) => import::parameters(&kms, args, json),
        Command::Import(args) => import::import(&kms, args, json),
        Command::DeleteMaterial(args) => import::delete(&kms, args, json),
        Command::Alias(command) => alias::run(&kms, command, json),
        Command::Policy(command) => policy::run(&kms, command, json),
        Command::Grant(command) => grant::run(&kms, command, json),
        Command::Tag(args) => tag::tag(&kms, args, json),
        Command::Untag(args) => tag::untag(&kms, args, json),
        Command::Encrypt(args) => crypt::encrypt(&kms, args, json),
        Command::Decrypt(args) => crypt::decrypt(&kms, args, json),
        Command::ReEncrypt(args) => crypt::re_encrypt(&kms, args, json),
        Command::GenerateDataKey(args) => data_key::generate(&kms, args, json),
        Command::Random(args) => data_key::random(&kms, args, json),
        Command::PublicKey(args) => asymmetric::public_key(&kms, args, json),
        Command::Sign(args) => asymmetric::sign(&kms, args, json),
        Command::Verify(args) => asymmetric::verify(&kms, args, json),
        Command::Mac(args) => mac::generate(&kms, args, json),
        Command::VerifyMac(args) => mac::verify(&kms, args, json),
        Command::DeriveSharedSecret(args) => asymmetric::derive(&kms, args, json),
    }
}
