"""Puts one state after another on a device, mounts it and compares it with the oracle.

The device only goes forward through the log. Each state is a snapshot of it, so that what
recovery writes, and the writes that a state has beyond the log's prefix, are thrown away.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time

import logwrites
from logwrites import State, Write
from oracle import BLOCK, Expected, Oracle
from subjects import Subject, SubjectError, run

LOWER = "/run/lower"
VOLUME = LOWER + "/volume"
SNAPSHOT = "/dev/mapper/cut"
RECOVERY_LOG = "/dev/ubdc"
STATE_LIMIT = 180  # seconds until a state counts as hanging

# What a problem is called in the results. "in-flight" is about paths that the operation
# under way at the cut was changing, all the others about data that had been promised.
LOST, WRONG, IN_FLIGHT, UNREADABLE = "lost", "wrong", "in-flight", "unreadable"
UNMOUNTABLE, UNUSABLE, UNCLEAN, LOWER_BROKEN = "unmountable", "unusable", "unclean", "lower"

Problem = tuple[str, str, str]


class Found:
    """One thing that the walk came across: its state in the oracle's words, or an error."""

    def __init__(self, state: str = "", content: bytes | None = None, error: str = ""):
        self.state = state
        self.content = content
        self.error = error


class Checker:
    """Checks the states from job["from"] on, one line of results each."""

    def __init__(self, share: str, job: dict, subject: Subject):
        self.share = share
        self.job = job
        self.subject = subject
        self.oracle = Oracle(share)
        self.log = f"{share}/log.img"
        self.entries = logwrites.read_log(self.log)
        self.applied = 0

    def run(self) -> None:
        """Checks all states."""
        states = self.states()
        with open(f"{self.share}/states", "w", encoding="ascii") as out:
            out.write(str(len(states)))
        os.makedirs(LOWER, exist_ok=True)
        with open(f"{self.share}/results", "a", encoding="utf-8") as results:
            for state in states[self.job["from"] :]:
                started = time.monotonic()
                expected = self.oracle.at(state.mark)
                problems = self.check_state(state, expected)
                line = {"name": state.name, "kind": state.kind, "mark": state.mark}
                line.update(op=expected.label, problems=problems)
                line["seconds"] = round(time.monotonic() - started, 3)
                results.write(json.dumps(line) + "\n")
                results.flush()
                os.fsync(results.fileno())

    def states(self) -> list[State]:
        """The states that the job asks for."""
        states = logwrites.states(self.entries, logwrites.Sampling(**self.job["sampling"]))
        if self.job["only"]:
            return [state for state in states if state.name in self.job["only"]]
        wanted = [state for state in states if state.kind in self.job["kinds"]]
        return wanted[:: self.job["every"]]

    def check_state(self, state: State, expected: Expected) -> list[Problem]:
        """Makes the state's disk and looks at it."""
        logwrites.apply("/dev/ubda", self.whole(self.entries[self.applied : state.upto]))
        self.applied = max(self.applied, state.upto)
        writes = [Write(self.log, self.entries[index], count) for index, count in state.extra]
        if state.again:
            self.log_recovery()
            writes += logwrites.recovery_writes(RECOVERY_LOG, state.again)
        device_mapper("create", "cut", "--table", table("snapshot /dev/ubda /dev/ubdb N 8"))
        logwrites.apply(SNAPSHOT, writes)
        problems: list[Problem] = []
        try:
            mount_lower(SNAPSHOT)
            problems = self.check_volume(expected)
            if os.statvfs(LOWER).f_flag & os.ST_RDONLY:
                problems.append((LOWER_BROKEN, "", "ext4 met an error and went read-only"))
            run("umount", LOWER)
        except SubjectError as error:
            problems.append((LOWER_BROKEN, "", str(error)))
        device_mapper("remove", "--retry", "cut")
        return problems

    def whole(self, entries: list[logwrites.Entry]) -> list[Write]:
        """The entries, in full."""
        return [Write(self.log, entry, entry.sectors) for entry in entries]

    def log_recovery(self) -> None:
        """Mounts the state that the device is in, and logs what the recovery writes."""
        device_mapper("create", "cut", "--table", table("snapshot /dev/ubda /dev/ubdb N 8"))
        device_mapper("create", "again", "--table", table(f"log-writes {SNAPSHOT} {RECOVERY_LOG}"))
        try:
            mount_lower("/dev/mapper/again")
            self.subject.mount(VOLUME)
            self.subject.unmount()
        except SubjectError:
            # The state without the second cut shows this; what was written so far remains.
            self.subject.abandon()
        subprocess.run(["umount", LOWER], check=False)
        device_mapper("remove", "--retry", "again")
        device_mapper("remove", "--retry", "cut")

    def check_volume(self, expected: Expected) -> list[Problem]:
        """Mounts the volume, compares, uses it, unmounts it, and has it checked."""
        watchdog = threading.Timer(STATE_LIMIT, self.subject.abandon)
        watchdog.start()
        stage = UNMOUNTABLE
        problems: list[Problem] = []
        try:
            root = self.subject.mount(VOLUME)
            problems += self.compare(root, expected)
            stage = UNUSABLE
            use(root)
            self.subject.unmount()
            stage = UNCLEAN
            if self.job["check"]:
                self.subject.check(VOLUME)
        except (OSError, SubjectError) as error:
            problems.append((stage, "", str(error)))
            self.subject.abandon()
        finally:
            watchdog.cancel()
        return problems

    def compare(self, root: str, expected: Expected) -> list[Problem]:
        """All differences between what is there and what may be."""
        found = walk(root)
        problems: list[Problem] = []
        for path, thing in found.items():
            if thing.error:
                problems.append((UNREADABLE, path, thing.error))
            elif path not in expected.paths and not of_database(path, expected):
                problems.append((WRONG, path, f"{thing.state} that nobody made"))
        for path, allowed in expected.paths.items():
            thing = found.get(path, Found("absent"))
            if thing.error:
                continue
            reason = self.oracle.mismatch(allowed, thing.state, thing.content)
            if reason:
                kind = LOST if thing.state == "absent" else WRONG
                problems.append((IN_FLIGHT if allowed.pending else kind, path, reason))
        for pair in expected.either:
            if sum(path in found for path in pair) != 1:
                both = "both" if pair[0] in found else "neither"
                problems.append((LOST, pair[0], f"renamed to {pair[1]}: {both} there"))
        for path, rows in expected.rows.items():
            problems += check_database(os.path.join(root, path), path, rows)
        return problems


