//! Bytes that version 1 of the format wrote, and what they must always mean.
//!
//! `tests/golden/kmsfs.json` is a config, `tests/golden/volume-v1.txt` has a line per item: what it is, and its
//! bytes in hex, or its text. A failure here means that existing volumes no longer open: the code is wrong, not
//! the file.

#![allow(clippy::unwrap_used, reason = "tests")]

use kmsfs::crypto::{AeadKey, Cipher, Key};
use kmsfs::keys::{WrapMode, WrappedKey};
use kmsfs::volume::config::{self, Config, Settings};
use kmsfs::volume::dirrec::{DirId, Record};
use kmsfs::volume::keys::{VolumeKeys, config_key, journal_key};
use kmsfs::volume::lower::{Fd, SystemLower};
use kmsfs::volume::xattrs;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

const GOLDEN: &str = include_str!("golden/volume-v1.txt");
const CONFIG: &str = include_str!("golden/kmsfs.json");
const DIR: DirId = *b"a directory's id";

/// The golden volume's key: bytes 0 to 31.
fn volume_key() -> Key {
    let mut bytes = std::array::from_fn(|i| i as u8);
    Key::from_bytes(&mut bytes)
}

fn settings() -> Settings {
    Settings {
        volume_id: *b"the volume's id.",
        cipher: Cipher::Aes256GcmSiv,
        kms: "local:".to_owned(),
        cmk: "arn:aws:kms:local:000000000000:key/0f3c2b1a-4d5e-4f60-8172-93a4b5c6d7e8".to_owned(),
        wrapped: WrappedKey {
            key_id: *b"\x0f\x3c\x2b\x1a\x4d\x5e\x4f\x60\x81\x72\x93\xa4\xb5\xc6\xd7\xe8",
            material: 2,
            blob: (0..120).collect(),
        },
        wrap: WrapMode::Direct,
        former: Vec::new(),
        shreddable: false,
        zones: Vec::new(),
    }
}

fn keys() -> VolumeKeys {
    VolumeKeys::new(&volume_key(), settings().volume_id)
}

fn golden(item: &str) -> &'static str {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(item)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("tests/golden/volume-v1.txt has no {item:?}"))
}

fn golden_bytes(item: &str) -> Vec<u8> {
    hex::decode(golden(item)).unwrap()
}

#[test]
fn subkeys() {
    assert_eq!(config_key(&volume_key()).expose()[..], golden_bytes("config key"));
    assert_eq!(journal_key(&volume_key()).expose()[..], golden_bytes("journal key"));
}

#[test]
fn config_both_ways() {
    let read = config::decode(CONFIG.as_bytes()).unwrap().verify(&volume_key()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = Fd::new(std::fs::File::open(dir.path()).unwrap().into());
    let made = Config::create(&SystemLower, &root, settings(), &volume_key()).unwrap();
    assert_eq!(read, made);
    assert_eq!(std::fs::read_to_string(dir.path().join(config::CONFIG)).unwrap(), CONFIG);
}

#[test]
fn names_both_ways() {
    let latin = OsStr::from_bytes(b"na\xefve");
    for (item, name) in [("short name", OsStr::new("Makefile")), ("name that is not UTF-8", latin)] {
        let lower = keys().encrypt_name(&DIR, name);
        assert_eq!((lower.name.to_str().unwrap(), lower.sidecar), (golden(item), None));
        assert_eq!(keys().decrypt_name(&DIR, golden(item).as_bytes()).unwrap(), name);
    }
    let longest_short = "s".repeat(175);
    assert_eq!(keys().encrypt_name(&DIR, OsStr::new(&longest_short)).name, golden("name of 175 bytes"));

    let long = "l".repeat(255);
    let lower = keys().encrypt_name(&DIR, OsStr::new(&long));
    let (entry, content) = (golden("name of 255 bytes"), golden("content of its sidecar").as_bytes());
    let sidecar = lower.sidecar.unwrap();
    assert_eq!(lower.name, entry);
    assert_eq!(sidecar.name.to_str().unwrap(), format!("{entry}.name"));
    assert_eq!(sidecar.content, content);
    assert_eq!(keys().decrypt_long_name(&DIR, OsStr::new(entry), content).unwrap(), long.as_str());
}

#[test]
fn directory_records_open() {
    let record = Record { id: DIR, parent: *b"its parent's id.", previous: [0; 16], zone: [0; 16] };
    assert_eq!(keys().open_record(&golden_bytes("directory record")).unwrap(), record);
    let moving = Record { previous: *b"its old parent's", ..record };
    assert_eq!(keys().open_record(&golden_bytes("directory record while moving")).unwrap(), moving);
}

#[test]
fn link_targets_open() {
    assert_eq!(keys().open_target(OsStr::new(golden("symlink target"))).unwrap(), "../some/where");
}

#[test]
fn xattrs_open() {
    for name in ["user.mime_type", "trusted.overlay.opaque"] {
        let lower = golden(&format!("xattr {name}"));
        assert_eq!(keys().encrypt_xattr(OsStr::new(name)), lower);
        assert_eq!(keys().decrypt_xattr(OsStr::new(lower)).unwrap(), name);
    }
    let name = OsStr::new("user.mime_type");
    let of_directory = golden_bytes("xattr value of a directory");
    assert_eq!(keys().open_xattr(Some(&DIR), name, &of_directory).unwrap(), b"text/plain");
    let of_special = golden_bytes("xattr value of a FIFO");
    assert_eq!(keys().open_xattr(None, name, &of_special).unwrap(), b"text/plain");
    let file_key = AeadKey::new(Cipher::Aes256GcmSiv, &volume_key());
    let of_file = golden_bytes("xattr value of a regular file");
    assert_eq!(xattrs::open_value(&file_key, name, &of_file).unwrap(), b"text/plain");
}
