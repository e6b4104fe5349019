//! A whole volume that version 1 of the format left behind, opened with its recovery kit: it must open for ever.
//!
//! `tests/golden/volume-v1.tar` has a lower directory without its `kmsfs.json`, a keystore, its passphrase and the kit. A
//! failure here means that existing volumes no longer open: the code is wrong, not the archive. It is made anew, by
//! `KMSFS_BLESS=1`, only if it is not there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[allow(dead_code, reason = "a part of it is used here")]
#[path = "common/tools.rs"]
mod tools;

use tools::{bytes, ok};

fn archive() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/volume-v1.tar")
}

/// The program, in an environment that knows nothing but `home`.
fn kmsfs(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmsfs"));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", home);
    command.env("KMSFS_KEYSTORE", home.join("keystore.db"));
    command.env("KMSFS_PASSPHRASE_FILE", home.join("passphrase")).stdin(Stdio::null());
    command
}

/// The files of the volume: name and content.
fn files() -> Vec<(String, Vec<u8>)> {
    let sized =
        [0, 1, 4095, 4096, 4097, 40_000].map(|size| (format!("size-{size}"), bytes(size as u64, size)));
    let mut files = sized.to_vec();
    files.push(("dir/below/plan.txt".into(), b"the plan".to_vec()));
    files.push((format!("dir/{}", "long ".repeat(51)), b"under a long name".to_vec()));
    files.push(("finance/figures".into(), bytes(5, 5000)));
    files
}

/// Made through a mount, with a zone and a rotation, as users do.
fn make(home: &Path) {
    fs::write(home.join("passphrase"), "golden for ever\n").unwrap();
    fs::set_permissions(home.join("passphrase"), PermissionsExt::from_mode(0o600)).unwrap();
    let (lower, mnt) = (home.join("lower"), home.join("mnt"));
    fs::create_dir(&lower).unwrap();
    fs::create_dir(&mnt).unwrap();
    ok(kmsfs(home).args(["keystore", "create", "--argon2", "8192,1,1"]));
    for alias in ["alias/volume", "alias/finance"] {
        ok(kmsfs(home).args(["key", "create", "--alias", alias]));
    }
    ok(kmsfs(home).args(["init", "--key", "alias/volume"]).arg(&lower));
    ok(kmsfs(home).arg("mount").arg(&lower).arg(&mnt));
    for dir in ["dir/below", "finance"] {
        fs::create_dir_all(mnt.join(dir)).unwrap();
    }
    ok(kmsfs(home).args(["zone", "set", "--key", "alias/finance"]).arg(mnt.join("finance")));
    for (n, (name, content)) in files().iter().enumerate() {
        fs::write(mnt.join(name), content).unwrap();
        if n == 3 {
            ok(kmsfs(home).args(["key", "rotate", "alias/volume"]));
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    }
    symlink("dir/below/plan.txt", mnt.join("link")).unwrap();
    fs::hard_link(mnt.join("size-4097"), mnt.join("dir/other name")).unwrap();
    ok(kmsfs(home).arg("umount").arg(&mnt));
    fs::write(home.join("kit.txt"), ok(kmsfs(home).arg("recovery-kit").arg(&lower))).unwrap();
    fs::remove_file(lower.join("kmsfs.json")).unwrap();
    fs::remove_dir(&mnt).unwrap();
    ok(Command::new("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "-cf"])
        .arg(archive())
        .arg("-C")
        .arg(home)
        .arg("."));
}

#[test]
fn a_volume_of_version_1_opens_with_its_kit() {
    if std::env::var_os("KMSFS_BLESS").is_some() && !archive().exists() {
        make(tempfile::tempdir().unwrap().path());
    }
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    ok(Command::new("tar").arg("-xf").arg(archive()).arg("-C").arg(home));
    fs::set_permissions(home.join("passphrase"), PermissionsExt::from_mode(0o600)).unwrap();
    let lower = home.join("lower");
    let before = tools::snapshot(&lower);
    assert!(before.keys().all(|path| path.as_os_str().as_bytes() != b"kmsfs.json"));

    // Everything below is what the kit says, and nothing else.
    let kit = fs::read_to_string(home.join("kit.txt")).unwrap();
    assert!(kit.contains("kmsfs export --keystore KEYSTORE LOWER DESTINATION"), "{kit}");
    let config = kit.split("-----BEGIN kmsfs.json-----\n").nth(1).unwrap();
    fs::write(lower.join("kmsfs.json"), config.split("\n-----END kmsfs.json-----").next().unwrap()).unwrap();
    let out = home.join("out");
    ok(kmsfs(home).arg("export").arg("--keystore").arg(home.join("keystore.db")).arg(&lower).arg(&out));

    for (name, content) in files() {
        assert!(fs::read(out.join(&name)).unwrap() == content, "{name}");
    }
    assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("dir/below/plan.txt"));
    assert!(fs::read(out.join("dir/other name")).unwrap() == bytes(4097, 4097));
    let mut after = tools::snapshot(&lower);
    after.remove(Path::new("kmsfs.json"));
    assert!(after == before, "an export writes nothing");
    ok(kmsfs(home).arg("check").arg(&lower));
}
