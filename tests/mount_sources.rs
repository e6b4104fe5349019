//! A volume's key in each place where it can be: the keystore, a kmsfs service on a unix socket and over https, and another
//! program that speaks AWS's API (moto's server). In each the same is asked of a mount; and one volume goes through all.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use common::{
    tools::{Compare, assert_same_tree, bytes, ok, progress},
    volume::{Volume, wait_until},
};
use rustix::io::Errno;
use serde_json::Value;

const KEY: &str = "alias/volume";
const REGION: &str = "us-east-1";
/// A change at a KMS that tells of none shows at the age of cached keys, which is a second here; then a KMS that has
/// stopped is waited for.
const NOTICED: Duration = Duration::from_secs(20);

/// Ends a process with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A place of keys, with the key [`KEY`].
struct Source {
    url: String,
    /// What whoever asks there has in the environment.
    environment: Vec<(String, String)>,
    keys: Keys,
    /// Ends with it.
    process: Option<Running>,
}

/// Who administers the key.
enum Keys {
    /// `kmsfs key`, with the keystore of this volume's home; `None` where that is the mounted volume's own.
    Keystore(Option<Volume>),
    /// boto3.
    Moto,
}

impl Source {
    fn local(volume: &Volume) -> Source {
        volume.keystore_create();
        ok(volume.kmsfs("key").args(["create", "--alias", KEY]));
        Source { url: "local:".into(), environment: Vec::new(), keys: Keys::Keystore(None), process: None }
    }

    fn unix() -> Source {
        let home = Source::home();
        let socket = home.home().join("kms.sock");
        let mut command = home.kmsfs("kms");
        let process = serve(command.args(["serve", "--socket"]).arg(&socket), "kms.sock").0;
        let url = format!("unix:{}", socket.display());
        Source { url, environment: Vec::new(), keys: Keys::Keystore(Some(home)), process: Some(process) }
    }

