"""Reads a dm-log-writes log and names the disk states a power cut could have left.

The log (Documentation/admin-guide/device-mapper/log-writes.rst in Linux) is a superblock of
one sector and then, for every write, a sector with the entry's header followed by its data.
The target logs a write only once a later flush (or its own FUA) has made it durable, so the
log's order is the order in which data became safe: a run of ordinary writes is always closed
by the flush that covers it. Between two flushes the device may have kept any of them.
"""

import os
import random
import struct
from collections.abc import Iterable
from typing import NamedTuple

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
    the given number of sectors. `mark` is the last promise made before the cut. With `again`
    the power goes once more, when that share of the recovery's own writes is done.
    """

    name: str
    kind: str
    upto: int
    extra: tuple[tuple[int, int], ...]
    mark: int
    again: float = 0.0


def read_log(path: str) -> list[Entry]:
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


class Write(NamedTuple):
    """The first `sectors` sectors of an entry's data, in the log file `log`."""

    log: str
    entry: Entry
    sectors: int


def apply(device: str, writes: Iterable[Write]) -> None:
    """Writes to a block device, through to the end of the page cache's delay."""
    writes = [write for write in writes if has_data(write.entry)]
    if not writes:
        return
    fd = os.open(device, os.O_RDWR)
    for write in writes:
        with open(write.log, "rb") as log:
            log.seek(write.entry.at)
            data = log.read(write.sectors * SECTOR)
        if os.pwrite(fd, data, write.entry.sector * SECTOR) != len(data):
            raise OSError(f"{device}: short write")
    os.fsync(fd)
    os.close(fd)


class Sampling(NamedTuple):
    """How many of the possible states to check; see `states`."""

    lossy: int
    torn: int
    again: int
    sector: int
    seed: int


def states(entries: list[Entry], sampling: Sampling) -> list[State]:
    """The states to check, in the order of the log.

    `mark`: right after each promise. `cut`: after each single write. `lossy`: samples of each
    run of unflushed writes with some of them missing. `torn`: samples with one write of the
    run cut short, at a multiple of `sector` bytes. `again`: samples of `cut` with a second cut
    during the recovery. The first mark says that the file system was made: before it there is
    nothing to check.
    """
    rng = random.Random(sampling.seed)
    found: list[State] = []
    mark = -1
    run: list[Entry] = []
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
                found += _torn([entry], sampling, mark, rng)
            else:
                run.append(entry)
            found.append(State(f"cut-{entry.index}", "cut", entry.index + 1, (), mark))
        if entry.flags & (FLUSH | FUA) or not has_data(entry):
            found += _lossy(run, sampling.lossy, mark, rng) + _torn(run, sampling, mark, rng)
            run = []
    cuts = [state for state in found if state.kind == "cut"]
    for cut in rng.sample(cuts, min(sampling.again, len(cuts))):
        share = round(rng.uniform(0.01, 0.99), 2)
        found.append(cut._replace(name=f"again-{cut.name[4:]}-{share}", kind="again", again=share))
    # Replay goes forward only: states that start from less of the log come first.
    return sorted(found, key=lambda state: state.upto)


def recovery_writes(log: str, share: float) -> list[Write]:
    """What of a recovery's log is on the disk when its power goes after a share of it.

    Of the writes since the last flush, a random half is.
    """
    rng = random.Random(share)
    entries = [entry for entry in read_log(log) if has_data(entry) or entry.flags & FLUSH]
    entries = entries[: int(len(entries) * share) + 1]
    flushed = max((at for at, entry in enumerate(entries) if entry.flags & FLUSH), default=-1)
    kept = [
        entry for at, entry in enumerate(entries) if at < flushed or entry.flags & FUA or rng.random() < 0.5
    ]
    return [Write(log, entry, entry.sectors) for entry in kept if has_data(entry)]


def _lossy(run: list[Entry], samples: int, mark: int, rng) -> list[State]:
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


def _torn(run: list[Entry], sampling: Sampling, mark: int, rng) -> list[State]:
    """Samples with one of the run's writes cut short, those before it whole."""
    unit = sampling.sector // SECTOR
    long_enough = [entry for entry in run if entry.sectors > unit]
    found = {}
    for _ in range(sampling.torn if long_enough else 0):
        entry = rng.choice(long_enough)
        sectors = rng.randrange(unit, entry.sectors, unit)
        name = f"torn-{entry.index}-{sectors}"
        found[name] = State(name, "torn", entry.index, ((entry.index, sectors),), mark)
    return list(found.values())
