//! Zones on a real mount: a key of its own stops a subtree and nothing else, and every way into a zone leads under its
//! key.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use common::{
    tools::{bytes, ok, progress},
    volume::{Volume, wait_until},
};
use rustix::io::Errno;
use serde_json::{Value, json};

/// What is promised.
const PROMISE: Duration = Duration::from_secs(1);

/// A mounted volume with the directories `finance/deep` and `other`, each with a file `f`, and the keys `alias/finance` and
/// `alias/other` besides its own.
fn volume() -> Volume {
    let mut volume = Volume::bare();
    volume.keystore_create();
    for alias in ["alias/volume", "alias/finance", "alias/other"] {
        ok(volume.kmsfs("key").args(["create", "--alias", alias]));
    }
    volume.init(&["--key", "alias/volume"]);
    volume.mount();
    fs::create_dir_all(volume.path("finance/deep")).unwrap();
    fs::create_dir(volume.path("other")).unwrap();
    for file in FILES {
        fs::write(volume.path(file), content(file)).unwrap();
    }
    volume
}

const FILES: [&str; 4] = ["f", "finance/f", "finance/deep/f", "other/f"];

fn content(file: &str) -> Vec<u8> {
    bytes(file.len() as u64, 100_000)
}

/// Runs `kmsfs zone ACTION` on a directory in the mount.
fn zone(volume: &Volume, action: &str, dir: &str, args: &[&str]) -> Value {
    let text = ok(volume.kmsfs("zone").args([action, "--json"]).arg(volume.path(dir)).args(args));
    serde_json::from_str(&text).unwrap()
}

fn set(volume: &Volume, dir: &str, key: &str) -> Value {
    zone(volume, "set", dir, &["--key", key])
}

/// The zone that a file's header names, as `kmsfs info` shows it.
fn zone_of(volume: &Volume, file: &str) -> Value {
    let text = ok(volume.kmsfs("info").arg("--json").arg(volume.path(file)));
    let info: Value = serde_json::from_str(&text).unwrap();
    let key = |alias: &str| {
        let text = ok(volume.kmsfs("key").args(["describe", "--json", alias]));
        serde_json::from_str::<Value>(&text).unwrap()["KeyMetadata"]["Arn"].clone()
    };
    let alias = match info["zone"].as_str() {
        None => "alias/volume".to_owned(),
        Some(zone) => format!("alias/{zone}"),
    };
    assert_eq!(info["cmk"], key(&alias), "{info}");
    info["zone"].clone()
}

fn is_nokey<T>(result: &io::Result<T>) -> bool {
    result.as_ref().err().and_then(io::Error::raw_os_error) == Some(Errno::NOKEY.raw_os_error())
}

/// Asserts that `attempt` comes to fail with ENOKEY in the promised time.
fn assert_stops<T>(since: Instant, what: &str, mut attempt: impl FnMut() -> io::Result<T>) {
    let stopped = wait_until(PROMISE, || {
        let result = attempt();
        assert!(result.is_ok() || is_nokey(&result), "{what}: {:?}", result.err());
        result.is_err()
    });
    assert!(stopped && since.elapsed() <= PROMISE, "{what} still works after {:?}", since.elapsed());
    progress(format_args!("{what}: ENOKEY {} ms after the change", since.elapsed().as_millis()));
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.read_to_end(&mut text)?;
    Ok(text)
}

