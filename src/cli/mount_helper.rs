//! `mount.kmsfs`: called by mount(8) for `mount -t kmsfs`, `mount -t fuse.kmsfs` and fstab lines.
//!
//! mount(8) runs `/sbin/mount.TYPE SOURCE DIR [-sfnv] [-N namespace] [-t type] [-o options]`, so a link of that
//! name to the program is all it takes. Without one for `fuse.kmsfs`, libfuse's `mount.fuse3` steps in and runs
//! `kmsfs SOURCE DIR -o options`: no subcommand is an absolute path, so that is understood too.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Exit, Failure, Global, mount};

const NAMES: &[&str] = &["mount.kmsfs", "mount.fuse.kmsfs"];

/// Whether the program was started as a mount helper.
pub fn was_called() -> bool {
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    is_helper_call(name.as_deref(), arguments.next().as_deref())
}

fn is_helper_call(program: Option<&OsStr>, first: Option<&OsStr>) -> bool {
    let name = program.map(Path::new).and_then(Path::file_name);
    NAMES.iter().any(|known| name == Some(OsStr::new(known)))
        || first.is_some_and(|argument| argument.as_bytes().starts_with(b"/"))
}

/// Runs as the helper: mounts in the background.
pub fn run() -> Result<(), Failure> {
    let call = parse(std::env::args_os().skip(1))?;
    super::init_log(u8::from(call.verbose));
    if call.fake {
        return Ok(());
    }
    mount::run(&call.args, &Global { keystore: None, json: false, verbose: u8::from(call.verbose) })
}

#[derive(Debug, Default)]
struct Call {
    args: mount::Args,
    verbose: bool,
    /// `-f`: all but the mount itself.
    fake: bool,
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Call, Failure> {
    let usage = |what: &str| {
        Failure::new(Exit::Usage, what)
            .hint("usage: mount.kmsfs LOWER MOUNTPOINT [-fnsv] [-t TYPE] [-o OPTIONS]")
    };
    let mut call = Call::default();
    let mut places = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(letters) = argument.to_str().and_then(|text| text.strip_prefix('-')) else {
            places.push(argument);
            continue;
        };
        for letter in letters.chars() {
            match letter {
                'f' => call.fake = true,
                'v' => call.verbose = true,
                // No mtab to write, and no options to be sloppy about: mount(8) keeps its own to itself.
                'n' | 's' => {}
                'o' | 't' | 'N' => {
                    let value = arguments.next().ok_or_else(|| usage("an option lacks its value"))?;
                    if letter == 'o' {
                        let text = value.into_string().map_err(|_| usage("mount options must be UTF-8"))?;
                        call.args.options.push(text);
                    }
                }
                _ => return Err(usage(&format!("unknown option -{letter}"))),
            }
        }
    }
    let [lower, mount_point] = <[OsString; 2]>::try_from(places)
        .map_err(|_| usage("a lower directory and a mount point are needed"))?;
    call.args.lower = lower.into();
    call.args.mount_point = mount_point.into();
    Ok(call)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn parsed(line: &str) -> Result<Call, Failure> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn helpers_are_known_by_name_or_by_a_path() {
        let helper =
            |program: &str, first: &str| is_helper_call(Some(program.as_ref()), Some(first.as_ref()));
        assert!(helper("/sbin/mount.kmsfs", "lower"));
        assert!(helper("mount.fuse.kmsfs", "lower"));
        assert!(helper("/usr/bin/kmsfs", "/lower"));
        assert!(!helper("kmsfs", "mount"));
        assert!(!helper("kmsfs", "--help"));
        assert!(!is_helper_call(Some("kmsfs".as_ref()), None));
    }

    #[test]
    fn what_mount_passes_is_understood() {
        let call = parsed("/lower /mnt -sv -t fuse.kmsfs -o rw,key_file=/k -N /ns").unwrap();
        assert_eq!(
            (call.args.lower.as_path(), call.args.mount_point.as_path()),
            ("/lower".as_ref(), "/mnt".as_ref())
        );
        assert_eq!(call.args.options, ["rw,key_file=/k"]);
        assert!(call.verbose && !call.fake);
        assert!(parsed("/lower /mnt -f").unwrap().fake);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["/lower", "/lower /mnt /more", "/lower /mnt -o", "/lower /mnt -x"] {
            assert_eq!(parsed(line).unwrap_err().exit(), Exit::Usage, "{line}");
        }
    }
}
