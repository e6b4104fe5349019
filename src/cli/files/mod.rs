//! Commands on files one by one, asked of whoever has the volume open (see [`super::live`]), and told by [`Event`]s.

mod perform;
mod place;

pub(super) use perform::perform;
pub(super) use place::PlaceArgs;

use serde::{Deserialize, Serialize};

use super::live::Below;

/// What is asked of a mount: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(super) enum Request {
    /// New data keys for all files below these paths.
    Rekey { paths: Vec<Below> },
    /// No copy of the files below these paths is to open any more.
    Shred { paths: Vec<Below>, recursive: bool },
}

/// What is told of it: lines of JSON, [`Event::Ended`] last.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// There is so much to do; `bytes` only where content is touched.
    Measured { files: u64, bytes: u64 },
    /// So much more content was done.
    Progress { bytes: u64 },
    /// A file is done. It has `links` names.
    Done { path: Below, links: u32 },
    /// A file is left as it was.
    Skipped { path: Below, why: String, why_kind: Skip },
    /// That was all, or an error ended it.
    Ended { error: Option<String> },
}

/// Why a file is left as it was, as far as commands tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Skip {
    /// It has no shred secret.
    NoSecret,
    /// Something failed.
    Failed,
}