#[test]
fn a_disabled_key_stops_its_zone_and_nothing_else() {
    let mut volume = volume();
    let open = File::open(volume.path("finance/f")).unwrap();
    let set = set(&volume, "finance", "alias/finance");
    assert_eq!((&set["zone"], &set["moved"], &set["failed"]), (&json!("finance"), &json!(2), &json!(0)));
    ok(volume.kmsfs("key").args(["disable", "alias/finance"]));
    let since = Instant::now();
    assert_stops(since, "a read of an open file", || open.read_exact_at(&mut [0], 0));
    assert_stops(since, "an open", || read(&volume.path("finance/deep/f")));
    assert_stops(since, "a new file", || File::create_new(volume.path("finance/new")));
    for file in ["f", "other/f"] {
        assert_eq!(read(&volume.path(file)).unwrap(), content(file));
        fs::write(volume.path(file).with_extension("new"), b"new").unwrap();
    }
    let names: Vec<_> =
        fs::read_dir(volume.path("finance")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // Nothing gets in or out either, and nothing has changed then.
    assert!(is_nokey(&fs::rename(volume.path("other/f"), volume.path("finance/in"))));
    assert!(is_nokey(&fs::rename(volume.path("finance/f"), volume.path("out"))));
    assert!(is_nokey(&fs::hard_link(volume.path("other/f"), volume.path("finance/in"))));
    assert_eq!((zone_of(&volume, "other/f"), zone_of(&volume, "finance/f")), (Value::Null, json!("finance")));
    ok(volume.kmsfs("key").args(["enable", "alias/finance"]));
    let back = wait_until(PROMISE, || read(&volume.path("finance/deep/f")).is_ok());
    assert!(back, "the zone does not open a second after its key was enabled");
    drop(open);
    volume.remount();
    for file in FILES {
        assert_eq!(read(&volume.path(file)).unwrap(), content(file));
    }
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn zones_lie_in_zones_and_are_listed_with_their_directories() {
    let volume = volume();
    set(&volume, "finance", "alias/finance");
    set(&volume, "finance/deep", "alias/other");
    let list: Value =
        serde_json::from_str(&ok(volume.kmsfs("zone").args(["list", "--json"]).arg(volume.mnt()))).unwrap();
    let listed: Vec<_> =
        list["zones"].as_array().unwrap().iter().map(|z| (&z["name"], &z["directories"])).collect();
    assert_eq!(
        listed,
        [(&json!("finance"), &json!(["finance"])), (&json!("deep"), &json!(["finance/deep"]))]
    );
}

#[test]
fn files_that_are_made_moved_or_linked_carry_the_key_of_where_they_are() {
    let volume = volume();
    set(&volume, "finance", "alias/finance");
    set(&volume, "other", "alias/other");
    fs::write(volume.path("finance/made"), b"made").unwrap();
    fs::rename(volume.path("f"), volume.path("finance/moved")).unwrap();
    fs::rename(volume.path("other/f"), volume.path("finance/between")).unwrap();
    fs::hard_link(volume.path("finance/between"), volume.path("other/linked")).unwrap();
    for file in ["finance/made", "finance/moved", "finance/f", "finance/deep/f"] {
        assert_eq!(zone_of(&volume, file), "finance", "{file}");
    }
    assert_eq!(zone_of(&volume, "other/linked"), "other", "the last zone it was linked into");
    assert_eq!(read(&volume.path("finance/moved")).unwrap(), content("f"));
    assert_eq!(read(&volume.path("finance/between")).unwrap(), content("other/f"));
}

#[test]
fn a_directory_that_mv_moves_between_zones_is_copied() {
    let volume = volume();
    set(&volume, "finance", "alias/finance");
    let refused = fs::rename(volume.path("finance/deep"), volume.path("deep")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::XDEV.raw_os_error()));
    ok(Command::new("mv").arg(volume.path("finance/deep")).arg(volume.path("deep")));
    assert_eq!(
        (zone_of(&volume, "deep/f"), read(&volume.path("deep/f")).unwrap()),
        (Value::Null, content("finance/deep/f"))
    );
    assert!(!volume.path("finance/deep").exists());
    fs::rename(volume.path("finance"), volume.path("other/finance")).unwrap();
    assert_eq!(zone_of(&volume, "other/finance/f"), "finance");
}

#[test]
fn a_zone_ends_with_its_last_file_and_its_key_may_go() {
    let mut volume = volume();
    set(&volume, "finance", "alias/finance");
    let cleared = zone(&volume, "clear", "finance", &[]);
    assert_eq!((&cleared["moved"], &cleared["removed"]), (&json!(2), &json!(["finance"])));
    ok(volume.kmsfs("key").args(["disable", "alias/finance"]));
    volume.remount();
    for file in FILES {
        assert_eq!((zone_of(&volume, file), read(&volume.path(file)).unwrap()), (Value::Null, content(file)));
    }
    assert!(ok(volume.kmsfs("zone").arg("list").arg(volume.lower())).contains("no zones"));
}

#[test]
fn a_volume_that_is_not_mounted_gets_a_zone_too() {
    let mut volume = volume();
    volume.unmount();
    let set = ["set", "finance", "--key", "alias/finance", "--lower"];
    let said = ok(volume.kmsfs("zone").args(set).arg(volume.lower()));
    assert!(said.contains("2 files moved"), "{said}");
    volume.mount();
    for (file, zone) in [("finance/deep/f", json!("finance")), ("other/f", Value::Null)] {
        assert_eq!((zone_of(&volume, file), read(&volume.path(file)).unwrap()), (zone, content(file)));
    }
}

#[test]
fn a_zone_that_the_config_lost_is_damage_and_a_file_in_anothers_place_is_not() {
    let mut volume = volume();
    let config = volume.lower().join("kmsfs.json");
    let before = fs::read(&config).unwrap();
    set(&volume, "finance", "alias/finance");
    let (inside, outside) = (volume.lower_of("finance/f"), volume.lower_of("other/f"));
    volume.unmount();
    fs::copy(&inside, &outside).unwrap();
    let said = String::from_utf8(volume.check().stdout).unwrap();
    assert!(volume.check().status.success() && said.contains("stray"), "{said}");
    fs::write(&config, before).unwrap();
    let found = volume.check();
    let said = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.status.code(), Some(14), "{said}");
    assert!(
        said.contains("/finance: a zone begins here") && said.contains("/finance/deep/f: its header"),
        "{said}"
    );
    volume.mount();
    let refused = File::open(volume.path("finance/deep/f")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::IO.raw_os_error()), "a header that no kmsfs wrote");
}

#[test]
fn a_key_that_cannot_serve_begins_no_zone() {
    let volume = volume();
    ok(volume.kmsfs("key").args(["disable", "alias/finance"]));
    std::thread::sleep(PROMISE); // the mount is another process, and hears of it within a second
    for key in ["alias/finance", "alias/nobody"] {
        let refused =
            volume.kmsfs("zone").arg("set").arg(volume.path("finance")).args(["--key", key]).output();
        let refused = refused.unwrap();
        assert_eq!(refused.status.code(), Some(9), "{}", String::from_utf8_lossy(&refused.stderr));
    }
    assert!(ok(volume.kmsfs("zone").arg("list").arg(volume.mnt())).contains("no zones"));
    assert_eq!(zone_of(&volume, "finance/f"), Value::Null);
}

#[test]
fn a_check_goes_on_past_files_whose_key_may_not_be_used() {
    let mut volume = volume();
    set(&volume, "finance", "alias/finance");
    volume.unmount();
    ok(volume.kmsfs("key").args(["disable", "alias/finance"]));
    let checked = volume.check();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(9), "{said}");
    assert!(said.contains("locked /finance/f") && said.contains("locked /finance/deep/f"), "{said}");
    assert!(said.contains("195.3 KiB in 4 files") && !said.contains("other/f"), "{said}");
    ok(volume.kmsfs("key").args(["enable", "alias/finance"]));
    assert!(volume.check().status.success());
}
