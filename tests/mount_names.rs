//! Names and links on a real mount: what can be a name, what renames and links do, and that none of it can be
//! read in the lower directory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    io::Read,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, symlink},
    },
    path::{Path, PathBuf},
};

use common::{
    tools::{errno, snapshot},
    volume::{Volume, find},
};
use rustix::{fs::RenameFlags, io::Errno};

/// Names that trip up a filesystem: the longest, the shortest, not UTF-8, with every special character.
fn awkward_names() -> Vec<OsString> {
    let mut names = vec![
        OsString::from("a"),
        OsString::from(" leading and trailing "),
        OsString::from("-rf"),
        OsString::from("new\nline\ttab\\back\"quote'"),
        OsString::from("ünïcödé 文件 🗝"),
        OsString::from("...three dots"),
        OsString::from("kmsfs.json"),
        OsString::from("kmsfs.dir"),
        OsString::from("kmsfs.long.x.name"),
        OsString::from("kmsfs.journal"),
        OsString::from_vec(vec![0xff, 0xfe, 0x80, 0xc3, 0x28]),
        OsString::from_vec((1..=255).filter(|byte| *byte != b'/').collect::<Vec<u8>>()),
    ];
    for len in [174, 175, 176, 177, 200, 254, 255] {
        names.push(OsString::from("n".repeat(len)));
        names.push(OsString::from_vec(vec![0xf0; len]));
    }
    names
}

