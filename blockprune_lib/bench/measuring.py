"""One case of a benchmark: engines checked against the right answer, then timed in turns with the machine's peak.

The peak is a burst of fused multiply-adds that takes its turn among the engines, so that "share of peak" compares what
was possible and what was done within the same seconds. Left out: what the engines are (`peers`, `engines`, `steps`).
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..machine import peak as _peak
from ..machine.comparison import Comparison, Ratio, Timing
from ..machine.thread_limits import threads
from ..machine.timing import compare
from .matrix_engines import Engine
from .runtimes import UnavailableError

PEAK = "(peak)"


@dataclass(frozen=True)
class Skipped:
    """An engine that did not run, why, and the pip line that would help, or an empty one."""

    engine: str
    why: str
    install: str = ""


@dataclass(frozen=True)
class Measured:
    """An engine that ran: its largest error relative to the largest number of the answer, and what was allowed."""

    key: str
    name: str
    precision: str
    threads: int
    error: float
    tolerance: float


@dataclass(frozen=True)
class Case:
    """The timings of one case. `what` describes it; `operations` are the useful floating-point ones of a call.

    operations   2 x tokens x kept weights, and in a model its attention products; the same for every engine, so that
                 GFLOP/s rank as times do and a dense engine earns nothing for multiplying by zero
    peak         GFLOP/s of every burst of multiply-adds between the engines' turns
    """

    what: Mapping[str, Any]
    operations: float
    baseline: str
    ours: str
    engines: Mapping[str, Measured]
    comparison: Comparison
    peak: tuple[float, ...]
    skipped: tuple[Skipped, ...]
    memory: Mapping[str, Any] | None = None

    @property
    def peak_gflops(self) -> float:
        """The middle of the bursts."""
        return float(np.median(self.peak))

    def gflops(self, key: str, ms: float | None = None) -> float:
        """Useful GFLOP/s of an engine at its median, or at `ms`."""
        return self.operations / (self.comparison.timings[key].median if ms is None else ms) / 1e6

    def share(self, key: str) -> float:
        """Useful GFLOP/s ÷ the median peak, 0 to 1 and in a noisy minute beyond."""
        return self.gflops(key) / self.peak_gflops

    def over(self, key: str) -> Ratio:
        """How many times as fast as the baseline an engine is."""
        return self.comparison.ratio(key)

    def ours_over(self, key: str) -> Ratio:
        """How many times as fast as an engine ours is."""
        c = self.comparison
        return Comparison(c.timings, key, c.threads, c.warmup, c.seed).ratio(self.ours)


class Peak:
    """A burst of fused multiply-adds on some threads, to be timed like any engine; `rates` has GFLOP/s of each call."""

    def __init__(self, number: int, burst_seconds: float = 0.003) -> None:
        self.threads, self.rates = number, list[float]()
        self._outs = [np.zeros(_peak.CHAINS * _peak.CHAIN_LANES, dtype=np.float32) for _ in range(number)]
        _peak._multiply_add(self._outs[0], 10)  # compiles, or loads from the cache
        self.steps, seconds = 10_000, 0.0
        while seconds < burst_seconds:
            self.steps *= 2
            begin = time.perf_counter()
            _peak._multiply_add(self._outs[0], self.steps)
            seconds = time.perf_counter() - begin

    def __call__(self) -> None:
        """One burst."""
        if self.threads == 1:
            begin = time.perf_counter()
            _peak._multiply_add(self._outs[0], self.steps)
            seconds = time.perf_counter() - begin
        else:
            [seconds] = _peak.together(lambda i: _peak._multiply_add(self._outs[i], self.steps), self.threads, 1)
        self.rates.append(2.0 * _peak.CHAINS * _peak.CHAIN_LANES * self.steps * self.threads / seconds / 1e9)


def make_all(
    makers: Mapping[str, Callable[[], Engine]], always: Iterable[str], reference: np.ndarray, tolerances: Any
) -> tuple[dict[str, Engine], dict[str, float], list[Skipped]]:
    """Make every engine, run it once and compare: those that answer rightly, their errors, and the others with why.

    Raises RuntimeError where one of `always` answers wrongly: then there is nothing to compare.
    """
    engines, errors, skipped = dict[str, Engine](), dict[str, float](), list[Skipped]()
    scale = float(np.abs(reference).max()) or 1.0
    for key, make in makers.items():
        try:
            engine = make()
            answer = engine.answer()
        except UnavailableError as reason:
            skipped.append(Skipped(key, str(reason), reason.install))
            continue
        except Exception as error:
            if key in always:
                raise
            first = str(error).strip().partition("\n")[0]
            skipped.append(Skipped(key, f"it failed: {type(error).__name__}: {first[:160]}"))
            continue
        same_shape = answer.shape == reference.shape
        error_size = float(np.abs(answer - reference).max()) / scale if same_shape else float("inf")
        allowed = tolerances[engine.precision]
        if not error_size <= allowed:
            wrong = f"its answer is off by {error_size:.2g} of the largest number; {allowed:g} is allowed"
            if key in always:
                raise RuntimeError(f"{engine.name}: {wrong}: nothing was timed")
            skipped.append(Skipped(key, f"{wrong}: not timed"))
            continue
        engines[key], errors[key] = engine, error_size
    return engines, errors, skipped


def time_all(
    engines: Mapping[str, Engine], number: int, *, baseline: str, repeats: int, warmup: int, seed: int
) -> tuple[Comparison, tuple[float, ...]]:
    """Time the engines and bursts of multiply-adds in turns on `number` threads: the timings, and GFLOP/s of bursts."""
    peak = Peak(number)
    calls: dict[str, Callable[[], object]] = {key: engine.run for key, engine in engines.items()}
    compared = compare(
        calls | {PEAK: peak}, baseline=baseline, repeats=repeats, warmup=warmup, threads=number, seed=seed
    )
    timings: dict[str, Timing] = dict(compared.timings)
    bursts = timings.pop(PEAK).inner * repeats
    return Comparison(timings, baseline, compared.threads, warmup, seed), tuple(peak.rates[-bursts:])


def described(
    engines: Mapping[str, Engine], errors: Mapping[str, float], tolerances: Mapping[str, float], number: int
) -> dict[str, Measured]:
    """What a record keeps of each engine besides its times."""
    return {
        key: Measured(
            key, engine.name, engine.precision, engine.threads or number, errors[key], tolerances[engine.precision]
        )
        for key, engine in engines.items()
    }


@contextlib.contextmanager
def prepared_on(number: int) -> Iterator[None]:
    """Without gradients and on `number` threads; the warning about too many of them is left to the timing."""
    with contextlib.ExitStack() as stack:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="threads: ", category=RuntimeWarning)
            stack.enter_context(threads(number))
        stack.enter_context(torch.inference_mode())
        yield
