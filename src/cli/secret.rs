//! Where passphrases and key files come from. Never from an argument, which everybody on the machine can
//! read in `ps`, and never into a log.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use super::{Exit, Failure, output};
use crate::{crypto::SecretBytes, keys::TokenUri, kms::keystore::Unlock};

/// Names the passphrase file where no option says otherwise.
pub const PASSPHRASE_FILE_VARIABLE: &str = "KMSFS_PASSPHRASE_FILE";

/// Longest passphrase. A larger file was named by mistake.
const SECRET_MAX: usize = 16 * 1024;

/// How to open the keystore. Flattened into every command that opens one.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Unlocking the keystore")]
pub struct UnlockArgs {
    /// Read the passphrase from FILE, without its last line break [env: KMSFS_PASSPHRASE_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Read the passphrase from the open file descriptor FD
    #[arg(long, global = true, value_name = "FD", conflicts_with = "passphrase_file")]
    pub passphrase_fd: Option<RawFd>,
    /// Open the slot of a key file instead of a passphrase's
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["passphrase_file", "passphrase_fd"])]
    pub key_file: Option<PathBuf>,
}

/// The secret of a slot that is being made. Apart from [`UnlockArgs`], since such a command needs both.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "The new secret")]
pub struct NewSecretArgs {
    /// Read the new passphrase from FILE, without its last line break
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from the open file descriptor FD
    #[arg(long, value_name = "FD", conflicts_with = "new_passphrase_file")]
    new_passphrase_fd: Option<RawFd>,
    /// Use a key file instead of a passphrase; it is made, of random bytes, if it does not exist
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new_passphrase_file", "new_passphrase_fd"])]
    new_key_file: Option<PathBuf>,
}

/// How to open the keystore to administer it, which custodians can too. Flattened in place of [`UnlockArgs`].
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AdministerArgs {
    /// Of a keystore that one person can open.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Read a custodian's share from FILE, if the keystore is an HSM's; several times, until there are enough
    #[arg(long, global = true, value_name = "FILE", help_heading = "Unlocking the keystore")]
    pub share_file: Vec<PathBuf>,
}

impl UnlockArgs {
    /// Where the secret comes from; an option wins over the environment.
    pub fn source(&self) -> Source {
        let named = Source::named(&self.passphrase_file, self.passphrase_fd, &self.key_file);
        let from_environment = || match std::env::var_os(PASSPHRASE_FILE_VARIABLE) {
            Some(path) if !path.is_empty() => Source::PassphraseFile(path.into()),
            _ => Source::Prompt,
        };
        named.unwrap_or_else(from_environment)
    }
}

impl NewSecretArgs {
    /// Where the new secret comes from.
    pub fn source(&self) -> Source {
        Source::named(&self.new_passphrase_file, self.new_passphrase_fd, &self.new_key_file)
            .unwrap_or(Source::Prompt)
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A key file.
    KeyFile(PathBuf),
    /// A file that holds the passphrase.
    PassphraseFile(PathBuf),
    /// A file descriptor that the caller opened.
    PassphraseFd(RawFd),
    /// The person at the terminal.
    Prompt,
}

impl Source {
    fn named(file: &Option<PathBuf>, fd: Option<RawFd>, key_file: &Option<PathBuf>) -> Option<Source> {
        let key_file = key_file.clone().map(Source::KeyFile);
        key_file.or(file.clone().map(Source::PassphraseFile)).or(fd.map(Source::PassphraseFd))
    }

    /// The file that it is read from, if it is one by name.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Source::KeyFile(path) | Source::PassphraseFile(path) => Some(path),
            Source::PassphraseFd(_) | Source::Prompt => None,
        }
    }

    /// The secret of a slot that exists; `what` is asked for at the terminal.
    ///
    /// # Errors
    /// [`Exit::NoSecret`]: it cannot be read, is empty, or there is no terminal.
    pub fn existing(&self, what: &str) -> Result<Unlock, Failure> {
        match self {
            Source::Prompt => Ok(Unlock::Passphrase(ask(&format!("{what}: "))?)),
            _ => self.read(),
        }
    }

    /// The secret of a slot to be made: asked for twice, or a key file that is made if it is not there.
    ///
    /// # Errors
    /// As [`Source::existing`]; or the two answers differ.
    pub fn new_secret(&self, what: &str) -> Result<Unlock, Failure> {
        match self {
            Source::Prompt => {
                let first = ask(&format!("New {what}: "))?;
                if first != ask(&format!("New {what}, again: "))? {
                    return Err(Failure::new(
                        Exit::NoSecret,
                        "the two passphrases differ; nothing was changed",
                    ));
                }
                Ok(Unlock::Passphrase(first))
            }
            Source::KeyFile(path) if !path.exists() => make_key_file(path),
            _ => self.read(),
        }
    }

    fn read(&self) -> Result<Unlock, Failure> {
        match self {
            Source::KeyFile(path) => {
                let read = Unlock::read_key_file(path);
                read.map_err(|err| {
                    no_secret(format_args!("cannot use the key file {}: {err}", path.display()))
                })
            }
            Source::PassphraseFile(path) => {
                let file = File::open(path).map_err(|err| {
                    no_secret(format_args!("cannot read the passphrase file {}: {err}", path.display()))
                })?;
                warn_if_readable_by_all(&file, path);
                read_passphrase(file, &format!("the passphrase file {}", path.display()))
            }
            Source::PassphraseFd(fd) => {
                read_passphrase(take_descriptor(*fd)?, &format!("the file descriptor {fd}"))
            }
            Source::Prompt => self.existing("Passphrase"),
        }
    }
}

