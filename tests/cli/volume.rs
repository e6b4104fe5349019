//! Volumes from the command line: `init`, `info` and `check`, on contents written through the filesystem layer,
//! so that no mount is needed; and what an attacker may do to the lower directory.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use kmsfs::{
    crypto::SecretBytes,
    fs::{Backing, Caller, Filesystem, Ino, ROOT},
    keys::{LocalProvider, Sources},
    kms::{self, Kms, keystore::Unlock},
    volume::{self, Volume, lower::SystemLower},
};
use serde_json::{Value, json};

use crate::support::{Home, PASSPHRASE, failed, text};

const ME: Caller = Caller { uid: 0, gid: 0, pid: 0 };

/// A volume with a few things in it, by plaintext path: where each lies below.
struct Filled {
    home: Home,
    lower: String,
    places: HashMap<&'static str, PathBuf>,
}

fn caller() -> Caller {
    let here = fs::metadata("/proc/self").unwrap();
    Caller { uid: here.uid(), gid: here.gid(), ..ME }
}

fn file(fs: &Filesystem, parent: Ino, name: &str, content: &[u8]) -> Ino {
    let (attr, handle) = fs.create(&caller(), parent, OsStr::new(name), 0o644, 0o022, libc::O_RDWR).unwrap();
    fs.write(&caller(), handle, 0, content, false).unwrap();
    fs.release(handle);
    attr.ino
}

fn fill(fs: &Filesystem) -> HashMap<&'static str, Ino> {
    let mkdir = |name: &str| fs.mkdir(&caller(), ROOT, OsStr::new(name), 0o755, 0o022).unwrap().ino;
    let (docs, other) = (mkdir("docs"), mkdir("other"));
    let text: Vec<u8> = (0..20_000u32).flat_map(u32::to_le_bytes).collect();
    let long = "n".repeat(250);
    let target = OsStr::new("docs/plan");
    let link = fs.symlink(&caller(), ROOT, OsStr::new("link"), target).unwrap().ino;
    let plan = file(fs, docs, "plan", &text);
    fs.link(plan, other, OsStr::new("second name")).unwrap();
    fs.setxattr(plan, OsStr::new("user.colour"), b"green", 0).unwrap();
    let sparse = file(fs, ROOT, "sparse", b"begin");
    let handle = fs.open(sparse).unwrap();
    fs.write(&caller(), handle, 50 << 20, b"end", false).unwrap();
    fs.release(handle);
    HashMap::from([
        ("docs", docs),
        ("other", other),
        ("link", link),
        ("docs/plan", plan),
        ("docs/twin", file(fs, docs, "twin", &text)),
        ("long", file(fs, ROOT, &long, b"a long name")),
        ("empty", file(fs, ROOT, "empty", b"")),
        ("sparse", sparse),
    ])
}

/// Lower paths by inode number: the filesystem takes its numbers from there.
fn by_number(dir: &Path, found: &mut HashMap<u64, PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stat = path.symlink_metadata().unwrap();
        found.insert(stat.ino(), path.clone());
        if stat.is_dir() {
            by_number(&path, found);
        }
    }
}

impl Filled {
    fn new() -> Filled {
        let home = Home::new();
        let lower = home.arg("lower");
        home.ok(&["init", &lower]);
        let secret = Unlock::Passphrase(SecretBytes::from(PASSPHRASE.to_owned()));
        let kms = Kms::open(home.keystore(), &secret, kms::Options::default()).unwrap();
        let sources = Sources::one("local:", Arc::new(LocalProvider::new(Arc::new(kms))));
        let options = volume::Options::default();
        let volume = Volume::open(Arc::new(SystemLower), Path::new(&lower), sources, options).unwrap();
        let Volume { lower: calls, root, config, keys, store, .. } = volume;
        let filesystem = Filesystem::new(Backing { lower: calls, root, config, keys, store }).unwrap();
        let numbers = fill(&filesystem);
        filesystem.shutdown().unwrap();
        let mut found = HashMap::new();
        by_number(Path::new(&lower), &mut found);
        let places = numbers.into_iter().map(|(name, ino)| (name, found[&ino].clone())).collect();
        Filled { home, lower, places }
    }

