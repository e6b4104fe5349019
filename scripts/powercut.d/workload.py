"""What is done to the file system before the power goes: small steps, each ended by a sync.

Every step first tells the oracle what may be found from now on, then works, then syncs, then
tells the oracle what is now promised and puts a mark in the log of the device's writes.
"""

import mmap
import os
import random
import sqlite3
import time

from oracle import Writer

BLOCK = 4096


class Workload:
    """The steps, and what they have made so far."""

    def __init__(self, root: str, oracle: Writer, mark, remount, seed: int):
        self.root = root
        self.oracle = oracle
        self.put_mark = mark
        self.remount = remount
        self.rng = random.Random(seed)
        self.content = {}  # of every path: bytes, or the oracle's word for what it is
        self.marks = 0

    # What the oracle is told.

    def promise(self, label: str) -> None:
        """Everything said before this holds from here on."""
        self.oracle.line(mark=self.marks, label=label)
        self.put_mark(self.marks)
        self.marks += 1

    def may(self, path: str, state, whole: bool = False) -> None:
        """`path` may be found like this from now on."""
        self.oracle.line(may=path, state=self.state(state), whole=whole)

    def now(self, path: str, state) -> None:
        """`path` is durably like this."""
        self.oracle.line(**{"is": path}, state=self.state(state))

    def state(self, state) -> str:
        """The oracle's word for a content or a name of a state."""
        return state if isinstance(state, str) else self.oracle.blob(bytes(state))

    # Small tools.

    def data(self, size: int) -> bytes:
        """New content that occurs nowhere else."""
        return self.rng.randbytes(size)

    def full(self, path: str) -> str:
        """The real path."""
        return os.path.join(self.root, path)

    def sync_dir(self, path: str) -> None:
        """Syncs the directory that holds `path`."""
        fd = os.open(os.path.dirname(self.full(path)), os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)

    def write_at(self, path: str, at: int, data: bytes, flags: int = 0, sync: bool = True) -> None:
        """Writes, and by default syncs the file."""
        fd = os.open(self.full(path), os.O_RDWR | flags, 0o644)
        while data:
            done = os.pwrite(fd, data, at)
            at, data = at + done, data[done:]
        if sync:
            os.fsync(fd)
        os.close(fd)

    # Steps on files.

    def create(self, path: str, data: bytes, sync_dir: bool = False) -> None:
        """A new file, durable when its fsync returns."""
        self.may(path, b"")
        self.may(path, data)
        self.write_at(path, 0, data, os.O_CREAT | os.O_EXCL)
        if sync_dir:
            self.sync_dir(path)
        self.content[path] = data
        self.now(path, data)
        self.promise(f"create {label(path)} of {len(data)} bytes")

    def change(self, path: str, new: bytes, what: str, act) -> None:
        """A change of content: any block may be the old or the new one until it is synced."""
        self.may(path, new)
        act()
        self.content[path] = new
        self.now(path, new)
        self.promise(f"{what} {label(path)}")

    def overwrite(self, path: str, at: int, size: int) -> None:
        """Writes new bytes over existing ones, and past the end if they reach there."""
        old, data = self.content[path], self.data(size)
        new = old[:at].ljust(at, b"\0") + data + old[at + size :]
        what = "append to" if at == len(old) else f"overwrite {size} bytes at {at} of"
        self.change(path, new, what, lambda: self.write_at(path, at, data))

    def append(self, path: str, size: int) -> None:
        """Writes at the end."""
        self.overwrite(path, len(self.content[path]), size)

    def truncate(self, path: str, size: int) -> None:
        """Shortens or lengthens."""

        def act():
            fd = os.open(self.full(path), os.O_RDWR)
            os.ftruncate(fd, size)
            os.fsync(fd)
            os.close(fd)

        new = self.content[path][:size].ljust(size, b"\0")
        self.change(path, new, f"truncate to {size}", act)

    def scatter(self, path: str, count: int) -> None:
        """Many small overwrites before one sync."""
        new = bytearray(self.content[path])
        fd = os.open(self.full(path), os.O_RDWR)
        for _ in range(count):
            at = self.rng.randrange(0, len(new) - BLOCK)
            data = self.data(self.rng.choice([100, BLOCK]))
            new[at : at + len(data)] = data
            self.may(path, new)
            os.pwrite(fd, data, at)
        os.fdatasync(fd)
        os.close(fd)
        self.content[path] = bytes(new)
        self.now(path, new)
        self.promise(f"{count} scattered overwrites of {label(path)}")

    def mapped(self, path: str, at: int) -> None:
        """Overwrites a page through a shared mapping."""
        data = self.data(BLOCK)

        def act():
            fd = os.open(self.full(path), os.O_RDWR)
            with mmap.mmap(fd, len(self.content[path])) as pages:
                pages[at : at + BLOCK] = data
                pages.flush()
            os.close(fd)

        old = self.content[path]
        self.change(path, old[:at] + data + old[at + BLOCK :], "write to the mapping of", act)

    def unsynced(self, path: str, count: int) -> None:
        """Overwrites that no sync follows here: a later step of the same file promises them."""
        new = bytearray(self.content[path])
        for _ in range(count):
            at = self.rng.randrange(0, len(new) // BLOCK) * BLOCK
            data = self.data(min(BLOCK, len(new) - at))
            new[at : at + len(data)] = data
            self.may(path, new)
            self.write_at(path, at, data, sync=False)
        self.content[path] = bytes(new)

    def unsynced_append(self, path: str, size: int) -> None:
        """Grows the file; a later step of the same file promises that."""
        new = self.content[path] + self.data(size)
        self.may(path, new)
        self.write_at(path, len(self.content[path]), new[len(self.content[path]) :], sync=False)
        self.content[path] = new

    # Steps on names.

    def move(self, old: str, new: str) -> None:
        """Renames, over an existing file or to a free name."""
        moved = self.content.pop(old)
        self.may(new, moved, whole=True)
        self.may(old, "absent")
        if new not in self.content:
            self.oracle.line(either=[old, new])
        os.rename(self.full(old), self.full(new))
        self.content[new] = moved
        self.sync_dir(new)
        if os.path.dirname(old) != os.path.dirname(new):
            self.sync_dir(old)
        self.now(new, moved)
        self.now(old, "absent")
        self.promise(f"rename {label(old)} to {label(new)}")

    def replace(self, path: str, data: bytes) -> None:
        """How careful programs save: a temporary file, fsync, rename, fsync of the directory."""
        self.create(path + ".tmp", data)
        self.move(path + ".tmp", path)

    def unlink(self, path: str) -> None:
        """Removes, durably."""
        self.may(path, "absent")
        os.unlink(self.full(path))
        self.sync_dir(path)
        del self.content[path]
        self.now(path, "absent")
        self.promise(f"unlink {label(path)}")

    def link(self, old: str, new: str) -> None:
        """A second name for a file that is not changed any more."""
        self.may(new, self.content[old], whole=True)
        os.link(self.full(old), self.full(new))
        self.sync_dir(new)
        self.content[new] = self.content[old]
        self.now(new, self.content[new])
        self.promise(f"link {label(new)}")

    def symlink(self, path: str, target: str) -> None:
        """A symbolic link."""
        self.may(path, f"link:{target}")
        os.symlink(target, self.full(path))
        self.sync_dir(path)
        self.content[path] = f"link:{target}"
        self.now(path, self.content[path])
        self.promise(f"symlink {label(path)}")

    def mkdir(self, path: str) -> None:
        """An empty directory."""
        self.may(path, "dir")
        os.mkdir(self.full(path))
        self.sync_dir(path)
        self.content[path] = "dir"
        self.now(path, "dir")
        self.promise(f"mkdir {label(path)}")

    def mkdir_with_file(self, path: str, name: str, size: int, sync_dirs: bool) -> None:
        """A directory and a file in it, made durable together by the file's fsync."""
        inner, data = f"{path}/{name}", self.data(size)
        self.may(path, "dir")
        self.may(inner, b"")
        self.may(inner, data)
        os.mkdir(self.full(path))
        self.write_at(inner, 0, data, os.O_CREAT)
        if sync_dirs:
            self.sync_dir(inner)
            self.sync_dir(path)
        self.content[path] = "dir"
        self.content[inner] = data
        self.now(path, "dir")
        self.now(inner, data)
        self.promise(f"mkdir {label(path)} with a file")

    def move_dir(self, old: str, new: str) -> None:
        """Renames a directory, with all in it, into another one."""
        inside = [path for path in self.content if (path + "/").startswith(old + "/")]
        pairs = [(path, new + path[len(old) :]) for path in inside]
        for before, after in pairs:
            self.may(after, self.content[before], whole=True)
            self.may(before, "absent")
            self.oracle.line(either=[before, after])
        os.rename(self.full(old), self.full(new))
        self.sync_dir(new)
        self.sync_dir(old)
        for before, after in pairs:
            self.content[after] = self.content.pop(before)
            self.now(after, self.content[after])
            self.now(before, "absent")
        self.promise(f"move directory {label(old)} to {label(new)}")

    def rmdir(self, path: str) -> None:
        """Removes an empty directory."""
        self.may(path, "absent")
        os.rmdir(self.full(path))
        self.sync_dir(path)
        del self.content[path]
        self.now(path, "absent")
        self.promise(f"rmdir {label(path)}")

    # A database, with SQLite's own syncs.

    def database(self, path: str, journal: str) -> "Database":
        """A database with one row committed."""
        return Database(self, path, journal)

    # The whole.

    def run(self) -> None:
        """All steps in the order that the checks see them."""
        self.promise("init")
        self.small_files()
        self.directories()
        self.long_names()
        databases = [self.database("delete.db", "DELETE"), self.database("wal.db", "WAL")]
        self.large_files()
        for _ in range(4):
            for database in databases:
                database.commit()
        self.settle()
        self.after_the_pause(databases)
        for database in databases:
            database.close()
        self.files_to_be_old()
        self.remount()
        self.promise("unmount and mount")
        self.old_files()

    def small_files(self) -> None:
        """Files in the volume's root."""
        for name, size in [("empty", 0), ("one", 1), ("block", BLOCK), ("odd", 5000)]:
            self.create(name, self.data(size))
        self.create("plain", self.data(12 * BLOCK))
        self.overwrite("plain", 2 * BLOCK, BLOCK)
        self.overwrite("plain", 3 * BLOCK + 100, 50)
        self.overwrite("plain", 5 * BLOCK - 200, 400)
        self.append("plain", 700)
        self.append("plain", 3 * BLOCK)
        self.replace("block", self.data(BLOCK + 1))
        self.replace("odd", self.data(3000))
        self.truncate("plain", 6 * BLOCK + 17)
        self.truncate("plain", 2 * BLOCK)
        self.truncate("plain", 4 * BLOCK + 1)
        self.truncate("one", 0)
        self.append("one", 10)
        self.append("empty", 4)
        self.unlink("odd")
        self.create("odd", self.data(100))

    def directories(self) -> None:
        """Directories, and files in them."""
        self.mkdir_with_file("a", "first", 6000, sync_dirs=True)
        self.mkdir_with_file("a/b", "second", 300, sync_dirs=False)
        self.mkdir_with_file("a/b/c", "third", BLOCK, sync_dirs=False)
        self.mkdir("d")
        self.create("d/fourth", self.data(9000), sync_dir=True)
        self.replace("d/fourth", self.data(100))
        self.move("a/b/second", "d/second")
        self.move_dir("a/b/c", "d/c")
        self.overwrite("d/c/third", 0, BLOCK)
        self.mkdir("d/empty")
        self.move_dir("d", "a/d")
        self.rmdir("a/d/empty")
        self.symlink("a/pointer", "d/c/third")
        self.link("a/first", "a/again")
        self.unlink("a/first")

    def long_names(self) -> None:
        """Names that do not fit once they are encrypted, and one that is not UTF-8."""
        names = ["n" * 176, "m" * 255, "ü" * 120]
        for name in names:
            self.create(name, self.data(500))
        self.overwrite(names[0], 100, 300)
        self.replace(names[2], self.data(800))
        self.mkdir_with_file("l" * 200, "k" * 200, 100, sync_dirs=True)
        self.mkdir_with_file("o" * 200, "p" * 200, 100, sync_dirs=False)
        self.move(names[1], "l" * 200 + "/" + "j" * 255)
        self.move(names[0], "short again")
        self.move("short again", "i" * 190)
        self.unlink("i" * 190)
        self.create("bytes \udcff\udcfe", self.data(10))

    def large_files(self) -> None:
        """Files of more blocks than one page of tags or one extent describes."""
        self.create("large", self.data(160 * BLOCK + 5))
        self.scatter("large", 20)
        self.overwrite("large", 94 * BLOCK + 10, 4 * BLOCK)
        self.mapped("large", 96 * BLOCK)
        self.append("large", 40 * BLOCK)
        self.truncate("large", 95 * BLOCK + 9)
        self.create("sparse", b"start")
        self.overwrite("sparse", 700_000, 100)
        self.overwrite("sparse", 350_000, BLOCK)
        self.truncate("sparse", 1_000_000)

    def settle(self) -> None:
        """Lets the background work of the kernel and of the file system come in between."""
        for name, centiseconds in [("dirty_writeback", 20), ("dirty_expire", 60)]:
            with open(f"/proc/sys/vm/{name}_centisecs", "w", encoding="ascii") as setting:
                setting.write(str(centiseconds))
        self.unsynced("large", 6)
        time.sleep(7)
        self.promise("pause")

    def after_the_pause(self, databases) -> None:
        """More of the same, while earlier changes are written back."""
        self.unsynced("large", 12)
        time.sleep(1)
        self.unsynced("plain", 3)
        for database in databases:
            database.commit()
        self.mkdir_with_file("late", "file", 2 * BLOCK, sync_dirs=True)
        self.replace("late/file", self.data(7000))
        self.overwrite("plain", BLOCK, BLOCK)
        time.sleep(1)
        for turn in range(6):
            self.overwrite("late/file", turn * 1000, 500)
        self.scatter("large", 10)
        self.truncate("large", 0)
        self.append("large", 3 * BLOCK)
        self.replace("large", self.data(BLOCK))
        time.sleep(2)
        self.unlink("plain")

    def files_to_be_old(self) -> None:
        """What the next session will change for the first time."""
        self.mkdir("old")
        for name in ["aligned", "short", "synced", "replaced", "cut", "grown"]:
            self.create(f"old/{name}", self.data((3 if name == "aligned" else 130) * BLOCK + 9))
        self.truncate("old/aligned", 2 * BLOCK)
        for name in ["holes", "filled"]:
            self.create(f"old/{name}", self.data(BLOCK))
            self.truncate(f"old/{name}", 140 * BLOCK)

    def old_files(self) -> None:
        """Changes of files of an earlier session, most of them written back before they are synced."""
        self.unsynced_append("old/aligned", 2 * BLOCK)
        time.sleep(2)
        self.append("old/synced", 3 * BLOCK)
        self.unsynced_append("old/short", 50)
        self.unsynced_append("old/short", 3 * BLOCK)
        time.sleep(2)
        self.overwrite("old/filled", 120 * BLOCK, 2 * BLOCK)
        self.overwrite("old/holes", 3 * BLOCK, 100)
        self.truncate("old/cut", 128 * BLOCK)
        self.truncate("old/cut", 5 * BLOCK + 1)
        self.truncate("old/grown", 150 * BLOCK)
        self.replace("old/replaced", self.data(9 * BLOCK))
        for name in ["aligned", "short"]:
            self.unsynced_append(f"old/{name}", 5 * BLOCK)
            self.append(f"old/{name}", 1)
        time.sleep(2)
        self.promise("end")


class Database:
    """A table of numbered rows, one committed at a time with synchronous=FULL."""

    def __init__(self, workload: Workload, path: str, journal: str):
        self.workload = workload
        self.path = path
        self.rows = 0
        workload.oracle.line(rows=path, count=0)
        self.connection = sqlite3.connect(workload.full(path), isolation_level=None)
        # Exclusive locking: a WAL without a shared-memory file.
        for pragma in ["locking_mode=EXCLUSIVE", f"journal_mode={journal}", "synchronous=EXTRA"]:
            self.connection.execute(f"PRAGMA {pragma}").fetchall()
        self.connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, filler BLOB)")
        self.commit()

    def commit(self) -> None:
        """Adds a row, and changes another one so that pages are overwritten as well."""
        filler = self.workload.data(3000)
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute("INSERT INTO rows VALUES (?, ?)", (self.rows + 1, filler))
        self.connection.execute("UPDATE rows SET filler = ? WHERE number = 1", (filler[::-1],))
        self.connection.execute("COMMIT")
        self.rows += 1
        self.workload.oracle.line(rows=self.path, count=self.rows)
        self.workload.promise(f"commit {self.rows} in {self.path}")

    def close(self) -> None:
        """Closes the database; a WAL is moved into it."""
        self.connection.close()


def label(path: str) -> str:
    """A path for people: long components cut short."""
    parts = (part if len(part) <= 20 else f"{part[:3]}…({len(part)})" for part in path.split("/"))
    return ascii("/".join(parts)) if not path.isprintable() else "/".join(parts)
