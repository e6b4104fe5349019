//! Every crash of a recorded workload: the daemon is killed after any call on the lower filesystem, or the power
//! is cut there and takes with it what was not durable.
//!
//! Each state is made on the disk, mounted without a kernel (replay and recovery included), read as a whole and
//! checked. Between two moments of the workload a file's blocks read as at one of them; what was durable is there;
//! names are those of one moment; nothing fails to read. The last test takes away one kind of sync after
//! the other, and finds each time that something is lost: so none of them is superfluous, and this test sees.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/changes.rs"]
mod changes;
#[path = "common/memory.rs"]
mod memory;
#[path = "common/power.rs"]
mod power;
#[path = "common/rebuild.rs"]
mod rebuild;
#[path = "common/recorder.rs"]
mod recorder;
#[path = "common/stories.rs"]
mod stories;
#[path = "common/story.rs"]
mod story;

use changes::Role;
use kmsfs::fs::{Error, Filesystem, ROOT};
use kmsfs::volume::Durability;
use kmsfs::volume::check;
use kmsfs::volume::survey::{Observer, Problem, Survey};
use memory::open_volume;
use power::{Class, Disk, Random, killed, power_cuts};
use rebuild::Survivors;
use recorder::Recorder;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use stories::{BLOCK, scratch};
use story::{Moment, Story, Tree, find, open_filesystem};

/// States of one workload that are looked at, at most.
const STATES: usize = 800;

struct Silent;

impl Observer for Silent {
    fn advanced(&self, _: u64) {}
    fn found(&self, _: &Problem) {}
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
            let file = fs.open(attr.ino).map_err(named)?;
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
    let report = check::run(&Survey::of(&volume), 1, &Silent).map_err(|e| e.to_string())?;
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

macro_rules! stories {
    ($($name:ident),* $(,)?) => {
        const STORIES: &[fn() -> Story] = &[$(stories::$name),*];
        mod crashes_of {
            $(#[test]
            fn $name() {
                super::survives(&super::stories::$name());
            })*
        }
    };
}

stories! {
    create, append, overwrite, checkpoint, replace, truncate, punch, directories, long_names, moves, database,
    unmount, earlier_session, holes_of_an_earlier_session, recovery, zones, rekey,
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
