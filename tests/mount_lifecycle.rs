//! A mount's life: what it refuses to start on, how it ends, what it tells meanwhile, and mounts of ordinary users.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt, chown},
    process::{Command, Output, Stdio},
};

use common::{
    tools::{bytes, errno, need_root, ok},
    volume::{Volume, is_mount_point, program},
};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};

/// Exit codes as `kmsfs --help` lists them.
const WRONG_SECRET: i32 = 3;
const NO_KEYSTORE: i32 = 5;
const NO_VOLUME: i32 = 7;
const BUSY: i32 = 12;

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn signal(volume: &Volume, signal: Signal) {
    kill_process(Pid::from_raw(volume.pid() as i32).unwrap(), signal).unwrap();
}

fn assert_journal_empty(volume: &Volume) {
    let entries = fs::read_dir(volume.lower().join("kmsfs.journal")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let segments = names.filter(|name| name != "state").collect::<Vec<_>>();
    assert!(segments.is_empty(), "the journal is not empty after an unmount: {segments:?}");
}

#[test]
fn a_second_mount_of_a_volume_is_refused_and_the_first_goes_on() {
    let volume = Volume::mounted();
    fs::write(volume.path("file"), b"content").unwrap();
    let other = volume.scratch("other");
    fs::create_dir(&other).unwrap();
    let mut second = volume.kmsfs("mount");
    let refused = volume.refused_mount(second.arg("--foreground").arg(volume.lower()).arg(&other));
    assert_eq!(refused.status.code(), Some(BUSY), "{}", message(&refused));
    assert!(!is_mount_point(&other));
    assert_eq!(fs::read(volume.path("file")).unwrap(), b"content");
}

#[test]
fn a_mount_point_in_use_or_around_the_volume_is_refused() {
    let volume = Volume::unmounted();
    let full = volume.scratch("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("entry"), b"").unwrap();
    let around = volume.lower().parent().unwrap().to_owned();
    let inside = volume.lower().join("inside");
    for point in [&full, &around, &volume.lower(), &inside] {
        let _ = fs::create_dir(point);
        let mut command = volume.kmsfs("mount");
        let refused = volume.refused_mount(command.arg("--foreground").arg(volume.lower()).arg(point));
        let message = message(&refused);
        assert_eq!(refused.status.code(), Some(BUSY), "{}: {message}", point.display());
        assert!(!is_mount_point(&around), "{}", point.display());
    }
    assert_eq!(fs::read(full.join("entry")).unwrap(), b"");
}

#[test]
fn what_is_missing_or_wrong_is_told_by_its_own_exit_code() {
    let volume = Volume::unmounted();
    let wrong = volume.scratch("wrong passphrase");
    fs::write(&wrong, "not the passphrase\n").unwrap();
    let mount = |change: &dyn Fn(&mut Command)| {
        let mut command = volume.kmsfs("mount");
        command.arg("--foreground");
        change(&mut command);
        volume.refused_mount(command.arg(volume.mnt()))
    };
    let refused = mount(&|command| {
        command.arg("--passphrase-file").arg(&wrong).arg(volume.lower());
    });
    assert_eq!(refused.status.code(), Some(WRONG_SECRET), "{}", message(&refused));
    let refused = mount(&|command| {
        command.arg("--keystore").arg(volume.scratch("none.db")).arg(volume.lower());
    });
    assert_eq!(refused.status.code(), Some(NO_KEYSTORE), "{}", message(&refused));
    assert!(!volume.scratch("none.db").exists(), "a mount made a keystore");
    let empty = volume.scratch("empty");
    fs::create_dir(&empty).unwrap();
    let refused = mount(&|command| {
        command.arg(&empty);
    });
    assert_eq!(refused.status.code(), Some(NO_VOLUME), "{}", message(&refused));
}

#[test]
fn a_directory_that_is_not_empty_does_not_become_a_volume() {
    let volume = Volume::unmounted();
    let taken = volume.scratch("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("mine"), b"mine").unwrap();
    for dir in [&taken, &volume.lower()] {
        let before = fs::read_dir(dir).unwrap().count();
        let output = volume.kmsfs("init").arg(dir).output().unwrap();
        assert!(!output.status.success(), "{}", dir.display());
        assert_eq!(fs::read_dir(dir).unwrap().count(), before, "{}", message(&output));
    }
}

#[test]
fn signals_unmount_cleanly() {
    for sent in [Signal::TERM, Signal::INT] {
        let mut volume = Volume::mounted();
        fs::write(volume.path("file"), bytes(1, 100_000)).unwrap();
        let file = File::options().write(true).open(volume.path("file")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes(2, 50_000), 0).unwrap();
        drop(file);
        signal(&volume, sent);
        let status = volume.wait();
        assert!(status.success(), "{sent:?}: {status}\n{}", volume.log());
        assert!(!is_mount_point(&volume.mnt()), "{sent:?}");
        assert_journal_empty(&volume);
        volume.assert_clean();
        volume.mount();
        assert!(fs::read(volume.path("file")).unwrap()[..50_000] == bytes(2, 50_000)[..]);
    }
}

#[test]
fn a_signal_ends_a_mount_whose_files_are_open() {
    let mut volume = Volume::mounted();
    let file = File::create_new(volume.path("open")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"written before the signal", 0).unwrap();
    signal(&volume, Signal::TERM);
    volume.wait();
    assert!(!is_mount_point(&volume.mnt()));
    drop(file);
    volume.assert_clean();
    volume.mount();
    assert_eq!(fs::read(volume.path("open")).unwrap(), b"written before the signal");
}

#[test]
fn an_unmount_leaves_the_journal_empty_and_the_lower_directory_ready_to_copy() {
    let mut volume = Volume::mounted();
    let file = File::options().read(true).write(true).create_new(true).open(volume.path("file")).unwrap();
    for round in 0..20 {
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes(round, 100_000), 500).unwrap();
    }
    drop(file);
    volume.unmount();
    assert_journal_empty(&volume);
    volume.assert_clean();
}

#[test]
fn umount_returns_when_the_volume_is_closed() {
    let mut volume = Volume::mounted();
    fs::write(volume.path("file"), bytes(1, 10_000_000)).unwrap();
    ok(volume.kmsfs("umount").arg(volume.mnt()));
    assert_journal_empty(&volume);
    assert!(volume.wait().success());
    volume.assert_clean();
    let again = volume.kmsfs("umount").arg(volume.mnt()).output().unwrap();
    assert!(!again.status.success());
}

#[test]
fn umount_refuses_a_busy_mount_unless_it_may_be_lazy() {
    let mut volume = Volume::mounted();
    fs::write(volume.path("file"), b"content").unwrap();
    let open = File::open(volume.path("file")).unwrap();
    let busy = volume.kmsfs("umount").arg(volume.mnt()).output().unwrap();
    assert_eq!(busy.status.code(), Some(BUSY), "{}", message(&busy));
    assert_eq!(fs::read(volume.path("file")).unwrap(), b"content");
    ok(volume.kmsfs("umount").arg("--lazy").arg(volume.mnt()));
    assert!(!is_mount_point(&volume.mnt()));
    let mut text = [0; 7];
    std::os::unix::fs::FileExt::read_exact_at(&open, &mut text, 0).unwrap();
    assert_eq!(&text, b"content");
    drop(open);
    assert!(volume.wait().success());
}

#[test]
fn a_mount_in_the_background_answers_when_the_command_returns() {
    let volume = Volume::unmounted();
    let mut command = volume.kmsfs("mount");
    command.arg("--log-file").arg(volume.scratch("log")).arg(volume.lower()).arg(volume.mnt());
    let said = ok(command.arg("--json").stdin(Stdio::null()));
    fs::write(volume.path("file"), b"at once").unwrap();
    let result: serde_json::Value =
        serde_json::from_str(&said).expect("one JSON document on standard output");
    assert_eq!(result["mount_point"].as_str(), volume.mnt().to_str());
    ok(volume.kmsfs("umount").arg(volume.mnt()));
    assert!(!is_mount_point(&volume.mnt()));
    assert_journal_empty(&volume);
    volume.assert_clean();
}

#[test]
fn a_mount_in_the_background_reports_its_failure_to_the_caller() {
    let volume = Volume::unmounted();
    let wrong = volume.scratch("wrong");
    fs::write(&wrong, "not the passphrase\n").unwrap();
    let mut command = volume.kmsfs("mount");
    command.arg("--passphrase-file").arg(&wrong).arg(volume.lower()).arg(volume.mnt());
    let refused = volume.refused_mount(&mut command);
    assert_eq!(refused.status.code(), Some(WRONG_SECRET), "{}", message(&refused));
    assert!(!is_mount_point(&volume.mnt()));
}

#[test]
fn a_refusal_of_the_kms_keeps_its_name_on_the_way_out_of_the_background() {
    let volume = Volume::bare();
    volume.keystore_create();
    ok(volume.kmsfs("key").args(["create", "--alias", "alias/off"]));
    volume.init(&["--key", "alias/off"]);
    ok(volume.kmsfs("key").args(["disable", "alias/off"]));
    let mut command = volume.kmsfs("mount");
    let refused = volume.refused_mount(command.arg("--json").arg(volume.lower()).arg(volume.mnt()));
    let said: serde_json::Value = serde_json::from_slice(&refused.stderr).expect("one JSON document");
    assert_eq!((&said["name"], &said["exit_code"]), (&"DisabledException".into(), &9.into()), "{said}");
}

#[test]
fn status_tells_of_the_mount_its_key_and_its_cache() {
    let volume = Volume::mounted();
    for index in 0..20 {
        fs::write(volume.path(format!("file-{index}")), b"content").unwrap();
    }
    let text = ok(volume.kmsfs("status").arg("--json").arg(volume.mnt()));
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mount = &status["mounts"][0];
    assert_eq!(mount["pid"], volume.pid());
    let text = mount.to_string();
    for word in ["aes-256-gcm-siv", "arn:aws:kms:", "hits", "misses", "evictions"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    let human = ok(&mut volume.kmsfs("status"));
    assert!(human.contains(&*volume.mnt().to_string_lossy()), "{human}");
    for secret in ["correct horse", "passphrase"] {
        assert!(!human.contains(secret) && !text.contains(secret));
    }
}

#[test]
fn a_dead_mount_is_cleared_away_and_mounted_anew() {
    let mut volume = Volume::mounted();
    fs::write(volume.path("file"), b"content").unwrap();
    signal(&volume, Signal::KILL);
    volume.wait();
    assert_eq!(errno(fs::read(volume.path("file"))), Errno::NOTCONN.raw_os_error());
    let refused = volume.refused_mount(&mut volume.mount_command());
    assert_eq!(refused.status.code(), Some(BUSY), "{}", message(&refused));
    ok(volume.kmsfs("umount").arg(volume.mnt()));
    volume.mount();
    assert_eq!(fs::read(volume.path("file")).unwrap(), b"content");
}

#[test]
fn a_read_only_mount_reads_and_changes_nothing() {
    let mut volume = Volume::mounted();
    fs::write(volume.path("file"), b"content").unwrap();
    volume.unmount();
    volume.option("-o").option("ro").mount();
    assert_eq!(fs::read(volume.path("file")).unwrap(), b"content");
    assert_eq!(errno(fs::write(volume.path("file"), b"x")), Errno::ROFS.raw_os_error());
    assert_eq!(errno(fs::create_dir(volume.path("dir"))), Errno::ROFS.raw_os_error());
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn mount_kmsfs_takes_the_arguments_of_mount_and_fstab() {
    let volume = Volume::unmounted();
    let helper = volume.scratch("mount.kmsfs");
    fs::copy(program(), &helper).unwrap();
    let options = format!(
        "rw,noatime,keystore={},passphrase_file={}",
        volume.keystore().display(),
        volume.passphrase_file().display()
    );
    let mut command = Command::new(&helper);
    command.envs(volume.kmsfs("mount").get_envs().filter_map(|(name, value)| Some((name, value?))));
    ok(command.arg(volume.lower()).arg(volume.mnt()).arg("-o").arg(options));
    fs::write(volume.path("file"), b"through the helper").unwrap();
    ok(volume.kmsfs("umount").arg(volume.mnt()));
    assert_journal_empty(&volume);
}

/// In a mount namespace where mount(8) finds no helper but ours, which docs/cli.md says how to install: once by type,
/// once from an fstab. `$1` is the program, `$2` the lower directory, `$3` the mount point, `$4` the options.
const BY_MOUNT: &str = r#"
mount -t tmpfs tmpfs /sbin
ln -s "$1" /sbin/mount.fuse.kmsfs
fstab=$(mktemp -p /sbin); printf '%s %s fuse.kmsfs %s 0 0\n' "$2" "$3" "$4" >"$fstab"
by_type() { mount -t fuse.kmsfs -o "$4" "$2" "$3"; }
by_fstab() { mount -T "$fstab" "$3"; }
for way in by_type by_fstab; do
    "$way" "$@"
    [ "$(findmnt -n -o FSTYPE "$3")" = fuse.kmsfs ]
    echo "$way" >"$3/file"
    "$1" umount "$3"
done
"#;

#[test]
fn mount_8_finds_the_program_wherever_it_is_through_a_link() {
    need_root();
    let volume = Volume::unmounted();
    let options = format!(
        "noatime,keystore={},passphrase_file={},log_file={}",
        volume.keystore().display(),
        volume.passphrase_file().display(),
        volume.scratch("log").display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation=private", "bash", "-euc", BY_MOUNT, "sh"]).arg(program());
    ok(command.arg(volume.lower()).arg(volume.mnt()).arg(options).env("XDG_RUNTIME_DIR", volume.home()));
    assert_journal_empty(&volume);
    volume.assert_clean();
}

/// In a mount namespace of its own, where every user may open the FUSE device as on a machine with udev.
/// `$1` is the program, in a place where other users can run it; `$2` the lower directory, `$3` the mount point.
const ORDINARY_USER: &str = r#"
mount -t tmpfs -o mode=755 tmpfs "$4"; mknod -m 666 "$4/fuse" c 10 229; mount --bind "$4/fuse" /dev/fuse
as() { user=$1; shift; setpriv --reuid="$user" --regid="$user" --clear-groups "$@"; }
as 1 "$1" init "$2"
as 1 "$1" mount --log-file "$4/../log" "$2" "$3"
as 1 cp -r /usr/share/common-licenses "$3/copied"
as 1 diff -r --no-dereference /usr/share/common-licenses "$3/copied"
! as 2 ls "$3" || { echo 'another user sees the mount'; exit 1; }
as 1 "$1" umount "$3"
! mountpoint -q "$3"
as 1 "$1" check "$2"
"#;

#[test]
fn an_ordinary_user_mounts_with_fusermount3() {
    need_root();
    let volume = Volume::bare();
    for dir in [volume.lower(), volume.mnt(), volume.home(), volume.scratch(""), volume.passphrase_file()] {
        chown(dir, Some(1), Some(1)).unwrap();
    }
    let (copy, dev) = (volume.scratch("kmsfs"), volume.scratch("dev"));
    fs::copy(program(), &copy).unwrap();
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    fs::create_dir(&dev).unwrap();
    let mut session = Command::new("unshare");
    session.args(["--mount", "bash", "-euxo", "pipefail", "-c", ORDINARY_USER, "sh"]);
    session.args([&copy, &volume.lower(), &volume.mnt(), &dev]);
    session.envs(volume.kmsfs("mount").get_envs().filter_map(|(name, value)| Some((name, value?))));
    ok(&mut session);
}