    /// The report of a check that finds something.
    fn damage(&self) -> Vec<(String, Option<String>)> {
        let args = ["check", &self.lower, "--json"];
        let output = self.home.run(&args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(14), "nothing found: {stderr}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("the report comes all the same");
        assert_eq!(report["clean"], false);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let problems = report["problems"].as_array().unwrap().iter();
        problems.map(|p| (text(&p["kind"]).unwrap(), text(&p["path"]))).collect()
    }

    fn flip(&self, name: &str, at: u64) {
        let file = OpenOptions::new().read(true).write(true).open(&self.places[name]).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }
}

fn one(kind: &str, path: &str) -> Vec<(String, Option<String>)> {
    vec![(kind.to_owned(), Some(path.to_owned()))]
}

#[test]
fn one_command_makes_keystore_and_volume() {
    let home = Home::empty();
    let lower = home.arg("new/lower");
    let passphrase = home.arg("pw");
    let made = home.json(&["init", "--passphrase-file", &passphrase, &lower]);
    assert_eq!(
        (made["cipher"].as_str(), made["lower"].as_str()),
        (Some("aes-256-gcm-siv"), Some(lower.as_str()))
    );
    assert!(home.keystore().exists());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&lower).unwrap().permissions().mode() & 0o777, 0o700);
    let keys = home.json(&["key", "list"]);
    assert_eq!(keys["Keys"].as_array().unwrap().len(), 1, "the service-managed key");
    let key = home.json(&["key", "describe", "alias/kmsfs/default"]);
    assert_eq!(key["KeyMetadata"]["Arn"], made["cmk"]);
    let args = ["key", "encrypt", "alias/kmsfs/default"];
    let err = failed(home.feed(&args, b"x"), 9, &args);
    assert!(err.contains("AccessDenied"), "for the filesystem alone: {err}");
    home.ok(&["check", &lower]);
}

#[test]
fn init_refuses_what_is_there() {
    let home = Home::new();
    let lower = home.arg("lower");
    home.ok(&["init", &lower]);
    assert!(home.fails(15, &["init", &lower]).contains("is a volume already"));
    let full = home.arg("full");
    fs::create_dir(&full).unwrap();
    fs::write(home.path("full/precious"), "data").unwrap();
    assert!(home.fails(15, &["init", &full]).contains("not empty"));
    assert!(home.fails(1, &["init", &home.arg("pw")]).contains("pw"), "a file");
    home.fails(2, &["init", "--cipher", "rot13", &home.arg("x")]);
}

#[test]
fn a_volume_takes_the_named_key_if_it_can_serve() {
    let home = Home::new();
    home.ok(&["key", "create", "--alias", "alias/work"]);
    home.ok(&["key", "disable", "alias/work"]);
    let err = home.fails(9, &["init", "--key", "alias/work", &home.arg("a")]);
    assert!(err.contains("disabled"), "{err}");
    for (key, error) in [("alias/work", "DisabledException"), ("alias/none", "NotFoundException")] {
        let err = home.fails(9, &["init", "--json", "--key", key, &home.arg("b")]);
        let err: Value = serde_json::from_str(&err).expect("one JSON document on standard error");
        assert_eq!(err["name"], error);
        assert!(!err["error"].as_str().unwrap().contains(error), "the name is told once: {err}");
    }
    home.ok(&["key", "enable", "alias/work"]);
    for cipher in ["aes-256-gcm-siv", "aes-256-gcm", "chacha20-poly1305"] {
        let lower = home.arg(cipher);
        let made = home.json(&["init", "--key", "alias/work", "--cipher", cipher, &lower]);
        let info = home.json(&["info", &lower]);
        assert_eq!((&info["cipher"], &info["cmk"]), (&cipher.into(), &made["cmk"]));
    }
    let empty = Home::empty();
    empty.fails(5, &["init", "--key", "alias/work", &empty.arg("c")]);
    assert!(!empty.keystore().exists(), "a named key is in a keystore that exists");
}

