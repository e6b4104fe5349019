"""The file systems under test: how each is made, mounted over a directory and unmounted."""

import os
import shutil
import subprocess
import time

PASSPHRASE = "/run/passphrase"
MOUNT_POINT = "/run/mnt"


class SubjectError(Exception):
    """The file system's own program failed."""


def run(*command: str, timeout: float = 120, **options) -> str:
    """Runs a program to its end and returns what it printed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired as late:
        raise SubjectError(f"{os.path.basename(command[0])} hangs: {late.output!r}") from late
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0:
        raise SubjectError(f"{' '.join(command[:2])} exits with {done.returncode}: {text[-600:]}")
    return text


class Subject:
    """Plain ext4: the directory itself. It shows that the replay is sound."""

    # Whether creating a volume is followed by sync(2): only our own is held to be durable
    # when its `init` returns.
    sync_after_init = True

    def __init__(self, share: str):
        self.share = share

    def init(self, lower: str) -> None:
        """Makes an empty volume in the directory `lower`."""

    def mount(self, lower: str) -> str:
        """Mounts the volume and returns where its files are."""
        return lower

    def unmount(self) -> None:
        """Undoes `mount`."""

    def abandon(self) -> None:
        """Gets rid of a mount that may be broken, so that the next state can be tried."""

    def check(self, lower: str) -> None:
        """Verifies the unmounted volume, where the file system has a way to."""

    def keep(self) -> None:
        """Saves what it keeps outside the device (a keystore) for later boots."""


class FuseSubject(Subject):
    """A file system in a daemon that stays in the foreground."""

    daemon = None

    def command(self, lower: str) -> list:
        """The daemon's command line."""
        raise NotImplementedError

    def environment(self) -> dict:
        """The environment of all its programs."""
        return dict(os.environ)

    def mount(self, lower: str) -> str:
        os.makedirs(MOUNT_POINT, exist_ok=True)
        with open("/run/daemon.log", "wb") as log:
            self.daemon = subprocess.Popen(
                self.command(lower),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
            )
        deadline = time.monotonic() + 60
        while not is_mounted():
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                self.abandon()
                raise SubjectError(f"does not mount: {daemon_log()}")
            time.sleep(0.01)
        return MOUNT_POINT

    def unmount(self) -> None:
        run("umount", MOUNT_POINT)
        try:
            code = self.daemon.wait(60)
        except subprocess.TimeoutExpired as late:
            raise SubjectError("the daemon stays after the unmount") from late
        if code != 0:
            raise SubjectError(f"the daemon exits with {code}: {daemon_log()}")
        self.daemon = None

    def abandon(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None
        if is_mounted():
            subprocess.run(["umount", "-l", MOUNT_POINT], check=False)


class Gocryptfs(FuseSubject):
    """gocryptfs, known to lose directories whose id file had not been synced."""

    def init(self, lower: str) -> None:
        run("gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", PASSPHRASE, lower)

    def command(self, lower: str) -> list:
        flags = ["-q", "-fg", "-nosyslog", "-passfile", PASSPHRASE]
        return ["gocryptfs", *flags, lower, MOUNT_POINT]


class Kmsfs(FuseSubject):
    """kmsfs. Its keystore is outside the device, as it would be on another disk.

    It is unlocked by a key file: stretching a passphrase for each state would take most of
    the time.
    """

    sync_after_init = False
    home = "/run/keystore"

    def __init__(self, share: str):
        super().__init__(share)
        self.binary = os.path.join(share, "kmsfs")
        self.kept = os.path.join(share, "keystore")
        if os.path.isdir(self.kept):
            shutil.copytree(self.kept, self.home, dirs_exist_ok=True)

    def environment(self) -> dict:
        return dict(os.environ, XDG_DATA_HOME=self.home, XDG_RUNTIME_DIR="/run")

    def program(self, *arguments: str) -> list:
        """A command line of kmsfs."""
        return [self.binary, *arguments[:1], "--key-file", f"{self.home}/key", *arguments[1:]]

    def init(self, lower: str) -> None:
        os.makedirs(self.home, exist_ok=True)
        run(*self.program("keystore", "create"), env=self.environment())
        run(*self.program("init", lower), env=self.environment())

    def command(self, lower: str) -> list:
        return self.program("mount", "--foreground", lower, MOUNT_POINT)

    def check(self, lower: str) -> None:
        run(*self.program("check", lower), env=self.environment())

    def keep(self) -> None:
        shutil.copytree(self.home, self.kept, dirs_exist_ok=True)


def is_mounted() -> bool:
    """Whether something is mounted where the subject's files should be."""
    with open("/proc/mounts", encoding="utf-8") as mounts:
        return any(line.split()[1] == MOUNT_POINT for line in mounts)


def daemon_log() -> str:
    """The end of what the daemon printed."""
    with open("/run/daemon.log", "rb") as log:
        return log.read().decode(errors="replace").strip()[-600:]


SUBJECTS = {"ext4": Subject, "gocryptfs": Gocryptfs, "kmsfs": Kmsfs}
