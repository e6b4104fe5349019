//! A token of SoftHSM for tests, with directories of its own, behind a module that misbehaves on demand.
#![allow(dead_code, reason = "every test program uses a part of it")]

use super::common::tools::ok;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// SoftHSM's own module, where Debian has it.
pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The label of the token.
pub const LABEL: &str = "kmsfs test";
/// Its user PIN.
pub const PIN: &str = "4711";

/// A token with an AES key, `volume`.
pub struct Token {
    dir: PathBuf,
}

impl Token {
    /// Makes it in a new directory `dir`.
    pub fn new(dir: PathBuf) -> Token {
        fs::create_dir_all(&dir).unwrap();
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            dir.join("tokens").display()
        );
        fs::write(dir.join("softhsm2.conf"), conf).unwrap();
        let token = Token { dir };
        token.set_pin_file(PIN);
        token.fill();
        let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/pkcs11_shim.c");
        ok(Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(token.shim()).arg(shim));
        token
    }

    /// Makes the token's files, with a new key.
    fn fill(&self) {
        fs::create_dir(self.dir.join("tokens")).unwrap();
        let mut init = self.command("softhsm2-util");
        ok(init.args(["--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "08154711"]));
        self.keygen("AES:32", &["--label", "volume", "--id", "01"]);
    }

    /// Puts another token in the place of this one, with the same names and another key; or this one back.
    pub fn replace(&self, replaced: bool) {
        if replaced {
            self.take_away(true);
            self.fill();
        } else {
            fs::remove_dir_all(self.dir.join("tokens")).unwrap();
            self.take_away(false);
        }
    }

    /// A program that uses SoftHSM, with this token.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SOFTHSM2_CONF", self.dir.join("softhsm2.conf"));
        command
    }

    /// `pkcs11-tool`, logged in.
    pub fn tool(&self) -> Command {
        let mut command = self.command("pkcs11-tool");
        command.args(["--module", SOFTHSM, "--token-label", LABEL, "--login", "--pin", PIN]);
        command
    }

    /// Makes a key.
    pub fn keygen(&self, kind: &str, args: &[&str]) {
        ok(self.tool().args(["--keygen", "--key-type", kind, "--sensitive"]).args(args));
    }

    /// The module in front of SoftHSM.
    pub fn shim(&self) -> PathBuf {
        self.dir.join("shim.so")
    }

    /// A file with the PIN.
    pub fn pin_file(&self) -> PathBuf {
        self.dir.join("pin")
    }

    pub fn set_pin_file(&self, pin: &str) {
        fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.pin_file(), PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// The token's URL without what concerns this machine, for its key with the label `object`.
    pub fn name(&self, object: &str) -> String {
        format!("pkcs11:token=kmsfs%20test;object={object}")
    }

    /// The whole URL, by way of `module`.
    pub fn url(&self, module: &Path) -> String {
        let (name, pin) = (self.name("volume"), self.pin_file());
        format!("{name}?module-path={}&pin-source={}", module.display(), pin.display())
    }

    /// Has the module in front misbehave, or behave again.
    pub fn set(&self, how: &str, on: bool) {
        match on {
            true => fs::write(self.dir.join(how), "").unwrap(),
            false => fs::remove_file(self.dir.join(how)).unwrap(),
        }
    }

    /// Has the next use of a key fail with a CKR_ value.
    pub fn fail_once(&self, value: u64) {
        let new = self.dir.join("once.new");
        fs::write(&new, format!("{value:x}")).unwrap();
        fs::rename(new, self.dir.join("once")).unwrap();
    }

    /// Calls of C_Login through the module in front.
    pub fn logins(&self) -> usize {
        fs::read(self.dir.join("logins")).map_or(0, |dots| dots.len())
    }

    /// Takes the token's files away, or puts them back.
    pub fn take_away(&self, away: bool) {
        let (here, there) = (self.dir.join("tokens"), self.dir.join("away"));
        let (from, to) = if away { (here, there) } else { (there, here) };
        fs::rename(from, to).unwrap();
    }
}
