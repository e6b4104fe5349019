//! A mount whose keys are at a KMS service: it obeys the service within a second, does without it for as long as keys
//! are cached, and needs no remount when it comes back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kms_api/client.rs"]
#[allow(dead_code, reason = "the tests of the service itself use more of it")]
mod client;
mod common;
#[path = "common/service.rs"]
mod service;

use common::{
    tools::{bytes, ok, progress},
    volume::{Volume, wait_until},
};
use kmsfs::crypto::SecretBytes;
use kmsfs::kms::keystore::Unlock;
use kmsfs::kms::{Call, Kms, NewAccessKey, Options};
use rustix::io::Errno;
use serde_json::json;
use service::{KEY, Service};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    process::Command,
    time::{Duration, Instant},
};

/// What the threat model promises.
const PROMISE: Duration = Duration::from_secs(1);

/// How long a cold file may take to fail while the service is away.
const BOUND: Duration = Duration::from_secs(15);

/// A volume that is not mounted yet, under a key of a service.
fn volume_of_a_service() -> (Volume, Service) {
    let mut volume = Volume::bare();
    volume.keystore_create();
    ok(volume.kmsfs("key").args(["create", "--alias", KEY]));
    let service = Service::start(&volume, "127.0.0.1:0", &[]);
    volume.init(&["--kms", &service.url(), "--key", KEY]);
    volume.option("--kms").option(&service.url());
    (volume, service)
}

/// A user with an access key, who may do what `statements` of a policy say.
fn user(volume: &Volume, statements: &serde_json::Value) -> NewAccessKey {
    let passphrase = fs::read_to_string(volume.passphrase_file()).unwrap();
    let secret = Unlock::Passphrase(SecretBytes::from(passphrase.trim_end().to_owned()));
    let kms = Kms::open(&*volume.keystore(), &secret, Options::default()).unwrap();
    let name = "user/mounter".parse().unwrap();
    kms.create_principal(&Call::operator(), &name).unwrap();
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    kms.put_identity_policy(&Call::operator(), &name, "mounts", &document.to_string()).unwrap();
    kms.create_access_key(&Call::operator(), &name).unwrap()
}

fn is_nokey<T>(result: &io::Result<T>) -> bool {
    result.as_ref().err().and_then(io::Error::raw_os_error) == Some(Errno::NOKEY.raw_os_error())
}

fn first_byte(file: &File) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0)?;
    Ok(byte[0])
}

/// Asserts that `attempt` comes to fail with ENOKEY in the promised time.
fn assert_stops<T>(since: Instant, what: &str, mut attempt: impl FnMut() -> io::Result<T>) {
    let stopped = wait_until(PROMISE, || {
        let result = attempt();
        assert!(result.is_ok() || is_nokey(&result), "{what}: {:?}", result.err());
        result.is_err()
    });
    let after = since.elapsed();
    assert!(stopped && after <= PROMISE, "{what} still works {after:?} after the key was disabled");
    progress(format_args!("{what}: ENOKEY {} ms after the change", after.as_millis()));
}

#[test]
fn a_key_disabled_at_the_service_stops_the_mount_within_a_second() {
    let (mut volume, service) = volume_of_a_service();
    volume.mount();
    let path = volume.path("file");
    fs::write(&path, bytes(1, 200_000)).unwrap();
    let open = File::open(&path).unwrap();
    for _ in 0..2 {
        first_byte(&open).unwrap();
        let since = service.key("DisableKey");
        assert_stops(since, "a read of an open file", || first_byte(&open));
        assert_stops(since, "an open", || File::open(&path));
        assert_stops(since, "a new file", || File::create_new(volume.path("new")));
        service.key("EnableKey");
        let back = wait_until(PROMISE, || File::open(&path).is_ok() && first_byte(&open).is_ok());
        assert!(back, "the file does not open a second after its key was enabled");
    }
    assert!(fs::read(&path).unwrap() == bytes(1, 200_000));
}

#[test]
fn a_mount_outlives_its_service() {
    let (mut volume, service) = volume_of_a_service();
    volume.mount();
    let (warm, cold) = (volume.path("warm"), volume.path("cold"));
    fs::write(&warm, bytes(2, 50_000)).unwrap();
    fs::write(&cold, bytes(3, 50_000)).unwrap();
    volume.remount();
    assert!(fs::read(&warm).unwrap() == bytes(2, 50_000));
    let address = service.address.to_string();
    service.kill();

    let began = Instant::now();
    let refused = fs::read(&cold);
    assert!(is_nokey(&refused), "{refused:?}");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(is_nokey(&File::create_new(volume.path("new"))));
    assert!(fs::read(&warm).unwrap() == bytes(2, 50_000), "its key is cached");

    let service = Service::start(&volume, &address, &[]);
    let back = wait_until(BOUND, || fs::read(&cold).is_ok_and(|read| read == bytes(3, 50_000)));
    assert!(back, "the cold file does not open though the service is back");
    fs::write(volume.path("new"), b"new").unwrap();
    // Changes are noticed again, too.
    let since = service.key("DisableKey");
    assert!(wait_until(BOUND, || is_nokey(&File::open(&cold))), "{:?}", since.elapsed());
}

