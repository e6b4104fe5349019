//! What a config accepts, and what it refuses.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::header::MAX_WRAPPED;
use super::super::lower::SystemLower;
use super::settings::{LIST_MAX, TEXT_MAX};
use super::*;
use crate::keys::{NO_ZONE, WrapMode};
use proptest::prelude::*;
use std::os::unix::fs::symlink;

fn key(byte: u8) -> Key {
    Key::from_bytes(&mut [byte; 32])
}

fn settings() -> Settings {
    Settings {
        volume_id: *b"0123456789abcdef",
        cipher: Cipher::ChaCha20Poly1305,
        kms: "local:".to_owned(),
        cmk: "arn:aws:kms:local:000000000000:key/8f1d6c3e-0000-4000-8000-000000000001".to_owned(),
        wrap: WrapMode::Direct,
        wrapped: WrappedKey { key_id: [0xab; 16], material: 3, blob: vec![0xcd; 130] },
        former: Vec::new(),
        shreddable: false,
        zones: Vec::new(),
    }
}

fn place(n: u8) -> CmkPlace {
    CmkPlace { kms: format!("unix:/{n}"), arn: format!("arn:{n}"), id: [n; 16] }
}

/// Settings with everything there can be.
fn zoned() -> Settings {
    let zone = |n: u8| ZoneSettings {
        id: [n; 16],
        name: format!("zone {n}"),
        cmk: place(n),
        wrap: WrapMode::ZoneKey,
        former: vec![place(n + 1), place(n + 2)],
        shreddable: n > 7,
    };
    Settings {
        wrap: WrapMode::ZoneKey,
        former: vec![place(1)],
        zones: vec![zone(10), zone(20)],
        ..settings()
    }
}

fn text() -> String {
    encode(&settings(), &config_key(&key(1)))
}

fn dir() -> (tempfile::TempDir, Fd) {
    let dir = tempfile::tempdir().unwrap();
    let fd = Fd::new(std::fs::File::open(dir.path()).unwrap().into());
    (dir, fd)
}

fn create(root: &Fd) -> Result<Config> {
    Config::create(&SystemLower, root, settings(), &key(1))
}

