//! The workloads of the crash tests.

use crate::memory::Scratch;
use crate::power::killed;
use crate::story::{Story, Teller, Tree};
use std::path::Path;

/// Plaintext bytes of a block.
pub const BLOCK: usize = 4096;

/// Bytes that tell where they belong.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / BLOCK * 31 + i % 251) as u8 ^ seed).collect()
}

/// A scratch directory in memory where there is one.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Records a workload on a volume that holds `tree`.
fn record(name: &'static str, tree: &[(&str, usize)], act: impl FnOnce(&mut Teller)) -> Story {
    let volume = Scratch::new_in(scratch());
    let mut before = Teller::begin(volume.path(), Tree::new());
    let mut held = Tree::new();
    for (seed, (path, len)) in (100..).zip(tree) {
        before.create(path);
        before.write(path, 0, &pattern(seed, *len));
        held.insert(path.into(), Some(pattern(seed, *len)));
    }
    before.end("");
    let mut teller = Teller::begin(volume.path(), held);
    act(&mut teller);
    teller.end(name)
}

pub fn create() -> Story {
    record("create", &[], |t| {
        for (i, len) in [0, 1, 4096, 9000, 30_000].into_iter().enumerate() {
            let name = format!("file {i}");
            t.create(&name);
            if len > 0 {
                t.write(&name, 0, &pattern(i as u8, len));
            }
            t.sync(&name);
            t.close(&name);
        }
    })
}

pub fn append() -> Story {
    record("append", &[("log", 5000)], |t| {
        for (i, len) in [10, 100, 4096, 1, 8192, 3000].into_iter().enumerate() {
            t.append("log", &pattern(i as u8, len));
            t.append("log", &pattern(i as u8 + 50, len / 2));
            t.sync("log");
        }
        t.close("log");
        t.append("log", &pattern(9, 700));
        t.close("log");
    })
}

pub fn overwrite() -> Story {
    record("overwrite", &[("db", 10 * BLOCK + 100)], |t| {
        for i in [3, 0, 9, 3] {
            t.write("db", i * BLOCK, &pattern(i as u8, BLOCK));
            t.write("db", (i + 1) * BLOCK - 10, &[i as u8; 20]);
            t.sync("db");
        }
        t.write("db", 2 * BLOCK, &pattern(77, 3 * BLOCK));
    })
}

pub fn checkpoint() -> Story {
    record("checkpoint", &[("a", 12 * BLOCK), ("b", 7000)], |t| {
        for round in 0..3u8 {
            for block in [1, 4, 5, 11] {
                t.write("a", block * BLOCK, &pattern(round + block as u8, BLOCK));
            }
            t.write("b", 10, &pattern(round, 6000));
            t.sync("a");
            t.sync("b");
            t.checkpoint();
            t.write("a", 6 * BLOCK, &pattern(round, 2 * BLOCK));
            t.sync("a");
        }
    })
}

pub fn replace() -> Story {
    record("replace", &[("file", 9000)], |t| {
        for round in 0..2u8 {
            t.create("file.tmp");
            t.write("file.tmp", 0, &pattern(round, 12_000 + usize::from(round)));
            t.sync("file.tmp");
            t.close("file.tmp");
            t.rename("file.tmp", "file");
            t.sync("");
        }
    })
}

pub fn zones() -> Story {
    record("zones", &[("old", 3 * BLOCK), ("stays", 5000)], |t| {
        t.mkdir("d");
        t.mkdir("d/sub");
        for (seed, file) in (1..).zip(["d/f", "d/sub/g"]) {
            t.create(file);
            t.write(file, 0, &pattern(seed, 9000));
            t.sync(file);
        }
        // In use, and with something in the journal.
        t.write("d/f", 100, &pattern(7, 5000));
        t.begin_zone("d");
        t.sync("d/f");
        t.rename("old", "d/sub/old");
        t.rename("d/sub/g", "g");
        t.create("d/made");
        t.write("d/made", 0, &pattern(8, 3000));
        t.sync("d/made");
        t.close("d/made");
        t.rewrap("a third key");
        t.end_zone("d");
    })
}

