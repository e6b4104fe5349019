//! What is to be mounted where and how: arguments and `-o` options put together, paths made absolute. Pure
//! but for the current directory.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use super::{Args, Durability};
use crate::cli::{Exit, Failure, Global, provider::KmsArgs, secret::UnlockArgs};
use crate::fuse::{options::Options, session};
use crate::keys::CacheLimits;
use crate::kms::keystore::Location;

/// A mount to be made.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) lower: PathBuf,
    pub(crate) mount_point: PathBuf,
    pub(crate) options: Options,
    pub(crate) foreground: bool,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) durability: Durability,
    pub(crate) threads: usize,
    pub(crate) cache: CacheLimits,
    pub(crate) global: Global,
    pub(crate) kms: KmsArgs,
    pub(crate) unlock: UnlockArgs,
}

impl Request {
    /// Puts everything together. What the command line says wins over the same thing in `-o`.
    pub(crate) fn new(args: &Args, global: &Global) -> Result<Request, Failure> {
        let mut args = args.clone();
        let mut global = global.clone();
        let mut options = Options::parse(&args.options);
        let kms_named = !args.kms.kms.is_empty();
        for (name, value) in std::mem::take(&mut options.other) {
            match name.as_str() {
                "kms" if kms_named => {}
                _ => apply(&mut args, &mut global, &name, value.as_deref())?,
            }
        }
        if args.threads == Some(0) {
            return Err(usage("threads: at least one is needed"));
        }
        // The daemon leaves the current directory, so nothing may depend on it.
        let absolute = |path: &mut Option<PathBuf>| match path.as_deref().map(absolute) {
            Some(Ok(full)) => {
                *path = Some(full);
                Ok(())
            }
            Some(Err(failure)) => Err(failure),
            None => Ok(()),
        };
        absolute(&mut args.log_file)?;
        absolute(&mut args.unlock.passphrase_file)?;
        absolute(&mut args.unlock.key_file)?;
        if let Some(Location::File(path)) = &mut global.keystore {
            *path = self::absolute(path)?;
        }
        let lower = args.lower.canonicalize().map_err(|e| Failure::io("open", &args.lower, &e))?;
        let default = CacheLimits::default();
        Ok(Request {
            lower,
            mount_point: args.mount_point,
            options,
            foreground: args.foreground,
            log_file: args.log_file,
            durability: args.durability.unwrap_or_default(),
            threads: args.threads.unwrap_or_else(session::default_threads),
            cache: CacheLimits {
                entries: args.keys.unwrap_or(default.entries),
                age: args.key_age.map_or(default.age, Duration::from_secs),
            },
            global,
            kms: args.kms,
            unlock: args.unlock,
        })
    }
}

/// One `-o` option that is not the kernel's.
fn apply(args: &mut Args, global: &mut Global, name: &str, value: Option<&str>) -> Result<(), Failure> {
    let needed =
        || value.filter(|v| !v.is_empty()).ok_or_else(|| usage(format_args!("-o {name} needs a value")));
    match name {
        "keystore" => keep(&mut global.keystore, Location::parse(needed()?)?),
        "kms" => {
            let kms = needed()?.parse().map_err(|what| usage(format_args!("-o kms: {what}")))?;
            args.kms.kms.push(kms);
        }
        "log_file" => keep(&mut args.log_file, needed()?.into()),
        "passphrase_file" | "key_file" => {
            let path = PathBuf::from(needed()?);
            let unlock = &mut args.unlock;
            // Any way of unlocking on the command line replaces the one in fstab.
            if unlock.passphrase_file.is_none() && unlock.passphrase_fd.is_none() && unlock.key_file.is_none()
            {
                let place =
                    if name == "key_file" { &mut unlock.key_file } else { &mut unlock.passphrase_file };
                *place = Some(path);
            }
        }
        "durability" => {
            let value = needed()?;
            let how = Durability::from_str(value, false)
                .map_err(|_| usage(format_args!("-o durability={value}: power or process")))?;
            keep(&mut args.durability, how);
        }
        "threads" => keep(&mut args.threads, number(name, needed()?)?),
        "key_age" => keep(&mut args.key_age, number(name, needed()?)?),
        "keys" => keep(&mut args.keys, number(name, needed()?)?),
        "foreground" if value.is_none() => args.foreground = true,
        "allow_root" => {
            return Err(usage("-o allow_root is not supported")
                .hint("allow_other lets everyone in, root included, as far as permissions go"));
        }
        _ => {
            return Err(usage(format_args!("unknown mount option {name:?}"))
                .hint("`kmsfs mount --help` lists the mount options"));
        }
    }
    Ok(())
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| usage(format_args!("-o {name}={value}: not a number that makes sense")))
}

fn keep<T>(place: &mut Option<T>, value: T) {
    place.get_or_insert(value);
}

fn usage(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, what)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| Failure::io("resolve", path, &e))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn global() -> Global {
        Global { keystore: None, json: false, verbose: 0 }
    }

    fn request(options: &str, change: impl FnOnce(&mut Args)) -> Result<Request, Failure> {
        let mut args = Args { lower: "/".into(), options: vec![options.into()], ..Args::default() };
        change(&mut args);
        Request::new(&args, &global())
    }

    #[test]
    fn options_mean_what_the_arguments_mean() {
        let made = request(
            "ro,keystore=/k,key_file=/f,durability=process,threads=3,log_file=/l,key_age=7,keys=9",
            |_| {},
        )
        .unwrap();
        assert!(made.options.read_only());
        assert_eq!((made.cache.age.as_secs(), made.cache.entries.get()), (7, 9));
        assert_eq!(made.global.keystore, Some(PathBuf::from("/k").into()));
        assert_eq!(made.unlock.key_file, Some("/f".into()));
        assert_eq!((made.durability, made.threads), (Durability::Process, 3));
        assert_eq!(made.log_file, Some("/l".into()));
    }

    #[test]
    fn arguments_win_over_options() {
        let made = request("threads=3,key_file=/fstab", |args| {
            args.threads = Some(5);
            args.unlock.passphrase_file = Some("/typed".into());
        })
        .unwrap();
        assert_eq!(made.threads, 5);
        assert_eq!(made.unlock.key_file, None);
        assert_eq!(made.unlock.passphrase_file, Some("/typed".into()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for options in
            ["colour=red", "keystore", "keystore=", "threads=x", "threads=0", "durability=x", "allow_root"]
        {
            assert_eq!(request(options, |_| {}).unwrap_err().exit(), Exit::Usage, "{options}");
        }
    }

    #[test]
    fn nothing_depends_on_the_current_directory() {
        let made = request("log_file=l", |args| args.lower = ".".into()).unwrap();
        assert!(made.log_file.unwrap().is_absolute());
        assert!(made.lower.is_absolute());
    }
}
