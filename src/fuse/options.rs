//! Mount options as `-o` and fstab write them: parsed here, then applied. Pure.
//!
//! Options are separated by commas; a backslash takes the next character as it is, so that a path with a
//! comma can be an option's value (`fsname=/srv/a\,b`). That is libfuse's and fusermount3's rule.

/// What `-o` asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Options that are flags of `mount(2)`, by name, in the order given.
    generic: Vec<&'static Generic>,
    /// Users other than the one who mounts may use the mount.
    pub allow_other: bool,
    /// The kernel is to check permissions even where root alone may use the mount.
    pub default_permissions: bool,
    /// The mount point may have entries, which the mount hides.
    pub nonempty: bool,
    /// What the table of mounts shows as the source, in place of the lower directory.
    pub fsname: Option<String>,
    /// Everything else, for whoever knows it: name, and value where one was given.
    pub other: Vec<(String, Option<String>)>,
}

/// An option every filesystem has: its name, the flag of `mount(2)` and whether it sets or clears it.
#[derive(Debug, PartialEq, Eq)]
struct Generic {
    name: &'static str,
    flag: libc::c_ulong,
    sets: bool,
}

const fn sets(name: &'static str, flag: libc::c_ulong) -> Generic {
    Generic { name, flag, sets: true }
}

const fn clears(name: &'static str, flag: libc::c_ulong) -> Generic {
    Generic { name, flag, sets: false }
}

const GENERIC: &[Generic] = &[
    sets("ro", libc::MS_RDONLY),
    clears("rw", libc::MS_RDONLY),
    sets("nosuid", libc::MS_NOSUID),
    clears("suid", libc::MS_NOSUID),
    sets("nodev", libc::MS_NODEV),
    clears("dev", libc::MS_NODEV),
    sets("noexec", libc::MS_NOEXEC),
    clears("exec", libc::MS_NOEXEC),
    sets("sync", libc::MS_SYNCHRONOUS),
    clears("async", libc::MS_SYNCHRONOUS),
    sets("dirsync", libc::MS_DIRSYNC),
    sets("noatime", libc::MS_NOATIME),
    clears("atime", libc::MS_NOATIME),
    sets("nodiratime", libc::MS_NODIRATIME),
    clears("diratime", libc::MS_NODIRATIME),
    sets("relatime", libc::MS_RELATIME),
    clears("norelatime", libc::MS_RELATIME),
    sets("strictatime", libc::MS_STRICTATIME),
];

/// Options that mount(8), systemd and fstab keep for themselves; a mount helper is handed them all the same.
const FOR_OTHERS: &[&str] = &[
    "defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "group", "owner", "silent",
    "loud",
];

impl Options {
    /// Parses every `-o` argument, in order; later options override earlier ones.
    pub fn parse<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Options {
        let mut options = Options {
            generic: Vec::new(),
            allow_other: false,
            default_permissions: false,
            nonempty: false,
            fsname: None,
            other: Vec::new(),
        };
        for argument in arguments {
            for (name, value) in split(argument.as_ref()) {
                options.add(name, value);
            }
        }
        options
    }

    fn add(&mut self, name: String, value: Option<String>) {
        match (name.as_str(), &value) {
            ("allow_other", None) => self.allow_other = true,
            ("nonempty", None) => self.nonempty = true,
            ("default_permissions", None) => self.default_permissions = true,
            ("fsname", Some(_)) => self.fsname = value,
            _ if FOR_OTHERS.contains(&name.as_str()) => {}
            _ if name.starts_with("x-") || name.starts_with("X-") || name == "comment" => {}
            _ => match GENERIC.iter().find(|g| g.name == name && value.is_none()) {
                Some(generic) => self.generic.push(generic),
                None => self.other.push((name, value)),
            },
        }
    }

    /// The flags of `mount(2)`. Set-user-id programs and device nodes are off unless asked for by `suid` and
    /// `dev`: the lower directory may have been written by someone else.
    pub fn flags(&self) -> libc::c_ulong {
        let start = libc::MS_NOSUID | libc::MS_NODEV;
        self.generic.iter().fold(start, |flags, g| if g.sets { flags | g.flag } else { flags & !g.flag })
    }

