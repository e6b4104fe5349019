//! Exit codes and the failures that carry them: the one place that decides what a script sees.
//!
//! The numbers are part of the interface (`docs/cli.md`, `kmsfs --help`) and never change their meaning.

use std::{fmt, io, path::Path};

use crate::{
    hsm::{self, backup::Refused},
    keys,
    kms::{self, keystore},
    volume,
};

/// What the process ends with. The numbers are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done as asked.
    Ok = 0,
    /// Anything without a code of its own: an I/O error, a full disk.
    Failure = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// The passphrase or key file opens no slot of the keystore, or a token refuses its PIN.
    WrongSecret = 3,
    /// No passphrase could be had: no terminal to ask at, an empty or unreadable passphrase file.
    NoSecret = 4,
    /// There is no keystore at the given place.
    NoKeystore = 5,
    /// The file is no keystore, or a truncated, altered or newer one.
    BadKeystore = 6,
    /// There is no volume in the given directory.
    NoVolume = 7,
    /// The volume's own records were altered or cut, or are of a newer format.
    BadVolume = 8,
    /// The key does not exist, is disabled, pending deletion, or may not be used for this.
    KeyUnusable = 9,
    /// The KMS refused the request for another reason, named in the message.
    Refused = 10,
    /// The KMS does not answer.
    Unavailable = 11,
    /// Already mounted, locked by another mount, a mount point in use or not empty.
    Busy = 12,
    /// The kernel or fusermount3 refused to mount or unmount.
    MountFailed = 13,
    /// `kmsfs check`, `kmsfs export` or `kmsfs kms audit --verify` found damage.
    Damaged = 14,
    /// The directory for a new volume or an export is a volume already, or holds something else.
    NotEmpty = 15,
}

/// Every code with the sentence the help page and `docs/cli.md` show for it.
pub const TABLE: &[(Exit, &str)] = &[
    (Exit::Ok, "done"),
    (Exit::Failure, "any failure without a code of its own, such as an I/O error"),
    (Exit::Usage, "the command line cannot be understood"),
    (
        Exit::WrongSecret,
        "the passphrase or key file opens no slot of the keystore, or a token refuses its PIN",
    ),
    (Exit::NoSecret, "no passphrase or PIN could be had: no terminal, or an empty or unreadable file"),
    (Exit::NoKeystore, "there is no keystore at the given place"),
    (Exit::BadKeystore, "the file is no keystore, or a truncated, altered or newer one"),
    (Exit::NoVolume, "there is no volume in the given directory"),
    (Exit::BadVolume, "the volume's records were altered or cut, or are of a newer format"),
    (Exit::KeyUnusable, "the key does not exist, is disabled, pending deletion, or not for this use"),
    (Exit::Refused, "the KMS refused the request; the message names the reason"),
    (Exit::Unavailable, "the KMS does not answer"),
    (Exit::Busy, "already mounted or locked, or the mount point is in use or not empty"),
    (Exit::MountFailed, "the kernel or fusermount3 refused to mount or unmount"),
    (Exit::Damaged, "check, export or audit --verify found damage"),
    (Exit::NotEmpty, "the directory for a new volume or an export is a volume already, or not empty"),
];

/// Why a command failed: what happened to which file or key, and what to do next.
///
/// Never holds a secret: it is printed, logged and, with `--json`, handed to scripts.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    name: Option<String>,
    quiet: bool,
}

impl Failure {
    /// A failure that ends the process with `exit`.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Failure {
        Failure { exit, message: message.to_string(), hint: None, name: None, quiet: false }
    }

    /// A call on `path` that the operating system refused: "cannot {verb} {path}: {err}".
    pub fn io(verb: &str, path: &Path, err: &io::Error) -> Failure {
        Failure::new(Exit::Failure, format_args!("cannot {verb} {}: {err}", path.display()))
    }

    /// Adds what the user can do next, printed on a line of its own.
    pub fn hint(mut self, hint: impl fmt::Display) -> Failure {
        self.hint = Some(hint.to_string());
        self
    }

    /// Adds the error's name in AWS KMS, for scripts and for those who know it from there.
    pub fn named(mut self, name: impl Into<String>) -> Failure {
        self.name = Some(name.into());
        self
    }

    /// Puts "{context}: " before the message: the command names the file or key it was busy with.
    pub fn context(mut self, context: impl fmt::Display) -> Failure {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The reader of standard output has gone (`| head -1`): nothing went wrong, nothing to print.
    pub fn reader_gone() -> Failure {
        Failure { quiet: true, ..Failure::new(Exit::Ok, "standard output was closed") }
    }

    /// Whether the process ends without a message.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The code the process ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error's name in AWS KMS, if the KMS refused.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What to do next, if there is something.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<keys::Error> for Failure {
    fn from(err: keys::Error) -> Failure {
        use keys::ErrorKind::{
            Denied, Disabled, Invalid, NotFound, Secret, Shredded, Unavailable, Unsuitable,
        };
        let exit = match err.kind() {
            Disabled | NotFound | Denied | Shredded | Unsuitable => Exit::KeyUnusable,
            Secret => Exit::WrongSecret,
            Unavailable => Exit::Unavailable,
            Invalid => Exit::BadVolume,
        };
        let failure = Failure::new(exit, err.message());
        match err.name() {
            Some(name) => failure.named(name),
            None if exit == Exit::Unavailable => failure
                .hint("Is the KMS there, and may this user reach it? Ours is started by `kmsfs kms serve`."),
            None => failure,
        }
    }
}

