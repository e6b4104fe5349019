//! Does what a request asks, on an open volume.

use std::path::{Path, PathBuf};

use super::{Event, Request, Skip};
use crate::cli::live::Below;
use crate::fs::{Error, Filesystem, NotShredded, RekeyObserver, ShredObserver};
use crate::fuse::control::Client;

/// Does what is asked, and tells `client` how it goes.
pub(in crate::cli) fn perform(filesystem: &Filesystem, request: &Request, client: &Client) {
    let teller = Teller(client);
    let paths = |raw: &[Below]| raw.iter().map(|path| path.path().to_owned()).collect::<Vec<PathBuf>>();
    let outcome = match request {
        Request::Rekey { paths: raw } => filesystem.rekey(&paths(raw), &teller).map_err(|e| e.to_string()),
        Request::Shred { paths: raw, recursive } => {
            filesystem.shred(&paths(raw), *recursive, &teller).map_err(|e| match e.errno() {
                libc::EISDIR => {
                    "a directory is shredded only with --recursive; nothing was shredded".to_owned()
                }
                _ => e.to_string(),
            })
        }
    };
    if let Err(error) = &outcome {
        log::warn!("a command failed: {error}");
    }
    teller.tell(&Event::Ended { error: outcome.err() });
}

struct Teller<'a>(&'a Client);

impl Teller<'_> {
    /// Returns whether to go on.
    fn tell(&self, event: &Event) -> bool {
        self.0.tell(serde_json::to_string(event).expect("an event is plain data"))
    }

    fn skipped(&self, path: &Path, why: String, why_kind: Skip) {
        self.tell(&Event::Skipped { path: Below::new(path), why, why_kind });
    }
}

impl RekeyObserver for Teller<'_> {
    fn measured(&self, files: u64, bytes: u64) {
        self.tell(&Event::Measured { files, bytes });
    }

    fn sealed(&self, bytes: u64) -> bool {
        self.tell(&Event::Progress { bytes })
    }

    fn rekeyed(&self, path: &Path) {
        self.tell(&Event::Done { path: Below::new(path), links: 1 });
    }

    fn skipped(&self, path: &Path, why: &Error) {
        Teller::skipped(self, path, why.to_string(), Skip::Failed);
    }

    fn goes_on(&self) -> bool {
        self.tell(&Event::Progress { bytes: 0 })
    }
}

impl ShredObserver for Teller<'_> {
    fn measured(&self, files: u64) {
        self.tell(&Event::Measured { files, bytes: 0 });
    }

    fn shredded(&self, path: &Path, nlink: u32) {
        log::warn!("a file was shredded: no copy of it opens any more");
        self.tell(&Event::Done { path: Below::new(path), links: nlink });
    }

    fn spared(&self, path: &Path, why: &NotShredded) {
        let kind = if matches!(why, NotShredded::NoSecret) { Skip::NoSecret } else { Skip::Failed };
        Teller::skipped(self, path, why.to_string(), kind);
    }
}
