//! `kmsfs info`: what a volume or a file says about itself. Needs no key, shows no secret, believes nothing.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Exit, Failure, Global, access, output, show};
use crate::{
    fuse::{control, mountinfo},
    keys::{Envelope, NO_ZONE, WrapMode},
    kms::KeyId,
    volume::{
        config::{self, CONFIG, Config, Unverified},
        geometry::{HEADER_LEN, plain_len},
        header::{self, Header},
        lower::{SystemLower, open_root},
        survey::measure,
    },
};

/// Arguments of `kmsfs info`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows what is recorded, without asking for a passphrase; `kmsfs check` verifies
it. A file may be named by its path in a mount or in the lower directory.

Examples:
  kmsfs info ~/vault.enc
  kmsfs info ~/vault/plan.txt")]
pub struct Args {
    /// A lower directory, a mount point, or a file in one of them
    path: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// There is no volume there, or what is there is not a volume's.
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let path = resolve(&args.path)?;
    let place = locate(&path)?;
    match &place.file {
        Some(file) => of_file(&path, file, &place, global.json),
        None => of_volume(&place, global.json),
    }
}

/// What a path names.
struct Place {
    /// The lower directory of its volume.
    volume: PathBuf,
    /// Where that is mounted.
    mounted: Option<PathBuf>,
    /// The lower file; `None` if the path names the volume.
    file: Option<PathBuf>,
}

/// The path with every link resolved but the last: a link in a volume is asked about itself.
fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    let resolved = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !path.is_dir() => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().map(|parent| parent.join(name))
        }
        _ => path.canonicalize(),
    };
    let resolved = resolved.map_err(|err| Failure::io("find", path, &err))?;
    resolved.symlink_metadata().map_err(|err| Failure::io("find", path, &err))?;
    Ok(resolved)
}

fn locate(path: &Path) -> Result<Place, Failure> {
    let mounts = mounts();
    if let Some((point, lower)) = mounts.iter().find(|(point, _)| path.starts_with(point)) {
        access::volume_exists(lower)?;
        let below = path.strip_prefix(point).unwrap_or(Path::new(""));
        let file = if below == Path::new("") { None } else { Some(lower_path(point, lower, below)?) };
        return Ok(Place { volume: lower.clone(), mounted: Some(point.clone()), file });
    }
    let root = path.ancestors().find(|dir| dir.join(CONFIG).symlink_metadata().is_ok());
    let Some(root) = root else {
        return Err(Failure::new(
            Exit::NoVolume,
            format_args!("{} is neither a volume nor in one", path.display()),
        ));
    };
    let mounted = mounts.into_iter().find(|(_, lower)| lower == root).map(|(point, _)| point);
    Ok(Place { volume: root.to_owned(), mounted, file: (path != root).then(|| path.to_owned()) })
}

/// Mount points with their lower directories, the deepest first.
fn mounts() -> Vec<(PathBuf, PathBuf)> {
    let running = control::running().into_iter().map(|running| running.report);
    let mut mounts: Vec<_> = running.map(|report| (report.mount_point, report.lower)).collect();
    // Mounts of other users do not answer, but the table of mounts has their lower directory as the source.
    let table = mountinfo::all().unwrap_or_default().into_iter().filter(|entry| entry.is_kmsfs());
    for entry in table {
        if mounts.iter().all(|(point, _)| *point != entry.point) {
            mounts.push((entry.point, entry.source.into()));
        }
    }
    mounts.sort_by_key(|(point, _)| std::cmp::Reverse(point.components().count()));
    mounts
}

/// The lower path of `below`, found by inode numbers, which a mount takes from the lower directory: no key is
/// needed for that.
fn lower_path(point: &Path, lower: &Path, below: &Path) -> Result<PathBuf, Failure> {
    let (mut plain, mut found) = (point.to_owned(), lower.to_owned());
    for name in below.components() {
        plain.push(name);
        let ino = plain.symlink_metadata().map_err(|err| Failure::io("find", &plain, &err))?.ino();
        let entries = fs::read_dir(&found).map_err(|err| Failure::io("list", &found, &err))?;
        let entry =
            entries.filter_map(Result::ok).find(|entry| std::os::unix::fs::DirEntryExt::ino(entry) == ino);
        let Some(entry) = entry else {
            return Err(Failure::new(
                Exit::Failure,
                format_args!("{} has no entry in {}", plain.display(), found.display()),
            ));
        };
        found.push(entry.file_name());
    }
    Ok(found)
}

