//! A keystore of its own for each test, and a way to call the binary on it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// Cheap to guess, so that a test does not take half a second for every command.
pub const CHEAP: &str = "64,1,1";
/// The passphrase of every test keystore.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// A directory with a keystore and the file with its passphrase.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// An empty one: the passphrase file, but no keystore.
    pub fn empty() -> Home {
        let home = Home { dir: tempfile::tempdir().unwrap() };
        home.secret_file("pw", &format!("{PASSPHRASE}\n"));
        home
    }

    /// One with a keystore.
    pub fn new() -> Home {
        let home = Home::empty();
        home.ok(&["keystore", "create", "--argon2", CHEAP]);
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn keystore(&self) -> PathBuf {
        self.path("kmsfs/keystore.db")
    }

    /// A file that only its owner can read.
    pub fn secret_file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        chmod(&path, 0o600);
        path.to_str().unwrap().to_owned()
    }

    /// The command, in an environment that knows nothing but this home.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kmsfs"));
        command.args(args).env_clear();
        command
            .env("XDG_DATA_HOME", self.dir.path())
            .env("HOME", self.dir.path())
            .env("PATH", "/usr/bin:/bin");
        command.env("KMSFS_PASSPHRASE_FILE", self.path("pw")).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it with `input` on standard input.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that refuses before it reads closes the pipe: no failure of the test.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// Standard output of a command that succeeds.
    pub fn ok(&self, args: &[&str]) -> String {
        text(&succeeded(self.run(args), args).stdout)
    }

    /// Standard output of a command that succeeds, given `input`.
    pub fn ok_fed(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        succeeded(self.feed(args, input), args).stdout
    }

    /// The JSON of a command that succeeds.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).expect("one JSON document on standard output")
    }

    /// Standard error of a command that ends with `code`, after checking that it printed no result.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        failed(self.run(args), code, args)
    }

    /// A new key's id.
    pub fn key(&self) -> String {
        self.ok(&["key", "create"]).trim().to_owned()
    }
}

pub fn succeeded(output: Output, args: &[&str]) -> Output {
    assert!(output.status.success(), "kmsfs {args:?}: {:?}\n{}", output.status, text(&output.stderr));
    output
}

pub fn failed(output: Output, code: i32, args: &[&str]) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "kmsfs {args:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "a failed command has no result");
    stderr
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

pub fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
