//! Zones without a kernel: which key a file is under as it is made, moves, is linked, and as zones begin and end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common {
    pub mod memory;
}

use common::memory::Scratch;
use kmsfs::fs::{Attr, Caller, Filesystem, Ino, NewZone, ROOT};
use kmsfs::keys::{NO_ZONE, ZoneId};
use kmsfs::volume::config::{self, CONFIG};
use kmsfs::volume::header::{self, Header};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const CALLER: Caller = Caller { uid: 0, gid: 0, pid: 0 };

struct Session {
    scratch: Scratch,
    fs: Filesystem,
}

impl Session {
    /// A volume with the directories `finance`, `finance/deep`, `other`, each with a file `f`; one in the root, too.
    fn new() -> Session {
        let scratch = Scratch::new();
        let fs = scratch.open();
        let session = Session { scratch, fs };
        for dir in ["finance", "finance/deep", "other"] {
            session.mkdir(dir);
        }
        for file in ["f", "finance/f", "finance/deep/f", "other/f"] {
            session.create(file);
        }
        session
    }

    fn reopen(self) -> Session {
        self.fs.shutdown().unwrap();
        drop(self.fs);
        let fs = self.scratch.open();
        Session { scratch: self.scratch, fs }
    }

    fn find(&self, path: &str) -> Attr {
        let names = Path::new(path).iter();
        names.fold(self.fs.getattr(ROOT, None).unwrap(), |at, name| self.fs.lookup(at.ino, name).unwrap())
    }

    /// The directory that `path` is in, and its name there.
    fn end<'a>(&self, path: &'a str) -> (Ino, &'a OsStr) {
        let path = Path::new(path);
        (self.find(path.parent().unwrap().to_str().unwrap()).ino, path.file_name().unwrap())
    }

    fn mkdir(&self, path: &str) {
        let (dir, name) = self.end(path);
        self.fs.mkdir(&CALLER, dir, name, 0o755, 0).unwrap();
    }

    fn create(&self, path: &str) {
        let (dir, name) = self.end(path);
        let (_, file) = self.fs.create(&CALLER, dir, name, 0o644, 0, libc::O_RDWR).unwrap();
        self.fs.write(&CALLER, file, 0, path.as_bytes(), false).unwrap();
        self.fs.release(file);
    }

    fn content(&self, path: &str) -> String {
        let file = self.fs.open(self.find(path).ino).unwrap();
        let mut text = Vec::new();
        self.fs.read(file, 0, 1000, &mut text).unwrap();
        self.fs.release(file);
        String::from_utf8(text).unwrap()
    }

    fn rename(&self, from: &str, to: &str, flags: u32) -> Result<(), i32> {
        let ((from, name), (to, new_name)) = (self.end(from), self.end(to));
        self.fs.rename(from, name, to, new_name, flags).map_err(|e| e.errno())
    }

    fn link(&self, from: &str, to: &str) {
        let (dir, name) = self.end(to);
        self.fs.link(self.find(from).ino, dir, name).unwrap();
    }

    fn begin(&self, dir: &str) -> ZoneId {
        self.try_begin(dir, "key").unwrap()
    }

    fn try_begin(&self, dir: &str, key: &str) -> Result<ZoneId, String> {
        let new = NewZone { key: key.into(), ..NewZone::default() };
        let begun = self.fs.begin_zone(Path::new(dir), &new, &mut |_| true).map_err(|e| e.to_string());
        let (zone, moved) = begun?;
        assert_eq!(moved.failures, []);
        Ok(zone.id)
    }

    /// The names of the zones that were removed.
    fn end_zone(&self, dir: &str) -> Vec<String> {
        let ended = self.fs.end_zone(Path::new(dir), &mut |_| true).unwrap();
        assert_eq!((ended.moved.failures, ended.unsure), (Vec::new(), false));
        ended.removed
    }

    fn header(&self, path: &str) -> Header {
        let lower = find(self.scratch.path(), self.find(path).ino).unwrap();
        let mut bytes = Vec::new();
        fs::File::open(lower).unwrap().take(1024).read_to_end(&mut bytes).unwrap();
        header::claimed(&bytes).unwrap()
    }

    fn zone(&self, path: &str) -> ZoneId {
        self.header(path).slot.envelope.zone
    }

    /// The names of the zones in the config.
    fn zones(&self) -> Vec<String> {
        let text = fs::read(self.scratch.path().join(CONFIG)).unwrap();
        config::decode(&text).unwrap().claimed().zones.iter().map(|zone| zone.name.clone()).collect()
    }
}

