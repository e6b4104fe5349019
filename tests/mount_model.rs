//! Random operations through a real mount, against a plain directory on the same lower filesystem.
//!
//! The operations and the comparison are those of `fs_model`, with the kernel's caches, path walks and locks in
//! between. Now and then the volume is unmounted or its daemon killed; whatever was answered before must be there
//! when it is mounted again, since no write waits in the daemon's memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/operation.rs"]
mod operation;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{tools::progress, volume::Volume};
use operation::{Directory, Operation, SLOTS, operations, same_answers, same_tree};
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestCaseResult, TestRunner},
};

/// No new sequence begins after this long.
const TIME: Duration = Duration::from_secs(40);

/// How a mount ends in the middle of a sequence.
#[derive(Debug, Clone, Copy)]
enum End {
    Unmounted,
    Killed,
}

/// A sequence, cut where the volume is to be mounted anew.
#[derive(Debug, Clone)]
struct Sequence {
    operations: Vec<Operation>,
    length: usize,
    ends: Vec<End>,
}

fn sequence() -> impl Strategy<Value = Sequence> {
    let end = prop::sample::select(vec![End::Unmounted, End::Killed]);
    (operations(200), 20usize..120, prop::collection::vec(end, 1..4))
        .prop_map(|(operations, length, ends)| Sequence { operations, length, ends })
}

/// The mount and the plain directory, which hold a directory of the same name for each sequence.
struct Pair {
    volume: Volume,
    plain: PathBuf,
    sequences: usize,
}

impl Pair {
    fn new() -> Pair {
        let volume = Volume::mounted();
        let plain = volume.scratch("plain");
        fs::create_dir(&plain).unwrap();
        Pair { volume, plain, sequences: 0 }
    }

    fn agree(&mut self, sequence: &Sequence) -> TestCaseResult {
        self.sequences += 1;
        let name = self.sequences.to_string();
        let roots = [self.volume.path(&name), self.plain.join(&name)];
        roots.iter().for_each(|root| fs::create_dir(root).unwrap());
        let [mut mount, mut reference] = roots.each_ref().map(|root| Directory::new(root));
        for (operations, end) in sequence.operations.chunks(sequence.length).zip(sequence.ends.iter().cycle())
        {
            same_answers(&mut mount, &mut reference, operations)?;
            same_tree(&mut mount, &mut reference, "before the mount ends")?;
            // An open file would keep the mount busy.
            let drops: Vec<_> = (0..SLOTS).map(Operation::Drop).collect();
            same_answers(&mut mount, &mut reference, &drops)?;
            self.again(*end);
            same_tree(&mut mount, &mut reference, &format!("after the mount was {end:?} and made anew"))?;
        }
        roots.iter().for_each(|root| fs::remove_dir_all(root).unwrap());
        Ok(())
    }

    fn again(&mut self, end: End) {
        match end {
            End::Unmounted => self.volume.unmount(),
            End::Killed => self.volume.kill(),
        }
        self.volume.mount();
    }
}

/// One sequence; where it fails, the shortest that still does.
fn run(pair: &mut Pair, seed: u64) {
    let config = ProptestConfig {
        cases: 1,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 2000,
        max_shrink_time: 120_000,
        ..ProptestConfig::default()
    };
    let pair = std::cell::RefCell::new(pair);
    let outcome = TestRunner::new(config).run(&sequence(), |sequence| pair.borrow_mut().agree(&sequence));
    if let Err(error) = outcome {
        panic!("with PROPTEST_RNG_SEED={seed}: {error}");
    }
}

/// `PROPTEST_RNG_SEED` has one sequence run again.
#[test]
fn a_mount_answers_as_a_plain_directory_does() {
    let mut pair = Pair::new();
    match ProptestConfig::default().rng_seed {
        RngSeed::Fixed(seed) => run(&mut pair, seed),
        RngSeed::Random => {
            let began = Instant::now();
            let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
            let mut seeds = first..;
            while began.elapsed() < TIME {
                run(&mut pair, seeds.next().unwrap());
            }
            progress(format_args!("{} sequences, from seed {first} on", pair.sequences));
        }
    }
    pair.volume.unmount();
    pair.volume.assert_clean();
}