fn of_volume(place: &Place, json: bool) -> Result<(), Failure> {
    let root = open_root(&place.volume).map_err(|err| Failure::io("open", &place.volume, &err))?;
    let config = Config::read(&SystemLower, &root)
        .map_err(|err| Failure::from(err).context(place.volume.display()))?;
    let (claimed, extent) = (config.claimed(), measure(&SystemLower, &root, 0));
    let zones: Vec<_> = claimed.zones.iter().map(|zone| zone.name.as_str()).collect();
    if json {
        return output::json(&json!({
            "lower": place.volume, "mounted": place.mounted, "volume": show::hex(&claimed.volume_id),
            "format": config::FORMAT, "cipher": claimed.cipher.to_string(), "kms": claimed.kms,
            "cmk": claimed.cmk, "wrap": claimed.wrap.to_string(), "material": claimed.wrapped.material, "zones": zones, "files": extent.files,
            "bytes": extent.bytes,
        }));
    }
    output::fields(&[
        ("Volume", show::hex(&claimed.volume_id)),
        ("Lower directory", place.volume.display().to_string()),
        (
            "Mounted on",
            place.mounted.as_deref().map_or("nothing".into(), |point| point.display().to_string()),
        ),
        ("Format", config::FORMAT.to_string()),
        ("Cipher", claimed.cipher.to_string()),
        ("KMS", claimed.kms.clone()),
        ("CMK", claimed.cmk.clone()),
        ("Data keys", wrapped_by(claimed.wrap).to_owned()),
        ("Zones", zones.join(", ")),
        ("Key material", format!("version {}", claimed.wrapped.material)),
        ("Files", extent.files.to_string()),
        ("Plaintext", show::size(extent.bytes)),
    ])
}

/// A wrap mode, for people.
fn wrapped_by(mode: WrapMode) -> &'static str {
    match mode {
        WrapMode::Direct => "wrapped by the CMK itself",
        WrapMode::ZoneKey => "wrapped by zone keys, which the CMK wraps",
    }
}

/// A file's CMK and its zone: as its volume names them, or else by their ids alone, which is all that the file knows.
fn names_of(place: &Place, envelope: &Envelope) -> (String, Option<String>) {
    let config = open_root(&place.volume).ok().and_then(|root| Config::read(&SystemLower, &root).ok());
    let claimed = config.as_ref().map(Unverified::claimed);
    let defined = claimed.and_then(|claimed| claimed.zones.iter().find(|zone| zone.id == envelope.zone));
    let own = claimed.map(|claimed| (claimed.cmk_place(), &claimed.former));
    let places = match (defined, own) {
        (Some(zone), _) => std::iter::once(&zone.cmk).chain(&zone.former).cloned().collect(),
        (None, Some((cmk, former))) => [&[cmk][..], &former[..]].concat(),
        (None, None) => Vec::new(),
    };
    let id = envelope.wrapped.key_id;
    let cmk = places.into_iter().find(|cmk| cmk.id == id).map(|cmk| cmk.arn);
    let zone = (envelope.zone != NO_ZONE)
        .then(|| defined.map_or_else(|| show::hex(&envelope.zone), |zone| zone.name.clone()));
    (cmk.unwrap_or_else(|| KeyId::from_bytes(id).to_string()), zone)
}

fn of_file(path: &Path, lower: &Path, place: &Place, json: bool) -> Result<(), Failure> {
    let stat = lower.symlink_metadata().map_err(|err| Failure::io("find", lower, &err))?;
    if !stat.is_file() {
        return Err(Failure::new(
            Exit::Failure,
            format_args!("{} is no regular file: it has no key of its own", path.display()),
        )
        .hint("Its name, and a link's target, are under the volume's key; see the volume's own info."));
    }
    let header = read_header(lower)?;
    let Header { file_id, cipher, slot } = header;
    let size = plain_len(stat.size()).unwrap_or(slot.sealed_len);
    let (cmk, zone) = names_of(place, &slot.envelope);
    if json {
        return output::json(&json!({
            "path": path.display().to_string(), "lower": lower.display().to_string(), "volume": place.volume,
            "file": show::hex(&file_id), "cipher": cipher.to_string(), "zone": zone, "cmk": cmk,
            "wrap": slot.envelope.mode.to_string(), "material": slot.envelope.wrapped.material, "bytes": size, "sealed_bytes": slot.sealed_len,
            "lower_bytes": stat.size(), "disk_bytes": stat.blocks() * 512, "sparse": slot.sparse,
            "block_key_generation": slot.key_generation,
        }));
    }
    let sealed = match slot.sealed_len == size {
        true => String::new(),
        false => format!("{}; the file is being written, or was cut", show::size(slot.sealed_len)),
    };
    output::fields(&[
        ("File", path.display().to_string()),
        ("Lower file", lower.display().to_string()),
        ("Volume", place.volume.display().to_string()),
        ("File id", show::hex(&file_id)),
        ("Cipher", cipher.to_string()),
        ("Zone", zone.unwrap_or_else(|| "none".to_owned())),
        ("CMK", cmk),
        ("Data key", wrapped_by(slot.envelope.mode).to_owned()),
        ("Key material", format!("version {}", slot.envelope.wrapped.material)),
        ("Block key", format!("generation {}", slot.key_generation)),
        ("Size", show::size(size)),
        ("Sealed at", sealed),
        ("Lower size", show::size(stat.size())),
        ("On disk", show::size(stat.blocks() * 512)),
        ("Holes", if slot.sparse { "allowed".to_owned() } else { "none".to_owned() }),
    ])
}

fn read_header(lower: &Path) -> Result<Header, Failure> {
    let mut bytes = Vec::with_capacity(HEADER_LEN as usize);
    File::open(lower)
        .and_then(|file| file.take(HEADER_LEN).read_to_end(&mut bytes))
        .map_err(|err| Failure::io("read", lower, &err))?;
    header::claimed(&bytes).ok_or_else(|| {
        Failure::new(Exit::BadVolume, format_args!("{} has no header of a kmsfs file", lower.display()))
            .hint("It may not be written yet: a new file gets its header when it is closed or synced.")
    })
}
