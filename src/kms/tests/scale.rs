//! What many keys cost. Figures, not verdicts: they are of this machine, in the build that is run.
//!
//! `cargo test --release --lib kms::tests::scale -- --ignored --nocapture`

use super::super::key::KeyRecord;
use super::*;
use std::time::Instant;

/// Keys made in one change.
const BATCH: usize = 1000;

/// Makes `count` keys, each with an alias and a tag.
fn fill(kms: &Kms, count: usize) {
    for batch in 0..count / BATCH {
        kms.core
            .change(|draft| {
                for i in 0..BATCH {
                    let mut record = KeyRecord::new(KeyManager::Customer, draft.now);
                    let dates = key::AliasDates { created: draft.now, updated: draft.now };
                    record.aliases.insert(format!("alias/team/{batch}-{i}"), dates);
                    record.tags.insert("cost-centre".into(), "4711".into());
                    record.description = "One of a great many keys".into();
                    draft.put_rotated(record, RotationType::Initial);
                }
                Ok(())
            })
            .unwrap();
    }
}

/// The process's resident memory and locked memory, in MiB.
fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    (of("VmRSS:"), of("VmLck:"))
}

fn timed<T>(what: &str, times: u32, mut run: impl FnMut() -> T) -> T {
    let mut best = Duration::MAX;
    let mut result = None;
    for _ in 0..times {
        let started = Instant::now();
        result = Some(run());
        best = best.min(started.elapsed());
    }
    #[allow(clippy::print_stdout, reason = "figures for a person")]
    {
        println!("{what}: {best:?}");
    }
    result.unwrap()
}

#[test]
#[ignore = "measures; run by hand, in a release build"]
fn figures() {
    let scratch = Scratch::new();
    let key_file = Unlock::create_key_file(&scratch.directory.path().join("key")).unwrap();
    let mut kms = Some(Kms::create(scratch.location(), &key_file, "", scratch.sleepy()).unwrap());
    let mut made = 0;
    for count in [1000, 10_000, 100_000] {
        fill(kms.as_ref().unwrap(), count - made);
        made = count;
        drop(kms.take());
        let before = memory();
        let opened = timed(&format!("{count} keys: open"), 3, || {
            Kms::open(scratch.location(), &key_file, scratch.sleepy()).unwrap()
        });
        let after = memory();
        let there = Kms::open(scratch.location(), &key_file, scratch.sleepy()).unwrap();
        let key = key(&opened);
        let mut turn = 0;
        timed(&format!("{count} keys: change"), 50, || {
            turn += 1;
            opened.update_key_description(OPERATOR, &key, &turn.to_string()).unwrap();
        });
        timed(&format!("{count} keys: change seen by another"), 50, || {
            turn += 1;
            opened.update_key_description(OPERATOR, &key, &turn.to_string()).unwrap();
            there.core.look().unwrap();
        });
        timed(&format!("{count} keys: nothing due"), 50, || opened.core.run_due().unwrap());
        timed(&format!("{count} keys: find by alias"), 50, || {
            opened.describe_key(OPERATOR, "alias/team/0-7").unwrap();
        });
        #[allow(clippy::print_stdout, reason = "figures for a person")]
        {
            println!(
                "{count} keys: {:.1} MiB more resident ({:.1} in all), {:.1} MiB locked",
                after.0 - before.0,
                after.0,
                after.1
            );
        }
        kms = Some(opened);
    }
}
