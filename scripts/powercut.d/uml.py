"""Starts a user-mode Linux machine for one job and waits for its outcome."""

import json
import os
import subprocess
import time

DIED = "the machine died or hung; see its console"


class Machine:
    """User-mode Linux with this host's programs and a directory shared both ways."""

    def __init__(self, share: str, shim: str, memory: str = "768M"):
        self.share = share
        self.shim = shim
        self.memory = memory

    def run(self, job: dict, disks: list, progress=None, limit: float = 3 * 3600) -> str:
        """Boots, has the job done, and returns "done" or what went wrong.

        `disks` are (file, read-only) pairs for /dev/ubda, /dev/ubdb and so on.
        """
        outcome = os.path.join(self.share, "outcome")
        if os.path.exists(outcome):
            os.unlink(outcome)
        with open(os.path.join(self.share, "job.json"), "w", encoding="utf-8") as out:
            json.dump(job, out)
        with open(os.path.join(self.share, f"console-{job['do']}"), "ab") as console:
            machine = subprocess.Popen(
                self.command(disks),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=self.environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + limit
        try:
            while machine.poll() is None and time.monotonic() < deadline:
                time.sleep(0.5)
                if progress:
                    progress()
        finally:
            if machine.poll() is None:
                # UML runs each guest process as one of its children: end the whole session.
                os.killpg(machine.pid, 9)
                machine.wait()
        if not os.path.exists(outcome):
            return DIED
        with open(outcome, encoding="utf-8") as text:
            return text.read()

    def command(self, disks: list) -> list:
        """The kernel's command line."""
        arguments = ["linux.uml", f"mem={self.memory}", "ro", "quiet", "panic=1"]
        # The directory may be under /dev/shm: init mounts /dev once it has been read.
        arguments += ["devtmpfs.mount=0"]
        arguments += ["rootfstype=hostfs", "rootflags=/", f"init={self.share}/guest/guest-init"]
        arguments += ["con=null", "con0=null,fd:1", f"uml_dir={self.share}/uml"]
        arguments += [f"POWERCUT_SHARE={self.share}"]
        for letter, (path, read_only) in zip("abcdefgh", disks):
            arguments.append(f"ubd{letter}{'r' if read_only else ''}={path}")
        return arguments

    def environment(self) -> dict:
        """The host process's environment."""
        environment = dict(os.environ, TMPDIR=os.path.dirname(self.share))
        if self.shim:
            environment["LD_PRELOAD"] = self.shim
        return environment