#[test]
fn a_mount_reaches_its_service_over_tls() {
    let mut volume = Volume::bare();
    volume.keystore_create();
    ok(volume.kmsfs("key").args(["create", "--alias", KEY]));
    let user = user(
        &volume,
        &json!({
            "Effect": "Allow",
            "Action": ["kms:DescribeKey", "kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": "*",
            "Condition": { "StringEquals": { "kms:ViaService": "kmsfs" } },
        }),
    );
    let tls = volume.home().join("tls");
    ok(volume.kmsfs("kms").args(["init-tls"]).arg(&tls));
    let (certificate, key) = (tls.join("server.pem"), tls.join("server.key"));
    let files = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let service = Service::start(&volume, "127.0.0.1:0", &files);
    let url = format!("https://localhost:{}", service.address.port());

    let with = |command: &mut Command| {
        command.env("AWS_CA_BUNDLE", tls.join("ca.pem")).env("AWS_REGION", "local");
        let secret = std::str::from_utf8(user.secret.expose()).unwrap();
        command.env("AWS_ACCESS_KEY_ID", &user.id).env("AWS_SECRET_ACCESS_KEY", secret);
    };
    let mut init = volume.kmsfs("init");
    with(init.args(["--kms", &url, "--key", KEY]).arg(volume.lower()));
    ok(&mut init);
    volume.option("--kms").option(&url);
    let mut mount = volume.mount_command();
    with(&mut mount);
    volume.mount_with(&mut mount);
    fs::write(volume.path("file"), b"over TLS").unwrap();
    let since = service.key("DisableKey");
    assert_stops(since, "an open", || File::open(volume.path("file")));
    service.key("EnableKey");
    assert!(wait_until(PROMISE, || fs::read(volume.path("file")).is_ok_and(|read| read == b"over TLS")));
    volume.unmount();

    let mut untrusting = volume.mount_command();
    with(&mut untrusting);
    let refused = volume.refused_mount(untrusting.env_remove("AWS_CA_BUNDLE"));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("does not answer") && message.contains("certificate"), "{message}");
}

#[test]
fn a_policy_tells_zones_apart_by_their_names() {
    let mut volume = Volume::bare();
    volume.keystore_create();
    for alias in [KEY, "alias/zones"] {
        ok(volume.kmsfs("key").args(["create", "--alias", alias]));
    }
    let data_keys = ["kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt"];
    let allow = |actions: &[&str], condition: serde_json::Value| json!({ "Effect": "Allow", "Action": actions, "Resource": "*", "Condition": condition });
    let statements = json!([
        allow(&["kms:DescribeKey"], json!({})),
        allow(&data_keys, json!({ "Null": { "kms:EncryptionContext:kmsfs:zone": true } })),
        allow(&data_keys, json!({ "StringEquals": { "kms:EncryptionContext:kmsfs:zone": "finance" } })),
    ]);
    let user = user(&volume, &statements);
    let service = Service::start(&volume, "127.0.0.1:0", &[]);
    let url = format!("http://{}", service.address);
    let with = |command: &mut Command| {
        let secret = std::str::from_utf8(user.secret.expose()).unwrap();
        command.env("AWS_ACCESS_KEY_ID", &user.id).env("AWS_SECRET_ACCESS_KEY", secret);
        command.env("AWS_REGION", "local");
    };
    let mut init = volume.kmsfs("init");
    with(init.args(["--kms", &url, "--key", KEY, "--wrap", "direct"]).arg(volume.lower()));
    ok(&mut init);
    volume.option("--kms").option(&url);
    let mut mount = volume.mount_command();
    with(&mut mount);
    volume.mount_with(&mut mount);
    for dir in ["finance", "other"] {
        fs::create_dir(volume.path(dir)).unwrap();
        fs::write(volume.path(dir).join("file"), dir).unwrap();
    }
    let set = |dir: &str| {
        volume.kmsfs("zone").arg("set").arg(volume.path(dir)).args(["--key", "alias/zones"]).output()
    };
    let refused = set("other").unwrap();
    assert_eq!(refused.status.code(), Some(9), "{}", String::from_utf8_lossy(&refused.stderr));
    let done = set("finance").unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let list = ok(volume.kmsfs("zone").args(["list", "--json"]).arg(volume.mnt()));
    assert!(list.contains("\"finance\"") && !list.contains("\"other\""), "{list}");
    for dir in ["finance", "other"] {
        assert_eq!(fs::read_to_string(volume.path(dir).join("file")).unwrap(), dir);
        fs::write(volume.path(dir).join("new"), dir).unwrap();
    }
}

