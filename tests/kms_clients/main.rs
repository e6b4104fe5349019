//! Other people's programs against `kmsfs kms serve`: AWS's clients, and the test suites of programs that use AWS KMS.
//!
//! `scripts/test kms_clients` installs them in target/clients; without that, these tests say so and fail.

#![allow(clippy::unwrap_used, reason = "tests")]

mod service;
mod suites;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../common/tools.rs"]
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;

use service::Service;
use tools::{ok, tool};

/// The interpreter of the environment that scripts/lib/clients.sh makes.
fn python() -> PathBuf {
    let python = clients().join("python/bin/python");
    assert!(
        python.exists(),
        "the clients are not installed: run ./scripts/test kms_clients, which installs them"
    );
    python
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

/// Where programs are found, those of the environment first.
fn path() -> String {
    let own = python().with_file_name("");
    format!("{}:{}", own.display(), std::env::var("PATH").unwrap_or_default())
}

/// What a run of pytest came to.
struct Outcome {
    /// The line that sums up, as in "1 failed, 47 passed in 3.21s".
    summary: String,
    /// Tests that failed or were skipped, as `tests/test_x.py::test_y`.
    others: Vec<String>,
    /// All it said.
    output: String,
}

/// Runs pytest in `directory`, where nothing is written, as the principal `admin` of `service`.
fn pytest(service: &Service, directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    let mut command = Command::new(python());
    command.args(["-B", "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--tb=short", "-q", "-rfEs"]);
    command.args(arguments).current_dir(directory).envs(service.environment("admin")).env("PATH", path());
    command.envs(environment.iter().copied());
    let run = command.output().unwrap();
    let output = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    let summary = output.lines().rev().find(|line| line.contains(" passed") || line.contains(" failed"));
    let others = output.lines().filter_map(|line| {
        let line = ["FAILED ", "ERROR ", "SKIPPED "].iter().find_map(|word| line.strip_prefix(word))?;
        Some(line.split(" - ").next()?.to_owned())
    });
    Outcome { summary: summary.unwrap_or_default().to_owned(), others: others.collect(), output }
}

#[test]
fn boto3_calls_every_operation() {
    let service = Service::start();
    let principals = service.principals();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let outcome = pytest(&service, &directory, &[("KMSFS_PRINCIPALS", &principals)], &[]);
    assert!(outcome.others.is_empty() && outcome.summary.contains("passed"), "{}", outcome.output);
}

/// A key pair made with `aws`, its signature verified and a message encrypted with `openssl`.
#[test]
fn the_aws_command_line_and_openssl_work_together() {
    let service = Service::start();
    let script = r#"
        aws kms create-key --description "from the command line" --query KeyMetadata.KeyId --output text >key
        key=$(cat key)
        aws kms create-alias --alias-name alias/cli --target-key-id "$key"
        printf 'the plaintext' >plain
        aws kms encrypt --key-id alias/cli --plaintext fileb://plain --encryption-context team=red \
            --query CiphertextBlob --output text | base64 -d >sealed
        aws kms decrypt --ciphertext-blob fileb://sealed --encryption-context team=red \
            --query Plaintext --output text | base64 -d | cmp - plain
        ! aws kms decrypt --ciphertext-blob fileb://sealed 2>error
        grep -q InvalidCiphertextException error

        for spec in RSA_3072:RSASSA_PKCS1_V1_5_SHA_256 ECC_NIST_P256:ECDSA_SHA_256 ECC_SECG_P256K1:ECDSA_SHA_256; do
            key=$(aws kms create-key --key-spec "${spec%%:*}" --key-usage SIGN_VERIFY --query KeyMetadata.KeyId \
                --output text)
            aws kms get-public-key --key-id "$key" --query PublicKey --output text | base64 -d >public.der
            aws kms sign --key-id "$key" --message fileb://plain --signing-algorithm "${spec##*:}" \
                --query Signature --output text | base64 -d >signature
            openssl pkey -pubin -inform DER -in public.der -out public.pem
            openssl dgst -sha256 -verify public.pem -signature signature plain
        done

        key=$(aws kms create-key --key-spec RSA_2048 --key-usage ENCRYPT_DECRYPT --query KeyMetadata.KeyId --output text)
        aws kms get-public-key --key-id "$key" --query PublicKey --output text | base64 -d >public.der
        openssl pkeyutl -encrypt -pubin -keyform DER -inkey public.der -in plain -out sealed \
            -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256
        aws kms decrypt --key-id "$key" --ciphertext-blob fileb://sealed --encryption-algorithm RSAES_OAEP_SHA_256 \
            --query Plaintext --output text | base64 -d | cmp - plain

        aws kms list-keys --query 'length(Keys)' --output text >count
        test "$(cat count)" = 5
    "#;
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(service.scratch());
    command.envs(service.environment("admin")).env("PATH", path()).env("HOME", service.scratch());
    ok(&mut command);
}

/// AWS's command line over TLS trusts the authority that `init-tls` made, and nothing without it.
#[test]
fn clients_trust_the_certificates_of_init_tls() {
    let service = Service::start_tls();
    assert!(service.url.starts_with("https://"));
    let authority = service.authority();
    for (bundle, trusted) in
        [(authority.as_os_str(), true), ("/etc/ssl/certs/ca-certificates.crt".as_ref(), false)]
    {
        let mut command = Command::new(python().with_file_name("aws"));
        command.args(["kms", "list-keys"]).envs(service.environment("admin")).env("AWS_CA_BUNDLE", bundle);
        let run = command.output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.success(), trusted, "{said}");
        assert!(trusted || said.contains("SSL"), "{said}");
    }
}

/// On the socket nobody signs: whoever owns the service is the account's root.
#[test]
fn curl_speaks_the_protocol_on_the_unix_socket() {
    let service = Service::start();
    let call = |operation: &str, body: &str| {
        let mut command = Command::new(tool("curl"));
        command.args(["--silent", "--show-error", "--fail-with-body", "--unix-socket"]).arg(service.socket());
        command.args(["--header", &format!("X-Amz-Target: TrentService.{operation}")]);
        command.args([
            "--header",
            "Content-Type: application/x-amz-json-1.1",
            "--data",
            body,
            "http://localhost/",
        ]);
        serde_json::from_str::<serde_json::Value>(&ok(&mut command)).unwrap()
    };
    let key = call("CreateKey", "{}")["KeyMetadata"]["KeyId"].clone();
    let sealed = call("Encrypt", &serde_json::json!({ "KeyId": key, "Plaintext": "cGxhaW4=" }).to_string());
    let blob = sealed["CiphertextBlob"].clone();
    let opened = call("Decrypt", &serde_json::json!({ "CiphertextBlob": blob }).to_string());
    assert_eq!(opened["Plaintext"], "cGxhaW4=");
}
