//! Backup programs: a repository kept in the mount, and a backup of the lower directory that is restored elsewhere
//! and mounted there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{
    tools::{Compare, assert_same_tree, ok, progress, real_tree, sh, tool},
    volume::Volume,
};

/// A backup program as three shell scripts: `$1` is the repository, `$2` the directory to save or restore into.
struct Program {
    name: &'static str,
    save: &'static str,
    verify: &'static str,
    restore: &'static str,
}

const RESTIC: Program = Program {
    name: "restic",
    save: r#"[ -e "$1/config" ] || restic -q init -r "$1"; restic -q -r "$1" backup ."#,
    verify: r#"restic -q -r "$1" check --read-data"#,
    restore: r#"restic -q -r "$1" restore latest --target "$2""#,
};

const BORG: Program = Program {
    name: "borg",
    save: r#"[ -e "$1/config" ] || borg init -e repokey-blake2 "$1"; borg create "$1::$(date +%s.%N)" ."#,
    verify: r#"borg check --verify-data "$1""#,
    restore: r#"cd "$2"; borg extract "$1::$(borg list --last 1 --short "$1")""#,
};

/// Runs one of the scripts in `dir` with the program's caches and secrets beside the volume.
fn run(volume: &Volume, script: &str, dir: &Path, args: [&Path; 2]) {
    let home = volume.scratch("backup-home");
    std::fs::create_dir_all(&home).unwrap();
    let with_home = format!(
        "export HOME='{}' XDG_CACHE_HOME='{0}/cache' RESTIC_PASSWORD=secret BORG_PASSPHRASE=secret \
         BORG_RELOCATED_REPO_ACCESS_IS_OK=yes\n{script}",
        home.display()
    );
    sh(dir, &with_home, &args);
}

fn directory(volume: &Volume, name: &str) -> PathBuf {
    let path = volume.scratch(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A real tree, small enough to be saved several times.
fn source(volume: &Volume) -> PathBuf {
    let source = directory(volume, "source");
    let script =
        r#"cd "$1"; find . -type f -size -64k | sort | sed -n 1,3000p | tar -cf - -T - | tar -xf - -C "$2""#;
    sh(&source, script, &[&real_tree(), &source]);
    source
}

fn keeps_its_repository_in_the_mount(program: &Program) {
    tool(program.name);
    let mut volume = Volume::mounted();
    let source = source(&volume);
    let (repository, restored) = (volume.path("repository"), directory(&volume, "restored"));
    for round in 1..=2 {
        progress(format_args!("{}: backup {round} into the mount", program.name));
        run(&volume, program.save, &source, [&repository, &source]);
        sh(
            &source,
            r#"find . -type f | sed -n 1,100p | while read -r file; do echo more >>"$file"; done"#,
            &[],
        );
    }
    run(&volume, program.save, &source, [&repository, &source]);
    volume.remount();
    progress(format_args!("{}: check and restore", program.name));
    run(&volume, program.verify, &source, [&repository, &restored]);
    run(&volume, program.restore, &source, [&repository, &restored]);
    let entries = assert_same_tree(&source, &restored_root(&restored, &source), Compare::CONTENT);
    assert!(entries > 1000, "{entries}");
}

fn saves_the_lower_directory(program: &Program) {
    tool(program.name);
    let mut volume = Volume::mounted();
    let source = source(&volume);
    let repository = volume.scratch("repository");
    progress(format_args!("{}: backups of the lower directory", program.name));
    sh(&source, r#"cp -a . "$1""#, &[&volume.path("tree")]);
    volume.unmount();
    run(&volume, program.save, &volume.lower(), [&repository, &source]);
    volume.mount();
    sh(
        &volume.mnt(),
        "echo changed >tree/added; rm -r \"$(find tree -mindepth 1 -type d | sed -n 1p)\"",
        &[],
    );
    let kept = volume.scratch("kept");
    sh(&volume.mnt(), r#"cp -a tree "$1""#, &[&kept]);
    volume.unmount();
    run(&volume, program.save, &volume.lower(), [&repository, &source]);
    progress(format_args!("{}: restore of the lower directory, and a mount of it", program.name));
    let restored = directory(&volume, "restored");
    run(&volume, program.restore, &source, [&repository, &restored]);
    let lower = volume.lower();
    let from = restored_root(&restored, &lower);
    std::fs::rename(&lower, volume.scratch("original")).unwrap();
    ok(std::process::Command::new("cp").arg("-a").arg(from).arg(&lower));
    volume.assert_clean();
    volume.mount();
    assert_same_tree(&kept, &volume.path("tree"), Compare { attributes: true, ..Compare::CONTENT });
}

/// Where a restore put the tree that was saved as `.`: some programs restore the whole absolute path.
fn restored_root(restored: &Path, saved: &Path) -> PathBuf {
    let absolute = restored.join(saved.strip_prefix("/").unwrap());
    if absolute.exists() { absolute } else { restored.to_owned() }
}

#[test]
fn restic_keeps_its_repository_in_the_mount() {
    keeps_its_repository_in_the_mount(&RESTIC);
}

#[test]
fn borg_keeps_its_repository_in_the_mount() {
    keeps_its_repository_in_the_mount(&BORG);
}

#[test]
fn restic_saves_the_lower_directory() {
    saves_the_lower_directory(&RESTIC);
}

#[test]
fn borg_saves_the_lower_directory() {
    saves_the_lower_directory(&BORG);
}
