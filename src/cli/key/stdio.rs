//! Plaintexts and ciphertexts on their way in and out: files, pipes, base64.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::cli::{Exit, Failure, output};

/// More than any plaintext or ciphertext may have; the KMS states its own limits.
const INPUT_MAX: u64 = 64 * 1024;

/// Where the bytes to work on come from.
#[derive(Debug, Clone, clap::Args)]
pub struct Input {
    /// Read from FILE instead of standard input
    #[arg(id = "in", long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Input {
    /// All bytes of the input.
    ///
    /// # Errors
    /// The input cannot be read or is far too long.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // One allocation: a growing vector would leave copies of the plaintext behind.
        let mut data = Zeroizing::new(Vec::with_capacity(INPUT_MAX as usize + 1));
        match &self.file {
            Some(path) if path != Path::new("-") => {
                let file = File::open(path).map_err(|err| Failure::io("read", path, &err))?;
                file.take(INPUT_MAX + 1)
                    .read_to_end(&mut data)
                    .map_err(|err| Failure::io("read", path, &err))?;
            }
            _ => {
                let stdin = io::stdin().lock();
                if stdin.is_terminal() {
                    output::note(format_args!("Reading from the terminal; end with Ctrl-D."));
                }
                stdin.take(INPUT_MAX + 1).read_to_end(&mut data).map_err(|err| {
                    Failure::new(Exit::Failure, format_args!("cannot read standard input: {err}"))
                })?;
            }
        }
        if data.len() as u64 > INPUT_MAX {
            return Err(Failure::new(Exit::Refused, "the input is too long for a key operation").hint(
                "Encrypt it under a data key (kmsfs key generate-data-key), or put it into a volume.",
            ));
        }
        Ok(data)
    }

    /// A document.
    ///
    /// # Errors
    /// As [`Input::read`]; or it is not UTF-8.
    pub fn read_text(&self) -> Result<String, Failure> {
        let text = str::from_utf8(&self.read()?).map(str::to_owned);
        text.map_err(|_| Failure::new(Exit::Refused, "the input is not text"))
    }

    /// A ciphertext: base64 as the other commands print it, or raw bytes.
    ///
    /// # Errors
    /// As [`Input::read`]; or it is not base64.
    pub fn read_ciphertext(&self, raw: bool) -> Result<Vec<u8>, Failure> {
        let data = self.read()?;
        if raw {
            return Ok(data.to_vec());
        }
        decode(&data).ok_or_else(|| {
            Failure::new(Exit::Refused, "the ciphertext is not base64")
                .hint("If it is binary, as from `kmsfs key encrypt --raw`, say --raw.")
        })
    }
}

/// Where the result goes.
#[derive(Debug, Clone, clap::Args)]
pub struct Output {
    /// Write to FILE, readable by its owner only; - is standard output, whatever it is
    #[arg(id = "out", long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Output {
    /// Writes a ciphertext, in base64 or raw.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write_ciphertext(&self, data: &[u8], raw: bool) -> Result<(), Failure> {
        if raw {
            self.refuse_terminal(data, "the ciphertext is binary")?;
            return self.write(data);
        }
        self.write(format!("{}\n", STANDARD.encode(data)).as_bytes())
    }

    /// Writes bytes that are no text.
    ///
    /// # Errors
    /// The output cannot be written, or is a terminal.
    pub fn write_binary(&self, data: &[u8]) -> Result<(), Failure> {
        self.refuse_terminal(data, "the result is binary")?;
        self.write(data)
    }

    /// Writes text of ours.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write_text(&self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())
    }

    /// Writes a plaintext as it is. Text may go to a terminal, since that is why people decrypt there;
    /// bytes that could steer the terminal may not.
    ///
    /// # Errors
    /// The output cannot be written, or is a terminal and the plaintext is not text.
    pub fn write_plaintext(&self, data: &[u8]) -> Result<(), Failure> {
        self.refuse_terminal(data, "the plaintext is not text")?;
        self.write(data)
    }

    fn refuse_terminal(&self, data: &[u8], why: &str) -> Result<(), Failure> {
        if self.file.is_none() && output::is_terminal() && !is_text(data) {
            return Err(Failure::new(
                Exit::Failure,
                format_args!("{why}, and standard output is a terminal"),
            )
            .hint("Use --out FILE or a pipe, or --out - to have it all the same."));
        }
        Ok(())
    }

    fn write(&self, data: &[u8]) -> Result<(), Failure> {
        match &self.file {
            Some(path) if path != Path::new("-") => write_file(path, data),
            _ => output::bytes(data),
        }
    }
}

/// Writes a file that its owner alone can read.
///
/// # Errors
/// It cannot be written.
pub fn write_file(path: &Path, data: &[u8]) -> Result<(), Failure> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(data)).map_err(|err| Failure::io("write", path, &err))
}

/// Reads a small file: raw bytes, or base64.
///
/// # Errors
/// It cannot be read, or is not base64.
pub fn read_file(path: &Path, raw: bool) -> Result<Vec<u8>, Failure> {
    let data = Input { file: Some(path.to_owned()) }.read()?;
    if raw {
        return Ok(data.to_vec());
    }
    decode(&data).ok_or_else(|| {
        Failure::new(Exit::Refused, format_args!("{} is not base64", path.display()))
            .hint("If it is binary, say --raw.")
    })
}

/// Reads a small file: PEM (RFC 7468) with one object, or what would be inside of it.
///
/// # Errors
/// It cannot be read.
pub fn read_pem(path: &Path) -> Result<Vec<u8>, Failure> {
    let data = read_file(path, true)?;
    let inside = str::from_utf8(&data).ok().and_then(|text| {
        let (_, rest) = text.split_once("-----BEGIN ")?;
        let (_, rest) = rest.split_once("-----")?;
        let (inside, _) = rest.split_once("-----END ")?;
        decode(inside.as_bytes())
    });
    Ok(inside.unwrap_or(data))
}

/// `der` as PEM (RFC 7468).
pub fn write_pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Base64 with white space anywhere.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}

/// Printable UTF-8 with line breaks and tabs.
fn is_text(data: &[u8]) -> bool {
    str::from_utf8(data)
        .is_ok_and(|text| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t')))
}

/// Base64 as AWS KMS uses it.
pub fn base64(data: &[u8]) -> String {
    STANDARD.encode(data)
}

#[cfg(test)]
mod tests {
    use super::{is_text, read_pem, write_pem};

    #[test]
    fn pem_reads_back_and_der_stays_der() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        for length in [0, 1, 47, 48, 49, 200] {
            let der: Vec<u8> = (0..length).collect();
            let pem = write_pem("PUBLIC KEY", &der);
            assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
            std::fs::write(&path, format!("a comment\n{pem}")).expect("written");
            assert_eq!(read_pem(&path).expect("read"), der);
            std::fs::write(&path, &der).expect("written");
            assert_eq!(read_pem(&path).expect("read"), der);
        }
    }

    #[test]
    fn text_cannot_steer_a_terminal() {
        assert!(is_text("Grüße\n\tan alle\r\n".as_bytes()));
        assert!(!is_text(b"\x1b[2J"), "escape sequences");
        assert!(!is_text(b"\0"), "control characters");
        assert!(!is_text(b"\xff\xfe"), "not UTF-8");
    }
}