#[test]
fn info_needs_no_passphrase_and_shows_no_secret() {
    let filled = Filled::new();
    let ask = |path: &str| {
        let mut command = filled.home.command(&["info", "--json", path]);
        let output = command.env_remove("KMSFS_PASSPHRASE_FILE").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let volume = ask(&filled.lower);
    assert_eq!((volume["files"].as_u64(), volume["format"].as_u64()), (Some(6), Some(1)));
    let plan = ask(filled.places["docs/plan"].to_str().unwrap());
    assert_eq!((plan["bytes"].as_u64(), plan["sparse"].as_bool()), (Some(80_000), Some(false)));
    assert_eq!(plan["cmk"], volume["cmk"]);
    assert_eq!(ask(filled.places["sparse"].to_str().unwrap())["sparse"], true);
    filled.home.fails(7, &["info", &filled.home.arg("kmsfs")]);
    filled.home.fails(1, &["info", &filled.home.arg("missing")]);
}

#[test]
fn a_sound_volume_checks_clean() {
    let filled = Filled::new();
    let report = filled.home.json(&["check", &filled.lower]);
    let counts = ["directories", "files", "symlinks", "others", "leftovers"]
        .map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [3, 5, 1, 0, 0], "a file with two names counts once");
    assert_eq!(report["bytes"], 80_000 * 2 + 11 + (50 << 20) + 3);
    let output = filled.home.run(&["check", &filled.lower]);
    assert!(output.stderr.is_empty(), "no progress where nobody watches");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    filled.home.fails(7, &["check", &filled.home.arg("kmsfs")]);
}

