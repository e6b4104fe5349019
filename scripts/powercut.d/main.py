"""The host's side: prepares each subject's run, boots the machines, prints the table."""

import argparse
import collections
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from subjects import SUBJECTS
from uml import DIED, Machine

HERE = os.path.dirname(os.path.abspath(__file__))
DEVICE_MIB, LOG_MIB = 192, 2048
KINDS = ["mark", "cut", "lossy", "torn", "again"]
# Boots that may die in the middle of the checks before the run is given up.
MAX_DEATHS = 20


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="powercut", description=__doc__)
    add = parser.add_argument
    add("subjects", nargs="*", help="any of: " + ", ".join(SUBJECTS) + " (default: kmsfs)")
    add("--kmsfs", metavar="FILE", help="the kmsfs binary (default: target/release/kmsfs)")
    add("--kinds", default=",".join(KINDS), help="kinds of states to check (default: %(default)s)")
    add("--lossy", type=int, default=2, metavar="N", help="states with lost writes per flush")
    add("--torn", type=int, default=1, metavar="N", help="states with a torn write per flush")
    add("--again", type=int, default=60, metavar="N", help="states with a second cut in recovery")
    add("--sector", type=int, default=4096, choices=[512, 4096], help="where writes may tear")
    add("--every", type=int, default=1, metavar="N", help="check only every Nth state")
    add("--only", action="append", metavar="STATE", help="check only the state of this name")
    add("--no-check", action="store_true", help="do not run the file system's own check")
    add("--seed", type=int, default=1, help="of the workload's data and of the samples")
    add("--work", metavar="DIR", help="keep everything here; a recording found here is reused")
    add("--fail-on", default="kmsfs,ext4", help="subjects whose problems make the exit code 1")
    return parser.parse_args()


