//! Other people's filesystem exercisers on a real mount: pjdfstest for POSIX semantics, fsx for content under random
//! operations, fio for content under concurrent writers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use common::{
    tools::{need_root, ok, progress, tool},
    volume::Volume,
};

/// The 13 EROFS cases (see the settings), and one that wants a link limit, which the C library knows of no FUSE
/// filesystem.
const SKIPPED: usize = 14;
const CASES: usize = 398;

#[test]
fn pjdfstest_passes() {
    need_root();
    let volume = Volume::mounted_for_all();
    fs::set_permissions(volume.mnt(), PermissionsExt::from_mode(0o755)).unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/pjdfstest.toml");
    let mut command = Command::new(tool("pjdfstest"));
    command.arg("-c").arg(config).arg("-p").arg(volume.mnt()).arg("-s").arg("/dev/shm");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut bad, mut last, mut seen) = (Vec::new(), String::new(), 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let is_case = !line.starts_with('\t') && line.contains("::");
        seen += usize::from(is_case);
        if is_case && seen % 100 == 0 {
            progress(format_args!("pjdfstest: {seen} of {CASES}"));
        }
        if (is_case && line.ends_with("FAILED")) || (line.starts_with('\t') && last.ends_with("FAILED")) {
            bad.push(line.clone());
        }
        if !line.is_empty() {
            last = line;
        }
    }
    child.wait().unwrap();
    progress(&last);
    assert!(bad.is_empty(), "{last}\n{}", bad.join("\n"));
    assert!(last.starts_with(&format!("Summary: 0 failed, {SKIPPED} skipped")), "{last}");
    assert!(last.ends_with(&format!("{CASES} total")), "{last}");
}

/// Runs `operations` of fsx on one file; the seed is fixed, so that a failure repeats. `KMSFS_FSX_SEED` sets another.
fn fsx(name: &str, operations: u32, config: &str) {
    let volume = Volume::mounted();
    let seed = std::env::var("KMSFS_FSX_SEED").unwrap_or_else(|_| "20261".into());
    let (file, artifacts, settings) =
        (volume.path(name), volume.scratch("artifacts"), volume.scratch("fsx.toml"));
    fs::create_dir(&artifacts).unwrap();
    fs::write(&settings, config).unwrap();
    let part = operations / 4;
    for round in 0..4_u32 {
        let seed = format!("{}", seed.parse::<u32>().unwrap() + round);
        let mut command = Command::new(tool("fsx"));
        command.arg("-q").arg("-N").arg(part.to_string()).arg("-S").arg(&seed);
        command.arg("-f").arg(&settings).arg("-P").arg(&artifacts).arg(&file);
        ok(&mut command);
        progress(format_args!("fsx {name}: {} of {operations} operations", part * (round + 1)));
    }
}

#[test]
fn fsx_with_reads_writes_and_truncations() {
    fsx(
        "plain",
        100_000,
        "flen = 1048576\n[weights]\nmapread = 0\nmapwrite = 0\nclose_open = 1\nfdatasync = 0.1\n",
    );
}

#[test]
fn fsx_with_memory_maps() {
    fsx(
        "maps",
        100_000,
        "flen = 1048576\n[weights]\nmapread = 20\nmapwrite = 20\ninvalidate = 1\nclose_open = 1\n",
    );
}

#[test]
fn fsx_with_holes_preallocation_and_copies() {
    let weights = "mapread = 5\nmapwrite = 5\npunch_hole = 10\nposix_fallocate = 5\ncopy_file_range = 5\n\
                   sendfile = 2\nposix_fadvise = 2\ninvalidate = 1\nclose_open = 1\nfsync = 0.1\ntruncate = 5\n";
    fsx("holes", 100_000, &format!("flen = 2097152\n[weights]\n{weights}"));
}

#[test]
fn fsx_with_whole_aligned_blocks() {
    let config =
        "flen = 1048576\n[opsize]\nmin = 4096\nmax = 131072\nalign = 4096\n[weights]\npunch_hole = 5\n";
    fsx("aligned", 100_000, config);
}

/// Random writes by four jobs, read back and compared at once, and again after a remount.
fn fio(name: &str, options: &[&str]) {
    let mut volume = Volume::mounted();
    let run = |volume: &Volume, more: &[&str]| {
        let mut command = Command::new("fio");
        command.args(["--rw=randwrite", "--numjobs=4", "--size=48M", "--io_size=96M", "--norandommap"]);
        command.args([
            "--verify=crc32c",
            "--verify_fatal=1",
            "--randseed=7",
            "--group_reporting",
            "--minimal",
        ]);
        command.arg(format!("--name={name}")).arg(format!("--directory={}", volume.mnt().display()));
        ok(command.args(options).args(more).current_dir(volume.scratch("")));
    };
    progress(format_args!("fio {name}: write and verify"));
    run(&volume, &["--do_verify=1", "--end_fsync=1"]);
    volume.remount();
    progress(format_args!("fio {name}: verify after a remount"));
    run(&volume, &["--verify_only"]);
    volume.unmount();
    volume.assert_clean();
}

#[test]
fn fio_verifies_random_buffered_writes_of_four_jobs() {
    fio("buffered", &["--bs=4k", "--ioengine=psync"]);
}

#[test]
fn fio_verifies_random_direct_writes_of_four_jobs() {
    // Two writes of one block in flight at once have no order on any filesystem, so fio must not make them.
    let options = ["--bs=4k", "--ioengine=libaio", "--iodepth=8", "--direct=1", "--serialize_overlap=1"];
    fio("direct", &options);
}

#[test]
fn fio_verifies_random_mapped_writes_of_four_jobs() {
    fio("mapped", &["--bs=4k", "--ioengine=mmap"]);
}

#[test]
fn fio_verifies_large_writes_that_no_block_boundary_fits() {
    fio("unaligned", &["--bs=21k", "--ioengine=psync"]);
}
