//! The help pages: what clap prints, with commands in groups and the tables a stranger needs.
//!
//! Every sentence about a command comes from its definition; this file only orders them.

use std::fmt::Write as _;

use super::exit;

/// A heading and the names of the commands under it.
pub type Group = (&'static str, &'static [&'static str]);

/// The groups of `kmsfs --help`.
pub const COMMANDS: &[Group] = &[
    ("Volumes", &["init", "mount", "umount", "status", "info", "check"]),
    ("Keys", &["key", "keystore"]),
    ("Shell", &["completions", "help"]),
];

const FIRST_STEPS: &str = "\
First steps:
  kmsfs init ~/vault.enc             make a volume; makes the keystore too, and asks for its new passphrase
  mkdir -p ~/vault
  kmsfs mount ~/vault.enc ~/vault    returns when the mount answers
  kmsfs umount ~/vault

A key of your own, and its off switch:
  kmsfs key create --alias alias/work
  kmsfs init --key alias/work ~/work.enc
  kmsfs key disable alias/work       within a second nothing under this key opens
  kmsfs key enable alias/work

Words:
  volume       a directory of ciphertext (the lower directory) made by `kmsfs init`
  CMK, key     a customer master key: wraps the data key of every file, never leaves the KMS
  keystore     the file the KMS keeps its keys in, sealed under passphrases and key files
";

const ENVIRONMENT: &str = "\
Environment:
  KMSFS_KEYSTORE          as --keystore
  KMSFS_PASSPHRASE_FILE   as --passphrase-file, where no option says otherwise
  KMSFS_LOG               what to log, as in \"info\" or \"kmsfs::volume=debug\"; overrides -v
  XDG_DATA_HOME           where the default keystore lives, below kmsfs/
";

/// Puts the commands of `command` in `groups` and adds the tables at its end.
pub fn root(command: clap::Command) -> clap::Command {
    let after = format!("{FIRST_STEPS}\n{ENVIRONMENT}\nExit codes:\n{}", exit_codes());
    let page = grouped(&command, COMMANDS);
    command
        .help_template(page)
        .after_help("See 'kmsfs --help' for first steps, environment and exit codes.")
        .after_long_help(after)
}

/// A help template with the subcommands of `command` in `groups`.
pub fn grouped(command: &clap::Command, groups: &[Group]) -> String {
    let width = command.get_subcommands().map(|sub| sub.get_name().len()).max().unwrap_or(0).max(4);
    let mut page = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (heading, names) in groups {
        let _ = write!(page, "\n{heading}:\n");
        for name in *names {
            // clap adds its own `help` only when it builds the command.
            let about = match command.find_subcommand(name).and_then(clap::Command::get_about) {
                Some(about) => about.to_string(),
                None => "Print this page, or the page of a command".to_owned(),
            };
            let _ = writeln!(page, "  {name:width$}  {about}");
        }
    }
    page.push_str("\nOptions:\n{options}{after-help}\n");
    page
}

/// The exit codes as lines of "  code  meaning".
pub fn exit_codes() -> String {
    exit::TABLE.iter().fold(String::new(), |mut lines, (code, meaning)| {
        let _ = writeln!(lines, "  {:2}  {meaning}", *code as u8);
        lines
    })
}
