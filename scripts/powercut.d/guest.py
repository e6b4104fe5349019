"""What runs inside the virtual machine: records a workload, or checks the states of a log.

The host's side leaves `job.json` in the shared directory and reads `results` from there.
"""

import json
import os
import subprocess
import sys
import traceback

from check import Checker
from oracle import Writer
from subjects import PASSPHRASE, SUBJECTS, run
from workload import Workload

SHARE = "/run/share"
LOWER = "/run/lower"
VOLUME = LOWER + "/volume"
# Without a udev daemon libdevmapper has to make the device nodes itself.
DEVICE_MAPPER = dict(os.environ, DM_DISABLE_UDEV="1")


def sectors(device: str) -> int:
    """The size of a block device."""
    return int(run("blockdev", "--getsz", device))


def record(job: dict, subject) -> None:
    """Runs the workload on the subject over a device that logs its writes."""
    table = f"0 {sectors('/dev/ubda')} log-writes /dev/ubda /dev/ubdb"
    run("dmsetup", "create", "logged", "--table", table, env=DEVICE_MAPPER)
    os.makedirs(LOWER)
    run("mount", "-t", "ext4", "/dev/mapper/logged", LOWER)
    os.mkdir(VOLUME)
    os.sync()
    subject.init(VOLUME)
    if subject.sync_after_init:
        os.sync()

    def mark(number: int) -> None:
        message = ["dmsetup", "message", "logged", "0", "mark", str(number)]
        subprocess.run(message, check=True, env=DEVICE_MAPPER)

    oracle = Writer(SHARE)
    root = subject.mount(VOLUME)
    try:
        Workload(root, oracle, mark, job["seed"]).run()
    finally:
        oracle.close()
    subject.unmount()
    subject.keep()
    run("umount", LOWER)
    run("dmsetup", "remove", "logged", env=DEVICE_MAPPER)


def main() -> None:
    """Does the job; whatever goes wrong is for the host to print."""
    with open(f"{SHARE}/job.json", encoding="utf-8") as text:
        job = json.load(text)
    with open(PASSPHRASE, "w", encoding="ascii") as out:
        out.write("correct horse battery staple\n")
    os.chmod(PASSPHRASE, 0o600)
    subject = SUBJECTS[job["subject"]](SHARE)
    if job["do"] == "record":
        record(job, subject)
    else:
        Checker(SHARE, job, subject).run()


if __name__ == "__main__":
    try:
        main()
        OUTCOME = "done"
    except BaseException:
        OUTCOME = traceback.format_exc()
    with open(f"{SHARE}/outcome", "w", encoding="utf-8") as result:
        result.write(OUTCOME)
    sys.exit(OUTCOME != "done")
