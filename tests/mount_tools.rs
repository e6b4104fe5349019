//! The everyday tools on a real mount, each with a tree of several thousand real files: tar, cp, rsync, git, SQLite.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, process::Command};

use common::{
    tools::{Compare, assert_same_tree, ok, progress, real_tree, sh},
    volume::Volume,
};

/// Adds what real trees seldom have: hard links, ACLs, attributes, sparse files, odd owners and names.
const ODD_THINGS: &str = r#"
mkdir odd; cd odd
echo one >file; ln file second; ln -s file link; ln -s nowhere dangling; mkfifo fifo
setfattr -n user.comment -v 'kept' file; setfacl -m u:1:r file
truncate -s 30M sparse; echo middle | dd of=sparse bs=1 seek=20000000 conv=notrunc status=none
printf 'x' >"$(printf 'n%.0s' {1..255})"; : >$'not\xffutf8'; : >empty
touch -d '2001-02-03 04:05:06.789' empty
if [ "$(id -u)" = 0 ]; then chown 1:2 file; fi; chmod 4755 file
mkdir dir; chmod 2750 dir; setfacl -m d:u:1:rx dir
"#;

/// A plain copy of a real tree with odd things added, beside the volume.
fn source(volume: &Volume) -> std::path::PathBuf {
    let source = volume.scratch("source");
    ok(Command::new("cp").arg("-a").arg(real_tree()).arg(&source));
    sh(&source, ODD_THINGS, &[]);
    source
}

fn assert_copied(source: &Path, copy: &Path, compare: Compare) {
    let entries = assert_same_tree(source, copy, compare);
    progress(format_args!("{entries} entries are the same in {}", copy.display()));
}

