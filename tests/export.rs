//! `kmsfs export`: what comes out of a lower directory is what the mount showed, and the lower directory is left alone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use common::{
    tools::{Compare, assert_same_tree, bytes, need_root, ok, sh, snapshot},
    volume::Volume,
};
use serde_json::Value;

/// After a mount's own recovery: what it mends is modified by that.
const RECOVERED: Compare = Compare { attributes: false, ..Compare::ALL };

/// Runs `kmsfs export LOWER DEST --json`, with more arguments.
fn export(volume: &Volume, lower: &Path, dest: &Path, args: &[&str]) -> Output {
    volume.kmsfs("export").arg("--json").args(args).arg(lower).arg(dest).output().unwrap()
}

/// The report of an export that ends with `code`.
fn report(output: &Output, code: i32) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|err| panic!("{err}: {stderr}"))
}

/// The paths that a report finds fault with.
fn problems(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    report["problems"].as_array().unwrap().iter().map(|p| (text(&p["kind"]), text(&p["path"]))).collect()
}

/// Everything that a change of the lower directory would change; access times are none.
fn state(dir: &Path) -> (BTreeMap<PathBuf, Vec<u8>>, String) {
    let list = sh(dir, "find . -printf '%P %y %m %U %G %n %T@ %C@ %s\\n' | sort", &[]);
    (snapshot(dir), list)
}

/// Puts one of everything into the mount.
fn fill(volume: &Volume) {
    fs::write(volume.scratch("big"), bytes(7, 5_000_000)).unwrap();
    let script = r#"
        mkdir -p docs/deep/er shared empty
        cp "$1" docs/big
        printf 'short' >docs/deep/er/short; : >docs/none
        long=$(printf 'n%.0s' $(seq 250)); printf 'long' >"docs/$long"
        printf 'latin' >"docs/$(printf 'na\357ve')"
        ln docs/big shared/second; ln docs/big shared/third
        ln -s docs/big link; ln -s /nowhere/at/all dangling; ln link linked-link
        mkfifo fifo; ln fifo fifo-again
        printf 'a' | dd of=sparse bs=1 seek=50000000 conv=notrunc status=none
        dd if="$1" of=sparse bs=4096 count=3 seek=100 conv=notrunc status=none
        truncate -s 90000000 sparse
        setfattr -n user.colour -v green docs/big
        setfattr -n user.note -v directory docs
        setfacl -m u:1:r docs/big
        setfacl -d -m u:2:rwx shared
        chmod 0400 docs/none; chmod 0751 docs/deep; chmod 0000 docs/deep/er/short
        touch -h -d '1999-12-31 23:59:59.123456789' docs/big docs/deep/er/short link fifo
        touch -d '2001-02-03 04:05:06.987654321' docs/deep docs empty
    "#;
    sh(&volume.mnt(), script, &[&volume.scratch("big")]);
}