#[test]
fn each_damaged_file_is_named() {
    let filled = Filled::new();
    filled.flip("docs/twin", 4096 * 3 + 7);
    assert_eq!(filled.damage(), one("file", "/docs/twin"), "a block");
    let output = filled.home.run(&["check", &filled.lower]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 block does not authenticate: 2"), "{text}");
}

#[test]
fn cut_and_swapped_files_are_found() {
    let filled = Filled::new();
    let twin = &filled.places["docs/twin"];
    let whole = fs::read(twin).unwrap();
    fs::write(twin, &whole[..4096 * 11]).unwrap();
    assert_eq!(filled.damage(), one("file", "/docs/twin"), "cut at a block's edge");
    let plan = fs::read(&filled.places["docs/plan"]).unwrap();
    let mut mixed = whole.clone();
    mixed[..1024].copy_from_slice(&plan[..1024]);
    fs::write(twin, &mixed).unwrap();
    assert_eq!(filled.damage(), one("file", "/docs/twin"), "another file's header");
    let mut holes = whole.clone();
    holes[1024..1056].fill(0);
    holes[4096..8192].fill(0);
    fs::write(twin, &holes).unwrap();
    assert_eq!(filled.damage(), one("file", "/docs/twin"), "a forged hole");
    fs::write(twin, &whole).unwrap();
    filled.home.ok(&["check", &filled.lower]);
}

#[test]
fn damaged_names_records_and_links_are_found() {
    let filled = Filled::new();
    let (docs, other) = (&filled.places["docs"], &filled.places["other"]);
    let (record, foreign) =
        (fs::read(docs.join("kmsfs.dir")).unwrap(), fs::read(other.join("kmsfs.dir")).unwrap());
    let put = |bytes: &[u8]| {
        fs::remove_file(docs.join("kmsfs.dir")).unwrap();
        fs::write(docs.join("kmsfs.dir"), bytes).unwrap();
    };
    put(&foreign);
    let found = filled.damage();
    assert!(found.iter().all(|(kind, _)| kind == "name") && found.len() == 2, "another's record: {found:?}");
    put(&record[..50]);
    assert_eq!(filled.damage(), one("directory", "/docs"), "a cut record");
    put(&record);

    let link = &filled.places["link"];
    let target = fs::read_link(link).unwrap().into_os_string().into_string().unwrap();
    let altered = target.replacen(|c: char| c != 'A', "A", 1);
    fs::remove_file(link).unwrap();
    std::os::unix::fs::symlink(altered, link).unwrap();
    assert_eq!(filled.damage(), one("symlink", "/link"));
    fs::remove_file(link).unwrap();

    let long = filled.places["long"].to_str().unwrap().to_owned();
    fs::remove_file(format!("{long}.name")).unwrap();
    let found = filled.damage();
    assert_eq!(found.len(), 1, "a long name without its sidecar: {found:?}");
}

#[test]
fn what_is_not_kmsfs_s_is_foreign_and_no_damage() {
    let filled = Filled::new();
    let (lower, docs) = (Path::new(&filled.lower), &filled.places["docs"]);
    fs::create_dir(lower.join("lost+found")).unwrap();
    assert_eq!(filled.home.json(&["check", &filled.lower])["foreign"], json!([]), "ext4's own directory");
    fs::write(docs.join("README"), "planted").unwrap();
    // Of the length and alphabet of a name of ours.
    fs::write(lower.join("e3b0c44298fc1c149afbf4c8996fb924"), "").unwrap();
    fs::create_dir(lower.join(".Trash-0")).unwrap();
    fs::write(lower.join(".Trash-0/file"), "not looked at").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", docs.join("passwd")).unwrap();
    let report = filled.home.json(&["check", &filled.lower]);
    assert_eq!((&report["clean"], &report["problems"]), (&json!(true), &json!([])));
    let found: Vec<_> = report["foreign"].as_array().unwrap().iter().collect();
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0], &json!({ "directory": "/", "lower": ".Trash-0" }));
    assert_eq!(found.iter().filter(|entry| entry["directory"] == "/docs").count(), 2);

    let output = filled.home.run(&["check", &filled.lower]);
    assert_eq!(output.status.code(), Some(0));
    let (result, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(result.contains("foreign lower .Trash-0:") && result.contains("all verified"), "{result}");
    assert!(notes.contains("Directory not empty"), "{notes}");

    // A file of ours under a name that kmsfs did not give, as sync programs leave it, is not foreign.
    let plan = &filled.places["docs/plan"];
    fs::copy(plan, lower.join("plan (conflicted copy)")).unwrap();
    assert_eq!(filled.damage(), [("name".to_owned(), None)]);
}

#[test]
fn a_volume_without_its_key_is_not_called_damaged() {
    let home = Home::new();
    home.ok(&["key", "create", "--alias", "alias/work"]);
    let lower = home.arg("lower");
    home.ok(&["init", "--key", "alias/work", &lower]);
    home.ok(&["key", "disable", "alias/work"]);
    let err = home.fails(9, &["check", &lower]);
    assert!(err.contains("disabled"), "{err}");
}

#[test]
fn an_edited_config_is_refused() {
    let home = Home::new();
    let lower = home.arg("lower");
    home.ok(&["init", &lower]);
    let config = home.path("lower/kmsfs.json");
    let text = fs::read_to_string(&config).unwrap();
    let rewrite = |text: &str| {
        fs::remove_file(&config).unwrap();
        fs::write(&config, text).unwrap();
    };
    rewrite(&text.replace("aes-256-gcm-siv", "aes-256-gcm"));
    assert!(home.fails(8, &["check", &lower]).contains("edited"));
    rewrite(&text.replace("\"format\": 1", "\"format\": 2"));
    assert!(home.fails(8, &["check", &lower]).contains('2'));
    rewrite(&text[..text.len() / 2]);
    home.fails(8, &["check", &lower]);
    rewrite(&text);
    home.ok(&["check", &lower]);
}
