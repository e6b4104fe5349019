//! What is written into a mounted file is what is read back: sizes around every boundary of the format, sparse
//! files, holes, truncation, preallocation, copies inside the kernel, direct and appended writes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use common::{
    tools::{bytes, errno, ok, same_bytes},
    volume::Volume,
};
use rustix::fs::{FallocateFlags, Mode, OFlags};

/// Around a block, around the first page of tag entries (96 blocks), and past the second (96 + 128 blocks).
const SIZES: [usize; 14] =
    [0, 1, 15, 16, 4095, 4096, 4097, 8192, 393_215, 393_216, 393_217, 917_503, 917_504, 917_505];

const GIB: u64 = 1 << 30;

fn open_rw(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

/// A file that tests change here and, in the same way, in a plain directory: the two must stay the same.
struct Twins {
    ours: File,
    plain: File,
    names: [std::path::PathBuf; 2],
}

impl Twins {
    fn new(volume: &Volume, name: &str, content: &[u8]) -> Twins {
        let names = [volume.path(name), volume.scratch(name)];
        for name in &names {
            fs::write(name, content).unwrap();
        }
        Twins { ours: open_rw(&names[0]), plain: open_rw(&names[1]), names }
    }

    fn each(&self, change: impl Fn(&File)) {
        change(&self.ours);
        change(&self.plain);
        self.assert_same();
    }

    fn assert_same(&self) {
        let (ours, plain) = (self.ours.metadata().unwrap().len(), self.plain.metadata().unwrap().len());
        assert_eq!(ours, plain, "size");
        assert!(same_bytes(&self.names[0], &self.names[1]), "content");
    }
}

#[test]
fn files_of_every_boundary_size_survive_a_remount() {
    let mut volume = Volume::mounted();
    for (seed, size) in SIZES.into_iter().enumerate() {
        fs::write(volume.path(format!("size-{size}")), bytes(seed as u64, size)).unwrap();
    }
    for _ in 0..2 {
        for (seed, size) in SIZES.into_iter().enumerate() {
            let path = volume.path(format!("size-{size}"));
            assert_eq!(fs::metadata(&path).unwrap().len(), size as u64);
            assert!(fs::read(&path).unwrap() == bytes(seed as u64, size), "content of {size} bytes");
        }
        volume.remount();
    }
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn growing_and_shrinking_across_boundaries_matches_a_plain_file() {
    let volume = Volume::mounted();
    for from in [0, 1, 4096, 5000, 393_216, 400_000] {
        for to in [0, 1, 4095, 4096, 4097, 393_215, 393_217, 524_288] {
            let twins = Twins::new(&volume, "truncated", &bytes(from, from as usize));
            twins.each(|file| file.set_len(to).unwrap());
            twins.each(|file| file.write_all_at(b"after the end", to + 3).unwrap());
        }
    }
}

#[test]
fn a_truncated_tail_does_not_come_back_when_the_file_grows_again() {
    let mut volume = Volume::mounted();
    let twins = Twins::new(&volume, "tail", &[0xaa; 10_000]);
    twins.each(|file| file.set_len(4500).unwrap());
    twins.each(|file| file.set_len(10_000).unwrap());
    let names = twins.names.clone();
    drop(twins);
    volume.remount();
    assert!(same_bytes(&names[0], &names[1]));
}

#[test]
fn a_sparse_file_of_five_gib_takes_little_space_and_reads_zero_between_its_ends() {
    let mut volume = Volume::mounted();
    let path = volume.path("sparse");
    let size = 5 * GIB;
    let file = open_rw(&path);
    file.set_len(size).unwrap();
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(b"middle", 3 * GIB + 77).unwrap();
    file.write_all_at(b"last", size - 4).unwrap();
    drop(file);
    for _ in 0..2 {
        let file = File::open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), size);
        assert!(file.metadata().unwrap().blocks() * 512 < 64 << 20, "the holes take space");
        for (at, text) in [(0, &b"first\0"[..]), (3 * GIB + 76, b"\0middle\0"), (size - 5, b"\0last")] {
            let mut found = vec![0; text.len()];
            file.read_exact_at(&mut found, at).unwrap();
            assert_eq!(found, text, "at {at}");
        }
        let mut hole = vec![1; 1 << 20];
        file.read_exact_at(&mut hole, 4 * GIB).unwrap();
        assert!(hole.iter().all(|byte| *byte == 0), "a hole reads as zeros");
        drop(file);
        volume.remount();
    }
}

