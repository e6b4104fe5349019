//! A service with a token of its own, for programs that load the library.

use crate::common::{
    tools::{ok, progress},
    volume::Volume,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The user PIN.
pub const PIN: &str = "471147";

/// The library, beside the program.
pub fn library() -> PathBuf {
    let library = Path::new(env!("CARGO_BIN_EXE_kmsfs")).with_file_name("libkmsfs_pkcs11.so");
    assert!(library.exists(), "the library is not built: cargo build --package kmsfs-pkcs11");
    library
}

/// A running service on an ordinary keystore, and a PIN; killed when dropped.
pub struct Token {
    volume: Volume,
    process: Child,
}

impl Token {
    /// A new keystore, served.
    pub fn start() -> Token {
        let volume = Volume::bare();
        volume.keystore_create();
        let token = Token { process: serve(&volume), volume };
        fs::write(token.scratch().join("pin"), PIN).unwrap();
        let mut pin = token.volume.kmsfs("hsm");
        ok(pin
            .args(["pin", "--socket"])
            .arg(token.socket())
            .arg("--pin-file")
            .arg(token.scratch().join("pin")));
        token
    }

    /// Ends the service, and starts it anew on the same keystore.
    pub fn restart(mut self) -> Token {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = serve(&self.volume);
        self
    }

    pub fn socket(&self) -> PathBuf {
        self.volume.home().join("token.sock")
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> PathBuf {
        self.volume.home().to_owned()
    }

    /// A program with this token.
    pub fn command(&self, program: &str) -> Command {
        crate::with_socket(program, &self.socket())
    }

    /// `pkcs11-tool`, logged in; what it says.
    pub fn tool(&self, arguments: &[&str]) -> String {
        let (good, said) = crate::tool(&self.socket(), &[&["--login", "--pin", PIN][..], arguments].concat());
        assert!(good, "pkcs11-tool {arguments:?}: {said}");
        said
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(volume: &Volume) -> Child {
    let mut command = volume.kmsfs("kms");
    command.args(["serve", "--socket"]).arg(volume.home().join("token.sock"));
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("Serving on")), "the service says that it serves");
    std::thread::spawn(move || lines.for_each(|line| progress(format_args!("service: {line}"))));
    process
}
