//! Test suites that others wrote for programs that use AWS KMS, from their source packages on PyPI.

use std::path::PathBuf;

use crate::service::Service;
use crate::{Outcome, clients, pytest};

/// Where the environment variables of both of AWS's suites get their key from.
const KEY: &str = "AWS_ENCRYPTION_SDK_PYTHON_INTEGRATION_TEST_AWS_KMS_KEY_ID";

fn suite(name: &str) -> PathBuf {
    clients().join("suites").join(name)
}

/// Asserts how many tests passed, and that exactly `others` did not.
fn assert_outcome(outcome: &Outcome, passed: usize, others: &[&str]) {
    let right = outcome.summary.contains(&format!("{passed} passed")) && outcome.others == others;
    assert!(right, "{}\nfailed or skipped: {:#?}", outcome.output, outcome.others);
}

/// Of its 49 tests against a key service, two cannot pass here: one expects that an invented region has no endpoint, and
/// one needs ciphertexts that the package does not have. Left out is a file of known answers under a key of AWS's own.
#[test]
fn the_encryption_sdk_runs() {
    let service = Service::start();
    let (one, two) = (service.key(), service.key());
    let environment = [(KEY, one.as_str()), (&format!("{KEY}_2"), two.as_str())];
    let arguments = ["test/integration", "--ignore=test/integration/test_kat_commitment.py"];
    let outcome = pytest(&service, &suite("aws_encryption_sdk-3.3.1"), &environment, &arguments);
    let others = [
        "test/integration/test_i_aws_encrytion_sdk_client.py::test_remove_bad_client",
        "[1] test/integration/test_i_xcompat_kms.py:59: got empty parameter set for (plaintext_filename, \
         ciphertext_filename)",
    ];
    assert_outcome(&outcome, 47, &others);
}

#[test]
fn the_encryption_command_line_runs() {
    let service = Service::start();
    let key = service.key();
    let outcome =
        pytest(&service, &suite("aws_encryption_sdk_cli-4.3.0"), &[(KEY, &key)], &["test/integration"]);
    assert_outcome(&outcome, 69, &[]);
}

/// A second opinion only: moto imitates AWS KMS, and the cases in which it does so wrongly are listed with the reason.
/// Files that test moto's functions, or services that are not here, are left out.
#[test]
fn moto_agrees_but_for_the_cases_listed() {
    let service = Service::start();
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kms_clients");
    let environment = [
        ("TEST_SERVER_MODE", "true"),
        ("TEST_SERVER_MODE_ENDPOINT", service.url.as_str()),
        ("MOTO_CALL_RESET_API", "false"),
        ("KMSFS_ACCOUNT", "000000000000"),
        ("PYTHONPATH", plugins),
    ];
    let files = ["test_kms", "test_kms_encrypt", "test_kms_grants", "test_kms_key_rotation", "test_kms_mac"];
    let files = files.map(|file| format!("tests/test_kms/{file}.py"));
    let arguments: Vec<_> =
        ["-p", "moto_plugin"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let outcome = pytest(&service, &suite("moto-5.2.5"), &environment, &arguments);
    assert_outcome(&outcome, 112, &[]);
}