#[test]
fn seek_finds_data_and_holes() {
    let volume = Volume::mounted();
    let file = open_rw(&volume.path("holes"));
    file.set_len(64 << 20).unwrap();
    file.write_all_at(&[1; 8192], 16 << 20).unwrap();
    file.write_all_at(&[2; 4096], 48 << 20).unwrap();
    file.sync_all().unwrap();
    let seek = |from: rustix::fs::SeekFrom| rustix::fs::seek(&file, from);
    assert_eq!(seek(rustix::fs::SeekFrom::Data(0)), Ok(16 << 20));
    assert_eq!(seek(rustix::fs::SeekFrom::Hole(16 << 20)), Ok((16 << 20) + 8192));
    assert_eq!(seek(rustix::fs::SeekFrom::Data((16 << 20) + 8192)), Ok(48 << 20));
    assert_eq!(seek(rustix::fs::SeekFrom::Hole(48 << 20)), Ok((48 << 20) + 4096));
    assert_eq!(seek(rustix::fs::SeekFrom::Data((48 << 20) + 4096)), Err(rustix::io::Errno::NXIO));
    assert_eq!(seek(rustix::fs::SeekFrom::Hole(64 << 20)), Err(rustix::io::Errno::NXIO));
}

#[test]
fn punched_and_zeroed_ranges_match_a_plain_file() {
    let mut volume = Volume::mounted();
    let content = bytes(1, 600_000);
    let keep = FallocateFlags::KEEP_SIZE;
    let ranges = [(0, 4096), (100, 50), (4000, 200), (5000, 20_000), (390_000, 8000), (595_000, 10_000)];
    for (at, len) in ranges {
        let twins = Twins::new(&volume, "punched", &content);
        twins.each(|file| rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | keep, at, len).unwrap());
        twins.each(|file| file.write_all_at(b"over the hole", at + 7).unwrap());
        let twins = Twins::new(&volume, "zeroed", &content);
        twins.each(|file| rustix::fs::fallocate(file, FallocateFlags::ZERO_RANGE | keep, at, len).unwrap());
        twins.each(|file| rustix::fs::fallocate(file, FallocateFlags::ZERO_RANGE, at, len).unwrap());
    }
    volume.remount();
    for name in ["punched", "zeroed"] {
        assert!(same_bytes(&volume.path(name), &volume.scratch(name)), "{name} after a remount");
    }
}

#[test]
fn preallocation_grows_a_file_unless_told_to_keep_its_size() {
    let volume = Volume::mounted();
    let twins = Twins::new(&volume, "allocated", b"short");
    twins.each(|file| rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, 100_000).unwrap());
    twins.each(|file| rustix::fs::fallocate(file, FallocateFlags::empty(), 3, 500_000).unwrap());
    twins.each(|file| file.write_all_at(b"inside", 450_000).unwrap());
    assert_eq!(twins.ours.metadata().unwrap().len(), 500_003);
}

#[test]
fn ranges_copied_inside_the_kernel_arrive_whole() {
    let volume = Volume::mounted();
    let content = bytes(2, 1_000_000);
    fs::write(volume.path("source"), &content).unwrap();
    let source = File::open(volume.path("source")).unwrap();
    for (from, to, len) in [(0, 0, 1_000_000), (4096, 8192, 500_000), (10, 333, 77_777), (999_000, 0, 5000)] {
        let target = open_rw(&volume.path(format!("copy-{from}")));
        let (mut from_at, mut to_at) = (from as u64, to as u64);
        let mut left = len;
        while left > 0 {
            let done =
                rustix::fs::copy_file_range(&source, Some(&mut from_at), &target, Some(&mut to_at), left);
            let done = done.unwrap();
            if done == 0 {
                break;
            }
            left -= done;
        }
        let copied = len.min(content.len() - from);
        let mut found = vec![0; copied];
        target.read_exact_at(&mut found, to as u64).unwrap();
        assert!(found == content[from..from + copied], "{len} bytes from {from} to {to}");
        assert_eq!(target.metadata().unwrap().len(), (to + copied) as u64);
    }
}

