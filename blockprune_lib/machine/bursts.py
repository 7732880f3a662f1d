"""Timing loops in short bursts: on a busy machine some bursts fit between two visits of somebody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Lowest, middle and highest of repeated measurements, in the unit of what was measured."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Order the measurements.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(low=1.0, median=2.0, high=3.0)
        """
        return cls(float(min(values)), float(np.median(values)), float(max(values)))


def units_lasting(wanted: float, work: Callable[[int], object], units: int = 1) -> tuple[int, float]:
    """How much to ask of `work`, doubled until it lasts `wanted` seconds, and the seconds that it lasted."""
    work(units)  # compiles, or loads from the cache
    while (seconds := seconds_of(work, units)) < wanted:
        units *= 2
    return units, seconds


def seconds_a_unit(work: Callable[[int], object], bursts: int, burst_seconds: float, units: int = 1) -> list[float]:
    """Seconds for one unit of work in each of `bursts` bursts of at least `units` units and half of `burst_seconds`."""
    units, _ = units_lasting(burst_seconds / 2, work, units)
    return [seconds_of(work, units) / units for _ in range(bursts)]


def seconds_of(work: Callable[[int], object], argument: int) -> float:
    """Seconds that work(argument) takes."""
    begin = time.perf_counter()
    work(argument)
    return time.perf_counter() - begin


def seconds_together(work: Callable[[int], object], threads: int, bursts: int) -> list[float]:
    """Seconds of each of `bursts` runs of work(0) .. work(threads - 1), started at once, from first start to last end.

    Plain Python threads: `work` must let go of the interpreter lock. An error in any of them is raised here.
    """
    if threads == 1:
        return [seconds_of(work, 0) for _ in range(bursts)]
    barrier = threading.Barrier(threads)
    begun, ended = np.zeros((bursts, threads)), np.zeros((bursts, threads))
    errors: list[Exception] = []

    def run(thread: int) -> None:
        try:
            for burst in range(bursts):
                barrier.wait()
                begun[burst, thread] = time.perf_counter()
                work(thread)
                ended[burst, thread] = time.perf_counter()
        except Exception as error:
            errors.append(error)
            barrier.abort()

    workers = [threading.Thread(target=run, args=(thread,), daemon=True) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    return [float(seconds) for seconds in ended.max(axis=1) - begun.min(axis=1)]