fn find(dir: &Path, ino: u64) -> Option<PathBuf> {
    fs::read_dir(dir).unwrap().find_map(|entry| {
        let (path, meta) = (entry.as_ref().unwrap().path(), entry.unwrap().metadata().unwrap());
        if meta.ino() == ino { Some(path) } else { meta.is_dir().then(|| find(&path, ino)).flatten() }
    })
}

#[test]
fn what_is_below_a_zone_is_under_it_and_nothing_else() {
    let session = Session::new();
    let zone = session.begin("finance");
    session.create("finance/deep/new");
    session.mkdir("finance/dir");
    session.create("finance/dir/new");
    let session = session.reopen();
    session.create("finance/deep/later");
    for path in ["finance/f", "finance/deep/f", "finance/deep/new", "finance/dir/new", "finance/deep/later"] {
        assert_eq!((session.zone(path), session.content(path)), (zone, path.to_owned()));
    }
    for path in ["f", "other/f"] {
        assert_eq!((session.zone(path), session.content(path)), (NO_ZONE, path.to_owned()));
    }
    assert_eq!(session.zones(), ["finance"]);
}

#[test]
fn files_that_move_between_zones_change_their_key_and_keep_their_content() {
    let session = Session::new();
    let zone = session.begin("finance");
    session.rename("other/f", "finance/deep/moved", 0).unwrap();
    assert_eq!(
        (session.zone("finance/deep/moved"), session.content("finance/deep/moved")),
        (zone, "other/f".into())
    );
    session.rename("finance/deep/moved", "back", 0).unwrap();
    assert_eq!((session.zone("back"), session.content("back")), (NO_ZONE, "other/f".into()));
    session.rename("f", "finance/f", libc::RENAME_EXCHANGE).unwrap();
    assert_eq!((session.zone("f"), session.content("f")), (NO_ZONE, "finance/f".into()));
    assert_eq!((session.zone("finance/f"), session.content("finance/f")), (zone, "f".into()));
    session.rename("finance/f", "back", 0).unwrap();
    assert_eq!((session.zone("back"), session.content("back")), (NO_ZONE, "f".into()));
}

#[test]
fn the_last_zone_that_a_file_is_linked_into_wins() {
    let session = Session::new();
    let zone = session.begin("finance");
    session.link("f", "finance/linked");
    assert_eq!((session.zone("f"), session.zone("finance/linked")), (zone, zone));
    session.link("finance/linked", "other/linked");
    assert_eq!((session.zone("f"), session.content("finance/linked")), (NO_ZONE, "f".into()));
    session.link("other/f", "other/same");
    assert_eq!(session.zone("other/same"), NO_ZONE);
}

#[test]
fn a_directory_with_something_in_it_stays_in_its_zone() {
    let session = Session::new();
    let zone = session.begin("finance");
    assert_eq!(session.rename("finance/deep", "deep", 0), Err(libc::EXDEV));
    assert_eq!(session.rename("other", "finance/other", 0), Err(libc::EXDEV));
    assert_eq!(session.rename("other", "finance/deep", libc::RENAME_EXCHANGE), Err(libc::EXDEV));
    assert_eq!((session.zone("finance/deep/f"), session.zone("other/f")), (zone, NO_ZONE));
    session.rename("finance/deep", "finance/elsewhere", 0).unwrap();
    session.rename("finance", "renamed", 0).unwrap();
    assert_eq!(session.zone("renamed/elsewhere/f"), zone);
    session.mkdir("empty");
    session.rename("empty", "renamed/empty", 0).unwrap();
    session.create("renamed/empty/new");
    assert_eq!(session.zone("renamed/empty/new"), zone);
}