    /// Is the kernel to check permissions by mode, owner and ACL, for a mount that user `uid` makes and serves?
    ///
    /// It must wherever the daemon can do more than its callers. Where the only caller is root, served by
    /// root, there is nothing to refuse, and the check costs a request after every change of a directory: the
    /// kernel throws away all it knows of one, and checking makes it ask again.
    pub fn kernel_checks(&self, uid: u32) -> bool {
        uid != 0 || self.allow_other || self.default_permissions
    }

    /// Is the mount read-only?
    pub fn read_only(&self) -> bool {
        self.flags() & libc::MS_RDONLY != 0
    }

    /// The option string for fusermount3, which adds `nosuid,nodev` itself where the user must not go without.
    pub(crate) fn for_fusermount(&self, source: &str) -> String {
        let fsname = self.fsname.as_deref().unwrap_or(source);
        let mut parts = vec![format!("fsname={}", escape(fsname)), "subtype=kmsfs".into()];
        parts.push("default_permissions".into());
        if self.allow_other {
            parts.push("allow_other".into());
        }
        parts.extend(self.generic.iter().map(|g| g.name.to_owned()));
        parts.join(",")
    }
}

/// Splits at commas that no backslash protects, and each option at its first `=`.
fn split(argument: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let (mut name, mut value) = (String::new(), None::<String>);
    let mut chars = argument.chars();
    loop {
        let c = chars.next();
        match c {
            None | Some(',') => {
                if !name.is_empty() {
                    found.push((std::mem::take(&mut name), value.take()));
                }
                if c.is_none() {
                    return found;
                }
            }
            Some('=') if value.is_none() => value = Some(String::new()),
            Some(c) => {
                let c = if c == '\\' { chars.next().unwrap_or('\\') } else { c };
                value.as_mut().unwrap_or(&mut name).push(c);
            }
        }
    }
}

/// Protects commas and backslashes, so that a value cannot become options of its own.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, ',' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_stays_in_its_option() {
        let options = Options::parse(Vec::<String>::new());
        let line = options.for_fusermount("/srv/a,allow_other,suid\\");
        assert_eq!(line, "fsname=/srv/a\\,allow_other\\,suid\\\\,subtype=kmsfs,default_permissions");
        let back = Options::parse([line]);
        assert_eq!(back.fsname.as_deref(), Some("/srv/a,allow_other,suid\\"));
        assert!(!back.allow_other);
    }

    #[test]
    fn later_options_override_earlier_ones() {
        let flags = |text: &str| Options::parse([text]).flags();
        assert_eq!(flags(""), libc::MS_NOSUID | libc::MS_NODEV);
        assert_eq!(flags("suid,dev"), 0);
        assert_eq!(flags("ro,rw,suid,dev"), 0);
        assert_eq!(flags("suid,dev,ro,noexec"), libc::MS_RDONLY | libc::MS_NOEXEC);
        assert!(Options::parse(["rw", "ro"]).read_only());
    }

    #[test]
    fn fstab_words_are_skipped_and_unknown_ones_kept() {
        let options = Options::parse(["defaults,nofail,x-systemd.automount,passphrase_file=/a=b\\,c,what"]);
        let expected = [("passphrase_file".into(), Some("/a=b,c".into())), ("what".into(), None)];
        assert_eq!(options.other, expected);
    }

    #[test]
    fn only_what_is_roots_alone_goes_unchecked() {
        let checks = |text: &str, uid| Options::parse([text]).kernel_checks(uid);
        assert!(!checks("", 0));
        assert!(checks("", 1000));
        assert!(checks("allow_other", 0));
        assert!(checks("default_permissions", 0));
    }

    #[test]
    fn a_generic_word_with_a_value_is_not_that_word() {
        assert_eq!(Options::parse(["ro=1"]).other, [("ro".to_owned(), Some("1".to_owned()))]);
    }

    #[test]
    fn escaping_survives_parsing() {
        for value in ["", "a", ",", "\\", "a\\,b", "=x=,", "é,ü\\"] {
            let parsed = Options::parse([format!("fsname={}", escape(value))]);
            assert_eq!(parsed.fsname.as_deref(), Some(value));
        }
    }
}