pub fn truncate() -> Story {
    record("truncate", &[("f", 20 * BLOCK + 500)], |t| {
        t.truncate("f", 16 * BLOCK);
        t.sync("f");
        t.truncate("f", 10 * BLOCK + 123);
        t.sync("f");
        t.append("f", &pattern(3, 6000));
        t.sync("f");
        t.truncate("f", 5 * BLOCK + 1);
        t.truncate("f", 9 * BLOCK);
        t.sync("f");
        t.checkpoint();
        t.truncate("f", 2 * BLOCK);
        t.append("f", &pattern(4, 3 * BLOCK));
        t.sync("f");
        t.truncate("f", 0);
        t.sync("f");
        t.append("f", &pattern(5, 100));
        t.sync("f");
    })
}

pub fn punch() -> Story {
    record("punch", &[("f", 16 * BLOCK + 100)], |t| {
        t.punch("f", 2 * BLOCK, 4 * BLOCK);
        t.sync("f");
        t.punch("f", 8 * BLOCK - 100, BLOCK + 200);
        t.sync("f");
        t.checkpoint();
        t.write("f", 3 * BLOCK, &pattern(1, BLOCK));
        t.sync("f");
        t.punch("f", 0, 16 * BLOCK + 100);
        t.sync("f");
        t.write("f", 0, &pattern(2, 2 * BLOCK));
        t.sync("f");
        t.checkpoint();
        t.write("f", 20 * BLOCK, &pattern(6, 10));
        t.sync("f");
    })
}

pub fn directories() -> Story {
    record("directories", &[], |t| {
        t.mkdir("a");
        t.sync("");
        t.mkdir("a/b");
        t.create("a/b/file");
        t.write("a/b/file", 0, &pattern(1, 5000));
        t.sync("a/b/file");
        t.close("a/b/file");
        t.mkdir("c");
        t.mkdir("c/d");
        t.sync("c/d");
        t.rmdir("c/d");
        t.sync("c");
        t.unlink("a/b/file");
        t.sync("a/b");
        t.rmdir("a/b");
        t.sync("a");
    })
}

pub fn long_names() -> Story {
    let (one, two) = ("x".repeat(200), "y".repeat(255));
    record("long names", &[], |t| {
        t.create(&one);
        t.write(&one, 0, &pattern(1, 100));
        t.sync(&one);
        t.close(&one);
        t.rename(&one, &two);
        t.sync("");
        t.mkdir(&one);
        t.sync(&one);
        let inside = format!("{one}/{two}");
        t.rename(&two, &inside);
        t.sync(&one);
        t.sync("");
        t.unlink(&inside);
        t.sync(&one);
        t.rmdir(&one);
        t.sync("");
    })
}

pub fn moves() -> Story {
    record("moves", &[], |t| {
        t.mkdir("from");
        t.mkdir("to");
        t.mkdir("from/dir");
        t.create("from/dir/file");
        t.write("from/dir/file", 0, &pattern(1, 5000));
        t.sync("from/dir/file");
        t.rename("from/dir", "to/moved");
        t.sync("to");
        t.sync("from");
        t.mkdir("from/dir");
        t.sync("from");
        t.write("to/moved/file", 0, &pattern(2, 100));
        t.sync("to/moved/file");
        t.rename("to/moved", "from/dir");
        t.sync("from");
        t.write("from/dir/file", 100, &pattern(3, 5000));
        t.sync("from/dir/file");
    })
}

