//! `kmsfs kms serve` on a port and a socket of its own, with a keystore and principals of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tools::ok;

/// The region that clients sign for; ARNs are rendered with it.
const REGION: &str = "us-west-2";
/// Users of the keystore. `admin` may do everything, the others nothing until somebody says so.
const NAMES: [&str; 3] = ["admin", "alice", "bob"];

/// The policy of `admin`.
const ADMINISTRATOR: &str = r#"{
    "Version": "2012-10-17",
    "Statement": [{ "Effect": "Allow", "Action": "kms:*", "Resource": "*" }]
}"#;

/// A service that ends with this value.
pub struct Service {
    home: TempDir,
    child: Child,
    /// Where it serves.
    pub url: String,
    /// Access keys by name.
    keys: Vec<(&'static str, Value)>,
}

impl Service {
    /// Makes a keystore with the principals, and serves it on 127.0.0.1.
    pub fn start() -> Service {
        Service::start_with(|_| Vec::new())
    }

    /// The same over TLS, with certificates of `kmsfs kms init-tls`.
    pub fn start_tls() -> Service {
        Service::start_with(|home| {
            let place = home.join("tls");
            ok(kmsfs(home).args(["kms", "init-tls"]).arg(&place));
            let file = |name| place.join(name).into_os_string();
            vec!["--tls-cert".into(), file("server.pem"), "--tls-key".into(), file("server.key")]
        })
    }

    fn start_with(options: impl FnOnce(&Path) -> Vec<OsString>) -> Service {
        let home = TempDir::new().unwrap();
        fs::create_dir(home.path().join("scratch")).unwrap();
        let passphrase = home.path().join("passphrase");
        fs::write(&passphrase, "correct horse battery staple\n").unwrap();
        fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
        ok(kmsfs(home.path()).args(["keystore", "create", "--argon2", "64,1,1"]));
        let keys = NAMES.map(|name| (name, user(home.path(), name))).to_vec();
        let everything = home.path().join("everything.json");
        fs::write(&everything, ADMINISTRATOR).unwrap();
        ok(kmsfs(home.path())
            .args(["kms", "policy", "attach", "user/admin", "everything", "--in"])
            .arg(&everything));
        let options = options(home.path());
        let (child, url) = serve(home.path(), &options);
        Service { home, child, url, keys }
    }

    /// The socket it serves on too.
    pub fn socket(&self) -> PathBuf {
        socket(self.home.path())
    }

    /// The certificate that clients of [`Service::start_tls`] are given.
    pub fn authority(&self) -> PathBuf {
        self.home.path().join("tls/ca.pem")
    }

    /// A directory for the files of a test.
    pub fn scratch(&self) -> PathBuf {
        self.home.path().join("scratch")
    }

    /// What a client needs in its environment to call the service as a user.
    pub fn environment(&self, name: &str) -> Vec<(&'static str, String)> {
        let (_, key) = self.keys.iter().find(|(known, _)| *known == name).unwrap();
        vec![
            ("AWS_ENDPOINT_URL_KMS", self.url.clone()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", text(&key["AccessKeyId"])),
            ("AWS_SECRET_ACCESS_KEY", text(&key["SecretAccessKey"])),
            ("AWS_CONFIG_FILE", "/nonexistent".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// All users with their keys, as `tests/clients/conftest.py` reads them.
    pub fn principals(&self) -> String {
        let one = |(name, key): &(&str, Value)| {
            let value = json!({
                "arn": key["Arn"],
                "access_key_id": key["AccessKeyId"],
                "secret_access_key": key["SecretAccessKey"],
            });
            ((*name).to_owned(), value)
        };
        Value::Object(self.keys.iter().map(one).collect()).to_string()
    }

    /// The ARN of a new symmetric key.
    pub fn key(&self) -> String {
        let made: Value =
            serde_json::from_str(&ok(kmsfs(self.home.path()).args(["key", "create", "--json"]))).unwrap();
        let arn = text(&made["KeyMetadata"]["Arn"]);
        // Clients take the region to call from the ARN.
        let mut parts: Vec<_> = arn.split(':').collect();
        parts[3] = REGION;
        parts.join(":")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The program, in an environment that knows nothing but this home.
fn kmsfs(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmsfs"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("XDG_DATA_HOME", home);
    command.env("KMSFS_PASSPHRASE_FILE", home.join("passphrase")).stdin(Stdio::null());
    command
}

/// Makes a user and an access key for it.
fn user(home: &Path, name: &str) -> Value {
    let user = format!("user/{name}");
    let made: Value =
        serde_json::from_str(&ok(kmsfs(home).args(["kms", "principal", "create", &user, "--json"]))).unwrap();
    let key: Value =
        serde_json::from_str(&ok(kmsfs(home).args(["kms", "access-key", "create", &user, "--json"])))
            .unwrap();
    let mut key = key["AccessKey"].clone();
    key["Arn"] = made["Principal"]["Arn"].clone();
    key
}

fn socket(home: &Path) -> PathBuf {
    home.join("kms.sock")
}

/// Starts the service; returns when it answers.
fn serve(home: &Path, options: &[OsString]) -> (Child, String) {
    let mut command = kmsfs(home);
    command.args(["kms", "serve", "--listen", "127.0.0.1:0", "--socket"]).arg(socket(home)).args(options);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let place = line.strip_prefix("Serving on ")?.trim_end_matches('.').to_owned();
        place.starts_with("http").then_some(place)
    });
    // Whatever else it says must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, url.expect("the service says where it serves"))
}
