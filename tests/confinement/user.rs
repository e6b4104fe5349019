//! A service that root starts and that runs as another user.

use super::{Service, Volume, ok};
use crate::common::tools::need_root;
use std::{fs, os::unix::fs::MetadataExt, process::Command};

/// A user that every machine has.
const USER: &str = "nobody";

#[test]
fn a_service_becomes_the_user_it_is_told_and_has_nothing_of_root_left() {
    need_root();
    let volume = Volume::bare();
    volume.keystore_create();
    let directory = volume.home().join("kmsfs");
    ok(Command::new("chown").args(["-R", &format!("{USER}:")]).arg(&directory).arg(volume.passphrase_file()));
    let uid = fs::metadata(&directory).unwrap().uid();
    // A directory that root makes for it, where it could not.
    let audit = volume.scratch("audit");
    let service = Service::start(&volume, &["--user", USER, "--audit", audit.to_str().unwrap()]);
    service.works();
    assert_eq!(service.shows("Uid"), format!("{uid} {uid} {uid} {uid}"));
    assert!(service.shows("Gid").split(' ').all(|gid| gid != "0"));
    assert!(service.shows("Groups").split(' ').all(|gid| gid != "0"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(service.shows(set), "0000000000000000", "{set}");
    }
    let process = format!("/proc/{}/mem", service.process.id());
    assert_eq!(fs::metadata(process).unwrap().uid(), 0, "what cannot be dumped is root's to look at");
    assert_eq!(fs::metadata(&service.socket).unwrap().uid(), uid);
    let made: Vec<_> = [&audit, &directory].iter().flat_map(|at| fs::read_dir(at).unwrap()).collect();
    assert!(made.len() >= 5, "two of the log, three of the keystore: {made:?}");
    for file in made {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().uid(), uid, "{:?}", file.path());
    }
    service.stop();
}

#[test]
fn what_belongs_to_somebody_else_is_told_before_anything_is_made() {
    need_root();
    let volume = Volume::bare();
    volume.keystore_create();
    let socket = volume.home().join("kms.sock");
    let refused = |user: &str| {
        let mut command = volume.kmsfs("kms");
        let output = command.args(["serve", "--user", user, "--socket"]).arg(&socket).output().unwrap();
        assert!(!socket.exists());
        assert!(!volume.home().join("kmsfs/keystore.audit").exists());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = refused(USER);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("belongs to user 0") && message.contains("chown -R nobody:"), "{message}");
    let (code, message) = refused("no-such-user");
    assert!(code == Some(2) && message.contains("there is no user"), "{message}");
}