    fn https() -> Source {
        let home = Source::home();
        let json = |args: &[&str]| -> Value {
            serde_json::from_str(&ok(home.kmsfs("kms").args(args).arg("--json"))).unwrap()
        };
        json(&["principal", "create", "user/mounter"]);
        let access = json(&["access-key", "create", "user/mounter"])["AccessKey"].clone();
        let policy = home.scratch("policy.json");
        let actions = r#"["kms:DescribeKey", "kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt"]"#;
        let statement = format!(r#"{{ "Effect": "Allow", "Action": {actions}, "Resource": "*" }}"#);
        fs::write(&policy, format!(r#"{{ "Version": "2012-10-17", "Statement": {statement} }}"#)).unwrap();
        ok(home.kmsfs("kms").args(["policy", "attach", "user/mounter", "mounts", "--in"]).arg(&policy));
        let tls = home.scratch("tls");
        ok(home.kmsfs("kms").arg("init-tls").arg(&tls));
        let mut command = home.kmsfs("kms");
        command.args(["serve", "--listen", "127.0.0.1:0", "--socket"]).arg(home.home().join("kms.sock"));
        command.arg("--tls-cert").arg(tls.join("server.pem")).arg("--tls-key").arg(tls.join("server.key"));
        let (process, said) = serve(&mut command, "https://");
        let port: u16 = said.trim_end_matches('.').rsplit(':').next().unwrap().parse().unwrap();
        let text = |name: &str| access[name].as_str().unwrap().to_owned();
        Source {
            url: format!("https://localhost:{port}"),
            environment: vec![
                ("AWS_ACCESS_KEY_ID".into(), text("AccessKeyId")),
                ("AWS_SECRET_ACCESS_KEY".into(), text("SecretAccessKey")),
                ("AWS_REGION".into(), REGION.into()),
                ("AWS_CA_BUNDLE".into(), tls.join("ca.pem").display().to_string()),
            ],
            keys: Keys::Keystore(Some(home)),
            process: Some(process),
        }
    }

    fn moto() -> Source {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(client("moto_server"));
        command
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Running(command.spawn().unwrap());
        let up = wait_until(Duration::from_secs(30), || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(up, "moto's server does not answer");
        let credentials =
            [("AWS_ACCESS_KEY_ID", "moto"), ("AWS_SECRET_ACCESS_KEY", "moto"), ("AWS_REGION", REGION)];
        let source = Source {
            url: format!("http://127.0.0.1:{port}"),
            environment: credentials.map(|(name, value)| (name.into(), value.into())).to_vec(),
            keys: Keys::Moto,
            process: Some(process),
        };
        source.boto3(&format!(
            "k.create_alias(AliasName='{KEY}', TargetKeyId=k.create_key()['KeyMetadata']['KeyId'])"
        ));
        source
    }

    /// A directory with a keystore of its own, which has the key.
    fn home() -> Volume {
        let home = Volume::bare();
        home.keystore_create();
        ok(home.kmsfs("key").args(["create", "--alias", KEY]));
        home
    }

    fn boto3(&self, statement: &str) {
        let script = format!(
            "import boto3; k = boto3.client('kms', endpoint_url='{}', region_name='{REGION}'); \
             i = lambda: k.describe_key(KeyId='{KEY}')['KeyMetadata']['KeyId']; {statement}",
            self.url
        );
        let mut command = Command::new(client("python"));
        ok(command.args(["-c", &script]).envs(self.environment.iter().cloned()));
    }

    /// Takes the key away, or gives it back. moto decrypts under disabled keys, so it is stopped as a whole.
    fn switch(&self, volume: &Volume, on: bool) {
        match (&self.keys, &self.process) {
            (Keys::Keystore(home), _) => {
                let action = if on { "enable" } else { "disable" };
                ok(home.as_ref().unwrap_or(volume).kmsfs("key").args([action, KEY]));
            }
            (Keys::Moto, Some(Running(process))) => {
                let signal = if on { "-CONT" } else { "-STOP" };
                ok(Command::new("kill").args([signal, &process.id().to_string()]));
            }
            (Keys::Moto, None) => panic!("moto runs as long as it is a source"),
        }
    }

    fn rotate(&self, volume: &Volume) {
        match &self.keys {
            Keys::Keystore(home) => {
                ok(home.as_ref().unwrap_or(volume).kmsfs("key").args(["rotate", KEY]));
            }
            Keys::Moto => self.boto3("k.rotate_key_on_demand(KeyId=i())"),
        }
    }

    fn with<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.environment.iter().cloned())
    }

    /// Mounts `volume`, whose key is here.
    fn mount(&self, volume: &mut Volume) {
        let mut command = volume.mount_command();
        self.with(command.args(["--kms", &self.url, "--key-age", "1"]));
        volume.mount_with(&mut command);
    }
}

/// A program of the environment that scripts/lib/clients.sh makes.
fn client(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/python/bin").join(name);
    assert!(path.exists(), "{name} is not installed: run ./scripts/test mount_sources, which installs it");
    path
}

/// Starts a service, and gives the word of what it says that contains `wanted`.
fn serve(command: &mut Command, wanted: &str) -> (Running, String) {
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said =
        lines.find_map(|line| line.split_whitespace().find(|word| word.contains(wanted)).map(str::to_owned));
    std::thread::spawn(move || lines.for_each(drop));
    (Running(process), said.expect("the service says where it serves"))
}

/// A tree of files around the sizes that matter, in `dir`.
fn write_tree(dir: &Path) {
    for n in 0..40u64 {
        let sub = dir.join(format!("d{}", n % 4));
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join(format!("{n}")), bytes(n, (n * n * 311) as usize)).unwrap();
    }
    fs::hard_link(dir.join("d0/8"), dir.join("d1/link")).unwrap();
    std::os::unix::fs::symlink("d0/8", dir.join("symlink")).unwrap();
}

fn is_nokey(path: &Path) -> bool {
    File::open(path).is_err_and(|e| e.raw_os_error() == Some(Errno::NOKEY.raw_os_error()))
}

/// What is asked of every source.
fn everyday(volume: &mut Volume, source: &Source) {
    progress(format_args!("{}", source.url));
    let mut init = volume.kmsfs("init");
    ok(source.with(init.args(["--kms", &source.url, "--key", KEY]).arg(volume.lower())));
    let text = ok(volume.kmsfs("info").arg("--json").arg(volume.lower()));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["kms"], source.url.as_str(), "{text}");
    source.mount(volume);
    let plain = volume.scratch("plain");
    fs::create_dir(&plain).unwrap();
    write_tree(&plain);
    write_tree(&volume.mnt());
    volume.unmount();
    source.mount(volume);
    assert!(assert_same_tree(&plain, &volume.mnt(), Compare::CONTENT) > 40);

