//! A service with a token of its own, for programs that load the library.

use crate::common::{tools::ok, volume::Volume};
use crate::hsm::serve;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

/// The user PIN.
pub const PIN: &str = "471147";

/// A running service on an ordinary keystore, and a PIN; killed when dropped.
pub struct Token {
    volume: Volume,
    process: Child,
    socket: PathBuf,
}

impl Token {
    /// A new keystore, served.
    pub fn start() -> Token {
        let volume = Volume::bare();
        volume.keystore_create();
        let (process, socket, _) = serve(&volume, &[]);
        let token = Token { volume, process, socket };
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
        (self.process, self.socket, _) = serve(&self.volume, &[]);
        self
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> PathBuf {
        self.volume.home().to_owned()
    }

    /// A program with this token.
    pub fn command(&self, program: &str) -> Command {
        crate::with_socket(program, &self.socket)
    }

    /// `pkcs11-tool`, logged in; what it says.
    pub fn tool(&self, arguments: &[&str]) -> String {
        let (good, said) = crate::tool(&self.socket, &[&["--login", "--pin", PIN][..], arguments].concat());
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