impl From<volume::Error> for Failure {
    fn from(err: volume::Error) -> Failure {
        match err {
            volume::Error::Key(err) => err.into(),
            volume::Error::Os(err) => Failure::new(Exit::Failure, err),
            err @ volume::Error::InUse { .. } => Failure::new(Exit::Busy, err),
            err @ (volume::Error::Corrupt { .. } | volume::Error::Volume(_)) => {
                Failure::new(Exit::BadVolume, err)
            }
        }
    }
}

impl From<keystore::Error> for Failure {
    fn from(err: keystore::Error) -> Failure {
        use keystore::Error::{
            Conflict, Database, Exists, Foreign, Io, LastSlot, Location, Missing, Newer, NoSuchSlot,
            QuorumOnly, Rekeyed, Replaced, Stretch, Tampered, Truncated, Unreachable, WeakSecret,
            WrongKeyFile, WrongPassphrase, WrongShares, Zeroized,
        };
        let (exit, hint) = match &err {
            Missing(_) => (
                Exit::NoKeystore,
                Some("Make one with `kmsfs init` or `kmsfs keystore create`, or name yours with --keystore."),
            ),
            WrongPassphrase(_) | WrongKeyFile(_) => {
                (Exit::WrongSecret, Some("`kmsfs keystore slot test` says which slot a secret opens."))
            }
            WrongShares(_) => (Exit::WrongSecret, None),
            Zeroized(_) => (Exit::BadKeystore, None),
            QuorumOnly(_) => (
                Exit::Refused,
                Some(
                    "Serve it with `kmsfs kms serve`, unlock it with `kmsfs hsm unlock`, and use its keys through the service: \
                     --kms unix:SOCKET. `kmsfs key` and `kmsfs kms` take custodians' shares: --share-file.",
                ),
            ),
            Foreign(_) => (Exit::BadKeystore, Some("Check --keystore and KMSFS_KEYSTORE.")),
            Truncated(_) | Tampered { .. } => {
                (Exit::BadKeystore, Some("The keystore was left as it is. Restore it from a backup."))
            }
            Newer { .. } => (Exit::BadKeystore, Some("Use the release that wrote it, or a newer one.")),
            Rekeyed(_) => (Exit::BadKeystore, Some("Run the command again, with new shares.")),
            Replaced(_) => (Exit::BadKeystore, Some("Run the command again; mounts must be mounted again.")),
            WeakSecret(_) => (Exit::NoSecret, None),
            Exists(_) | NoSuchSlot(_) | LastSlot(_) => (Exit::Refused, None),
            Unreachable { .. } => (Exit::Unavailable, None),
            Location(_) => (Exit::Usage, None),
            Stretch { .. } | Io { .. } | Database { .. } | Conflict(_) => (Exit::Failure, None),
        };
        let failure = Failure::new(exit, &err);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<hsm::Error> for Failure {
    fn from(err: hsm::Error) -> Failure {
        let exit = match err {
            hsm::Error::Keystore(err) => return err.into(),
            hsm::Error::Copy(err) => return err.into(),
            hsm::Error::Kms(err) => return err.into(),
            hsm::Error::Shares(hsm::shares::Error::Quorum { .. }) => Exit::Usage,
            hsm::Error::Shares(_) | hsm::Error::NotAnHsm(_) => Exit::BadKeystore,
            hsm::Error::SelfTest(_) => Exit::Failure,
        };
        Failure::new(exit, err)
    }
}

impl From<Refused> for Failure {
    fn from(err: Refused) -> Failure {
        let failure = Failure::new(Exit::Refused, &err);
        match err {
            Refused::Older { .. } | Refused::Other { .. } => {
                failure.hint("If custodians want that state back, say so with --older.")
            }
            Refused::Elsewhere { .. } | Refused::Unexpected { .. } => failure,
        }
    }
}

impl From<kms::Error> for Failure {
    fn from(err: kms::Error) -> Failure {
        let name = err.name();
        let (exit, hint) = match err {
            kms::Error::Keystore(err) => return err.into(),
            kms::Error::KeyUnavailable(_) => (Exit::Unavailable, None),
            kms::Error::Disabled(_) => {
                (Exit::KeyUnusable, Some("To use the key again: kmsfs key enable KEY."))
            }
            kms::Error::NotFound(_) => (Exit::KeyUnusable, Some("See `kmsfs key list`.")),
            kms::Error::InvalidState(_) => (Exit::KeyUnusable, Some("See `kmsfs key describe KEY`.")),
            kms::Error::AccessDenied(_) | kms::Error::InvalidKeyUsage(_) | kms::Error::Unsupported(_) => {
                (Exit::KeyUnusable, None)
            }
            _ => (Exit::Refused, None),
        };
        let failure = Failure::new(exit, &err).named(name);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
