//! Every crash of a recorded workload: the daemon is killed after any call on the lower filesystem, or the power
//! is cut there and takes with it what was not durable.
//!
//! Each state is made on the disk, mounted without a kernel (replay and recovery included), read as a whole and
//! checked. Between two moments of the workload a file's blocks read as at one of them; what was durable is there;
//! names are those of one moment; nothing fails to read. The last test takes away one kind of sync after
//! the other, and finds each time that something is lost: so none of them is superfluous, and this test sees.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/memory.rs"]
mod memory;
#[path = "common/power.rs"]
mod power;
#[path = "common/rebuild.rs"]
mod rebuild;
#[path = "common/recorder.rs"]
mod recorder;
#[path = "common/story.rs"]
mod story;

use kmsfs::fs::{Caller, Error, Filesystem, ROOT};
use kmsfs::volume::Durability;
use kmsfs::volume::check::{self, Observer, Problem, Target};
use memory::{Scratch, open_volume};
use power::{Class, Disk, Random, killed, power_cuts};
use rebuild::Survivors;
use recorder::{Recorder, Role};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use story::{Moment, Story, Teller, Tree, find, open_filesystem};

const BLOCK: usize = 4096;
/// States of one workload that are looked at, at most.
const STATES: usize = 800;

/// Bytes that tell where they belong.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / BLOCK * 31 + i % 251) as u8 ^ seed).collect()
}

struct Silent;

impl Observer for Silent {
    fn verified(&self, _: u64) {}
    fn found(&self, _: &Problem) {}
}

/// A scratch directory in memory where there is one.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Everything in `fs`, or what does not read.
fn read_all(fs: &Filesystem) -> Result<Tree, String> {
    let mut tree = Tree::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let named = |e: Error| format!("{}: {e}", path.display());
        let attr = find(fs, &path).map_err(named)?;
        if attr.mode & libc::S_IFMT == libc::S_IFDIR {
            let dir = fs.opendir(attr.ino).map_err(named)?;
            let mut names = Vec::new();
            fs.readdir(dir, 0, false, &mut |entry| {
                names.push(entry.name);
                true
            })
            .map_err(named)?;
            fs.releasedir(dir);
            waiting.extend(names.iter().filter(|n| *n != "." && *n != "..").map(|n| path.join(n)));
            if attr.ino != ROOT {
                tree.insert(path, None);
            }
        } else {
            let caller = Caller { uid: 0, gid: 0, pid: 0 };
            let file = fs.open(&caller, attr.ino, libc::O_RDONLY, false).map_err(named)?;
            let mut content = Vec::new();
            fs.read(file, 0, attr.size as usize, &mut content).map_err(named)?;
            fs.release(file);
            if content.len() as u64 != attr.size {
                return Err(format!("{}: {} bytes of {}", path.display(), content.len(), attr.size));
            }
            tree.insert(path, Some(content));
        }
    }
    Ok(tree)
}

/// Mounts what is in `dir`, where the inodes `aged` have a ctime of long ago, and reads it.
fn survey(dir: &Path, aged: HashSet<(u64, u64)>) -> Result<Tree, String> {
    let lower = Arc::new(Recorder::aging(aged));
    let volume = open_volume(dir, lower, Durability::Power).map_err(|e| e.to_string())?;
    let report = check::run(&Target::of(&volume), 1, &Silent).map_err(|e| e.to_string())?;
    let store = volume.store.clone();
    let fs = open_filesystem(volume).map_err(|e| e.to_string());
    let tree = fs.and_then(|fs| read_all(&fs));
    store.close().map_err(|e| e.to_string())?;
    let tree = tree?;
    if let Some(problem) = report.problems.first() {
        return Err(format!("check: {problem:?}"));
    }
    Ok(tree)
}

/// What is wrong with `found`, if it may be as at any of `moments`, block by block.
fn judge(found: &Tree, moments: &[&Tree]) -> Result<(), String> {
    let shape = |tree: &Tree| tree.iter().map(|(p, c)| (p.clone(), c.is_none())).collect::<Vec<_>>();
    let seen = shape(found);
    if !moments.iter().any(|m| shape(m) == seen) {
        return Err(format!("names of no moment: {seen:?}"));
    }
    for (path, content) in found {
        let Some(content) = content else { continue };
        let then: Vec<&Vec<u8>> = moments.iter().filter_map(|m| m.get(path)?.as_ref()).collect();
        let (min, max) =
            (then.iter().map(|c| c.len()).min().unwrap(), then.iter().map(|c| c.len()).max().unwrap());
        if content.len() < min || content.len() > max {
            return Err(format!("{}: {} bytes, not {min} to {max}", path.display(), content.len()));
        }
        for (i, block) in content.chunks(BLOCK).enumerate() {
            let as_then = |c: &&Vec<u8>| {
                let was = c.get(i * BLOCK..).unwrap_or_default();
                let n = was.len().min(block.len());
                block[..n] == was[..n] && block[n..].iter().all(|b| *b == 0)
            };
            if !then.iter().any(as_then) {
                return Err(format!("{}: block {i} is of no moment", path.display()));
            }
        }
    }
    Ok(())
}

/// A crash: what reached the disk, and the first and last moment it may look like.
type Crash = (Survivors, usize, usize);

