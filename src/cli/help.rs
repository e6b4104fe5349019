//! The help pages: what clap prints, with commands in groups and the tables a stranger needs.
//!
//! Every sentence about a command comes from its definition; this file only orders them.

use std::fmt::Write as _;

use super::exit;

/// A heading and the names of the commands under it.
pub type Group = (&'static str, &'static [&'static str]);

/// The groups of `kmsfs --help`.
pub const COMMANDS: &[Group] = &[
    (
        "Volumes",
        &[
            "init",
            "mount",
            "umount",
            "status",
            "info",
            "check",
            "export",
            "recovery-kit",
            "zone",
            "rewrap",
            "rekey",
            "shred",
        ],
    ),
    ("Keys", &["key", "keystore", "kms", "hsm"]),
    ("Shell", &["completions", "help"]),
];

const FIRST_STEPS: &str = "\
First steps:
  kmsfs init ~/vault.enc             asks for a new passphrase, makes the volume
  mkdir -p ~/vault
  kmsfs mount ~/vault.enc ~/vault    returns when the mount answers
  kmsfs umount ~/vault

A key of your own, and its off switch:
  kmsfs key create --alias alias/work
  kmsfs init --key alias/work ~/work.enc
  kmsfs key disable alias/work       within a second nothing opens under it
  kmsfs key enable alias/work

Words:
  volume       a directory of ciphertext (the lower directory), made by init
  CMK, key     a customer master key; it wraps the data key of every file
               and never leaves the KMS
  keystore     the file where the KMS keeps its keys, sealed under
               passphrases and key files
";

const ENVIRONMENT: &str = "\
Environment:
  KMSFS_KEYSTORE          as --keystore
  KMSFS_PASSPHRASE_FILE   as --passphrase-file, if no option says otherwise
  KMSFS_AUDIT             as --audit of `kmsfs kms`
  KMSFS_LOG               what to log, as in kmsfs::volume=debug; overrides -v
  XDG_DATA_HOME           the default keystore is kmsfs/keystore.db below it
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
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            // clap adds its own `help` only later, when it builds the command.
            let about = about.map_or("Print this page, or the page of a command".into(), ToString::to_string);
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
