//! python-pkcs11's own test suite.

use crate::common::tools::{ok, sh};
use crate::hsm::library;
use crate::suites;
use crate::token::{PIN, Token};
use std::{fs, path::Path};

/// The tests that cannot pass, each with its reason.
const FAIL: [&str; 2] = [
    // secp192r1, which is too short to be made any more.
    "tests/test_ecc.py::ECCTests::test_derive_key",
    // Ed448, which AWS-LC does not have.
    "tests/test_ecc.py::ECCTests::test_sign_ed448",
];

/// SoftHSM2 passes 145 of them under its own name, which some ask for, and 137 under another.
#[test]
fn python_pkcs11_passes_145_tests_of_its_suite() {
    let token = Token::start();
    let scratch = token.scratch().join("suite");
    fs::create_dir(&scratch).unwrap();
    // Out of the package's own directory, whose modules would be found first.
    let tests = suites().join("python_pkcs11-0.10.1/tests");
    sh(&scratch, "cp -r \"$1\" .", &[&tests]);
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/python/bin/python");
    // One of the tests loads a second module beside ours.
    let conf = scratch.join("softhsm2.conf");
    fs::write(&conf, format!("directories.tokendir = {}\n", scratch.display())).unwrap();
    let mut command = token.command(python.to_str().unwrap());
    command.args([
        "-B",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--color=no",
        "--tb=short",
        "-q",
        "-rfE",
        "tests",
    ]);
    command.current_dir(&scratch).env("PKCS11_MODULE", library()).env("SOFTHSM2_CONF", &conf);
    command.env("PKCS11_MODULE2", "/usr/lib/softhsm/libsofthsm2.so").env("PKCS11_TOKEN_LABEL", "kmsfs");
    command.env("PKCS11_TOKEN_PIN", PIN).env("PKCS11_TOKEN_SO_PIN", "there is none");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("FAILED ").or_else(|| line.strip_prefix("ERROR ")))
        .map(|line| line.split(" - ").next().unwrap_or(line))
        .collect();
    assert_eq!(failed, FAIL, "{said}");
    assert!(said.contains("2 failed, 145 passed"), "{said}");
    // What they made for their sessions is gone; the service still answers.
    ok(token.command("pkcs11-tool").arg("--module").arg(library()).arg("--list-token-slots"));
}