fn crashes(story: &Story, disk: Disk) -> Vec<Crash> {
    let mut random = Random(1);
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    let mut kills = Vec::new();
    for cut in 0..=story.recording.ops.len() {
        let before = |m: &&(usize, &Moment)| m.1.at <= cut;
        let moments: Vec<(usize, &Moment)> = story.moments.iter().enumerate().collect();
        let returned = moments.iter().rfind(before).unwrap().0;
        let durable = moments.iter().filter(before).rfind(|m| m.1.durable).unwrap().0;
        // Several moments of one call stand at its end together.
        let end = moments.get(returned + 1).map(|m| m.1.at);
        let next = moments.iter().rfind(|m| Some(m.1.at) == end).map_or(returned, |m| m.0);
        if disk.swallowed.is_none() && seen.insert((returned, killed(&story.recording, cut))) {
            kills.push((killed(&story.recording, cut), returned, next));
        }
        for state in power_cuts(&story.recording, cut, disk, &mut random) {
            if seen.insert((durable, state.clone())) {
                all.push((state, durable, next));
            }
        }
    }
    // All the kills, and of the power cuts as many as time allows.
    while all.len() > STATES {
        all.swap_remove(random.below(all.len()));
    }
    kills.append(&mut all);
    kills
}

fn look_at(story: &Story, crash: &Crash) -> Result<(), String> {
    let (survivors, first, last) = crash;
    let dir = scratch();
    let aged = story.recording.rebuild(dir.path(), survivors);
    let moments: Vec<&Tree> = story.moments[*first..=*last].iter().map(|m| &m.tree).collect();
    survey(dir.path(), aged).and_then(|tree| judge(&tree, &moments))
}

/// Finds nothing wrong in any crash of `story`.
fn survives(story: &Story) {
    let crashes = crashes(story, Disk::default());
    let mut wrong: BTreeMap<String, (usize, Crash)> = BTreeMap::new();
    for crash in &crashes {
        if let Err(why) = look_at(story, crash) {
            wrong.entry(why).or_insert_with(|| (0, crash.clone())).0 += 1;
        }
    }
    let told: Vec<String> = wrong
        .iter()
        .map(|(why, (times, (survivors, first, last)))| {
            format!("{times} × {why}\n  e.g. between moments {first} and {last}, {survivors:?}")
        })
        .collect();
    assert!(wrong.is_empty(), "{}: {} crashes\n{}", story.name, crashes.len(), told.join("\n"));
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

fn create() -> Story {
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

fn append() -> Story {
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

fn overwrite() -> Story {
    record("overwrite", &[("db", 10 * BLOCK + 100)], |t| {
        for i in [3, 0, 9, 3] {
            t.write("db", i * BLOCK, &pattern(i as u8, BLOCK));
            t.write("db", (i + 1) * BLOCK - 10, &[i as u8; 20]);
            t.sync("db");
        }
        t.write("db", 2 * BLOCK, &pattern(77, 3 * BLOCK));
    })
}

fn checkpoint() -> Story {
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

fn replace() -> Story {
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

fn truncate() -> Story {
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

fn punch() -> Story {
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

fn directories() -> Story {
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

fn long_names() -> Story {
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

fn moves() -> Story {
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

fn database() -> Story {
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
fn unmount() -> Story {
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
fn earlier_session() -> Story {
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
fn holes_of_an_earlier_session() -> Story {
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
fn recovery() -> Story {
    let first = overwrite();
    let cut = first.moments.last().unwrap().at;
    let dir = scratch();
    first.recording.rebuild(dir.path(), &killed(&first.recording, cut));
    Teller::begin(dir.path(), first.moments.last().unwrap().tree.clone()).end("recovery")
}

macro_rules! stories {
    ($($name:ident),* $(,)?) => {
        const STORIES: &[fn() -> Story] = &[$($name),*];
        mod crashes_of {
            $(#[test]
            fn $name() {
                super::survives(&super::$name());
            })*
        }
    };
}

stories! {
    create, append, overwrite, checkpoint, replace, truncate, punch, directories, long_names, moves, database,
    unmount, earlier_session, holes_of_an_earlier_session, recovery,
}

/// Every kind of sync that a mount does.
const CLASSES: &[(Role, bool)] = &[
    (Role::Segment, true),
    (Role::JournalState, true),
    (Role::JournalDirectory, false),
    (Role::Content, true),
    (Role::Content, false),
    (Role::Record, false),
    (Role::Record, true),
    (Role::LongName, false),
    (Role::Directory, false),
    (Role::Everything, false),
];

#[test]
fn no_sync_is_superfluous() {
    let stories: Vec<Story> = STORIES.iter().map(|tell| tell()).collect();
    let idle: Vec<Class> = CLASSES
        .iter()
        .map(|(role, data_only)| Class { role: *role, data_only: *data_only })
        .filter(|class| !stories.iter().any(|story| is_missed(story, *class)))
        .collect();
    assert!(idle.is_empty(), "nothing is lost without {idle:?}");
}

/// Does some crash of `story` lose something once `class` is swallowed?
fn is_missed(story: &Story, class: Class) -> bool {
    let disk = Disk { swallowed: Some(class), ..Disk::default() };
    let lost = |crash: &Crash| look_at(story, crash).is_err();
    promised(story, Disk { only_hints: true, ..disk }).iter().any(lost)
        || crashes(story, disk).iter().any(lost)
}

/// The crashes of `story` that come right after a sync has returned.
fn promised(story: &Story, disk: Disk) -> Vec<Crash> {
    let mut random = Random(2);
    let mut all = Vec::new();
    for (i, moment) in story.moments.iter().enumerate().filter(|(_, m)| m.durable) {
        let states = power_cuts(&story.recording, moment.at, disk, &mut random);
        all.extend(states.into_iter().map(|state| (state, i, i)));
    }
    all
}

#[test]
fn what_a_sync_promises_rests_on_no_hint() {
    for story in STORIES.iter().map(|tell| tell()) {
        for crash in promised(&story, Disk { only_hints: true, ..Disk::default() }) {
            let kept = look_at(&story, &crash);
            assert_eq!(kept, Ok(()), "{}: {crash:?}", story.name);
        }
    }
}
