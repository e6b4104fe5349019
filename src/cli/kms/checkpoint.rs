//! `kmsfs kms checkpoint`: what shows an auditor that the log is still what it was, whoever has the keys.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::log::LogArgs;
use crate::{
    cli::{
        Exit, Failure, Global, access,
        hsm::SocketArgs,
        key::stdio::{decode, read_file, read_pem, write_pem},
        output,
        secret::UnlockArgs,
        show,
    },
    crypto::asymmetric::PublicKey,
    hsm::Sealed,
    kms::audit::{Checkpoint, CheckpointError},
};

/// Commands of `kmsfs kms checkpoint`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A checkpoint is a line of text, signed, that says what the audit log is by now. Who
keeps checkpoints where the service's operators cannot write can tell later, with
the public key and no secret, whether anything in the log that they cover was
altered, cut off or replaced, also by somebody who can unlock the keystore.

Note the public key when the log is new; it changes with `kmsfs hsm rekey`.

Examples:
  kmsfs kms checkpoint key > audit.pem
  kmsfs kms checkpoint make | ssh auditor 'cat > checkpoints/$(date +%F)'
  kmsfs kms checkpoint verify --public-key audit.pem --audit copy/ checkpoints/*")]
pub enum Command {
    /// Verify the log and print a checkpoint of it
    Make(MakeArgs),
    /// Print the public key that verifies checkpoints, as PEM
    Key(KeyArgs),
    /// Compare the log, or a copy of it, with checkpoints; the keystore stays closed
    Verify(VerifyArgs),
}

/// Where a checkpoint or a key is had from: the keystore, or a service that has it open.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --socket, the keystore is opened. That of an HSM cannot be: its service is
asked, for which one must be root or the service's own user.")]
pub struct KeyArgs {
    #[command(flatten)]
    socket: SocketArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Arguments of `kmsfs kms checkpoint make`.
#[derive(Debug, clap::Args)]
pub struct MakeArgs {
    #[command(flatten)]
    from: KeyArgs,
    #[command(flatten)]
    first: FirstArgs,
}

/// Arguments of `kmsfs kms checkpoint verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Files with a checkpoint each
    #[arg(required = true, value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The public key, as `kmsfs kms checkpoint key` printed it
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    #[command(flatten)]
    first: FirstArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Args)]
struct FirstArgs {
    /// The first segment that is still here, if those before it were moved to an archive
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    first: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// The log cannot be read, or does not verify: [`Exit::Damaged`].
pub fn run(command: &Command, global: &Global, unlock: &UnlockArgs) -> Result<(), Failure> {
    match command {
        Command::Make(args) => {
            let made = args.from.make(args.first.first, global, unlock)?;
            match global.json {
                true => output::json(&json!({ "Checkpoint": made.trim_end() })),
                false => output::bytes(made.as_bytes()),
            }
        }
        Command::Key(args) => {
            let pem = write_pem("PUBLIC KEY", &args.key(global, unlock)?);
            match global.json {
                true => output::json(&json!({ "PublicKey": pem })),
                false => output::bytes(pem.as_bytes()),
            }
        }
        Command::Verify(args) => verify(args, global),
    }
}

impl KeyArgs {
    fn make(&self, first: Option<u64>, global: &Global, unlock: &UnlockArgs) -> Result<String, Failure> {
        if self.is_served(global)? {
            return self.ask(first, "Checkpoint");
        }
        let directory = self.log.directory(global)?;
        let kms = access::open(global, unlock)?;
        let keys = (&kms.audit_key(), &kms.checkpoint_key());
        Ok(Checkpoint::make(&directory, keys, first, OffsetDateTime::now_utc())?)
    }

    fn key(&self, global: &Global, unlock: &UnlockArgs) -> Result<Vec<u8>, Failure> {
        if self.is_served(global)? {
            return decode(self.ask(None, "PublicKey")?.as_bytes()).ok_or_else(not_understood);
        }
        Ok(access::open(global, unlock)?.checkpoint_key().public_spki()?)
    }

    /// Whether the service is asked.
    fn is_served(&self, global: &Global) -> Result<bool, Failure> {
        Ok(self.socket.is_named() || Sealed::find(&access::location(global)?).is_ok())
    }

    fn ask(&self, first: Option<u64>, member: &str) -> Result<String, Failure> {
        let body = first.map_or_else(|| json!({}), |first| json!({ "First": first }));
        let answer = self.socket.call("AuditCheckpoint", body)?;
        Ok(answer[member].as_str().ok_or_else(not_understood)?.to_owned())
    }
}

fn not_understood() -> Failure {
    Failure::new(Exit::Failure, "the service's answer is not understood")
}

fn verify(args: &VerifyArgs, global: &Global) -> Result<(), Failure> {
    let directory = args.log.directory(global)?;
    let key = Checkpoint::public_key(&read_pem(&args.public_key)?)?;
    let mut found = Vec::new();
    let mut broken = None;
    for path in &args.checkpoints {
        let checkpoint = open(path, &key)?;
        let comparison = checkpoint.compare(&directory, args.first.first)?;
        let (time, covered) = (show::date(checkpoint.time), checkpoint.end.sequence);
        if !global.json {
            let outcome = match &comparison.broken {
                None => format!("as it was; {} bytes more since", comparison.since),
                Some(broken) => format!("NOT as it was: {broken}"),
            };
            let line = format!("{}: {time}, {covered} lines: {outcome}", path.display());
            output::line(format_args!("{}", output::printable(&line)))?;
        }
        found.push(json!({
            "File": path, "Time": time, "Lines": covered, "Segments": comparison.segments,
            "BytesSince": comparison.since, "Log": checkpoint.log,
            "Broken": comparison.broken.as_ref().map(ToString::to_string),
        }));
        broken = broken.or(comparison.broken);
    }
    if global.json {
        output::json(&Value::Array(found))?;
    }
    match broken {
        None => Ok(()),
        Some(broken) => Err(Failure::new(Exit::Damaged, output::printable(&broken.to_string()))
            .hint("Keep the directory as it is, and compare it with a copy.")),
    }
}

fn open(path: &Path, key: &PublicKey) -> Result<Checkpoint, Failure> {
    let bytes = read_file(path, true)?;
    let text = str::from_utf8(&bytes).map_err(|_| CheckpointError::Malformed)?;
    Checkpoint::open(text, key).map_err(|error| match error {
        CheckpointError::Malformed | CheckpointError::Signature => {
            Failure::new(Exit::Damaged, format_args!("{}: {error}", path.display()))
        }
        error => error.into(),
    })
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Failure {
        match error {
            CheckpointError::Log(error) => error.into(),
            CheckpointError::Broken(_) => Failure::new(Exit::Damaged, output::printable(&error.to_string()))
                .hint("See `kmsfs kms audit --verify`."),
            CheckpointError::Malformed | CheckpointError::Signature => Failure::new(Exit::Damaged, error),
            CheckpointError::Crypto(_) => Failure::new(Exit::Failure, error),
        }
    }
}
