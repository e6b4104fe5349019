//! Large directories in time linear in their size, and the daemon's memory under all the load there is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    time::Instant,
};

use common::{
    tools::{bytes, progress},
    volume::Volume,
};

/// What the daemon may hold at its peak.
const MEMORY_MIB: f64 = 200.0;

/// Each step takes at most this many times as long per file in a directory ten times as large. Linear would be 1;
/// the rest is room for a busy machine and for the lower filesystem's own index.
const SLACK: f64 = 3.0;

const STEPS: [&str; 5] = ["create", "list", "stat", "stat cold", "delete"];

/// Seconds per file of each step, in a directory of `count` files.
fn measure(volume: &mut Volume, count: usize) -> [f64; 5] {
    let dir = volume.path(format!("dir-{count}"));
    fs::create_dir(&dir).unwrap();
    let per_file = |start: Instant| start.elapsed().as_secs_f64() / count as f64;
    let start = Instant::now();
    for index in 0..count {
        File::create_new(dir.join(format!("file number {index:06}"))).unwrap();
    }
    let create = per_file(start);
    let start = Instant::now();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), count);
    let list = per_file(start);
    let stat_all = |dir: &Path| {
        let start = Instant::now();
        for entry in fs::read_dir(dir).unwrap() {
            assert_eq!(fs::symlink_metadata(entry.unwrap().path()).unwrap().len(), 0);
        }
        per_file(start)
    };
    let stat = stat_all(&dir);
    volume.remount();
    let stat_cold = stat_all(&dir);
    let start = Instant::now();
    for index in 0..count {
        fs::remove_file(dir.join(format!("file number {index:06}"))).unwrap();
    }
    fs::remove_dir(&dir).unwrap();
    [create, list, stat, stat_cold, per_file(start)]
}

#[test]
fn a_hundred_thousand_files_in_one_directory_take_linear_time() {
    let mut volume = Volume::mounted();
    measure(&mut volume, 1000);
    let small = measure(&mut volume, 10_000);
    let large = measure(&mut volume, 100_000);
    progress("microseconds per file in a directory of    10,000    100,000   ratio");
    for (step, (small, large)) in STEPS.iter().zip(small.iter().zip(&large)) {
        let (small, large, ratio) = (small * 1e6, large * 1e6, large / small);
        progress(format_args!("{step:>40}  {small:>9.1}  {large:>9.1}   {ratio:>5.2}"));
    }
    for (step, (small, large)) in STEPS.iter().zip(small.iter().zip(&large)) {
        // A step of a few microseconds costs next to nothing, and caches and noise are all there is.
        assert!(
            large / small < SLACK || *large < 5e-6,
            "{step} is not linear: {small} s, then {large} s per file"
        );
    }
    let peak = volume.peak_memory_mib();
    progress(format_args!("the daemon's peak memory: {peak:.0} MiB"));
    assert!(peak < MEMORY_MIB, "{peak:.0} MiB");
}

#[test]
fn memory_stays_bounded_under_large_files_many_open_files_and_overwrites() {
    let volume = Volume::mounted();
    let chunk = bytes(1, 1 << 20);
    let large = File::options().read(true).write(true).create_new(true).open(volume.path("large")).unwrap();
    for index in 0..512 {
        large.write_all_at(&chunk, index << 20).unwrap();
    }
    progress("512 MiB written");
    for index in 0..60_000_u64 {
        let block = index.wrapping_mul(2_654_435_761) % (512 << 8);
        large.write_all_at(&chunk[..4096], block * 4096).unwrap();
    }
    progress("60,000 blocks overwritten");
    let mut buffer = vec![0; 1 << 20];
    for index in 0..512 {
        large.read_exact_at(&mut buffer, index << 20).unwrap();
    }
    let open = (0..2000).map(|index| {
        let path = volume.path(format!("open-{index}"));
        fs::write(&path, &chunk[..10_000]).unwrap();
        File::open(path).unwrap()
    });
    let open = open.collect::<Vec<_>>();
    for file in &open {
        file.read_exact_at(&mut buffer[..10_000], 0).unwrap();
        assert!(buffer[..10_000] == chunk[..10_000]);
    }
    let peak = volume.peak_memory_mib();
    progress(format_args!("the daemon's peak memory: {peak:.0} MiB"));
    assert!(peak < MEMORY_MIB, "{peak:.0} MiB");
}
