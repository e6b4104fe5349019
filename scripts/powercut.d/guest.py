"""What runs inside the virtual machine: records a workload, or checks the states of a log.

The host's side leaves `job.json` in the shared directory and reads `results` from there.
"""

import json
import os
import sys
import time
import traceback

from check import LOWER, VOLUME, Checker, device_mapper, mount_lower, table
from oracle import Writer
from subjects import PASSPHRASE, SUBJECTS, run
from workload import Workload

SHARE = "/run/share"
# Between the workload's two sessions. What was changed shortly before a session counts as
# changed in it, since clocks are not exact; this is longer.
HOUR = 3600


def turn_clock(seconds: int) -> None:
    """Sets the guest's clock forward, or back if negative."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def record(job: dict, subject) -> None:
    """Runs the workload on the subject over a device that logs its writes.

    The first session happens an hour ago: the checks, in later boots, must not be earlier
    than what they look at.
    """
    turn_clock(-HOUR)
    device_mapper("create", "logged", "--table", table("log-writes /dev/ubda /dev/ubdb"))
    os.makedirs(LOWER)
    mount_lower("/dev/mapper/logged")
    os.mkdir(VOLUME)
    os.sync()
    subject.init(VOLUME)
    if subject.sync_after_init:
        os.sync()

    def mark(number: int) -> None:
        device_mapper("message", "logged", "0", "mark", str(number))

    def remount() -> None:
        subject.unmount()
        turn_clock(HOUR)
        subject.mount(VOLUME)

    oracle = Writer(SHARE)
    root = subject.mount(VOLUME)
    try:
        Workload(root, oracle, mark, remount, job["seed"]).run()
    finally:
        oracle.close()
    subject.unmount()
    subject.keep()
    run("umount", LOWER)
    device_mapper("remove", "--retry", "logged")


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
