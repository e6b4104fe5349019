//! Passwords of servers, as PostgreSQL's own programs find them: in the file that `PGPASSFILE` names, or
//! `~/.pgpass`. Lines `host:port:database:user:password`; `*` stands for anything, `\` before `:` or `\`; the first
//! line that fits counts.

use super::super::error::{Error, Result};
use crate::crypto::SecretBytes;
use postgres::Config;
use postgres::config::Host;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The port of a server that names none.
pub(super) const PORT: u16 = 5432;

/// Where the file is, if anything says so.
pub(super) fn path() -> Option<PathBuf> {
    named().or_else(|| std::env::home_dir().map(|home| home.join(".pgpass")))
}

fn named() -> Option<PathBuf> {
    std::env::var_os("PGPASSFILE").map(PathBuf::from)
}

/// The password for a connection, if there is one.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::WeakSecret`] if others may read it.
pub(super) fn find(config: &Config) -> Result<Option<SecretBytes>> {
    let Some(path) = path() else { return Ok(None) };
    let io = |source| Error::Io { path: path.clone(), source };
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        // Of another user's home, as that of who started the service; a file that is named is meant.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && named().is_none() => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if metadata.mode() & 0o077 != 0 {
        return Err(Error::WeakSecret(format!(
            "{}: others may read this password file: chmod 0600 it",
            path.display()
        )));
    }
    let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(io)?);
    let user = config.get_user().map_or_else(own_name, str::to_owned);
    let database = config.get_dbname().unwrap_or(&user);
    let port = config.get_ports().first().copied().unwrap_or(PORT).to_string();
    let password = hosts(config).iter().find_map(|host| search(&text, [host, &port, database, &user]));
    Ok(password.map(SecretBytes::from))
}

/// The names of the first host: a socket is `localhost` too.
fn hosts(config: &Config) -> Vec<String> {
    match config.get_hosts().first() {
        Some(Host::Tcp(name)) => vec![name.clone()],
        Some(Host::Unix(path)) => vec![path.display().to_string(), "localhost".into()],
        None => config.get_hostaddrs().first().map(ToString::to_string).into_iter().collect(),
    }
}

/// The user that this process runs as, whom a server is told by default.
fn own_name() -> String {
    std::env::var("USER").unwrap_or_default()
}

/// The password in the first line for `[host, port, database, user]`.
fn search(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for wanted in wanted {
            let (field, tail) = cut(rest)?;
            if field != "*" && unescape(field) != wanted {
                return None;
            }
            rest = tail;
        }
        Some(unescape(cut(rest).map_or(rest, |(password, _)| password)))
    })
}

/// The field before the next `:` that is not escaped, and what follows it.
fn cut(line: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = c == ':' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&line[..end], &line[end + 1..]))
}

fn unescape(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# host:port:database:user:password
db.example.org:5432:kmsfs:kms:one
db.example.org:*:*:kms:two:with\\:colon\\\\
*:5433:*:*:three
/run/pg:*:a\\:b:*:four
short:line
*:*:*:\\*:five
";

    #[test]
    fn the_first_line_that_fits_counts() {
        for (wanted, password) in [
            (["db.example.org", "5432", "kmsfs", "kms"], Some("one")),
            (["db.example.org", "5432", "other", "kms"], Some("two")),
            (["elsewhere", "5433", "x", "y"], Some("three")),
            (["/run/pg", "1", "a:b", "y"], Some("four")),
            (["/run/pg", "1", "x", "*"], Some("five")),
            (["/run/pg", "1", "x", "y"], None),
            (["short", "line", "", ""], None),
        ] {
            assert_eq!(search(FILE, wanted).as_deref(), password, "{wanted:?}");
        }
    }
}
