//! What can be done to a lower filesystem, as a recording tells it.

use std::ffi::{OsStr, OsString};

/// An inode, numbered in the order of appearance. The root is 0.
pub type Node = usize;

/// What a new entry is.
#[derive(Debug, Clone)]
pub enum Made {
    File,
    Directory,
    Symlink(OsString),
}

/// One change, or one request to make changes durable.
#[derive(Debug, Clone)]
pub enum Op {
    Make {
        dir: Node,
        name: OsString,
        node: Node,
        what: Made,
    },
    Link {
        node: Node,
        dir: Node,
        name: OsString,
    },
    Unlink {
        node: Node,
        dir: Node,
        name: OsString,
    },
    Rmdir {
        dir: Node,
        name: OsString,
    },
    Rename {
        node: Node,
        dir: Node,
        name: OsString,
        to: Node,
        new_name: OsString,
        flags: u32,
    },
    /// `grows`: the lower filesystem had to find room for it, or the file became longer.
    Write {
        node: Node,
        at: u64,
        bytes: Vec<u8>,
        grows: bool,
    },
    Truncate {
        node: Node,
        size: u64,
    },
    Allocate {
        node: Node,
        mode: i32,
        at: u64,
        len: u64,
    },
    /// Mode, owner or times were set.
    Touch {
        node: Node,
    },
    SyncAll,
    StartWriteback {
        node: Node,
    },
    Sync {
        node: Node,
        data_only: bool,
    },
}

impl Op {
    /// Is it a change of names, lengths, extents or times, which the lower filesystem's own journal keeps in order?
    pub fn is_metadata(&self) -> bool {
        !matches!(self, Op::Write { .. } | Op::StartWriteback { .. } | Op::Sync { .. } | Op::SyncAll)
    }

    /// The nodes whose metadata it changes so that even an `fdatasync` makes it durable.
    pub fn reshaped(&self) -> Vec<Node> {
        match self {
            Op::Make { dir, node, .. } => vec![*dir, *node],
            Op::Link { dir, .. } | Op::Unlink { dir, .. } | Op::Rmdir { dir, .. } => vec![*dir],
            Op::Rename { dir, to, .. } => vec![*dir, *to],
            Op::Truncate { node, .. } | Op::Allocate { node, .. } => vec![*node],
            Op::Touch { .. }
            | Op::Write { .. }
            | Op::StartWriteback { .. }
            | Op::Sync { .. }
            | Op::SyncAll => vec![],
        }
    }

    /// The node that gains, changes or loses a name, or is touched: of that, an `fdatasync` knows nothing.
    pub fn named(&self) -> Option<Node> {
        match self {
            Op::Link { node, .. }
            | Op::Unlink { node, .. }
            | Op::Rename { node, .. }
            | Op::Touch { node } => Some(*node),
            _ => None,
        }
    }

    /// The node whose ctime it moves.
    pub fn changed(&self) -> Option<Node> {
        match self {
            Op::Make { node, .. }
            | Op::Write { node, .. }
            | Op::Truncate { node, .. }
            | Op::Allocate { node, .. } => Some(*node),
            other => other.named(),
        }
    }
}

/// What a node is to a volume, by the name it was first seen under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Not a node, but all of them.
    Everything,
    Segment,
    JournalState,
    JournalDirectory,
    Record,
    LongName,
    Directory,
    Content,
}

impl Role {
    /// By `name`, and whether it is a directory.
    pub fn of(name: &OsStr, directory: bool) -> Role {
        let name = name.to_string_lossy();
        match &*name {
            "kmsfs.journal" => Role::JournalDirectory,
            "kmsfs.dir" => Role::Record,
            "state" => Role::JournalState,
            _ if directory => Role::Directory,
            _ if name.ends_with(".seg") => Role::Segment,
            _ if name.ends_with(".name") => Role::LongName,
            _ => Role::Content,
        }
    }
}
