//! Other people's programs with `libkmsfs_pkcs11.so`: pkcs11-tool, p11-kit, OpenSSL, OpenSSH, python-pkcs11's own tests, the
//! `cryptoki` crate.
//!
//! `scripts/test pkcs11` installs them and builds the library; without that, these tests say so and fail.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/hsm.rs"]
mod hsm;
mod programs;
mod suite;
mod token;

use hsm::{Hsm, library};
use std::{path::PathBuf, process::Command};
use token::{PIN, Token};

use common::{tools::ok, volume::Volume};

/// A program that loads the library, with a service's socket.
fn with_socket(program: &str, socket: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    command.env("KMSFS_PKCS11_SOCKET", socket).env("KMSFS_PKCS11_DEBUG", "1");
    command
}

/// What `pkcs11-tool` says, and whether it did well.
fn tool(socket: &std::path::Path, arguments: &[&str]) -> (bool, String) {
    let mut command = with_socket("pkcs11-tool", socket);
    let output = command.arg("--module").arg(library()).args(arguments).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

/// The library loads while the HSM is sealed: its slot has no token. Unlocked, the token is there; locked, it is pulled out.
#[test]
fn a_sealed_hsm_is_a_slot_without_a_token() {
    let volume = Volume::bare();
    let hsm = Hsm::start(&volume, "2/3");
    let (good, said) = tool(&hsm.socket, &["--list-slots"]);
    assert!(good && said.contains("(empty)"), "{said}");

    for custodian in [1, 3] {
        assert!(hsm.unlock(&volume, custodian).status.success());
    }
    let pin = volume.scratch("pin");
    std::fs::write(&pin, PIN).unwrap();
    ok(hsm.command(&volume, "pin").arg("--pin-file").arg(&pin));
    let (good, said) = tool(&hsm.socket, &["--list-token-slots"]);
    assert!(good && said.contains("token label        : kmsfs"), "{said}");
    let login = ["--login", "--pin", PIN];
    let make = ["--keygen", "--key-type", "AES:32", "--label", "kept", "--sensitive"];
    let (good, said) = tool(&hsm.socket, &[&login[..], &make].concat());
    assert!(good, "{said}");

    ok(&mut hsm.command(&volume, "lock"));
    let (good, said) = tool(&hsm.socket, &[&login[..], &["--list-objects"]].concat());
    assert!(!good || said.contains("No slots"), "{said}");
    for custodian in [2, 3] {
        assert!(hsm.unlock(&volume, custodian).status.success());
    }
    let (good, said) = tool(&hsm.socket, &[&login[..], &["--list-objects"]].concat());
    assert!(good && said.contains("kept"), "{said}");
}

/// A program that keeps its sessions over a lock is told, and begins anew.
#[test]
fn sessions_end_with_a_lock_and_new_ones_come_after_it() {
    use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
    use cryptoki::error::{Error, RvError};
    use cryptoki::mechanism::Mechanism;
    use cryptoki::object::Attribute;
    use cryptoki::session::UserType;

    let token = Token::start();
    // The library reads it when it begins; no other test of this program loads it into this process.
    #[allow(unsafe_code, reason = "the environment of a test")]
    // SAFETY: the tests of this program read and write no other variable meanwhile.
    unsafe {
        std::env::set_var("KMSFS_PKCS11_SOCKET", token.socket());
    }
    let module = Pkcs11::new(library()).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = module.get_slots_with_token().unwrap()[0];
    let session = module.open_rw_session(slot).unwrap();
    let wrong = session.login(UserType::User, Some(&"not that one".to_owned().into()));
    assert!(matches!(wrong, Err(Error::Pkcs11(RvError::PinIncorrect, _))), "{wrong:?}");
    session.login(UserType::User, Some(&PIN.to_owned().into())).unwrap();

    let template = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sign(true),
        Attribute::ValueLen(32.into()),
    ];
    let key = session.generate_key(&Mechanism::GenericSecretKeyGen, &template).unwrap();
    let mac = session.sign(&Mechanism::Sha256Hmac, key, b"message").unwrap();
    session.verify(&Mechanism::Sha256Hmac, key, b"message", &mac).unwrap();
    let refused = session.verify(&Mechanism::Sha256Hmac, key, b"another", &mac);
    assert!(matches!(refused, Err(Error::Pkcs11(RvError::SignatureInvalid, _))), "{refused:?}");

    let token = token.restart();
    let over = session.sign(&Mechanism::Sha256Hmac, key, b"message");
    assert!(matches!(over, Err(Error::Pkcs11(RvError::SessionHandleInvalid, _))), "{over:?}");
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&PIN.to_owned().into())).unwrap();
    let found = session.find_objects(&[Attribute::Sign(true), Attribute::Private(true)]).unwrap();
    assert_eq!(session.sign(&Mechanism::Sha256Hmac, found[0], b"message").unwrap(), mac);
    drop(token);
}

/// Where the test programs' own files are.
fn suites() -> PathBuf {
    let suites = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/clients/suites");
    assert!(suites.exists(), "the suites are not installed: run ./scripts/test pkcs11, which installs them");
    suites
}