/// The volume's key in the keystore, a zone's at a service: each stops its own files.
#[test]
fn a_zone_has_its_key_at_another_kms_than_the_volume() {
    let mut volume = Volume::bare();
    volume.keystore_create();
    ok(volume.kmsfs("key").args(["create", "--alias", "alias/own"]));
    let elsewhere = Volume::bare();
    elsewhere.keystore_create();
    ok(elsewhere.kmsfs("key").args(["create", "--alias", KEY]));
    let service = Service::start(&elsewhere, "127.0.0.1:0", &[]);
    let url = service.url();
    volume.init(&["--key", "alias/own"]);
    volume.option("--kms").option("local:").option("--kms").option(&url);
    volume.mount();
    for dir in ["finance", "other"] {
        fs::create_dir(volume.path(dir)).unwrap();
        fs::write(volume.path(dir).join("file"), dir).unwrap();
    }
    let mut set = volume.kmsfs("zone");
    ok(set.arg("set").arg(volume.path("finance")).args(["--key", KEY, "--key-kms", &url]));
    volume.remount();
    let read = |dir: &str| fs::read_to_string(volume.path(dir).join("file"));
    assert_eq!((read("finance").unwrap(), read("other").unwrap()), ("finance".into(), "other".into()));
    service.key("DisableKey");
    assert!(wait_until(PROMISE, || is_nokey(&read("finance"))));
    assert_eq!(read("other").unwrap(), "other");
    service.key("EnableKey");
    assert!(wait_until(PROMISE, || read("finance").is_ok()));
    ok(volume.kmsfs("key").args(["disable", "alias/own"]));
    assert!(wait_until(PROMISE, || is_nokey(&read("other"))));
    assert_eq!(read("finance").unwrap(), "finance");
    ok(volume.kmsfs("key").args(["enable", "alias/own"]));
}

#[test]
fn a_volume_does_not_say_whom_to_ask_for_its_key() {
    let (volume, service) = volume_of_a_service();
    let mut mount = volume.kmsfs("mount");
    mount.arg(volume.lower()).arg(volume.mnt());
    let refused = volume.refused_mount(&mut mount);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains(&format!("--kms {}", service.url())), "{message}");
}

/// Calls of an operation that the service has recorded.
fn calls(volume: &Volume, operation: &str) -> u64 {
    let text = ok(volume.kmsfs("kms").args(["usage", "--by", "operation", "--json"]));
    let usage: serde_json::Value = serde_json::from_str(&text).unwrap();
    let lines = usage["Lines"].as_array().unwrap();
    lines.iter().find(|line| line["Name"] == operation).map_or(0, |line| line["Calls"].as_u64().unwrap())
}

/// A volume with `wrap` at a service, 300 files in it, mounted anew and each read twice; and the calls of GenerateDataKey and
/// Decrypt that came of the files.
fn three_hundred_files(wrap: &str) -> (u64, u64) {
    let mut volume = Volume::bare();
    volume.keystore_create();
    ok(volume.kmsfs("key").args(["create", "--alias", KEY]));
    let service = Service::start(&volume, "127.0.0.1:0", &["--audit-durable"]);
    volume.init(&["--kms", &service.url(), "--key", KEY, "--wrap", wrap]);
    volume.option("--kms").option(&service.url());
    volume.mount();
    let before = (calls(&volume, "GenerateDataKey"), calls(&volume, "Decrypt"));
    for n in 0..300 {
        fs::write(volume.path(format!("{n}")), bytes(n, 100)).unwrap();
    }
    let generated = calls(&volume, "GenerateDataKey") - before.0;
    volume.remount();
    for _ in 0..2 {
        for n in 0..300 {
            assert!(fs::read(volume.path(format!("{n}"))).unwrap() == bytes(n, 100), "file {n}");
        }
    }
    // Of the Decrypt calls, one is for the volume key at the second mount.
    (generated, calls(&volume, "Decrypt") - before.1 - 1)
}

#[test]
fn a_zone_key_takes_one_call_for_many_files() {
    assert_eq!(three_hundred_files("zone-key"), (1, 1));
}

#[test]
fn directly_wrapped_keys_take_a_call_a_file_and_a_few_made_ahead() {
    let (generated, decrypted) = three_hundred_files("direct");
    assert!((300..=300 + 1024).contains(&generated), "{generated} data keys for 300 files");
    assert_eq!(decrypted, 300, "each file was opened twice, and its key asked for once");
}
