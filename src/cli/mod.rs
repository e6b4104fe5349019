//! The command line: prints, prompts, progress. Knows no formats and no cryptography.
//!
//! A command is a module with two items, and one line each in `Command` and `Command::run`:
//!
//! ```ignore
//! /// Help text: what it does, first line short.
//! #[derive(Debug, clap::Args)]
//! #[command(after_help = "Examples:\n  kmsfs thing /data")]
//! pub struct Args {
//!     /// The volume's lower directory
//!     lower: PathBuf,
//!     #[command(flatten)]
//!     unlock: secret::UnlockArgs,          // where the keystore is opened
//! }
//!
//! pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
//!     output::line(format_args!("done"))   // never println!: a gone reader must not panic
//! }
//! ```
//!
//! * Results go to standard output through [`output`], everything else to standard error.
//! * With `global.json` the result is one JSON document on standard output.
//! * A [`Failure`] says what happened, to which file or key, and what to do next; its [`Exit`] code is
//!   stable. `?` converts errors of the layers below.
//! * Secrets come from [`secret`] only, never from arguments, and are never printed or logged.
//!   [`access::open`] unlocks the keystore.

pub mod access;
mod check;
mod completions;
pub mod exit;
mod export;
mod files;
mod help;
mod hsm;
mod info;
mod init;
mod key;
mod keystore;
mod kms;
mod live;
pub mod mount;
pub mod mount_helper;
pub mod output;
pub mod provider;
mod recovery_kit;
mod rekey;
mod rewrap;
pub mod secret;
pub mod show;
mod shred;
pub mod status;
mod survey;
pub mod umount;
mod zone;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::kms::keystore::Location;

/// Options every command understands.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Keystore: a file, or postgres://USER@HOST/DATABASE [default: $XDG_DATA_HOME/kmsfs/keystore.db, else ~/.local/share/kmsfs/keystore.db]
    #[arg(long, visible_alias = "store", global = true, value_name = "PLACE", value_parser = access::PlaceParser)]
    #[arg(env = "KMSFS_KEYSTORE", hide_env_values = true)]
    pub keystore: Option<Location>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more on standard error; repeat for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "kmsfs", version, about = "An encrypted filesystem whose keys live in a KMS")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a volume in an empty directory
    Init(init::Args),
    /// Mount a volume
    Mount(mount::Args),
    /// Unmount a volume
    Umount(umount::Args),
    /// Show mounted volumes and their figures
    Status(status::Args),
    /// Show a volume's or a file's cipher, key and sizes; never a secret
    Info(info::Args),
    /// Read and verify everything in a volume
    Check(check::Args),
    /// Restore a volume into an ordinary directory, without mounting it
    Export(export::Args),
    /// Print what must be kept to open a volume in ten years
    RecoveryKit(recovery_kit::Args),
    /// Give subtrees of a volume a key of their own
    Zone(zone::Args),
    /// Bring the keys of files under the newest key material, or under another key
    Rewrap(rewrap::Args),
    /// Give files new data keys and re-encrypt their content, mounted or not
    Rekey(rekey::Args),
    /// Make sure that no copy of files opens any more, backups included
    Shred(shred::Args),
    /// Create, switch, rotate and use keys
    Key(key::Args),
    /// Make the keystore, and manage what unlocks it
    Keystore(keystore::Args),
    /// Serve the KMS to other programs and machines, see who used which key, and what it costs
    Kms(kms::Args),
    /// Have custodians share what opens the keystore: none of them can alone
    Hsm(hsm::Args),
    /// Print a shell's completion script
    Completions(completions::Args),
}

impl Command {
    fn run(&self, global: &Global) -> Result<(), Failure> {
        match self {
            Command::Init(args) => init::run(args, global),
            Command::Mount(args) => mount::run(args, global),
            Command::Umount(args) => umount::run(args, global),
            Command::Status(args) => status::run(args, global),
            Command::Info(args) => info::run(args, global),
            Command::Check(args) => check::run(args, global),
            Command::Export(args) => export::run(args, global),
            Command::RecoveryKit(args) => recovery_kit::run(args, global),
            Command::Zone(args) => zone::run(args, global),
            Command::Rewrap(args) => rewrap::run(args, global),
            Command::Rekey(args) => rekey::run(args, global),
            Command::Shred(args) => shred::run(args, global),
            Command::Key(args) => key::run(args, global),
            Command::Keystore(args) => keystore::run(args, global),
            Command::Kms(args) => kms::run(args, global),
            Command::Hsm(args) => hsm::run(args, global),
            Command::Completions(args) => completions::run(args, global),
        }
    }
}

/// The whole command line as clap sees it, with its help pages.
fn command_line() -> clap::Command {
    let in_groups = |command: clap::Command, groups| {
        let page = help::grouped(&command, groups);
        command.help_template(page)
    };
    let command = Cli::command()
        .mut_subcommand("key", |key| in_groups(key, key::GROUPS))
        .mut_subcommand("kms", |kms| in_groups(kms, kms::GROUPS));
    help::root(command)
}

/// Runs the program: parses the command line, runs the command, prints its failure.
pub fn main() -> ExitCode {
    if mount_helper::was_called() {
        return finish(mount_helper::run(), false);
    }
    let matches = command_line().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(err) => err.exit(),
    };
    init_log(cli.global.verbose);
    finish(cli.command.run(&cli.global), cli.global.json)
}

fn finish(outcome: Result<(), Failure>, json: bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_quiet() {
                output::failure(&failure, json);
            }
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// Warnings by default, `-v` informs, `-vv` debugs; `KMSFS_LOG` overrides with env_logger's syntax.
pub fn init_log(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    let mut builder = env_logger::Builder::new();
    // What goes wrong in PKCS#11 calls is reported by whoever makes them.
    builder.filter_level(level).filter_module("cryptoki", log::LevelFilter::Off);
    builder.parse_env("KMSFS_LOG").format(|buf, record| {
        use std::io::Write;
        writeln!(buf, "kmsfs: {}: {}", record.level().as_str().to_lowercase(), record.args())
    });
    // A second call (mount helper, then mount) keeps the first logger.
    let _ = builder.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        command_line().debug_assert();
    }

    #[test]
    fn every_command_is_in_a_group_of_its_help_page() {
        let command = Cli::command();
        let sub = |name| command.find_subcommand(name).expect("a command of ours");
        for (command, groups) in
            [(&command, help::COMMANDS), (sub("key"), key::GROUPS), (sub("kms"), kms::GROUPS)]
        {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                let name = sub.get_name();
                assert!(groups.iter().any(|(_, names)| names.contains(&name)), "{name} is in no group");
            }
        }
    }
}