#[test]
fn cp_and_rsync_copy_a_real_tree_with_everything_it_has() {
    let mut volume = Volume::mounted();
    let source = source(&volume);
    let (copied, synced) = (volume.path("copied"), volume.path("synced"));
    progress("cp -a into the mount");
    ok(Command::new("cp").arg("-a").arg(&source).arg(&copied));
    progress("rsync -aHAX into the mount");
    let from = format!("{}/", source.display());
    ok(Command::new("rsync").args(["-aHAX", &from]).arg(&synced));
    volume.remount();
    assert_copied(&source, &copied, Compare::ALL);
    assert_copied(&source, &synced, Compare::ALL);
    progress("rsync --checksum finds nothing to do");
    let changes =
        ok(Command::new("rsync").args(["-aHAX", "--checksum", "--itemize-changes", &from]).arg(&synced));
    assert_eq!(changes, "");
    fs::write(source.join("odd/empty"), b"no longer").unwrap();
    let changes =
        ok(Command::new("rsync").args(["-aHAX", "--checksum", "--itemize-changes", &from]).arg(&synced));
    assert!(changes.contains("odd/empty") && changes.lines().count() == 1, "{changes}");
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn tar_unpacks_and_packs_a_real_tree() {
    let mut volume = Volume::mounted();
    let source = source(&volume);
    let (archive, unpacked) = (volume.scratch("tree.tar"), volume.path("unpacked"));
    let tar = |script: &str| sh(&volume.mnt(), script, &[&source, &archive, &unpacked]);
    tar(r#"tar --acls --xattrs --sparse -cf "$2" -C "$1" ."#);
    progress("tar -x into the mount");
    tar(r#"mkdir "$3"; tar --acls --xattrs -xpf "$2" -C "$3""#);
    progress("tar --compare on the mount");
    tar(r#"tar -df "$2" -C "$3""#);
    tar(r#"tar --acls --xattrs --sparse -cf packed.tar -C "$3" ."#);
    volume.remount();
    assert_copied(&source, &unpacked, Compare::ALL);
    fs::create_dir(volume.scratch("again")).unwrap();
    let again = volume.scratch("again");
    sh(&volume.mnt(), r#"tar --acls --xattrs -xpf packed.tar -C "$1""#, &[&again]);
    assert_copied(&source, &again, Compare::ALL);
}

#[test]
fn git_commits_clones_and_repacks() {
    let mut volume = Volume::mounted();
    let tree = real_tree();
    let script = r#"
        export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q -b main origin; cd origin; cp -r "$1/." .; git add -A; git commit -qm first
        find . -name '*.h' -not -path './.git/*' | sed -n 1,200p | while read -r file; do echo changed >>"$file"; done
        git commit -qam second; git gc -q; cd ..
        git clone -q --no-hardlinks origin clone; git -C clone log --format=%s"#;
    progress("git: commit, gc, clone");
    assert_eq!(sh(&volume.mnt(), script, &[&tree]), "second\nfirst\n");
    volume.remount();
    for repository in ["origin", "clone"] {
        progress(format_args!("git fsck in {repository}"));
        let check =
            "git fsck --full --strict --no-progress 2>&1; git status --porcelain; git diff HEAD --stat";
        let safe = format!(
            "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'; {check}"
        );
        assert_eq!(sh(&volume.path(repository), &safe, &[]), "", "{repository}");
    }
}

/// Four processes insert and update for a while, in the given journal mode; each row tells its own checksum.
const SQLITE_WRITERS: &str = r#"
import multiprocessing, sqlite3, sys
path, mode, rounds = sys.argv[1], sys.argv[2], 60
def connect():
    base = sqlite3.connect(path, timeout=120, isolation_level=None)
    base.execute("PRAGMA journal_mode=" + mode); base.execute("PRAGMA synchronous=FULL")
    return base
def work(writer):
    base = connect()
    for turn in range(rounds):
        base.execute("BEGIN IMMEDIATE")
        for row in range(20):
            text = f"{writer}-{turn}-{row}" * (turn % 40)
            base.execute("INSERT INTO rows VALUES (?, ?, ?)", (writer, text, len(text)))
        base.execute("UPDATE counters SET value = value + 20 WHERE writer = ?", (writer,))
        base.execute("COMMIT")
base = connect()
base.execute("CREATE TABLE rows (writer, text, length)"); base.execute("CREATE INDEX by_writer ON rows (writer, length)")
base.execute("CREATE TABLE counters (writer PRIMARY KEY, value)")
for writer in range(4): base.execute("INSERT INTO counters VALUES (?, 0)", (writer,))
base.close()
writers = [multiprocessing.Process(target=work, args=(writer,)) for writer in range(4)]
for writer in writers: writer.start()
for writer in writers: writer.join(); assert writer.exitcode == 0
"#;

const SQLITE_CHECK: &str = r#"
import sqlite3, sys
base = sqlite3.connect(sys.argv[1])
print(base.execute("PRAGMA integrity_check").fetchall(),
      base.execute("SELECT sum(value) FROM counters").fetchone(),
      base.execute("SELECT count(*), sum(length(text) != length) FROM rows").fetchone())
"#;

#[test]
fn sqlite_keeps_its_integrity_under_concurrent_writers() {
    let mut volume = Volume::mounted();
    for mode in ["DELETE", "WAL"] {
        progress(format_args!("SQLite: four writers, journal mode {mode}"));
        let base = volume.path(format!("{mode}.db"));
        common::tools::python(SQLITE_WRITERS, &[&base, Path::new(mode)]);
        volume.remount();
        let found = common::tools::python(SQLITE_CHECK, &[&base]);
        assert_eq!(found.trim(), "[('ok',)] (4800,) (4800, 0)", "{mode}");
    }
}

#[test]
fn a_build_of_many_small_files_finds_what_it_wrote() {
    let volume = Volume::mounted();
    let script = r#"
        mkdir src obj
        for i in $(seq 100); do echo "int f$i(void) { return $i; }" >src/$i.c; done
        { echo 'int printf(const char *, ...);'; for i in $(seq 100); do echo "int f$i(void);"; done
          echo 'int main(void) { int sum = 0;'; for i in $(seq 100); do echo "sum += f$i();"; done
          echo 'printf("%d", sum); return 0; }'; } >src/main.c
        ls src/*.c | xargs -P 4 -I{} sh -c 'gcc -c {} -o obj/$(basename {}).o'
        gcc obj/*.o -o program; ./program"#;
    assert_eq!(sh(&volume.mnt(), script, &[]), "5050");
}
