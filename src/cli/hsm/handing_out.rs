//! Shares on their way to custodians, and back from them.

use std::{
    fs::{DirBuilder, File},
    io::{self, BufRead, IsTerminal},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use qrcode::{QrCode, render::unicode};

use super::{create, custody::InitArgs, recipients::Recipients};
use crate::{
    cli::{Exit, Failure, Global, output},
    crypto::SecretBytes,
    hsm::{Sealed, text::Labelled},
};

/// Where new shares go.
pub(super) enum Destination {
    Terminal,
    /// A file for each, encrypted if its custodian's key is known.
    Directory(PathBuf, Option<Recipients>),
}

impl Destination {
    /// Made ready before the keystore is: its shares are to be had once.
    pub(super) fn prepare(args: &InitArgs, global: &Global) -> Result<Destination, Failure> {
        match &args.shares_to {
            Some(path) => {
                let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
                made.map_err(|err| Failure::io("make the directory", path, &err))?;
                let recipients = match &*args.custodian {
                    [] => None,
                    files => Some(Recipients::of(files, args.quorum.1)?),
                };
                Ok(Destination::Directory(path.clone(), recipients))
            }
            None if global.json => {
                let message = "--json shows no shares: they would end up wherever the output goes";
                Err(Failure::new(Exit::Usage, message).hint("Name a directory for them: --shares-to DIR."))
            }
            None if output::is_terminal() && io::stdin().is_terminal() => Ok(Destination::Terminal),
            None => {
                let message = "there is no terminal to show shares at: all of them would end up wherever the output goes";
                Err(Failure::new(Exit::Usage, message).hint("Name a directory for them: --shares-to DIR."))
            }
        }
    }

    pub(super) fn hand_out(&self, sealed: &Sealed, shares: &[Labelled]) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        for share in shares {
            match self {
                Destination::Terminal => show_page(&page(sealed, share)?)?,
                Destination::Directory(path, recipients) => {
                    files.push(write(path, share, recipients.as_ref())?)
                }
            }
        }
        if let Destination::Directory(path, _) = self {
            let synced = File::open(path).and_then(|directory| directory.sync_all());
            synced.map_err(|err| Failure::io("write", path, &err))?;
        }
        Ok(files)
    }
}

/// A share as its custodian gets it.
fn page(sealed: &Sealed, labelled: &Labelled) -> Result<SecretBytes, Failure> {
    let words = labelled.to_words();
    let code = QrCode::new(words.expose())
        .map_err(|err| Failure::new(Exit::Failure, format_args!("cannot draw a share: {err}")))?;
    let picture = code.render::<unicode::Dense1x2>().build();
    let (index, of, need) = (labelled.share.index, labelled.custodians, labelled.threshold);
    let mut text =
        format!("kmsfs HSM {sealed}: share {index} of {of}, of which {need} open it\n\n{picture}\n");
    let words = std::str::from_utf8(words.expose()).expect("words are ASCII");
    for (line, words) in words.split(' ').collect::<Vec<_>>().chunks(6).enumerate() {
        text.push_str(&format!("{:3}  {}\n", 6 * line + 1, words.join(" ")));
    }
    text.push('\n');
    Ok(SecretBytes::from(text))
}

/// Shows a page until its reader has it, and then no longer.
fn show_page(page: &SecretBytes) -> Result<(), Failure> {
    output::bytes(page.expose())?;
    output::bytes(b"For this custodian only. Write the words down, then press Enter.")?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|err| Failure::new(Exit::Failure, format_args!("cannot read the terminal: {err}")))?;
    output::bytes(b"\x1b[2J\x1b[3J\x1b[H") // the screen, what was scrolled off it, and to the top
}

fn write(directory: &Path, labelled: &Labelled, recipients: Option<&Recipients>) -> Result<PathBuf, Failure> {
    let (index, words) = (labelled.share.index, labelled.to_words());
    let Some(recipients) = recipients else {
        let path = directory.join(format!("share-{index}.txt"));
        create(&path, &[words.expose(), b"\n"])?;
        return Ok(path);
    };
    let (encrypted, custodian) = recipients.encrypt(index, words.expose())?;
    let path = directory.join(format!("share-{index}.age"));
    create(&path, &[&encrypted])?;
    output::note(format_args!("{} is for {} alone.", path.display(), custodian.display()));
    Ok(path)
}
