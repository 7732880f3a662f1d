"""Tasks for worker processes that leave a trace and take long: `python -m tests.helpers.sleepers FOLDER HOW`."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from blockprune_lib.experiments.workers import side_by_side


def begin() -> None:
    """What a worker has to do first: nothing."""


def task(folder: Path, how: str, number: int) -> int:
    """Leave a file named by this process, then sleep, fail, die, or end at once."""
    (folder / f"{number}.{os.getpid()}").touch()
    if how == "sleep":
        time.sleep(100)
    if how == "fail" and number == 0:
        raise ValueError("number must not be 0")
    if how == "die":
        os.kill(os.getpid(), 9)
    time.sleep(0.5 * (how == "fail"))
    return number * number


def tasks(folder: Path, how: str, count: int = 6) -> list[partial[int]]:
    return [partial(task, folder, how, number) for number in range(count)]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background would not hear it
    try:
        side_by_side(tasks(Path(sys.argv[1]), sys.argv[2]), 2, begin, print)
    except KeyboardInterrupt:
        print("stopped", flush=True)
