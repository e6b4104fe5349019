//! Mounts whose keys are in the software HSM: by the service, and as in any token, through our own PKCS#11 library.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/hsm.rs"]
mod hsm;

use common::{
    tools::{bytes, ok},
    volume::{Volume, wait_until},
};
use hsm::{Hsm, library};
use rustix::io::Errno;
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// How long anything may take to fail, or to be back.
const BOUND: Duration = Duration::from_secs(15);
const PIN: &str = "471147";

fn unlock(hsm: &Hsm, host: &Volume) {
    for custodian in [1, 2] {
        assert!(hsm.unlock(host, custodian).status.success());
    }
}

fn is_no_key(path: &Path) -> bool {
    File::open(path).is_err_and(|error| error.raw_os_error() == Some(Errno::NOKEY.raw_os_error()))
}

/// fio in the volume: writing blocks that tell whether they are right, or verifying them.
fn fio(volume: &Volume, arguments: &[&str]) -> Child {
    let mut command = Command::new("fio");
    command.args(["--name=load", "--rw=randwrite", "--bs=8k", "--size=24m", "--fsync=16", "--verify=crc32c"]);
    command.arg(format!("--filename={}", volume.path("load").display())).args(arguments);
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// A lock takes the keys of cold files at once; a file that is being written goes on while its key is at hand. Nothing that
/// was acknowledged is lost, and nothing is mounted anew.
#[test]
fn a_lock_under_a_verifying_load_loses_nothing() {
    let host = Volume::bare();
    let hsm = Hsm::start(&host, "2/3");
    unlock(&hsm, &host);
    let mut volume = Volume::bare();
    volume.init(&["--kms", &hsm.url()]);
    volume.option("--kms").option(&hsm.url());
    volume.mount();
    let cold = volume.path("cold");
    fs::write(&cold, bytes(1, 10_000)).unwrap();
    volume.remount();
    let mut load = fio(&volume, &["--do_verify=0", "--rate=3m"]);
    sleep(Duration::from_secs(2));

    ok(&mut hsm.command(&host, "lock"));
    assert!(is_no_key(&cold), "no cold file opens while the HSM is sealed");
    sleep(Duration::from_secs(3));
    assert!(
        is_no_key(&cold) && load.try_wait().unwrap().is_none(),
        "the load goes on in the locked HSM's mount"
    );
    unlock(&hsm, &host);
    assert!(
        wait_until(BOUND, || fs::read(&cold).is_ok_and(|read| read == bytes(1, 10_000))),
        "it opens again"
    );

    assert!(load.wait().unwrap().success(), "the load saw no error");
    let verifies = |volume: &Volume| fio(volume, &["--verify_only"]).wait().unwrap().success();
    assert!(verifies(&volume), "what fio wrote verifies");
    volume.remount();
    assert!(verifies(&volume), "and from the disk");
    volume.unmount();
    ok(volume.kmsfs("check").args(["--kms", &hsm.url()]).arg(volume.lower()));
}

/// Both sides of PKCS#11 are ours: the volume's CMK is a key of the HSM's token, which a lock pulls out.
#[test]
fn our_own_token_holds_the_key_of_a_volume() {
    let host = Volume::bare();
    let hsm = Hsm::start(&host, "2/3");
    unlock(&hsm, &host);
    let pin = host.scratch("pin");
    fs::write(&pin, PIN).unwrap();
    fs::set_permissions(&pin, PermissionsExt::from_mode(0o600)).unwrap();
    ok(hsm.command(&host, "pin").arg("--pin-file").arg(&pin));
    let with = |command: &mut Command| ok(command.env("KMSFS_PKCS11_SOCKET", &hsm.socket));
    let mut keygen = Command::new("pkcs11-tool");
    keygen.arg("--module").arg(library()).args(["--login", "--pin", PIN, "--keygen", "--key-type", "AES:32"]);
    with(keygen.args(["--label", "volume", "--id", "01", "--sensitive"]));

    let mut volume = Volume::bare();
    let (module, pin) = (library().display().to_string(), pin.display().to_string());
    let url = format!("pkcs11:token=kmsfs;object=volume?module-path={module}&pin-source={pin}");
    with(volume.kmsfs("init").args(["--kms", &url]).arg(volume.lower()));
    let mut command = volume.mount_command();
    command.args(["--kms", &url, "--key-age", "1"]).env("KMSFS_PKCS11_SOCKET", &hsm.socket);
    volume.mount_with(&mut command);
    let (first, second) = (bytes(1, 300_000), bytes(2, 10_000));
    fs::write(volume.path("first"), &first).unwrap();
    fs::write(volume.path("second"), &second).unwrap();

    ok(&mut hsm.command(&host, "lock"));
    let cold = volume.path("second");
    assert!(wait_until(BOUND, || is_no_key(&cold)), "its key is not cached for ever");
    unlock(&hsm, &host);
    assert!(wait_until(BOUND, || fs::read(&cold).is_ok_and(|read| read == second)), "it opens again");
    assert!(fs::read(volume.path("first")).unwrap() == first);
    volume.unmount();
    with(volume.kmsfs("check").args(["--kms", &url]).arg(volume.lower()));
}
