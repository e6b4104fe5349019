//! Confinement of the service: what the process that holds the root key can still reach, before it has it.
//!
//! Landlock leaves it the files that it works with, and no TCP port but its database server's; a filter of system calls
//! leaves it those that it needs ([`super::syscalls`]). Both hold for all threads and for the life of the process, and take
//! from whoever comes to run code in it the means to take keys elsewhere.
//!
//! Where the kernel has neither, the service goes on and says so: the machine is then no worse off than without it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::syscalls;
use crate::kms::keystore::Location;

/// What is known of Landlock here. Older kernels enforce what they know of it.
const KNOWN: ABI = ABI::V6;

/// Read by libraries: SQLite's random numbers, and how many processors the control group grants.
const LIBRARIES_READ: &[&str] = &["/dev/urandom", "/proc/self/cgroup", "/sys/fs/cgroup"];
/// Where a person types a passphrase.
const TERMINAL: &str = "/dev/tty";
/// What it takes to find the address that belongs to a server's name: the C library's configuration, and the modules
/// that it loads for that.
const NAMES_READ: &[&str] = &["/etc", "/lib", "/lib64", "/usr/lib"];
/// The port of name servers, where an answer does not fit into a datagram.
const NAMES_PORT: u16 = 53;

/// The files that the service works with from now on.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) keystore: &'a Location,
    /// What holds the secret that unlocks it.
    pub(super) secret: Option<&'a Path>,
    /// The directory of the audit log.
    pub(super) audit: Option<&'a Path>,
    /// The unix socket, which is removed in the end.
    pub(super) socket: Option<&'a Path>,
}

/// Gives up what the process does not need. Must come before its first thread.
pub(super) fn confine(places: &Places<'_>) {
    match places.restrict() {
        Ok(RulesetStatus::FullyEnforced) => log::info!("confined to its own files"),
        Ok(RulesetStatus::PartiallyEnforced) => {
            log::warn!("confined to its own files as far as this kernel's Landlock goes; newer ones do more");
        }
        Ok(RulesetStatus::NotEnforced) => {
            log::warn!("NOT confined to its own files: this kernel has no Landlock, or has it switched off");
        }
        Err(error) => log::warn!("NOT confined to its own files: {error}"),
    }
    let remote = matches!(places.keystore, Location::Postgres(_));
    match syscalls::restrict(remote) {
        Ok(()) => log::info!("confined to the system calls that it needs"),
        Err(error) => log::warn!("NOT confined to the system calls that it needs: {error}"),
    }
}

impl Places<'_> {
    fn restrict(&self) -> Result<RulesetStatus, RulesetError> {
        let ports = self
            .ports()
            .into_iter()
            .map(|port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::ConnectTcp)));
        let ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))?
            .handle_access(AccessNet::from_all(KNOWN))?
            .scope(Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(self.written(), writing()))?
            .add_rules(path_beneath_rules(self.read(), reading()))?
            .add_rules(path_beneath_rules(folder(self.socket), AccessFs::RemoveFile))?
            .add_rules(path_beneath_rules([TERMINAL], terminal()))?
            .add_rules(ports)?;
        Ok(ruleset.restrict_self()?.ruleset)
    }

    /// Directories in which it makes, writes and removes files. SQLite keeps its own beside the keystore's.
    fn written(&self) -> Vec<PathBuf> {
        let keystore = match self.keystore {
            Location::File(path) => folder(Some(path)),
            Location::Postgres(_) => None,
        };
        keystore.into_iter().chain(self.audit.map(PathBuf::from)).collect()
    }

    /// Files, and directories with all that is in them.
    fn read(&self) -> Vec<PathBuf> {
        let mut read: Vec<PathBuf> = LIBRARIES_READ.iter().map(PathBuf::from).collect();
        read.extend(self.secret.map(PathBuf::from));
        if let Location::Postgres(server) = self.keystore {
            read.extend(NAMES_READ.iter().map(PathBuf::from));
            read.extend(folder(Some(Path::new("/etc/resolv.conf")))); // often a link to somewhere else
            read.extend(server.files());
        }
        read
    }

    /// TCP ports that it connects to.
    fn ports(&self) -> Vec<u16> {
        match self.keystore {
            Location::File(_) => Vec::new(),
            Location::Postgres(server) => server.ports().into_iter().chain([NAMES_PORT]).collect(),
        }
    }
}

/// The directory that a file is really in.
fn folder(file: Option<&Path>) -> Option<PathBuf> {
    Some(fs::canonicalize(file?).ok()?.parent()?.to_owned())
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

fn writing() -> BitFlags<AccessFs> {
    reading() | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile
}

fn terminal() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev
}