/// A custodian's share, typed at the terminal unless a file or a descriptor has it.
///
/// # Errors
/// [`Exit::NoSecret`]: it cannot be read, is empty, or there is no terminal.
pub fn share(file: Option<&Path>, fd: Option<RawFd>) -> Result<SecretBytes, Failure> {
    match named("the share", file, fd)? {
        Some(share) => Ok(share),
        None => ask("Words of your share (the first four letters of each suffice): "),
    }
}

/// A PIN, typed at the terminal unless a file has it; a new one twice. The line's end is no part of it.
///
/// # Errors
/// As [`share`]; or the two answers differ.
pub fn own_pin(what: &str, file: Option<&Path>, is_new: bool) -> Result<SecretBytes, Failure> {
    let mut pin = match named(&format!("the {what}"), file, None)? {
        Some(pin) => pin,
        None => {
            let first = ask(&format!("{what}: "))?;
            if is_new && first != ask(&format!("{what}, again: "))? {
                return Err(no_secret("the two PINs differ; nothing was changed"));
            }
            first
        }
    };
    let length = pin.expose().trim_ascii_end().len();
    pin.truncate(length);
    Ok(pin)
}

/// A secret that a file or a descriptor has, if one of them is named.
fn named(what: &str, file: Option<&Path>, fd: Option<RawFd>) -> Result<Option<SecretBytes>, Failure> {
    match (file, fd) {
        (Some(path), _) => {
            let what = format!("{what} {}", path.display());
            let file =
                File::open(path).map_err(|err| no_secret(format_args!("cannot read {what}: {err}")))?;
            read_secret(file, &what).map(Some)
        }
        (None, Some(fd)) => read_secret(take_descriptor(fd)?, &format!("the file descriptor {fd}")).map(Some),
        (None, None) => Ok(None),
    }
}

/// The PIN of `token`, typed at the terminal unless a descriptor has it.
///
/// # Errors
/// [`Exit::NoSecret`]: it cannot be read, is empty, or there is no terminal.
pub fn pin(fd: Option<RawFd>, token: &TokenUri) -> Result<SecretBytes, Failure> {
    match fd {
        Some(fd) => read_line(take_descriptor(fd)?, &format!("the file descriptor {fd}")),
        None => {
            ask_or(&format!("PIN of the token {token}: "), "Use pin-source= in the token's URL, or --pin-fd.")
        }
    }
}

fn no_secret(message: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::NoSecret, message)
}

