//! What root finds of keys in the memory of `kmsfs kms serve`, what a crash leaves of it, and what it says of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kms_api/client.rs"]
#[allow(dead_code, reason = "the tests of the service itself use more of it")]
mod client;
mod common;

use client::{Connection, Request};
use common::{
    tools::{ok, progress},
    volume::Volume,
};
use serde_json::json;
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
};

/// All that can be read of what a process writes to.
fn memory(pid: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|flags| flags.starts_with('r')))
    {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut page = vec![0; 4096];
        for at in (from..to).step_by(4096) {
            if memory.read_exact_at(&mut page, at).is_ok() {
                all.extend_from_slice(&page);
            }
        }
    }
    all
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// A CMK with `material`, brought along as AWS's customers do.
fn import(volume: &Volume, material: &[u8; 32]) -> String {
    let created = ok(volume.kmsfs("key").args(["create", "--origin", "EXTERNAL", "--json"]));
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    let key = created["KeyMetadata"]["KeyId"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned();
    let [wrap, token, plain, sealed] =
        ["wrap.der", "token", "material", "sealed"].map(|name| volume.scratch(name));
    let mut parameters = volume.kmsfs("key");
    parameters.args(["import-parameters", &key, "--wrapping-spec", "RSA_2048"]);
    ok(parameters.arg("--public-key").arg(&wrap).arg("--token").arg(&token));
    fs::write(&plain, material).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-pkeyopt", "rsa_padding_mode:oaep"]);
    openssl.args(["-pkeyopt", "rsa_oaep_md:sha256", "-inkey"]).arg(&wrap);
    ok(openssl.arg("-in").arg(&plain).arg("-out").arg(&sealed));
    let mut import = volume.kmsfs("key");
    ok(import.args(["import", &key]).arg("--token").arg(&token).arg("--in").arg(&sealed));
    fs::remove_file(plain).unwrap();
    key
}

#[test]
fn root_finds_no_key_material_and_a_crash_leaves_none() {
    let volume = Volume::bare();
    volume.keystore_create();
    let material: [u8; 32] = std::array::from_fn(|_| rand_byte());
    let key = import(&volume, &material);

    let socket = volume.home().join("kms.sock");
    let crash = volume.scratch("crash");
    fs::create_dir(&crash).unwrap();
    let mut serve = volume.kmsfs("kms");
    serve
        .args(["serve", "--socket"])
        .arg(&socket)
        .env("KMSFS_LOG", "trace")
        .current_dir(&crash)
        .stderr(Stdio::piped());
    let mut service = serve.spawn().unwrap();
    let mut log = BufReader::new(service.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("Serving on") {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let log = std::thread::spawn(move || log.read_to_string(&mut said).map(|_| said));

    let mut connection = Connection::unix(&socket);
    let marker = "a plaintext that the test can find";
    for _ in 0..100 {
        let body = json!({ "KeyId": key, "Plaintext": base64(marker.as_bytes()) });
        let sealed = connection.send(&Request::new("Encrypt", body.to_string())).ok();
        let body = json!({ "CiphertextBlob": sealed["CiphertextBlob"] });
        connection.send(&Request::new("Decrypt", body.to_string())).ok();
    }
    let found = memory(service.id());
    assert!(
        holds(&found, key.as_bytes()),
        "the memory that is searched is the service's: it knows the key's id"
    );
    match kmsfs::crypto::hide_secrets() {
        Ok(()) => assert!(!holds(&found, &material), "key material in memory that root can read"),
        Err(error) => {
            progress(format_args!("SKIPPED: no memory can be hidden from root on this kernel: {error}"))
        }
    }
    let environment = fs::read(format!("/proc/{}/environ", service.id())).unwrap();
    assert!(!environment.is_empty() && !shows(&environment, &material), "key material in the environment");

    // As an assertion of a library ends it.
    ok(Command::new("kill").args(["-ABRT", &service.id().to_string()]));
    let status = service.wait().unwrap();
    assert!(status.signal().is_some() && !status.core_dumped(), "{status:?}");
    assert!(is_empty(&crash), "a core file was left");
    let said = log.join().unwrap().unwrap();
    assert!(said.contains("confined to its own files"), "the log says all it can: {said}");
    for secret in [&material, marker.as_bytes(), passphrase(&volume).as_bytes()] {
        assert!(!shows(said.as_bytes(), secret), "a secret in the log");
    }
    let audit = fs::read(volume.home().join("kmsfs/keystore.audit/audit-000001.jsonl")).unwrap();
    assert!(holds(&audit, b"Decrypt") && !shows(&audit, marker.as_bytes()), "a plaintext in the audit log");
}

fn passphrase(volume: &Volume) -> String {
    fs::read_to_string(volume.passphrase_file()).unwrap().trim_end().to_owned()
}

/// Whether a text has a secret, in whatever spelling.
fn shows(text: &[u8], secret: &[u8]) -> bool {
    let spellings = [secret.to_vec(), base64(secret).into_bytes(), hex::encode(secret).into_bytes()];
    spellings.iter().any(|spelling| holds(text, spelling))
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

fn rand_byte() -> u8 {
    let mut byte = [0];
    File::open("/dev/urandom").unwrap().read_exact_at(&mut byte, 0).unwrap();
    byte[0]
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