fn names(dir: &tempfile::TempDir) -> Vec<OsString> {
    std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// The error of a config that has `from` replaced by `to`.
fn refusal(from: &str, to: &str) -> Error {
    let edited = text().replacen(from, to, 1);
    assert_ne!(edited, text(), "{from:?} is not in the config");
    decode(edited.as_bytes()).and_then(|config| config.verify(&key(1))).unwrap_err()
}

#[test]
fn a_config_is_read_as_it_was_made() {
    let (dir, root) = dir();
    let made = create(&root).unwrap();
    assert_eq!(names(&dir), [CONFIG]);

    let unverified = Config::read(&SystemLower, &root).unwrap();
    assert_eq!(unverified.volume_id(), &settings().volume_id);
    assert_eq!((unverified.kms(), unverified.cmk()), ("local:", settings().cmk.as_str()));
    assert_eq!(unverified.wrapped(), &settings().wrapped);

    let config = unverified.verify(&key(1)).unwrap();
    assert_eq!(config, made);
    assert_eq!(config.volume_id(), &settings().volume_id);
    assert_eq!((config.kms(), config.cmk()), ("local:", settings().cmk.as_str()));
    assert_eq!((config.cipher(), config.settings().wrap), (Cipher::ChaCha20Poly1305, WrapMode::Direct));
    assert_eq!(config.wrapped(), &settings().wrapped);
}

#[test]
fn a_second_config_is_refused_and_the_first_untouched() {
    let (dir, root) = dir();
    create(&root).unwrap();
    let before = std::fs::read(dir.path().join(CONFIG)).unwrap();
    let again = create(&root).unwrap_err();
    assert!(matches!(again, Error::Volume(_)) && again.to_string().contains("already"), "{again}");
    assert_eq!(std::fs::read(dir.path().join(CONFIG)).unwrap(), before);
    assert_eq!(names(&dir), [CONFIG], "nothing is left behind");
}

#[test]
fn settings_that_could_not_be_read_back_are_refused() {
    let (dir, root) = dir();
    let cases: [fn(&mut Settings); 9] = [
        |s| s.kms.clear(),
        |s| s.cmk = "x".repeat(TEXT_MAX + 1),
        |s| s.cmk = "arn\nx".to_owned(),
        |s| s.wrapped.blob = vec![0; MAX_WRAPPED + 1],
        |s| s.former = vec![place(1); LIST_MAX + 1],
        |s| s.zones = vec![ZoneSettings { id: NO_ZONE, ..zoned().zones[0].clone() }],
        |s| {
            s.zones = vec![zoned().zones[0].clone(), ZoneSettings { id: [9; 16], ..zoned().zones[0].clone() }]
        },
        |s| s.zones = vec![ZoneSettings { name: "x".repeat(ZONE_NAME_MAX + 1), ..zoned().zones[0].clone() }],
        |s| s.zones = vec![ZoneSettings { name: "a\nb".into(), ..zoned().zones[0].clone() }],
    ];
    for (i, spoil) in cases.into_iter().enumerate() {
        let mut bad = settings();
        spoil(&mut bad);
        let made = Config::create(&SystemLower, &root, bad, &key(1));
        assert!(matches!(made, Err(Error::Volume(_))), "case {i}");
    }
    assert!(names(&dir).is_empty());
}

#[test]
fn the_longest_config_that_is_made_is_read() {
    let mut long = settings();
    // A backslash is two bytes of JSON.
    (long.kms, long.cmk) = ("\\".repeat(TEXT_MAX), "\\".repeat(TEXT_MAX));
    long.wrapped.blob = vec![7; MAX_WRAPPED];
    let full = ZoneSettings { name: "\\".repeat(ZONE_NAME_MAX), ..zoned().zones[0].clone() };
    long.zones = (1..=LIST_MAX as u32)
        .map(|n| {
            let (mut id, mut zone) = ([0; 16], full.clone());
            id[..4].copy_from_slice(&n.to_le_bytes());
            zone.name.replace_range(..4, &format!("{n:04}"));
            ZoneSettings { id, ..zone }
        })
        .collect();
    let text = encode(&long, &config_key(&key(1)));
    assert!(text.len() <= CONFIG_MAX);
    assert_eq!(decode(text.as_bytes()).unwrap().verify(&key(1)).unwrap(), Config(long));
}

#[test]
fn zones_and_former_cmks_are_read_as_they_were_written_and_none_may_be_changed() {
    let text = encode(&zoned(), &config_key(&key(1)));
    assert_eq!(decode(text.as_bytes()).unwrap().verify(&key(1)).unwrap(), Config(zoned()));
    assert_eq!(zoned().sources().len(), 8, "{:?}", zoned().sources());
    let edits = [
        ("zone 10", "zone 11"),
        ("unix:/10", "unix:/11"),
        ("arn:22", "arn:23"),
        ("01010101010101010101010101010101", "02010101010101010101010101010101"),
        ("\"wrap\": \"zone-key\"", "\"wrap\": \"direct\""),
        ("\"shreddable\": true", "\"shreddable\": false"),
    ];
    for (from, to) in edits {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from:?} is not in the config");
        let refused = decode(edited.as_bytes()).and_then(|config| config.verify(&key(1)));
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{from} -> {to}");
    }
    // What the features say must fit the rest.
    let cases = [
        (zoned(), "\"zones\",", ""),
        (zoned(), ",\n    \"shreddable\"\n", "\n"),
        (settings(), "[]", "[\"zones\"]"),
        (settings(), "[]", "[\"shreddable\"]"),
    ];
    for (settings, from, to) in cases {
        let text = encode(&settings, &config_key(&key(1)));
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from:?} is not in the config");
        assert!(matches!(decode(edited.as_bytes()), Err(Error::Corrupt { .. })), "{edited}");
    }
}

#[test]
fn a_config_is_replaced_as_a_whole_and_only_by_one_of_the_same_volume() {
    let (dir, root) = dir();
    let made = create(&root).unwrap();
    let sealer = VolumeKeys::new(&key(1), settings().volume_id);
    let other = Settings { volume_id: [1; 16], ..zoned() };
    assert!(matches!(made.replace(&SystemLower, &root, other, &sealer), Err(Error::Volume(_))));
    let bad = Settings { kms: String::new(), ..zoned() };
    assert!(matches!(made.replace(&SystemLower, &root, bad, &sealer), Err(Error::Volume(_))));
    assert_eq!(Config::read(&SystemLower, &root).unwrap().verify(&key(1)).unwrap(), made);

    let replaced = made.replace(&SystemLower, &root, zoned(), &sealer).unwrap();
    assert_eq!(replaced.settings(), &zoned());
    assert_eq!(Config::read(&SystemLower, &root).unwrap().verify(&key(1)).unwrap(), replaced);
    assert_eq!(names(&dir), [CONFIG], "nothing is left behind");
}

#[test]
fn a_directory_without_config_is_no_volume() {
    let (_dir, root) = dir();
    let missing = Config::read(&SystemLower, &root).unwrap_err();
    assert!(matches!(missing, Error::Volume(_)) && missing.to_string().contains("not a kmsfs volume"));
}

