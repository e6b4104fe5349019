//! The unix socket's file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A bound unix socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode of the file, lest another server's be removed.
    file: (u64, u64),
}

impl Socket {
    /// Listens at `path`, whose file gets `mode`. A directory that does not exist is made, open to all: the file's
    /// mode says who may connect. A socket of a server that died is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if a server answers there, `AlreadyExists` if something else is there.
    pub fn bind(path: &Path, mode: u32) -> io::Result<Socket> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        check_free(path)?;
        // Under another name until it has its mode: nobody connects too early, and a dead socket is
        // replaced in one step.
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&temporary)?;
        let placed = fs::set_permissions(&temporary, Permissions::from_mode(mode))
            .and_then(|()| fs::metadata(&temporary))
            .and_then(|meta| fs::rename(&temporary, path).map(|()| (meta.dev(), meta.ino())));
        let file = placed.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        Ok(Socket { path: path.to_owned(), listener, file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, for an event loop.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.set_nonblocking(true)?;
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{} stays behind: {error}", self.path.display());
        }
    }
}

fn check_free(path: &Path) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let refuse = |kind, what| Err(io::Error::new(kind, format!("{} {what}", path.display())));
    if !there.file_type().is_socket() {
        return refuse(io::ErrorKind::AlreadyExists, "exists and is no socket");
    }
    match UnixStream::connect(path) {
        Ok(_) => refuse(io::ErrorKind::AddrInUse, "is served by another process"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()), // its server died
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/kms.sock");
        let socket = Socket::bind(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        UnixStream::connect(&path).unwrap();
        assert_eq!(Socket::bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_socket_is_replaced_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kms.sock");
        drop(UnixListener::bind(&path).unwrap()); // the file stays
        let socket = Socket::bind(&path, 0o600).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket);
        fs::write(&path, "precious").unwrap();
        assert_eq!(Socket::bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn the_socket_of_a_successor_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kms.sock");
        let first = Socket::bind(&path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        let second = Socket::bind(&path, 0o600).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
    }
}