class Run:
    """One subject: its recording, its checks, its results."""

    def __init__(self, name: str, work: str, shim: str, options: argparse.Namespace):
        self.name = name
        self.options = options
        self.share = os.path.join(work, name)
        self.machine = Machine(self.share, shim)
        self.job = {
            "subject": name,
            "seed": options.seed,
            "kinds": options.kinds.split(","),
            "sampling": {
                name: getattr(options, name) for name in ("lossy", "torn", "again", "sector", "seed")
            },
            "every": options.every,
            "only": options.only,
            "check": not options.no_check,
        }
        self.results = []
        self.seconds = 0.0

    def file(self, name: str) -> str:
        """A file of this run."""
        return os.path.join(self.share, name)

    def run(self) -> None:
        """Records, unless that was done before, and checks."""
        started = time.monotonic()
        if not os.path.exists(self.file("recorded")):
            self.record()
        self.install_guest()
        self.check()
        self.seconds = time.monotonic() - started

    def install_guest(self) -> None:
        """Copies what runs in the guest to where it will find it."""
        guest = self.file("guest")
        os.makedirs(guest, exist_ok=True)
        for path in glob.glob(f"{HERE}/*.py") + [f"{HERE}/guest-init"]:
            shutil.copy(path, guest)
        os.chmod(f"{guest}/guest-init", 0o755)
        if self.name == "kmsfs":
            shutil.copy(self.options.kmsfs, self.file("kmsfs"))

    def record(self) -> None:
        """Makes an ext4 and records the workload on it."""
        shutil.rmtree(self.share, ignore_errors=True)
        self.install_guest()
        for name, size in [("base.img", DEVICE_MIB), ("log.img", LOG_MIB)]:
            sparse(self.file(name), size)
        # No lazy initialisation: it would write for no one while the workload is recorded.
        features = ["-b", "4096", "-J", "size=8", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
        subprocess.run(["mkfs.ext4", "-q", "-F", *features, self.file("base.img")], check=True)
        shutil.copy(self.file("base.img"), self.file("recording.img"))
        disks = [(self.file("recording.img"), False), (self.file("log.img"), False)]
        outcome = self.machine.run(dict(self.job, do="record"), disks, limit=900)
        if outcome != "done":
            raise SystemExit(f"{self.name}: the workload was not recorded ({self.share}):\n{outcome}")
        os.unlink(self.file("recording.img"))
        with open(self.file("recorded"), "w", encoding="ascii"):
            pass

    def check(self) -> None:
        """Checks all states, with a new machine after each one that brings a machine down."""
        for name in ["results", "states"]:
            if os.path.exists(self.file(name)):
                os.unlink(self.file(name))
        for _ in range(MAX_DEATHS):
            done = len(self.read_results())
            # Copied sparsely: both are mostly holes.
            copy = ["cp", "--sparse=always", self.file("base.img"), self.file("origin.img")]
            subprocess.run(copy, check=True)
            sparse(self.file("cow.img"), DEVICE_MIB * 2)
            job = dict(self.job, do="check", **{"from": done})
            sparse(self.file("again.img"), LOG_MIB)
            names = ["origin.img", "cow.img", "again.img"]
            disks = [(self.file(name), False) for name in names]
            outcome = self.machine.run(job, disks, self.progress)
            if outcome == "done":
                break
            if outcome != DIED:
                raise SystemExit(f"{self.name}: the checks failed ({self.share}):\n{outcome}")
            died = {"name": f"state {len(self.read_results())}", "kind": "died", "mark": -1}
            died.update(op="", problems=[["died", "", outcome]], seconds=0)
            with open(self.file("results"), "a", encoding="utf-8") as results:
                results.write(json.dumps(died) + "\n")
        self.results = self.read_results()
        for name in ["origin.img", "cow.img", "again.img"]:
            os.unlink(self.file(name))
        if sys.stderr.isatty():
            print(file=sys.stderr)

    def read_results(self) -> list:
        """The results so far."""
        if not os.path.exists(self.file("results")):
            return []
        with open(self.file("results"), encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.endswith("\n")]

    def progress(self) -> None:
        """Shows on a terminal how far the checks are."""
        if sys.stderr.isatty() and os.path.exists(self.file("states")):
            results = self.read_results()
            bad = sum(bool(result["problems"]) for result in results)
            with open(self.file("states"), encoding="ascii") as total:
                line = f"\r{self.name}: {len(results)} of {total.read()} states, {bad} with problems"
            print(line, end="", file=sys.stderr, flush=True)

    def bad_states(self, *kinds: str) -> int:
        """How many states have a problem of one of these kinds."""
        return sum(any(p[0] in kinds for p in result["problems"]) for result in self.results)


COLUMNS = [
    ("lost or wrong", ["lost", "wrong"]),
    ("unreadable", ["unreadable"]),
    ("in-flight wrong", ["in-flight"]),
    ("not mounted", ["unmountable", "died"]),
    ("not usable", ["unusable"]),
    ("check fails", ["unclean"]),
    ("ext4 broken", ["lower"]),
]


def print_table(runs: list) -> None:
    """One line per subject: in how many states which kind of problem was seen."""
    kinds = [kind for kind in KINDS if any(r["kind"] == kind for run in runs for r in run.results)]
    heads = ["subject", "states", *kinds, "bad states", *(head for head, _ in COLUMNS), "time"]
    rows = [heads]
    for run in runs:
        count = collections.Counter(result["kind"] for result in run.results)
        row = [run.name, len(run.results), *(count[kind] for kind in kinds)]
        row.append(sum(bool(result["problems"]) for result in run.results))
        row += [run.bad_states(*names) for _, names in COLUMNS]
        rows.append([str(cell) for cell in row] + [f"{run.seconds:.0f} s"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def print_problems(run: Run, most: int = 12) -> None:
    """The first problems of each kind, with the operation that was under way."""
    shown = collections.Counter()
    for result in run.results:
        for kind, path, detail in result["problems"]:
            shown[kind] += 1
            if shown[kind] <= most:
                where = f"{result['name']} (during: {result['op']})"
                print(f"  {kind}: {where}: {ascii(path)[1:-1]}: {detail}")
    for kind, number in shown.items():
        if number > most:
            print(f"  {kind}: {number - most} more")


def sparse(path: str, mib: int) -> None:
    """An empty file of this size."""
    with open(path, "wb") as out:
        out.truncate(mib << 20)


def work_directory(wanted: str) -> str:
    """Where images go: memory if there is enough, since every flush syncs a file here."""
    if wanted:
        os.makedirs(wanted, exist_ok=True)
        return os.path.abspath(wanted)
    memory = "/dev/shm"
    roomy = os.path.isdir(memory) and shutil.disk_usage(memory).free > 2 << 30
    return tempfile.mkdtemp(prefix="kmsfs-powercut.", dir=memory if roomy else None)


def main() -> int:
    """Runs all subjects."""
    # Ended from outside, it still takes its machine and its images along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    names = options.subjects or ["kmsfs"]
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        raise SystemExit(f"powercut: unknown subject {unknown[0]}; known are {', '.join(SUBJECTS)}")
    root = os.path.dirname(os.path.dirname(HERE))
    options.kmsfs = options.kmsfs or os.path.join(root, "target/release/kmsfs")
    if "kmsfs" in names and not os.access(options.kmsfs, os.X_OK):
        raise SystemExit(f"powercut: no {options.kmsfs}; build it with: cargo build --release")
    work = work_directory(options.work)
    runs = []
    try:
        for name in names:
            runs.append(Run(name, work, os.environ.get("POWERCUT_SHIM", ""), options))
            runs[-1].run()
            print(f"{name}: {len(runs[-1].results)} states", flush=True)
            print_problems(runs[-1])
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
    print()
    print_table(runs)
    judged = [run for run in runs if run.name in options.fail_on.split(",")]
    bad = [run.name for run in judged if any(result["problems"] for result in run.results)]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