#[test]
fn a_zone_moves_with_its_directory_and_lies_in_others() {
    let session = Session::new();
    let outer = session.begin("finance");
    let inner = session.begin("finance/deep");
    let (file, inside) = (session.zone("finance/f"), session.zone("finance/deep/f"));
    assert_eq!((file, inside), (outer, inner));
    session.rename("finance/deep", "other/deep", 0).unwrap();
    session.create("other/deep/new");
    assert_eq!(session.zone("other/deep/new"), inner);
    let session = session.reopen();
    session.create("other/deep/later");
    assert_eq!(
        (session.zone("other/deep/later"), session.content("other/deep/f")),
        (inner, "finance/deep/f".into())
    );
    // The one around it ends; it does not.
    session.rename("other/deep", "finance/deep", 0).unwrap();
    assert_eq!(session.end_zone("finance"), ["finance"]);
    assert_eq!((session.zone("finance/f"), session.zone("finance/deep/f")), (NO_ZONE, inner));
}

#[test]
fn a_zone_that_ends_leaves_nothing_behind() {
    let session = Session::new();
    session.begin("finance");
    let zone = session.begin("other");
    assert_eq!(session.end_zone("finance"), ["finance"]);
    assert_eq!((session.zone("finance/deep/f"), session.zone("other/f")), (NO_ZONE, zone));
    session.create("finance/new");
    assert_eq!(session.zone("finance/new"), NO_ZONE);
    assert_eq!(session.zones(), ["other"]);
    assert_eq!(session.end_zone("other"), ["other"]);
    let text = fs::read_to_string(session.scratch.path().join(CONFIG)).unwrap();
    assert!(text.contains("\"features\": []"), "an older program opens the volume again: {text}");
    let session = session.reopen();
    assert_eq!(session.content("finance/deep/f"), "finance/deep/f");
}

#[test]
fn what_was_interrupted_is_finished_by_asking_again() {
    let session = Session::new();
    for n in 0..20 {
        session.create(&format!("finance/deep/{n}"));
    }
    let new = NewZone { key: "key".into(), ..NewZone::default() };
    let stopped = session.fs.begin_zone(Path::new("finance"), &new, &mut |_| false);
    assert_eq!(stopped.unwrap_err().errno(), libc::EINTR);
    let session = session.reopen();
    let zone = session.begin("finance");
    assert!((0..20).all(|n| session.zone(&format!("finance/deep/{n}")) == zone));
    let stopped = session.fs.end_zone(Path::new("finance"), &mut |_| false);
    assert_eq!(stopped.unwrap_err().errno(), libc::EINTR);
    let session = session.reopen();
    assert_eq!(session.end_zone("finance"), ["finance"]);
    assert!((0..20).all(|n| session.zone(&format!("finance/deep/{n}")) == NO_ZONE));
}

#[test]
fn names_are_unique_and_a_zone_has_one_key() {
    let session = Session::new();
    let zone = session.begin("finance");
    assert_eq!(session.try_begin("finance", "key"), Ok(zone), "finished before");
    assert!(session.try_begin("finance", "another").unwrap_err().contains("already"));
    assert!(session.try_begin("", "key").unwrap_err().contains("root"));
    assert!(session.try_begin("f", "key").is_err());
    session.mkdir("other/finance");
    session.begin("other/finance");
    assert_eq!(session.zones(), ["finance", "finance-2"]);
}

#[test]
fn a_file_that_is_open_without_a_name_keeps_its_zone_defined() {
    let session = Session::new();
    session.begin("finance");
    let file = session.fs.open(session.find("finance/f").ino).unwrap();
    let (dir, name) = session.end("finance/f");
    session.fs.unlink(dir, name).unwrap();
    assert!(session.end_zone("finance").is_empty());
    session.fs.release(file);
    assert_eq!(session.end_zone("finance"), ["finance"]);
}