/// Everything in `file`, in locked memory.
fn read_secret(mut file: File, what: &str) -> Result<SecretBytes, Failure> {
    let mut buffer = SecretBytes::zeroed(SECRET_MAX + 1);
    let mut len = 0;
    loop {
        match file.read(&mut buffer.expose_mut()[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(no_secret(format_args!("cannot read {what}: {err}"))),
        }
    }
    match len {
        0 => Err(no_secret(format_args!("{what} is empty"))),
        len if len > SECRET_MAX => {
            Err(no_secret(format_args!("{what} is longer than {SECRET_MAX} bytes: is it the right one?")))
        }
        len => {
            // Copied into memory of its own size: this buffer is too large to stay locked.
            let exact = SecretBytes::from_slice(&mut buffer.expose_mut()[..len]);
            Ok(exact)
        }
    }
}

fn read_passphrase(file: File, what: &str) -> Result<Unlock, Failure> {
    read_line(file, what).map(Unlock::Passphrase)
}

/// Everything in `file` but a line break at its end.
fn read_line(file: File, what: &str) -> Result<SecretBytes, Failure> {
    let mut secret = read_secret(file, what)?;
    if secret.expose().ends_with(b"\n") {
        secret.truncate(secret.len() - 1);
    }
    match secret.is_empty() {
        true => Err(no_secret(format_args!("{what} is empty"))),
        false => Ok(secret),
    }
}

fn warn_if_readable_by_all(file: &File, path: &Path) {
    if let Ok(metadata) = file.metadata()
        && metadata.is_file()
        && metadata.permissions().mode() & 0o004 != 0
    {
        output::note(format_args!(
            "kmsfs: warning: everybody can read the passphrase file {}; try: chmod 600 {}",
            path.display(),
            path.display()
        ));
    }
}

/// A descriptor of our own for the file behind `fd`, so that reading to its end closes nothing of the
/// caller's.
fn take_descriptor(fd: RawFd) -> Result<File, Failure> {
    // SAFETY: fcntl with F_DUPFD_CLOEXEC touches no memory; any number is a valid argument.
    #[allow(unsafe_code, reason = "no safe way to take a descriptor by its number")]
    let own = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if own < 0 {
        let err = io::Error::last_os_error();
        return Err(no_secret(format_args!("cannot read the file descriptor {fd}: {err}")));
    }
    // SAFETY: the kernel just returned `own` to us; nothing else knows it.
    #[allow(unsafe_code, reason = "no safe way to take a descriptor by its number")]
    let own = unsafe { OwnedFd::from_raw_fd(own) };
    Ok(File::from(own))
}

/// 256 random bits in a file that only its owner can read.
fn make_key_file(path: &Path) -> Result<Unlock, Failure> {
    let failed = |err: &dyn std::fmt::Display| {
        no_secret(format_args!("cannot make the key file {}: {err}", path.display()))
    };
    let made = Unlock::create_key_file(path).map_err(|err| failed(&err))?;
    // Its directory entry too must be durable before a slot depends on it.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))
        .and_then(|dir| dir.sync_all())
        .map_err(|err| failed(&err))?;
    output::note(format_args!(
        "Made the key file {}. Keep a copy: who has it opens the keystore.",
        path.display()
    ));
    Ok(made)
}

/// Asks for what unlocks a keystore.
fn ask(prompt: &str) -> Result<SecretBytes, Failure> {
    ask_or(prompt, "Use --passphrase-file, --passphrase-fd, --key-file or KMSFS_PASSPHRASE_FILE.")
}

/// Asks at the terminal, without echo; `otherwise` says how else to give the answer. Not on standard input: that may carry
/// data.
fn ask_or(prompt: &str, otherwise: &str) -> Result<SecretBytes, Failure> {
    match rpassword::prompt_password(prompt) {
        Ok(answer) if answer.is_empty() => Err(no_secret("nothing was given")),
        Ok(answer) => Ok(answer.into()),
        Err(err) if matches!(err.kind(), io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof) => {
            Err(no_secret("nothing was given"))
        }
        Err(_) => Err(no_secret("there is no terminal to ask at").hint(otherwise)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    fn passphrase(content: &[u8]) -> Result<Vec<u8>, Failure> {
        match read_passphrase(file(content), "the test file")? {
            Unlock::Passphrase(secret) | Unlock::KeyFile(secret) => Ok(secret.expose().to_vec()),
            Unlock::Quorum(_) => panic!("nobody shares it"),
        }
    }

    #[test]
    fn one_line_break_is_stripped_and_no_more() {
        assert_eq!(passphrase(b"secret\n").unwrap(), b"secret");
        assert_eq!(passphrase(b"secret").unwrap(), b"secret");
        assert_eq!(passphrase(b" two\nlines\n\n").unwrap(), b" two\nlines\n");
    }

    #[test]
    fn empty_and_overlong_secrets_are_refused() {
        for bad in [&b""[..], b"\n", &[b'x'; SECRET_MAX + 1]] {
            assert_eq!(passphrase(bad).unwrap_err().exit(), Exit::NoSecret);
        }
    }

    #[test]
    fn an_option_wins_over_a_prompt() {
        let args = UnlockArgs { passphrase_fd: Some(7), ..UnlockArgs::default() };
        assert_eq!(args.source(), Source::PassphraseFd(7));
        assert_eq!(NewSecretArgs::default().source(), Source::Prompt);
    }

    #[test]
    fn a_key_file_is_made_once_and_read_after() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::KeyFile(dir.path().join("key"));
        let Unlock::KeyFile(made) = source.new_secret("key").unwrap() else { panic!("a key file") };
        let Unlock::KeyFile(read) = source.new_secret("key").unwrap() else { panic!("a key file") };
        assert_eq!(made, read);
        assert_eq!(made.len(), 32);
    }
}