#[test]
fn only_a_regular_file_is_read() {
    for kind in [libc::S_IFIFO, libc::S_IFDIR, libc::S_IFLNK] {
        let (dir, root) = dir();
        let name = OsStr::new(CONFIG);
        match kind {
            libc::S_IFIFO => SystemLower.mknod(&root, name, libc::S_IFIFO | 0o600, 0).unwrap(),
            libc::S_IFDIR => SystemLower.mkdir(&root, name, 0o700).unwrap(),
            _ => symlink("/etc/hostname", dir.path().join(CONFIG)).unwrap(),
        }
        assert!(Config::read(&SystemLower, &root).is_err(), "type {kind:o}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let text = text().into_bytes();
    for bit in 0..text.len() * 8 {
        let mut bad = text.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let accepted = decode(&bad).and_then(|config| config.verify(&key(1)));
        assert!(accepted.is_err(), "bit {} of byte {}: {}", bit % 8, bit / 8, String::from_utf8_lossy(&bad));
    }
}

#[test]
fn every_truncation_is_refused() {
    let text = text();
    // The last byte is a newline, without which the JSON is whole.
    for len in 0..text.len() - 1 {
        assert!(decode(&text.as_bytes()[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn the_mac_covers_every_value() {
    let edits = [
        ("chacha20-poly1305", "aes-256-gcm"),
        ("local:", "local:/tmp/k"),
        ("key/8f", "key/7f"),
        ("\"material\": 3", "\"material\": 2"),
        ("abab", "abac"),
        ("zc3N", "zc3M"),
        ("30313233", "30313234"),
    ];
    for (from, to) in edits {
        let refused = refusal(from, to);
        assert!(matches!(refused, Error::Corrupt { .. }), "{from}: {refused}");
        assert!(refused.to_string().contains("MAC"), "{from}: {refused}");
    }
    let other = decode(text().as_bytes()).unwrap().verify(&key(2)).unwrap_err();
    assert!(matches!(other, Error::Corrupt { .. }), "another key");
}

#[test]
fn what_a_newer_program_wrote_is_named() {
    let cases = [
        (refusal("\"format\": 1", "\"format\": 2"), "format 2"),
        (refusal("\"format\": 1", "\"format\": 2, \"surprise\": {}"), "format 2"),
        (refusal("\"features\": []", "\"features\": [\"tree\"], \"root\": \"00\""), "feature \"tree\""),
        (refusal("\"direct\"", "\"threshold\""), "wrap mode \"threshold\""),
        (refusal("chacha20-poly1305", "rot13"), "unknown cipher \"rot13\""),
    ];
    for (error, what) in cases {
        assert!(matches!(error, Error::Volume(_)) && error.to_string().contains(what), "{what}: {error}");
    }
}

#[test]
fn nothing_is_guessed() {
    let edits = [
        ("\"wrap\"", "\"extra\": 1, \"wrap\""),
        ("\"material\"", "\"extra\": 1, \"material\""),
        ("\"format\": 1", "\"format\": 1, \"format\": 1"),
        ("\"format\": 1", "\"format\": 1.0"),
        ("\"format\": 1", "\"format\": -1"),
        ("\"material\": 3", "\"material\": 4294967296"),
        ("\"kms\": \"local:\",", ""),
        ("\"local:\"", "\"\""),
        ("\"local:\"", "null"),
        ("abab", "ABAB"),
        ("abab", "ab"),
    ];
    for (from, to) in edits {
        assert!(matches!(refusal(from, to), Error::Corrupt { .. }), "{from} -> {to}");
    }
    assert!(decode(&vec![b' '; CONFIG_MAX + 1]).is_err());
    assert!(decode(&"[".repeat(CONFIG_MAX).into_bytes()).is_err(), "deep nesting");
}

#[test]
fn spelling_is_free_where_the_values_stay() {
    let json: serde_json::Value = serde_json::from_str(&text()).unwrap();
    let compact = serde_json::to_string(&json).unwrap();
    assert!(decode(compact.as_bytes()).unwrap().verify(&key(1)).is_ok());
}

proptest! {
    #[test]
    fn any_settings_survive(
        volume_id: [u8; 16], key_id: [u8; 16], material: u32, kms in "[^\\pC]{1,80}", cmk in "[^\\pC]{1,80}",
        blob in proptest::collection::vec(any::<u8>(), 1..=MAX_WRAPPED), cipher in 0usize..3,
    ) {
        let wrapped = WrappedKey { key_id, material, blob };
        let settings = Settings { volume_id, cipher: Cipher::ALL[cipher], kms, cmk, wrapped, ..settings() };
        let text = encode(&settings, &config_key(&key(1)));
        prop_assert_eq!(decode(text.as_bytes()).unwrap().verify(&key(1)).unwrap(), Config(settings));
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        prop_assert!(decode(&bytes).is_err());
    }
}
