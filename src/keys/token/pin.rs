//! PINs of tokens: read from a file that nobody else can read, or given once by the user.
//!
//! A token locks itself after a few wrong PINs, so a PIN that was refused is never tried again: not by the next call, and
//! not after the token was away. A file is read at each login, and another PIN in it is tried.

use crate::crypto::SecretBytes;
use crate::keys::{Error, ErrorKind};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Longest PIN, in bytes. A larger file was named by mistake.
const PIN_MAX: usize = 255;

/// Where a token's PIN comes from.
#[derive(Debug)]
pub enum Pin {
    /// A file that holds it, with or without a line break at its end.
    File(PathBuf),
    /// Here it is.
    Given(SecretBytes),
}

impl Pin {
    /// The PIN.
    ///
    /// # Errors
    /// [`ErrorKind::Secret`]: the file cannot be read, is not its owner's alone, or holds no PIN.
    pub(super) fn read(&self) -> Result<SecretBytes, Error> {
        match self {
            Pin::Given(pin) => {
                let mut copy = SecretBytes::zeroed(pin.len());
                copy.expose_mut().copy_from_slice(pin.expose());
                Ok(copy)
            }
            Pin::File(path) => read_file(path).map_err(|what| {
                Error::new(ErrorKind::Secret, format_args!("the PIN file {}: {what}", path.display()))
            }),
        }
    }
}

fn read_file(path: &Path) -> Result<SecretBytes, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    check(about.is_file(), about.uid(), about.mode())?;
    let mut pin = SecretBytes::zeroed(PIN_MAX + 2);
    let mut len = 0;
    while len < pin.len() {
        match file.read(&mut pin.expose_mut()[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    if len > 0 && pin.expose()[len - 1] == b'\n' {
        len -= 1;
    }
    match len {
        0 => Err("is empty".into()),
        1..=PIN_MAX => {
            pin.truncate(len);
            Ok(pin)
        }
        _ => Err(format!("is longer than {PIN_MAX} bytes: is it the right one?")),
    }
}

/// Refuses a file that others than its owner and root could have read or put there.
fn check(is_file: bool, owner: u32, mode: u32) -> Result<(), String> {
    // SAFETY: no arguments; it always succeeds.
    #[allow(unsafe_code, reason = "a system call")]
    let own = unsafe { libc::geteuid() };
    if !is_file {
        return Err("is not a regular file".into());
    }
    if owner != 0 && owner != own {
        return Err("belongs to another user".into());
    }
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(format!("others than its owner may use it (mode {:03o}); try: chmod 600", mode & 0o777)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn read(content: &[u8], mode: u32) -> Result<Vec<u8>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        Ok(Pin::File(path).read()?.expose().to_vec())
    }

    #[test]
    fn a_pin_is_the_file_without_its_line_break() {
        assert_eq!(read(b"1234\n", 0o600).unwrap(), b"1234");
        assert_eq!(read(b"12 34", 0o400).unwrap(), b"12 34");
        assert_eq!(read(&[b'1'; PIN_MAX], 0o600).unwrap().len(), PIN_MAX);
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o601, 0o777] {
            let error = read(b"1234", mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Secret);
            assert!(error.message().contains("chmod 600"), "{mode:o}: {error}");
        }
        assert!(check(true, 0, 0o100600).is_ok());
        assert!(check(true, u32::MAX - 1, 0o100600).unwrap_err().contains("another user"));
    }

    #[test]
    fn what_holds_no_pin_is_refused() {
        for (content, words) in [(&b""[..], "empty"), (b"\n", "empty"), (&[b'1'; PIN_MAX + 1], "longer")] {
            assert!(read(content, 0o600).unwrap_err().message().contains(words));
        }
        assert!(Pin::File("/dev/null".into()).read().unwrap_err().message().contains("regular file"));
        assert!(Pin::File("/nonexistent".into()).read().is_err());
    }
}