pub fn database() -> Story {
    record("database", &[("db", 8 * BLOCK)], |t| {
        for round in 0..3u8 {
            t.create("db-journal");
            t.write("db-journal", 0, &pattern(round, 512));
            t.write("db-journal", 512, &pattern(round + 1, 2 * BLOCK + 8));
            t.sync("db-journal");
            t.write("db-journal", 0, &pattern(round + 2, 12));
            t.sync("db-journal");
            for page in [0, 3, 5 + usize::from(round)] {
                t.write("db", page * BLOCK, &pattern(round + 10, BLOCK));
            }
            t.sync("db");
            t.close("db-journal");
            t.unlink("db-journal");
            t.sync("");
            if round == 1 {
                t.checkpoint();
            }
        }
    })
}

/// Nothing is synced, and the volume unmounted before the power goes.
pub fn unmount() -> Story {
    record("unmount", &[("old", 9000)], |t| {
        t.create("new");
        t.write("new", 0, &pattern(1, 10_000));
        t.close("new");
        t.append("old", &pattern(2, 20_000));
        t.close("old");
        t.mkdir("dir");
        t.create("dir/file");
        t.write("dir/file", 0, &pattern(3, 3000));
    })
}

/// Files of an earlier session change in every way, and are closed before they are synced.
pub fn earlier_session() -> Story {
    let files = [("a", 9000), ("b", 2 * BLOCK), ("c", 6 * BLOCK), ("d", 98 * BLOCK + 7), ("e", 3 * BLOCK)];
    record("earlier session", &files, |t| {
        t.append("a", &pattern(1, 10_000));
        t.close("a");
        t.sync("a");
        t.write("b", BLOCK, &pattern(2, 2 * BLOCK));
        t.close("b");
        t.sync("b");
        t.punch("c", BLOCK, 3 * BLOCK);
        t.checkpoint();
        t.write("c", 2 * BLOCK, &pattern(3, BLOCK));
        t.close("c");
        t.sync("c");
        t.truncate("d", 97 * BLOCK);
        t.close("d");
        t.truncate("d", 99 * BLOCK);
        t.append("d", &pattern(4, 5000));
        t.close("d");
        t.sync("d");
        t.truncate("e", BLOCK);
        t.close("e");
        t.append("e", &pattern(5, 5 * BLOCK));
        t.close("e");
        t.sync("e");
    })
}

/// Holes of an earlier session are filled in this one.
pub fn holes_of_an_earlier_session() -> Story {
    let volume = Scratch::new_in(scratch());
    let mut before = Teller::begin(volume.path(), Tree::new());
    before.create("f");
    before.write("f", 0, &pattern(1, 4 * BLOCK));
    before.truncate("f", 120 * BLOCK);
    let tree = before.tree().clone();
    before.end("");
    let mut teller = Teller::begin(volume.path(), tree);
    for at in [2 * BLOCK, 8 * BLOCK, 110 * BLOCK] {
        teller.write("f", at, &pattern(at as u8, 2 * BLOCK));
    }
    teller.close("f");
    teller.sync("f");
    teller.write("f", 50 * BLOCK, &pattern(9, BLOCK));
    teller.end("holes of an earlier session")
}

/// A crash while a crash is made good.
pub fn recovery() -> Story {
    let first = overwrite();
    let cut = first.moments.last().unwrap().at;
    let dir = scratch();
    first.recording.rebuild(dir.path(), &killed(&first.recording, cut));
    Teller::begin(dir.path(), first.moments.last().unwrap().tree.clone()).end("recovery")
}

pub fn rekey() -> Story {
    record("rekey", &[("a", 6 * BLOCK + 300), ("b", 5000)], |t| {
        t.write("a", BLOCK, &pattern(1, BLOCK));
        t.rekey("a");
        t.write("a", 2 * BLOCK, &pattern(2, 100));
        t.append("a", &pattern(3, 2 * BLOCK));
        t.sync("a");
        t.punch("a", 4 * BLOCK, BLOCK);
        t.rekey("a");
        t.truncate("a", 3 * BLOCK + 7);
        t.rekey("b");
        t.rekey("a");
        t.sync("a");
    })
}
