"""Worker processes: what they give, and that none of them outlives whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blockprune_lib.experiments.workers import side_by_side

from ..helpers import sleepers


def started(folder: Path) -> list[int]:
    """The processes that have begun a task."""
    return [int(path.suffix[1:]) for path in folder.iterdir()]


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def soon(condition: Callable[[], object], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_results_come_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    ended = list[tuple[int, int]]()
    found = side_by_side(sleepers.tasks(tmp_path, "end"), 2, sleepers.begin, lambda *one: ended.append(one))
    assert found == [0, 1, 4, 9, 16, 25]
    assert [count for count, _ in ended] == [1, 2, 3, 4, 5, 6]
    assert sorted(index for _, index in ended) == list(range(6))


def test_after_a_failure_no_other_task_is_begun(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="number must not be 0"):
        side_by_side(sleepers.tasks(tmp_path, "fail", 20), 2, sleepers.begin, lambda *_: None)
    assert len(started(tmp_path)) < 10


def test_a_worker_that_is_ended_from_outside_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"one of 2 processes was ended from outside.*processes=1 would do"):
        side_by_side(sleepers.tasks(tmp_path, "die"), 2, sleepers.begin, lambda *_: None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("sent", "to_all"),
    [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGINT, True)],
)
def test_no_worker_outlives_its_parent(sent: signal.Signals, to_all: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.helpers.sleepers", str(tmp_path), "sleep"]
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert soon(lambda: len(started(tmp_path)) == 2)
        workers = started(tmp_path)
        (os.killpg if to_all else os.kill)(parent.pid, sent)
        said, complaints = parent.communicate(timeout=60)
        assert soon(lambda: not any(map(alive, workers)), 20)
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if parent.poll() is None else None
    assert len(started(tmp_path)) == 2  # nothing was begun afterwards
    if sent is signal.SIGINT:
        assert said == "stopped\n"
        assert complaints == ""