#[test]
fn what_is_restored_is_what_the_mount_shows() {
    let mut volume = Volume::mounted();
    fill(&volume);
    if rustix::process::geteuid().is_root() {
        let script = "mknod null c 1 3; chown 1:2 docs/big; chown -h 3:4 link null; chown 5:6 shared; \
             chmod 2775 shared; cp /bin/true program; chown 7 program; chmod 4755 program; chown 8:9 .; chmod 750 .";
        sh(&volume.mnt(), script, &[]);
        sh(&volume.mnt(), "setfattr -n trusted.secret -v kept docs", &[]);
    }
    let kept = volume.scratch("kept");
    sh(&volume.mnt(), r#"cp -a --sparse=always . "$1""#, &[&kept]);
    let allocated = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    let sparse = allocated(&volume.path("sparse"));
    volume.unmount();
    let before = state(&volume.lower());
    let dest = volume.scratch("restored");
    let told = report(&export(&volume, &volume.lower(), &dest, &[]), 0);
    assert_eq!(told["complete"], true);
    assert_eq!(told["unset"]["owners"], 0);
    assert!(state(&volume.lower()) == before, "the lower directory changed");

    volume.mount();
    assert_same_tree(&volume.mnt(), &dest, Compare::ALL);
    let (here, there) = (fs::metadata(volume.mnt()).unwrap(), fs::metadata(&dest).unwrap());
    let metadata =
        |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
    assert_eq!(metadata(&here), metadata(&there), "the root itself");
    assert_same_tree(&kept, &dest, Compare::CONTENT);
    let link = |dir: &Path| {
        let meta = fs::symlink_metadata(dir.join("link")).unwrap();
        (meta.mtime(), meta.mtime_nsec(), meta.uid())
    };
    assert_eq!(link(&volume.mnt()), link(&dest));
    assert!(allocated(&dest.join("sparse")) <= sparse, "holes stay holes");
    assert!(told["links"].as_u64().unwrap() >= 4);
    volume.unmount();
}

#[test]
fn a_session_that_died_is_restored_as_its_recovery_would_have_it_and_stays_as_it_is() {
    let mut volume = Volume::mounted();
    fs::write(volume.path("old"), bytes(1, 300_000)).unwrap();
    fs::write(volume.path("cut"), bytes(2, 300_000)).unwrap();
    volume.remount();
    let overwrite = |name: &str, at: u64, content: &[u8]| {
        let file = OpenOptions::new().write(true).open(volume.path(name)).unwrap();
        file.write_all_at(content, at).unwrap();
        file
    };
    // In the journal only when the daemon dies: overwrites and a cut; in place: a new file and growth.
    let files = [overwrite("old", 5000, &bytes(3, 100_000)), overwrite("old", 299_990, &bytes(4, 9000))];
    files[0].sync_all().unwrap();
    let cut = OpenOptions::new().write(true).open(volume.path("cut")).unwrap();
    cut.set_len(123_457).unwrap();
    fs::write(volume.path("new"), bytes(5, 70_000)).unwrap();
    drop((files, cut));
    let mtime = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let times = ["old", "cut", "new"].map(|name| (name, mtime(&volume.path(name))));
    volume.kill();

    let before = state(&volume.lower());
    let dest = volume.scratch("restored");
    let told = report(&export(&volume, &volume.lower(), &dest, &[]), 0);
    assert_eq!(told["recovered"], true);
    assert!(state(&volume.lower()) == before, "the lower directory changed");
    for (name, time) in times {
        let restored = mtime(&dest.join(name));
        let apart = restored.duration_since(time).unwrap_or_else(|err| err.duration());
        // The lower filesystem's clock ticks that coarsely.
        assert!(apart < Duration::from_millis(50), "{name}: {apart:?}");
    }
    volume.mount();
    assert_same_tree(&volume.mnt(), &dest, RECOVERED);
    let mut expected = bytes(1, 300_000);
    expected[5000..105_000].copy_from_slice(&bytes(3, 100_000));
    expected.truncate(299_990);
    expected.extend(bytes(4, 9000));
    assert!(fs::read(dest.join("old")).unwrap() == expected);
    assert!(fs::read(dest.join("cut")).unwrap() == bytes(2, 300_000)[..123_457]);
    assert!(fs::read(dest.join("new")).unwrap() == bytes(5, 70_000));
    volume.unmount();
}

#[test]
fn a_read_only_lower_directory_will_do() {
    need_root();
    let mut volume = Volume::mounted();
    fill(&volume);
    volume.kill();
    let (frozen, dest) = (volume.scratch("frozen"), volume.scratch("restored"));
    fs::create_dir(&frozen).unwrap();
    let script = r#"mount --bind "$1" "$2" && mount -o remount,bind,ro "$2""#;
    sh(&volume.scratch(""), script, &[&volume.lower(), &frozen]);
    let output = export(&volume, &frozen, &dest, &[]);
    sh(&volume.scratch(""), r#"umount "$1""#, &[&frozen]);
    assert_eq!(report(&output, 0)["recovered"], true);
    volume.mount();
    assert_same_tree(&volume.mnt(), &dest, RECOVERED);
    volume.unmount();
}

fn lower_files(volume: &Volume, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| volume.lower_of(name)).collect()
}

fn flip(lower: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(lower).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn damaged_files_are_named_and_left_out_or_kept_with_zeros() {
    let mut volume = Volume::mounted();
    let content = bytes(1, 200_000);
    for name in ["flipped", "short", "beheaded", "whole"] {
        fs::write(volume.path(name), &content).unwrap();
    }
    fs::create_dir(volume.path("dir")).unwrap();
    fs::write(volume.path("dir/inside"), &content).unwrap();
    fs::hard_link(volume.path("flipped"), volume.path("dir/again")).unwrap();
    fs::write(volume.path("noted"), "noted").unwrap();
    sh(
        &volume.mnt(),
        "setfattr -n user.a -v a noted; setfattr -n user.b -v b noted; ln -s target bad-link",
        &[],
    );
    let lower = lower_files(&volume, &["flipped", "short", "beheaded", "noted", "bad-link"]);
    volume.unmount();
    flip(&lower[0], 4096 + 10 * 4096);
    OpenOptions::new().write(true).open(&lower[1]).unwrap().set_len(4096 + 100_000).unwrap();
    flip(&lower[2], 20);
    let attributes = sh(
        &volume.lower(),
        r#"getfattr -d "$1" 2>/dev/null | sed -n 's/^\(user[^=]*\)=.*/\1/p'"#,
        &[&lower[3]],
    );
    let attribute = attributes.lines().next().unwrap().to_owned();
    sh(&volume.lower(), &format!(r#"setfattr -n {attribute} -v nonsense "$1""#), &[&lower[3]]);
    fs::remove_file(&lower[4]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", volume.lower().join(lower[4].file_name().unwrap())).unwrap();

    let dest = volume.scratch("restored");
    let told = report(&export(&volume, &volume.lower(), &dest, &[]), 14);
    let mut found = problems(&told);
    found.sort();
    // Either name of the file may have come first.
    let flipped = |(_, path): &(String, String)| path == "/flipped" || path == "/dir/again";
    assert_eq!(found.iter().filter(|problem| flipped(problem)).count(), 2, "{found:?}");
    found.retain(|problem| !flipped(problem));
    let kinds: Vec<_> = found.iter().map(|(kind, path)| (kind.as_str(), path.as_str())).collect();
    let expected =
        [("attribute", "/noted"), ("file", "/beheaded"), ("file", "/short"), ("symlink", "/bad-link")];
    assert_eq!(kinds, expected);
    for name in ["flipped", "dir/again", "short", "beheaded", "bad-link"] {
        assert!(dest.join(name).symlink_metadata().is_err(), "{name}");
    }
    for name in ["whole", "dir/inside"] {
        assert!(fs::read(dest.join(name)).unwrap() == content, "{name}");
    }
    assert_eq!(fs::read(dest.join("noted")).unwrap(), b"noted");
    assert_eq!(common::tools::xattrs(&dest.join("noted")).len(), 1, "the other attribute");

    let dest = volume.scratch("kept");
    let told = report(&export(&volume, &volume.lower(), &dest, &["--keep-damaged"]), 14);
    assert_eq!(told["damaged_files"], 2);
    let mut zeroed = content.clone();
    zeroed[10 * 4096..11 * 4096].fill(0);
    assert!(fs::read(dest.join("flipped")).unwrap() == zeroed);
    assert!(fs::read(dest.join("dir/again")).unwrap() == zeroed);
    let mut cut = content.clone();
    cut[100_000 / 4096 * 4096..].fill(0);
    assert!(fs::read(dest.join("short")).unwrap() == cut);
    assert!(!dest.join("beheaded").exists(), "of which nothing is whole");
    assert_eq!(fs::read_dir(&dest).unwrap().count(), 5, "nothing temporary stays");
}

#[test]
fn a_part_is_restored_by_its_path() {
    let mut volume = Volume::mounted();
    fill(&volume);
    volume.unmount();
    let (dest, one) = (volume.scratch("part"), volume.scratch("one"));
    report(&export(&volume, &volume.lower(), &dest, &["--path", "docs/deep"]), 0);
    report(&export(&volume, &volume.lower(), &one, &["--path", "/docs/big"]), 0);
    let failed = export(&volume, &volume.lower(), &volume.scratch("none"), &["--path", "docs/missing"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(!volume.scratch("none").exists());
    volume.mount();
    assert_same_tree(&volume.path("docs/deep"), &dest, Compare::ALL);
    assert_eq!(fs::read_dir(&one).unwrap().count(), 1);
    assert!(fs::read(one.join("big")).unwrap() == fs::read(volume.path("docs/big")).unwrap());
    volume.unmount();
}

#[test]
fn nothing_is_written_where_something_is_or_where_the_volume_lies() {
    let mut volume = Volume::mounted();
    fs::write(volume.path("file"), "content").unwrap();
    let busy = export(&volume, &volume.lower(), &volume.scratch("busy"), &[]);
    assert_eq!(busy.status.code(), Some(12), "the volume is mounted");
    volume.unmount();
    let full = volume.scratch("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("precious"), "data").unwrap();
    let before = state(&full);
    assert_eq!(export(&volume, &volume.lower(), &full, &[]).status.code(), Some(15));
    assert!(state(&full) == before);
    for inside in ["new", "."] {
        let inside = volume.lower().join(inside);
        assert_eq!(export(&volume, &volume.lower(), &inside, &[]).status.code(), Some(2));
    }
    volume.assert_clean();
}

#[test]
fn an_export_that_did_not_come_to_its_end_says_so() {
    need_root();
    let mut volume = Volume::mounted();
    fs::write(volume.path("large"), bytes(1, 3_000_000)).unwrap();
    fs::write(volume.path("small"), "content").unwrap();
    volume.unmount();
    let dest = volume.scratch("small");
    fs::create_dir(&dest).unwrap();
    sh(&volume.scratch(""), r#"mount -t tmpfs -o size=1m tmpfs "$1""#, &[&dest]);
    let failed = export(&volume, &volume.lower(), &dest, &[]);
    let marks = fs::read_dir(&dest).unwrap().flatten().filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with(".kmsfs-export.") && name.ends_with(".unfinished")
    });
    let marks = marks.count();
    let mode = fs::metadata(&dest).unwrap().permissions().mode() & 0o777;
    let again = export(&volume, &volume.lower(), &dest, &[]);
    sh(&volume.scratch(""), r#"umount "$1""#, &[&dest]);
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    assert_eq!((marks, mode), (1, 0o700));
    assert_eq!(again.status.code(), Some(15));
    assert!(String::from_utf8_lossy(&again.stderr).contains("did not come to its end"));
}

#[test]
fn an_ordinary_user_is_told_what_could_not_be_set() {
    need_root();
    let mut volume = Volume::mounted();
    fill(&volume);
    sh(
        &volume.mnt(),
        "mknod null c 1 3; chmod 644 docs/deep/er/short docs/none; chown 1:1 docs/big; chmod 4755 docs/big",
        &[],
    );
    volume.unmount();
    // A copy that the user may read, in a place that the user may write to.
    let place = volume.scratch("place");
    let script = r#"mkdir "$1"; cp -a "$2" "$1/lower"; cp "$3" "$1/pw"; mkdir "$1/kmsfs"; cp "$4" "$1/kmsfs/keystore.db"
        chown 65534:65534 "$1" "$1/lower" "$1/pw" "$1/lower/kmsfs.journal" "$1/lower/kmsfs.journal/state"
        chown -R 65534 "$1/kmsfs"; chmod -R a+rX "$1/lower"
        cd "$1"; HOME="$1" XDG_DATA_HOME="$1" KMSFS_PASSPHRASE_FILE="$1/pw" \
            setpriv --reuid=65534 --regid=65534 --clear-groups "$5" export --json lower dest"#;
    let program = common::volume::program();
    let paths = [&place, &volume.lower(), &volume.passphrase_file(), &volume.keystore(), &program];
    let paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
    let told: Value = serde_json::from_str(&sh(&volume.scratch(""), script, &paths)).unwrap();
    assert!(told["unset"]["owners"].as_u64().unwrap() > 5, "{told}");
    assert_eq!(told["unset"]["others"], 1, "the device");
    assert_eq!(told["complete"], true);
    let big = fs::metadata(place.join("dest/docs/big")).unwrap();
    assert_eq!((big.uid(), big.mode() & 0o7777), (65534, 0o755), "no rights of another user are lent");
    volume.mount();
    sh(&volume.mnt(), "rm null", &[]);
    assert_same_tree(&volume.mnt(), &place.join("dest"), Compare::CONTENT);
    volume.unmount();
    ok(volume.kmsfs("check").arg(volume.lower()));
}
