//! What a recorded lower filesystem may hold after the power is cut: ext4 as it is, with a mean streak.
//!
//! | class | what survives |
//! |---|---|
//! | metadata: names, lengths that were set, extents | everything up to some point, nothing behind it; at least all up to the last change of a file that was synced since, where a rename of the file itself needs an `fsync` |
//! | ctimes | that of an inode that was synced by `fsync`, or whose metadata survived; a write into room that was there already leaves its inode as it was |
//! | data | what was synced; what was on its way by write-back before metadata that survived, since allocated blocks are written before the metadata that names them; of the rest any part, page by page, each page in the order of its writes |
//!
//! A swallowed [`Class`] of syncs has no effect: so it shows what each of them is good for.

use crate::changes::{Node, Op, Role};
use crate::rebuild::Survivors;
use crate::recorder::Recording;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A kind of sync: of what, and whether by `fdatasync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    pub role: Role,
    pub data_only: bool,
}

impl Class {
    /// The sync of a whole filesystem.
    pub const ALL: Class = Class { role: Role::Everything, data_only: false };
}

/// What the lower filesystem does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk {
    /// Syncs without effect.
    pub swallowed: Option<Class>,
    /// To start write-back is no more than a hint, as POSIX has it.
    pub only_hints: bool,
}

/// A small generator (splitmix64): the same states in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

/// Random choices of pages for each cut and end of metadata.
const RANDOM_CHOICES: usize = 20;

/// What is certain at a cut.
#[derive(Default)]
struct Certain {
    /// Metadata before this one is durable.
    metadata: usize,
    /// The last sync of each file.
    synced: HashMap<Node, usize>,
    /// The last one that took the inode's times along.
    inode: HashMap<Node, usize>,
    /// The last sync of everything.
    all: usize,
    /// The last start of write-back of each file.
    started: HashMap<Node, usize>,
}

impl Certain {
    fn at(recording: &Recording, cut: usize, disk: Disk) -> Certain {
        let mut certain = Certain::default();
        let mut reshaped: HashMap<Node, usize> = HashMap::new();
        let mut named: HashMap<Node, usize> = HashMap::new();
        let mut grown: BTreeSet<Node> = BTreeSet::new();
        for (i, op) in recording.ops.iter().enumerate().take(cut) {
            reshaped.extend(op.reshaped().into_iter().map(|node| (node, i + 1)));
            named.extend(op.named().map(|node| (node, i + 1)));
            match op {
                Op::Write { node, grows: true, .. } => {
                    grown.insert(*node);
                }
                Op::SyncAll if disk.swallowed != Some(Class::ALL) => {
                    (certain.metadata, certain.all) = (i, i);
                }
                Op::StartWriteback { node } if !disk.only_hints => {
                    certain.started.insert(*node, i);
                }
                Op::Sync { node, data_only } => {
                    let class = Class { role: recording.roles[*node], data_only: *data_only };
                    if disk.swallowed == Some(class) {
                        continue;
                    }
                    certain.synced.insert(*node, i);
                    if !data_only {
                        certain.inode.insert(*node, i);
                    }
                    let last = |of: &HashMap<Node, usize>| of.get(node).copied().unwrap_or(0);
                    // New extents are a change of metadata of this moment; what was before it goes first.
                    let upto = if grown.remove(node) { i } else { last(&reshaped) };
                    let upto = if *data_only { upto } else { upto.max(last(&named)) };
                    certain.metadata = certain.metadata.max(upto);
                }
                _ => {}
            }
        }
        certain
    }

    /// Is the ctime that call `i` gave `node` certain to be on the disk?
    fn dates(&self, i: usize, node: Node) -> bool {
        i < self.all || self.inode.get(&node).is_some_and(|s| i < *s)
    }

    fn is_durable(&self, write: usize, node: Node, metadata: usize) -> bool {
        write < self.all
            || self.synced.get(&node).is_some_and(|s| write < *s)
            || self.started.get(&node).is_some_and(|s| write < *s && *s < metadata)
    }
}

/// What a killed daemon leaves behind `cut` calls: all of them.
pub fn killed(recording: &Recording, cut: usize) -> Survivors {
    survivors(recording, cut, |_| true, cut, |_, _| true)
}

/// What a power cut may leave behind `cut` calls.
pub fn power_cuts(recording: &Recording, cut: usize, disk: Disk, random: &mut Random) -> Vec<Survivors> {
    let certain = Certain::at(recording, cut, disk);
    let between = certain.metadata + random.below(cut - certain.metadata + 1);
    let mut states = Vec::new();
    for metadata in BTreeSet::from([certain.metadata, between, cut].map(|m| last_metadata(recording, m))) {
        let open: BTreeMap<usize, Node> = written(recording, cut)
            .filter(|(i, node, _)| !certain.is_durable(*i, *node, metadata))
            .map(|(i, node, _)| (i, node))
            .collect();
        let mut choose = |keep: &dyn Fn(usize, Node) -> bool| {
            let kept = |i: usize| open.get(&i).is_none_or(|node| keep(i, *node));
            let dated = |i: usize, node| certain.dates(i, node);
            states.push(survivors(recording, cut, kept, metadata, dated));
        };
        choose(&|_, _| false);
        choose(&|_, _| true);
        for file in open.values().copied().collect::<BTreeSet<_>>() {
            choose(&|_, node| node == file);
            choose(&|_, node| node != file);
            let own: Vec<usize> = open.iter().filter(|(_, n)| **n == file).map(|(i, _)| *i).collect();
            let upto = own[random.below(own.len())];
            choose(&|i, node| node == file && i <= upto);
            choose(&|i, node| node != file || i <= upto);
        }
        for _ in 0..RANDOM_CHOICES {
            let kept = some_pages(recording, &open, random);
            choose(&|i, _| kept.contains(&i));
        }
    }
    states
}

/// Of each page the first few writes.
fn some_pages(recording: &Recording, open: &BTreeMap<usize, Node>, random: &mut Random) -> BTreeSet<usize> {
    let mut pages: BTreeMap<(Node, u64), Vec<usize>> = BTreeMap::new();
    for (i, node) in open {
        if let Op::Write { at, .. } = &recording.ops[*i] {
            pages.entry((*node, at / 4096)).or_default().push(*i);
        }
    }
    pages.values().flat_map(|writes| writes[..random.below(writes.len() + 1)].to_vec()).collect()
}

fn written(recording: &Recording, cut: usize) -> impl Iterator<Item = (usize, Node, u64)> + '_ {
    recording.ops[..cut].iter().enumerate().filter_map(|(i, op)| match op {
        Op::Write { node, at, .. } => Some((i, *node, *at)),
        _ => None,
    })
}

/// `upto`, without what follows its last change of metadata: equal states get equal names.
fn last_metadata(recording: &Recording, upto: usize) -> usize {
    recording.ops[..upto].iter().rposition(Op::is_metadata).map_or(0, |i| i + 1)
}

/// What survives of `cut` calls: metadata before `metadata`, the writes that `keep` tells. Whether the ctime that a
/// call gave a node is on the disk whatever became of the call, `synced` tells.
fn survivors(
    recording: &Recording,
    cut: usize,
    keep: impl Fn(usize) -> bool,
    metadata: usize,
    synced: impl Fn(usize, Node) -> bool,
) -> Survivors {
    let writes: Vec<usize> = written(recording, cut).map(|(i, _, _)| i).filter(|i| keep(*i)).collect();
    let lost = (metadata..cut).find(|i| recording.ops[*i].is_metadata()).unwrap_or(cut);
    let dates = |i: usize, op: &Op| match op {
        Op::Write { grows, .. } => *grows && i < lost && writes.binary_search(&i).is_ok(),
        _ => i < lost,
    };
    let moved = recording.ops[..cut].iter().enumerate().filter_map(|(i, op)| Some((i, op, op.changed()?)));
    let dated = moved.filter(|(i, op, node)| synced(*i, *node) || dates(*i, op)).map(|(_, _, node)| node);
    Survivors { metadata: last_metadata(recording, metadata), dated: dated.collect(), writes }
}