    source.switch(volume, false);
    let cold = volume.path("d3/39");
    assert!(wait_until(NOTICED, || is_nokey(&cold)), "{}: the file opens without its key", source.url);
    source.switch(volume, true);
    assert!(wait_until(NOTICED, || File::open(&cold).is_ok()), "{}: the key is back", source.url);
    source.rotate(volume);
    std::thread::sleep(Duration::from_secs(1));
    fs::write(volume.path("after"), b"the rotation").unwrap();
    fs::write(plain.join("after"), b"the rotation").unwrap();
    volume.unmount();
    source.mount(volume);
    assert_same_tree(&plain, &volume.mnt(), Compare::CONTENT);
    volume.unmount();
    let mut check = volume.kmsfs("check");
    ok(source.with(check.args(["--kms", &source.url]).arg(volume.lower())));
}

#[test]
fn the_keystore_serves() {
    let mut volume = Volume::bare();
    let source = Source::local(&volume);
    everyday(&mut volume, &source);
}

#[test]
fn a_service_on_a_unix_socket_serves() {
    everyday(&mut Volume::bare(), &Source::unix());
}

#[test]
fn a_service_over_https_serves() {
    everyday(&mut Volume::bare(), &Source::https());
}

#[test]
fn another_program_with_the_api_of_aws_serves() {
    everyday(&mut Volume::bare(), &Source::moto());
}

/// Each move is a rewrap; afterwards the former source is gone, and nothing misses it.
#[test]
fn one_volume_goes_through_all_of_them() {
    let mut volume = Volume::bare();
    let mut at = Source::local(&volume);
    ok(volume.kmsfs("init").args(["--key", KEY]).arg(volume.lower()));
    at.mount(&mut volume);
    let plain = volume.scratch("plain");
    fs::create_dir(&plain).unwrap();
    write_tree(&plain);
    write_tree(&volume.mnt());
    ok(volume.kmsfs("key").args(["create", "--alias", "alias/back"]));
    let back =
        Source { url: "local:".into(), environment: Vec::new(), keys: Keys::Keystore(None), process: None };
    let stops = [Source::unix(), Source::https(), Source::moto(), back];
    for (n, next) in stops.into_iter().enumerate() {
        let key = if n == 3 { "alias/back" } else { KEY };
        // Mounted with both KMSs, or not mounted at all.
        let live = n % 2 == 1;
        volume.unmount();
        let named = ["--kms", &at.url, "--kms", &next.url];
        if live {
            let mut command = volume.mount_command();
            at.with(next.with(command.args(named)));
            volume.mount_with(&mut command);
        }
        let mut command = volume.kmsfs("rewrap");
        let from = if live { volume.mnt() } else { volume.lower() };
        command.arg("--json").args(["--to", key, "--key-kms", &next.url]).args(named).arg(from);
        let text = ok(at.with(next.with(&mut command)));
        progress(format_args!("{} to {}: {text}", at.url, next.url));
        let done: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((done["rewrapped"].as_u64(), done["failed"].as_u64()), (Some(40), Some(0)));
        assert_eq!(done["released"].as_array().unwrap().len(), 1);
        if live {
            assert_same_tree(&plain, &volume.mnt(), Compare::CONTENT);
            volume.unmount();
        }
        // Gone for good: a keystore's key is switched off, a service ends.
        match at.process.take() {
            Some(process) => drop(process),
            None => at.switch(&volume, false),
        }
        at = next;
        at.mount(&mut volume);
        assert_same_tree(&plain, &volume.mnt(), Compare::CONTENT);
        let name = format!("made at stop {n}");
        for dir in [&plain, &volume.mnt()] {
            fs::write(dir.join(&name), &name).unwrap();
            fs::remove_file(dir.join(&name)).unwrap();
        }
        let text = ok(volume.kmsfs("info").arg("--json").arg(volume.lower()));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["kms"], at.url.as_str(), "{text}");
    }
    volume.unmount();
    volume.assert_clean();
}