#[test]
fn appends_go_to_the_end_whoever_else_writes() {
    let volume = Volume::mounted();
    let path = volume.path("appended");
    fs::write(&path, b"").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let path = &path;
            scope.spawn(move || {
                let mut file = OpenOptions::new().append(true).open(path).unwrap();
                for _ in 0..500 {
                    file.write_all(&[writer; 100]).unwrap();
                }
            });
        }
    });
    let content = fs::read(&path).unwrap();
    assert_eq!(content.len(), 4 * 500 * 100);
    for record in content.chunks(100) {
        assert!(record.iter().all(|byte| *byte == record[0]), "a record was torn");
    }
}

#[test]
fn direct_io_reads_what_buffered_io_wrote_and_the_other_way_round() {
    let volume = Volume::mounted();
    let path = volume.path("direct");
    let content = bytes(3, 1 << 20);
    fs::write(&path, &content).unwrap();
    let size = format!("bs={}", 64 << 10);
    let input = format!("if={}", path.display());
    let output = format!("of={}", volume.path("copied").display());
    let flags = ["iflag=direct", "oflag=direct", "status=none"];
    ok(std::process::Command::new("dd").args([&input, &output, &size]).args(flags));
    assert!(fs::read(volume.path("copied")).unwrap() == content);
}

#[test]
fn truncating_on_open_empties_the_file_and_exclusive_creation_refuses_it() {
    let volume = Volume::mounted();
    let path = volume.path("file");
    fs::write(&path, bytes(4, 500_000)).unwrap();
    drop(OpenOptions::new().write(true).truncate(true).open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    assert_eq!(fs::read(&path).unwrap(), b"");
    let exclusive = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    assert_eq!(errno(exclusive), rustix::io::Errno::EXIST.raw_os_error());
}

/// Also with `O_TRUNC`, which must not empty the program before the kernel refuses it.
#[test]
fn a_running_program_cannot_be_written_or_emptied() {
    let volume = Volume::mounted();
    let path = volume.path("program");
    fs::copy("/bin/sleep", &path).unwrap();
    let mut running = std::process::Command::new(&path).arg("60").spawn().unwrap();
    let truncating = [OFlags::WRONLY | OFlags::TRUNC, OFlags::RDONLY | OFlags::TRUNC];
    for flags in [OFlags::WRONLY, OFlags::RDWR].into_iter().chain(truncating) {
        let refused = rustix::fs::open(&path, flags, Mode::empty());
        assert_eq!(refused.unwrap_err(), rustix::io::Errno::TXTBSY, "{flags:?}");
        assert!(same_bytes(&path, Path::new("/bin/sleep")), "{flags:?}");
    }
    running.kill().unwrap();
    running.wait().unwrap();
    fs::write(&path, b"changed").unwrap();
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    let volume = Volume::mounted();
    let path = volume.path("unlinked");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all(b"before").unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all(b" and after").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before and after");
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    assert!(!path.exists());
}

#[test]
fn writers_of_different_blocks_of_one_file_do_not_disturb_each_other() {
    let mut volume = Volume::mounted();
    let path = volume.path("shared");
    let file = open_rw(&path);
    let blocks: u64 = 1024;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let file = &file;
            scope.spawn(move || {
                for round in 0..3 {
                    for block in (writer..blocks).step_by(4) {
                        file.write_all_at(&bytes(block * 10 + round, 4096), block * 4096).unwrap();
                    }
                }
            });
        }
    });
    drop(file);
    volume.remount();
    let content = fs::read(&path).unwrap();
    for (block, found) in content.chunks(4096).enumerate() {
        assert!(found == bytes(block as u64 * 10 + 2, 4096), "block {block}");
    }
}