def device_mapper(*arguments: str) -> None:
    """Runs dmsetup. Without a udev daemon it has to make the device nodes itself."""
    run("dmsetup", *arguments, env=dict(os.environ, DM_DISABLE_UDEV="1"))


def table(target: str) -> str:
    """A device-mapper table of one target over the whole device."""
    return f"0 {run('blockdev', '--getsz', '/dev/ubda')} {target}"


def mount_lower(device: str) -> None:
    """Mounts the ext4 that the volume is on."""
    run("mount", "-t", "ext4", "-o", "errors=remount-ro", device, LOWER)


def walk(root: str) -> dict[str, Found]:
    """Everything under the root, read to its end."""
    found: dict[str, Found] = {}
    todo = [""]
    while todo:
        directory = todo.pop()
        try:
            entries = sorted(os.scandir(os.path.join(root, directory)), key=lambda e: e.name)
        except OSError as error:
            found[directory] = Found(error=f"cannot be listed: {error.strerror}")
            continue
        for entry in entries:
            path = os.path.join(directory, entry.name)
            try:
                found[path] = look(entry)
            except OSError as error:
                found[path] = Found(error=f"cannot be read: {error.strerror}")
            if found[path].state == "dir":
                todo.append(path)
    return found


def look(entry: os.DirEntry) -> Found:
    """One entry of a directory."""
    os.lstat(entry.path)
    if entry.is_symlink():
        return Found("link:" + os.readlink(entry.path))
    if entry.is_dir():
        return Found("dir")
    with open(entry.path, "rb", buffering=0) as data:
        try:
            return Found("file", data.read())
        except OSError as error:
            return Found(error=f"{bad_blocks(data)} cannot be read: {error.strerror}")


def bad_blocks(data) -> str:
    """Which blocks of an open file cannot be read."""
    size = os.fstat(data.fileno()).st_size
    bad = []
    for block in range((size + BLOCK - 1) // BLOCK):
        try:
            os.pread(data.fileno(), BLOCK, block * BLOCK)
        except OSError:
            bad.append(str(block))
    return f"blocks {','.join(bad[:10])}{'…' * (len(bad) > 10)} of {size} bytes"


def of_database(path: str, expected: Expected) -> bool:
    """Whether the file is a database or the journal of one."""
    return any(path in (db, db + "-journal", db + "-wal", db + "-shm") for db in expected.rows)


def check_database(path: str, name: str, rows: int) -> list[Problem]:
    """Opens a copy of the database and counts its rows."""
    copies = "/tmp/database"
    shutil.rmtree(copies, ignore_errors=True)
    os.makedirs(copies)
    try:
        for suffix in ("", "-journal", "-wal"):
            if os.path.exists(path + suffix):
                shutil.copyfile(path + suffix, f"{copies}/db{suffix}")
        connection = sqlite3.connect(f"{copies}/db")
        state = connection.execute("PRAGMA integrity_check").fetchall()
        if state != [("ok",)]:
            return [(WRONG, name, f"integrity_check: {state[:3]}")]
        query = "SELECT count(*), coalesce(max(number), 0) FROM rows"
        found = connection.execute(query).fetchone() if rows or has_table(connection) else (0, 0)
        connection.close()
    except OSError as error:
        return [(UNREADABLE, name, str(error.strerror))]
    except sqlite3.Error as error:
        return [(LOST if rows else IN_FLIGHT, name, f"SQLite: {error}")]
    if found not in [(rows, rows), (rows + 1, rows + 1)]:
        return [(LOST, name, f"{found[0]} rows found, {rows} committed")]
    return []


def has_table(connection: sqlite3.Connection) -> bool:
    """Whether the table has been created yet."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchall())


def use(root: str) -> None:
    """Makes sure that the volume still takes and returns data."""
    path, data = os.path.join(root, "after the cut"), os.urandom(9000)
    for at, piece in [(0, data), (4096, data[:4096])]:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(fd, piece, at)
        os.fsync(fd)
        os.close(fd)
    os.rename(path, path + " renamed")
    with open(path + " renamed", "rb") as back:
        if back.read() != data[:4096] + data[:4096] + data[8192:]:
            raise SubjectError("a file written after the cut reads back wrong")
    os.unlink(path + " renamed")
