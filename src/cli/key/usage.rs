//! What still needs a key, or an old version of its material: to be asked before it goes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::OPERATOR;
use crate::{
    cli::{Exit, Failure, Global, access, output, secret::UnlockArgs, show},
    fuse::control,
    keys::cmk_id,
    kms::Page,
    volume::{
        config::CONFIG,
        lower::{SystemLower, open_root},
        usage::{Usage, usage},
    },
};

/// Arguments of `kmsfs key usage`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the headers of all files, which takes no key and no KMS; a key is looked up in
the keystore unless it is named by its id or ARN. Volumes that are not named, and
copies of any, such as backups, may need the key all the same.

`kmsfs rewrap` brings files under the newest version, or under another key.

Examples:
  kmsfs key usage alias/old ~/vault.enc /srv/backup.enc
  kmsfs key usage --json alias/old | jq .needed")]
pub struct Args {
    /// A key, of this keystore or another KMS
    key: String,
    /// Lower directories or mounts [default: all mounts of yours]
    volumes: Vec<PathBuf>,
}

/// A key, and what is known of it.
struct Key {
    name: String,
    id: [u8; 16],
    /// The newest version of its material; `None` for a key that was not looked up.
    newest: Option<u32>,
}

/// `kmsfs key usage`.
///
/// # Errors
/// There is no such key, or no such volume.
pub fn run(args: &Args, global: &Global, unlock: &UnlockArgs) -> Result<(), Failure> {
    let key = find_key(args, global, unlock)?;
    let mut found = Vec::new();
    for lower in volumes(args)? {
        let root = open_root(&lower).map_err(|e| Failure::io("open", &lower, &e))?;
        let used =
            usage(&SystemLower, &root, &mut || {}).map_err(|e| Failure::from(e).context(lower.display()))?;
        found.push((lower, used));
    }
    if global.json { output::json(&json_of(&key, &found)) } else { print(&key, &found) }
}

fn find_key(args: &Args, global: &Global, unlock: &UnlockArgs) -> Result<Key, Failure> {
    if !args.key.contains("alias/")
        && let Some(id) = cmk_id(&args.key)
    {
        return Ok(Key { name: args.key.clone(), id, newest: None });
    }
    let kms = access::open(global, unlock)?;
    let metadata = kms.describe_key(&OPERATOR, &args.key)?;
    let versions = kms.list_key_rotations(&OPERATOR, &metadata.id.to_string(), true, Page::whole())?.items;
    Ok(Key {
        name: kms.key_arn(&OPERATOR, metadata.id),
        id: *metadata.id.as_bytes(),
        newest: versions.iter().map(|version| version.material.version).max(),
    })
}

fn volumes(args: &Args) -> Result<Vec<PathBuf>, Failure> {
    let running = control::running();
    if args.volumes.is_empty() {
        if running.is_empty() {
            return Err(Failure::new(Exit::Usage, "nothing of yours is mounted")
                .hint("Name the lower directories of the volumes to look at."));
        }
        return Ok(running.into_iter().map(|mount| mount.report.lower).collect());
    }
    let lower = |path: &PathBuf| {
        let path = path.canonicalize().map_err(|e| Failure::io("find", path, &e))?;
        let mount = running.iter().find(|mount| mount.report.mount_point == path);
        let lower = mount.map_or(path, |mount| mount.report.lower.clone());
        match lower.join(CONFIG).symlink_metadata() {
            Ok(_) => Ok(lower),
            Err(_) => Err(Failure::new(
                Exit::NoVolume,
                format_args!("{} is neither a lower directory nor a mount of yours", lower.display()),
            )),
        }
    };
    args.volumes.iter().map(lower).collect()
}

/// Is there a file, or a volume key, under an older version than the newest?
fn needs_old(key: &Key, found: &[(PathBuf, Usage)]) -> Option<bool> {
    let newest = key.newest?;
    Some(found.iter().any(|(_, used)| {
        let of_volume = used.volume_key();
        used.files_under(&key.id).any(|(version, _)| version < newest)
            || (of_volume.cmk == key.id && of_volume.version < newest)
    }))
}

fn json_of(key: &Key, found: &[(PathBuf, Usage)]) -> Value {
    let mut versions = std::collections::BTreeMap::<u32, u64>::new();
    for (version, files) in found.iter().flat_map(|(_, used)| used.files_under(&key.id)) {
        *versions.entry(version).or_default() += files;
    }
    let volume = |(lower, used): &(PathBuf, Usage)| {
        let of_volume = used.volume_key();
        json!({
            "lower": lower, "needs": used.needs(&key.id), "files": files(used, key),
            "volume_key_version": (of_volume.cmk == key.id).then_some(of_volume.version),
            "zones": used.zones_under(&key.id), "unread": used.unread,
        })
    };
    json!({
        "key": key.name, "newest_version": key.newest,
        "needed": found.iter().any(|(_, used)| used.needs(&key.id)),
        "old_versions_needed": needs_old(key, found),
        "files": versions.values().sum::<u64>(),
        "versions": versions.iter().map(|(v, n)| json!({ "version": v, "files": n })).collect::<Vec<_>>(),
        "volumes": found.iter().map(volume).collect::<Vec<_>>(),
    })
}

fn files(used: &Usage, key: &Key) -> u64 {
    used.files_under(&key.id).map(|(_, files)| files).sum()
}

fn print(key: &Key, found: &[(PathBuf, Usage)]) -> Result<(), Failure> {
    for (lower, used) in found {
        output::line(format_args!("{}: {}", shown(lower), describe(used, key)))?;
        if used.unread > 0 {
            let unread = show::count(used.unread, "entry", "entries");
            output::note(format_args!("{}: {unread} could not be read, or not as a file", shown(lower)));
        }
    }
    let verdict = match (found.iter().any(|(_, used)| used.needs(&key.id)), needs_old(key, found)) {
        (false, _) => "not needed by these volumes",
        (true, Some(true)) => "needed, older versions of its material too",
        (true, Some(false)) => "needed, only in the newest version of its material",
        (true, None) => "needed",
    };
    output::line(format_args!("{}: {verdict}", key.name))
}

/// "3 files (version 1: 2, version 2: 1), the volume key (version 1), new files of zone finance".
fn describe(used: &Usage, key: &Key) -> String {
    let mut parts = Vec::new();
    let versions: Vec<_> = used.files_under(&key.id).map(|(v, n)| format!("version {v}: {n}")).collect();
    if !versions.is_empty() {
        let files = show::count(files(used, key), "file", "files");
        parts.push(format!("{files} ({})", versions.join(", ")));
    }
    for zone in used.zones_under(&key.id) {
        parts.push(match zone {
            "" => format!("the volume key (version {}) and new files", used.volume_key().version),
            name => format!("new files of zone {}", output::printable(name)),
        });
    }
    if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
}

fn shown(path: &Path) -> String {
    output::printable(&path.display().to_string())
}
