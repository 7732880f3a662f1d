"""Worker processes that live no longer than whoever started them, and leave Ctrl-C to it.

A pipe whose one end the parent alone holds tells a worker: that end is closed where the parent stops, and by the system
where the parent is killed. A worker then ends at once, as if it were killed, which a stage survives (see
`training.stage_folder`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Result = TypeVar("Result")


def side_by_side(
    tasks: Sequence[Callable[[], Result]], processes: int, begin: Callable[[], object],
    done: Callable[[int, int], object],
) -> list[Result]:  # fmt: skip
    """The result of each task, all done by so many processes, each of which calls `begin` first.

    `done(count, index)` is called here when the count-th task, the one at `index`, has ended. What a task raises is
    raised here once those that run now have ended; no other is begun. Where this process is stopped, by Ctrl-C say, or
    killed, its workers end at once. Raises RuntimeError where a worker was ended from outside.
    """
    context = multiprocessing.get_context("spawn")
    alive, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(processes, max(1, len(tasks))), context, _begin, (begin, alive))
    try:
        with _deaf_to_ctrl_c():
            futures = [pool.submit(task) for task in tasks]
        index = {future: number for number, future in enumerate(futures)}
        for count, future in enumerate(as_completed(futures), 1):
            future.result()
            done(count, index[future])
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise RuntimeError(
            f"one of {processes} processes was ended from outside, as the system does where memory runs out; what was "
            f"whole is kept, and the same again goes on from there: processes={max(1, processes // 2)} would do"
        ) from None
    except BaseException as error:
        if not isinstance(error, Exception):
            ours.close()
        raise
    finally:
        try:
            pool.shutdown(cancel_futures=True)
        finally:
            ours.close()
            alive.close()


def _begin(begin: Callable[[], object], alive: Connection) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    begin()


def _end_with(alive: Connection) -> None:
    """End this process when the other end of the pipe is closed; nothing is ever sent through it."""
    alive.poll(None)
    os._exit(1)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started meanwhile never hear SIGINT; this one hears it afterwards."""
    resource_tracker.ensure_running()  # it would open this process's ears when it starts
    before: Any = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
