"""Reads a dm-log-writes log and names the disk states a power cut could have left.

The log (Documentation/admin-guide/device-mapper/log-writes.rst in Linux) is a superblock of
one sector and then, for every write, a sector with the entry's header followed by its data.
The target logs a write only once a later flush (or its own FUA) has made it durable, so the
log's order is the order in which data became safe: a run of ordinary writes is always closed
by the flush that covers it. Between two flushes the device may have kept any of them.
"""

import random
import struct
from typing import List, NamedTuple, Tuple

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SECTOR = 512
END = "dm-log-writes-end"  # the mark that the target puts when it is removed


class Entry(NamedTuple):
    """One entry of the log; `at` is where its data begins in the log file."""

    index: int
    sector: int
    sectors: int
    flags: int
    at: int
    mark: str


class State(NamedTuple):
    """A disk as it may be found after a cut.

    Every write of the entries before `upto`, and then those in `extra`, each only as far as
    the given number of sectors. `mark` is the last promise made before the cut.
    """

    name: str
    kind: str
    upto: int
    extra: Tuple[Tuple[int, int], ...]
    mark: int


def read_log(path: str) -> List[Entry]:
    """All entries of the log, in order."""
    entries = []
    with open(path, "rb") as log:
        magic, version, count, sector_size = struct.unpack("<QQQI", log.read(28))
        if magic != MAGIC or version != 1 or sector_size != SECTOR:
            raise ValueError(f"{path}: not a dm-log-writes log with {SECTOR}-byte sectors")
        at = sector_size
        for index in range(count):
            log.seek(at)
            sector, sectors, flags, data_len = struct.unpack("<QQQQ", log.read(32))
            mark = log.read(data_len).decode() if flags & MARK else ""
            at += sector_size
            entries.append(Entry(index, sector, sectors, flags, at, mark))
            if not flags & DISCARD:
                at += sectors * sector_size
    return entries


def has_data(entry: Entry) -> bool:
    """Whether applying the entry changes the disk."""
    return entry.sectors > 0 and not entry.flags & (DISCARD | MARK)


def apply(log, device: int, entry: Entry, sectors: int, pwrite) -> None:
    """Copies the entry's first `sectors` sectors from the log to the device."""
    log.seek(entry.at)
    data = log.read(sectors * SECTOR)
    done = 0
    while done < len(data):
        done += pwrite(device, data[done:], entry.sector * SECTOR + done)


def states(entries: List[Entry], lossy: int, torn: int, seed: int) -> List[State]:
    """The states to check, in the order of the log.

    `mark`: right after each promise. `cut`: after each single write. `lossy`: as many samples
    of each run of unflushed writes with some of them missing. `torn`: as many samples with one
    write of the run cut short at a sector. The first mark says that the file system was made:
    before it there is nothing to check.
    """
    rng = random.Random(seed)
    found: List[State] = []
    mark = -1
    run: List[Entry] = []
    for entry in entries:
        if entry.mark == END:
            break
        if entry.flags & MARK:
            mark = int(entry.mark)
            found.append(State(f"mark-{mark}", "mark", entry.index + 1, (), mark))
            continue
        if mark >= 0 and has_data(entry):
            if entry.flags & FUA:
                # Durable by itself: it ends a run, and only its own tearing is open.
                found += _torn([entry], torn, mark, rng)
            else:
                run.append(entry)
            found.append(State(f"cut-{entry.index}", "cut", entry.index + 1, (), mark))
        if entry.flags & (FLUSH | FUA) or not has_data(entry):
            found += _lossy(run, lossy, mark, rng) + _torn(run, torn, mark, rng)
            run = []
    # Replay goes forward only: states that start from less of the log come first.
    return sorted(found, key=lambda state: state.upto)


def _lossy(run: List[Entry], samples: int, mark: int, rng) -> List[State]:
    """Samples of the run with some, but not only the last, of its writes missing."""
    found = {}
    for _ in range(samples if len(run) > 1 else 0):
        kept = [entry for entry in run if rng.random() < 0.5]
        if kept == run[: len(kept)]:
            # That would be a plain cut: lose the first write and keep the last instead.
            kept = sorted(set(kept[1:]) | {run[-1]})
        name = f"lossy-{run[0].index}-" + ".".join(str(e.index - run[0].index) for e in kept)
        extra = tuple((entry.index, entry.sectors) for entry in kept)
        found[name] = State(name, "lossy", run[0].index, extra, mark)
    return list(found.values())


def _torn(run: List[Entry], samples: int, mark: int, rng) -> List[State]:
    """Samples with one of the run's writes cut short, those before it whole."""
    long_enough = [entry for entry in run if entry.sectors > 1]
    found = {}
    for _ in range(samples if long_enough else 0):
        entry = rng.choice(long_enough)
        sectors = rng.randrange(1, entry.sectors)
        name = f"torn-{entry.index}-{sectors}"
        found[name] = State(name, "torn", entry.index, ((entry.index, sectors),), mark)
    return list(found.values())