fn listed(dir: &Path) -> BTreeSet<OsString> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn every_legal_name_works_for_files_directories_and_links() {
    let mut volume = Volume::mounted();
    for kind in ["files", "dirs", "links"] {
        fs::create_dir(volume.path(kind)).unwrap();
    }
    for name in awkward_names() {
        fs::write(volume.path("files").join(&name), name.as_bytes()).unwrap();
        fs::create_dir(volume.path("dirs").join(&name)).unwrap();
        fs::write(volume.path("dirs").join(&name).join(&name), name.as_bytes()).unwrap();
        symlink(&name, volume.path("links").join(&name)).unwrap();
    }
    volume.remount();
    let expected = awkward_names().into_iter().collect::<BTreeSet<_>>();
    for kind in ["files", "dirs", "links"] {
        assert_eq!(listed(&volume.path(kind)), expected, "{kind}");
    }
    for name in &expected {
        assert_eq!(fs::read(volume.path("files").join(name)).unwrap(), name.as_bytes());
        assert_eq!(fs::read(volume.path("dirs").join(name).join(name)).unwrap(), name.as_bytes());
        assert_eq!(fs::read_link(volume.path("links").join(name)).unwrap().as_os_str(), name);
        fs::remove_file(volume.path("files").join(name)).unwrap();
        fs::remove_file(volume.path("dirs").join(name).join(name)).unwrap();
        fs::remove_dir(volume.path("dirs").join(name)).unwrap();
        fs::remove_file(volume.path("links").join(name)).unwrap();
    }
    for kind in ["files", "dirs", "links"] {
        fs::remove_dir(volume.path(kind)).unwrap();
    }
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn a_name_of_256_bytes_is_too_long() {
    let volume = Volume::mounted();
    let name = volume.path("n".repeat(256));
    assert_eq!(errno(fs::write(&name, b"")), Errno::NAMETOOLONG.raw_os_error());
    assert_eq!(errno(fs::metadata(&name)), Errno::NAMETOOLONG.raw_os_error());
    assert_eq!(errno(fs::create_dir(&name)), Errno::NAMETOOLONG.raw_os_error());
}

#[test]
fn long_names_leave_no_second_file_behind_when_they_go() {
    let mut volume = Volume::mounted();
    fs::create_dir(volume.path("dir")).unwrap();
    let before = snapshot(&volume.lower()).len();
    let long = |fill: &str| volume.path("dir").join(fill.repeat(250));
    fs::write(long("a"), b"1").unwrap();
    fs::rename(long("a"), long("b")).unwrap();
    fs::hard_link(long("b"), long("c")).unwrap();
    fs::write(long("d"), b"2").unwrap();
    fs::rename(long("d"), long("c")).unwrap();
    assert_eq!(fs::read(long("b")).unwrap(), b"1");
    assert_eq!(fs::read(long("c")).unwrap(), b"2");
    fs::remove_file(long("b")).unwrap();
    fs::remove_file(long("c")).unwrap();
    volume.unmount();
    volume.assert_clean();
    assert_eq!(snapshot(&volume.lower()).len(), before);
}

#[test]
fn an_attacker_sees_neither_names_nor_content_nor_link_targets() {
    let mut volume = Volume::mounted();
    let secret = "PlainTextMarker";
    let dir = volume.path(format!("{secret}-directory"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join(format!("{secret}-file")), secret.repeat(2000)).unwrap();
    symlink(format!("{secret}-target"), dir.join(format!("{secret}-link"))).unwrap();
    fs::write(dir.join(secret.repeat(15)), secret).unwrap();
    rustix::fs::setxattr(&dir, "user.PlainTextMarker", secret.as_bytes(), rustix::fs::XattrFlags::empty())
        .unwrap();
    volume.unmount();
    let in_name = find(&volume.lower(), &mut |path, _| holds(path.as_os_str().as_bytes(), secret));
    assert_eq!(in_name, None);
    for (path, content) in snapshot(&volume.lower()) {
        assert!(!holds(&content, secret), "plain text in {}", path.display());
    }
    find(&volume.lower(), &mut |path, meta| {
        if meta.is_symlink() {
            assert!(
                !holds(fs::read_link(path).unwrap().as_os_str().as_bytes(), secret),
                "target in plain text"
            );
        }
        for (name, value) in common::tools::xattrs(path) {
            assert!(!holds(name.as_bytes(), secret) && !holds(&value, secret), "attribute in plain text");
        }
        false
    });
}

fn holds(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn the_same_name_has_another_ciphertext_in_another_directory() {
    let mut volume = Volume::mounted();
    for dir in ["one", "two"] {
        fs::create_dir(volume.path(dir)).unwrap();
        fs::write(volume.path(dir).join("the same name"), b"").unwrap();
    }
    volume.unmount();
    let mut names = Vec::new();
    find(&volume.lower(), &mut |path, meta| {
        let name = path.file_name().unwrap().as_bytes();
        let below = path.parent().unwrap().strip_prefix(volume.lower()).unwrap().as_os_str().as_bytes();
        if meta.is_file()
            && !below.is_empty()
            && !below.starts_with(b"kmsfs.")
            && !name.starts_with(b"kmsfs.")
        {
            names.push(name.to_vec());
        }
        false
    });
    let different = names.iter().collect::<BTreeSet<_>>();
    assert_eq!((names.len(), different.len()), (2, 2), "{names:?}");
}

#[test]
fn symbolic_links_hold_any_target_up_to_two_thousand_bytes() {
    let mut volume = Volume::mounted();
    let targets = [
        OsString::from("x"),
        OsString::from("../../somewhere/else"),
        OsString::from("/absolute"),
        OsString::from_vec(vec![0xfe; 300]),
        OsString::from("t".repeat(2000)),
    ];
    for (index, target) in targets.iter().enumerate() {
        symlink(target, volume.path(format!("link-{index}"))).unwrap();
    }
    volume.remount();
    for (index, target) in targets.iter().enumerate() {
        let path = volume.path(format!("link-{index}"));
        assert_eq!(fs::read_link(&path).unwrap().as_os_str(), target);
        assert_eq!(fs::symlink_metadata(&path).unwrap().len(), target.len() as u64, "st_size of a link");
    }
}

#[test]
fn hard_links_are_one_file_under_several_names() {
    let mut volume = Volume::mounted();
    fs::create_dir(volume.path("dir")).unwrap();
    let names = [volume.path("first"), volume.path("dir/second"), volume.path("x".repeat(255))];
    fs::write(&names[0], b"shared").unwrap();
    for name in &names[1..] {
        fs::hard_link(&names[0], name).unwrap();
    }
    volume.remount();
    let inode = fs::metadata(&names[0]).unwrap().ino();
    for name in &names {
        let meta = fs::metadata(name).unwrap();
        assert_eq!((meta.ino(), meta.nlink()), (inode, 3));
    }
    fs::write(&names[1], b"changed through the second name").unwrap();
    assert_eq!(fs::read(&names[2]).unwrap(), b"changed through the second name");
    fs::remove_file(&names[0]).unwrap();
    assert_eq!(fs::metadata(&names[1]).unwrap().nlink(), 2);
    volume.remount();
    assert_eq!(fs::read(&names[2]).unwrap(), b"changed through the second name");
}

fn rename_with(old: &Path, new: &Path, flags: RenameFlags) -> Result<(), Errno> {
    rustix::fs::renameat_with(rustix::fs::CWD, old, rustix::fs::CWD, new, flags)
}

#[test]
fn renames_that_must_not_replace_do_not() {
    let volume = Volume::mounted();
    let (old, new) = (volume.path("old"), volume.path("new"));
    fs::write(&old, b"old").unwrap();
    fs::write(&new, b"new").unwrap();
    assert_eq!(rename_with(&old, &new, RenameFlags::NOREPLACE), Err(Errno::EXIST));
    assert_eq!(fs::read(&new).unwrap(), b"new");
    fs::remove_file(&new).unwrap();
    assert_eq!(rename_with(&old, &new, RenameFlags::NOREPLACE), Ok(()));
    assert_eq!(fs::read(&new).unwrap(), b"old");
}

#[test]
fn exchanged_names_trade_their_files_and_directories() {
    let mut volume = Volume::mounted();
    for dir in ["a", "a/inner", "b"] {
        fs::create_dir(volume.path(dir)).unwrap();
    }
    fs::write(volume.path("a/inner/deep"), b"deep").unwrap();
    fs::write(volume.path("b/file"), b"file").unwrap();
    let swap = |left: &str, right: &str| {
        rename_with(&volume.path(left), &volume.path(right), RenameFlags::EXCHANGE).unwrap();
    };
    swap("a/inner", "b/file");
    assert_eq!(fs::read(volume.path("a/inner")).unwrap(), b"file");
    assert_eq!(fs::read(volume.path("b/file/deep")).unwrap(), b"deep");
    swap("a", "b");
    volume.remount();
    assert_eq!(fs::read(volume.path("b/inner")).unwrap(), b"file");
    assert_eq!(fs::read(volume.path("a/file/deep")).unwrap(), b"deep");
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn directories_move_with_all_they_hold() {
    let mut volume = Volume::mounted();
    fs::create_dir_all(volume.path("from/tree/deeper")).unwrap();
    fs::create_dir_all(volume.path("to/empty")).unwrap();
    fs::create_dir_all(volume.path("to/full/inside")).unwrap();
    fs::write(volume.path("from/tree/deeper/file"), b"content").unwrap();
    let full = fs::rename(volume.path("from/tree"), volume.path("to/full"));
    assert_eq!(errno(full), Errno::NOTEMPTY.raw_os_error());
    let into_itself = fs::rename(volume.path("from"), volume.path("from/tree/under"));
    assert_eq!(errno(into_itself), Errno::INVAL.raw_os_error());
    fs::rename(volume.path("from/tree"), volume.path("to/empty")).unwrap();
    assert_eq!(fs::read(volume.path("to/empty/deeper/file")).unwrap(), b"content");
    fs::rename(volume.path("to/empty"), volume.path("renamed")).unwrap();
    volume.remount();
    assert_eq!(fs::read(volume.path("renamed/deeper/file")).unwrap(), b"content");
    assert_eq!(errno(fs::remove_dir(volume.path("to"))), Errno::NOTEMPTY.raw_os_error());
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn a_listing_stays_whole_while_entries_come_and_go() {
    let volume = Volume::mounted();
    let dir = volume.path("busy");
    fs::create_dir(&dir).unwrap();
    let stay = (0..2000).map(|index| OsString::from(format!("stays-{index}"))).collect::<BTreeSet<_>>();
    for name in &stay {
        fs::write(dir.join(name), b"").unwrap();
    }
    let mut seen = Vec::new();
    for (index, entry) in fs::read_dir(&dir).unwrap().enumerate() {
        seen.push(entry.unwrap().file_name());
        if index % 3 == 0 {
            fs::write(dir.join(format!("comes-{index}")), b"").unwrap();
        }
        if index % 7 == 6 {
            fs::remove_file(dir.join(format!("comes-{}", index - index % 3))).unwrap();
        }
    }
    let stayed = |name: &&OsString| name.as_bytes().starts_with(b"stays-");
    assert_eq!(seen.iter().filter(stayed).count(), 2000, "an entry was seen twice, or missed");
    assert_eq!(seen.into_iter().filter(|name| stay.contains(name)).collect::<BTreeSet<_>>(), stay);
}

#[test]
fn replacing_a_file_by_rename_never_shows_a_mixture() {
    let volume = Volume::mounted();
    let target = volume.path("replaced");
    fs::write(&target, [b'0'; 10_000]).unwrap();
    let readers_see = |path: PathBuf| {
        let mut content = Vec::new();
        fs::File::open(path).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content.len(), 10_000);
        assert!(content.iter().all(|byte| *byte == content[0]), "two versions in one read");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..300).for_each(|_| readers_see(target.clone())));
        for round in 0..300_u32 {
            let next = volume.path("next");
            fs::write(&next, [b'0' + (round % 10) as u8; 10_000]).unwrap();
            fs::rename(&next, &target).unwrap();
        }
    });
    assert_eq!(listed(&volume.mnt()), BTreeSet::from([OsStr::new("replaced").to_owned()]));
}
