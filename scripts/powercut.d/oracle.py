"""What must be found after a cut: the promises made before it, and what was under way.

The workload writes one JSON object a line, in the order things happened:

    {"may": PATH, "state": STATE, "whole": BOOL}   from now on PATH may be found like this too
    {"either": [PATH, PATH]}                       a rename has begun: exactly one exists
    {"is": PATH, "state": STATE}                   a sync returned: PATH is this, durably
    {"rows": PATH, "count": N}                     the database PATH has committed N rows
    {"mark": N, "label": TEXT}                     everything above is promised at mark N

STATE is "absent", "dir", "link:TARGET" or the name of a blob that holds a file's content.
After a cut between marks N and N+1, everything up to mark N holds, and of the lines up to
mark N+1 only "may" and "either" do: those operations had begun and may be found half done.
"""

import hashlib
import json
import os
from typing import NamedTuple

BLOCK = 4096


class Writer:
    """Appends to the oracle and keeps each content once, as a blob named by its hash."""

    def __init__(self, directory: str):
        self.blobs = os.path.join(directory, "blobs")
        os.makedirs(self.blobs, exist_ok=True)
        self.lines = open(os.path.join(directory, "oracle"), "w", encoding="ascii")

    def blob(self, content: bytes) -> str:
        """The state of a file with this content."""
        name = hashlib.sha256(content).hexdigest()[:24]
        path = os.path.join(self.blobs, name)
        if not os.path.exists(path):
            with open(path, "wb") as out:
                out.write(content)
        return name

    def line(self, **fields) -> None:
        """Appends one line."""
        self.lines.write(json.dumps(fields) + "\n")

    def close(self) -> None:
        """Writes out everything."""
        self.lines.close()


class Allowed:
    """The ways one path may be found.

    `groups` are lists of contents: a file must be built of blocks of one group, each block as
    in any of that group's contents. `others` are the states that are not files.
    """

    def __init__(self, state: str):
        self.groups: list[list[str]] = []
        self.others: list[str] = []
        self.pending = False
        self._add(state, True)

    def _add(self, state: str, whole: bool) -> None:
        if state in ("absent", "dir") or state.startswith("link:"):
            self.others.append(state)
        elif whole or not self.groups:
            self.groups.append([state])
        else:
            self.groups[-1].append(state)

    def may(self, state: str, whole: bool) -> None:
        """Allows one more state, since an operation towards it has begun."""
        self.pending = True
        self._add(state, whole)


class Expected(NamedTuple):
    """All that is known at a cut."""

    paths: dict[str, Allowed]
    either: list[list[str]]
    rows: dict[str, int]
    label: str


class Oracle:
    """The workload's record, read back."""

    def __init__(self, directory: str):
        self.blobs = os.path.join(directory, "blobs")
        with open(os.path.join(directory, "oracle"), encoding="ascii") as lines:
            self.lines = [json.loads(line) for line in lines]
        self._contents: dict[str, bytes] = {}

    def content(self, blob: str) -> bytes:
        """A blob's bytes."""
        if blob not in self._contents:
            with open(os.path.join(self.blobs, blob), "rb") as data:
                self._contents[blob] = data.read()
        return self._contents[blob]

    def at(self, mark: int) -> Expected:
        """What to expect after a cut between `mark` and the one after it."""
        paths: dict[str, Allowed] = {}
        either: list[list[str]] = []
        rows: dict[str, int] = {}
        label = ""
        promised = True
        for line in self.lines:
            if "mark" in line:
                if line["mark"] > mark:
                    label = line["label"]
                    break
                promised = line["mark"] < mark
            elif "may" in line:
                paths.setdefault(line["may"], Allowed("absent")).may(line["state"], line["whole"])
            elif "either" in line:
                either.append(line["either"])
            elif promised and "is" in line:
                paths[line["is"]] = Allowed(line["state"])
                either = [pair for pair in either if line["is"] not in pair]
            elif promised and "rows" in line:
                rows[line["rows"]] = line["count"]
            elif "rows" in line:
                rows.setdefault(line["rows"], 0)
        return Expected(paths, either, rows, label)

    def mismatch(self, allowed: Allowed, found: str, content: bytes | None) -> str | None:
        """Why what was found is not allowed, or None. `content` is a regular file's."""
        if content is None:
            if found in allowed.others:
                return None
            wanted = allowed.others + ["file"] * bool(allowed.groups)
            return f"found {found}, expected {' or '.join(wanted)}"
        if not allowed.groups:
            return f"found a file of {len(content)} bytes, expected {' or '.join(allowed.others)}"
        reasons = [self._group_mismatch(group, content) for group in allowed.groups]
        return None if None in reasons else "; ".join(filter(None, reasons))

    def _group_mismatch(self, group: list[str], content: bytes) -> str | None:
        """Why the content is not built of the group's blocks, or None."""
        versions = [self.content(blob) for blob in group]
        sizes = sorted({len(version) for version in versions})
        if not sizes[0] <= len(content) <= sizes[-1]:
            return f"{len(content)} bytes long, expected {' or '.join(map(str, sizes))}"
        for at in range(0, len(content), BLOCK):
            block = content[at : at + BLOCK]
            # A file found longer than a version was: that version's block ended in zeros.
            if not any(v[at : at + len(block)].ljust(len(block), b"\0") == block for v in versions):
                zeros = " (all zeros)" if not any(block) else ""
                return f"block {at // BLOCK} of {len(content)} bytes{zeros} is of no version"
        return None
