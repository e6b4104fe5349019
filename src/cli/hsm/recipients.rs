//! Shares for custodians who are not here: encrypted to a key of theirs, which stays with them.
//!
//! The program `age` encrypts. So a custodian may have any key that it takes: X25519 (`age1…`), SSH, a token behind a
//! plugin. (The crate of that name would add some eighty others to those that run beside the root key, most of them
//! for translating messages.)

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::cli::{Exit, Failure};

const AGE: &str = "age";
/// What `age --armor` begins with.
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----\n";

/// Files with the public keys of custodians, in the order of their shares.
#[derive(Debug)]
pub(super) struct Recipients(Vec<PathBuf>);

impl Recipients {
    /// Makes sure that something can be encrypted to each of them.
    pub(super) fn of(files: &[PathBuf], custodians: u8) -> Result<Recipients, Failure> {
        if files.len() != usize::from(custodians) {
            let message =
                format!("{custodians} custodians need as many --custodian; here are {}", files.len());
            return Err(Failure::new(Exit::Usage, message));
        }
        let mut known: Vec<(&PathBuf, Vec<u8>)> = Vec::new();
        for file in files {
            let keys = fs::read(file).map_err(|err| Failure::io("read", file, &err))?;
            if let Some((other, _)) = known.iter().find(|(_, other)| *other == keys) {
                let message = format!("{} and {} are the same key", other.display(), file.display());
                return Err(Failure::new(Exit::Usage, message)
                    .hint("Whoever has two shares counts as two custodians."));
            }
            encrypt(file, b"")?;
            known.push((file, keys));
        }
        Ok(Recipients(files.to_vec()))
    }

    /// Encrypts the share of custodian `index`, from 1; gives the age file, in ASCII, and the file with their key.
    pub(super) fn encrypt(&self, index: u8, share: &[u8]) -> Result<(Vec<u8>, &Path), Failure> {
        let file = &self.0[usize::from(index) - 1];
        Ok((encrypt(file, share)?, file))
    }
}

fn encrypt(recipients: &Path, text: &[u8]) -> Result<Vec<u8>, Failure> {
    let name = recipients.display();
    // A relative name could be taken for standard input.
    let recipients = std::path::absolute(recipients).map_err(|err| Failure::io("find", recipients, &err))?;
    let mut command = Command::new(AGE);
    command.args(["--encrypt", "--armor", "--recipients-file"]).arg(recipients);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut child| {
        let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let written = input.write_all(text);
        drop(input);
        let output = child.wait_with_output()?;
        // One that ended early says why.
        if output.status.success() { written.map(|()| output) } else { Ok(output) }
    });
    let output = output.map_err(|err| {
        let failure = Failure::new(Exit::Failure, format_args!("cannot encrypt shares with {AGE}: {err}"));
        failure.hint("It is in Debian's package age, and at https://age-encryption.org.")
    })?;
    if !output.status.success() || !output.stdout.starts_with(ARMOR) {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("it did not say why");
        return Err(Failure::new(Exit::Refused, format_args!("{AGE} cannot encrypt to {name}: {said}")));
    }
    Ok(output.stdout)
}
