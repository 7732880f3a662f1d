"""Cases of a benchmark: engines checked against the right answer, then timed in turns with the machine's peak.

The peak is a burst of fused multiply-adds that takes its turn among the engines, so that "share of peak" compares what
was possible and what was done within the same seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from .._common.provenance import provenance
from ..machine.comparison import Comparison
from ..machine.pairs import HAS_PAIRS
from ..machine.passport import hardware
from ..machine.peak import MultiplyAdds, in_bfloat16
from ..machine.thread_limits import threads
from ..machine.timing import compare
from .case import Case, Skipped, What
from .engine import Engine, UnavailableError, in_a_line
from .records import Benchmark, Record
from .settings import CommonSettings

PEAK = "(peak) "
#: What makes each engine, by its key.
Makers = Mapping[str, Callable[[], Engine]]
Progress = Callable[[str], object] | None


def measure_all(benchmark: Benchmark, asked: Any, measure: Callable[[Any], Case], progress: Progress) -> Record:
    """The record of every case that was asked for; `progress` is called with a line of text before each."""
    cases = []
    for number, case in enumerate(asked.cases(), 1):
        if progress is not None:
            progress(f"case {number}: {case}")
        cases.append(measure(case))
    return Record(
        format="blockprune bench, version 1", kind=benchmark, settings=asked.model_dump(mode="json"),
        provenance=provenance(), hardware=hardware().to_dict(), cases=cases,
    )  # fmt: skip


def measured(
    what: What, operations: float, rivals: Makers, ours: Makers, asked: CommonSettings, tolerances: Mapping[str, float],
    *, reference: np.ndarray | None = None, gradients: bool = False, turn_ms: float = 1.0,
) -> Case:  # fmt: skip
    """Make the engines, check what each answers, and time those that are right; the first of `rivals` is the baseline.

    `operations` are the useful ones of a call. The answers are compared with `reference`, or the baseline's own, and
    may be off by `tolerances`, by precision; an engine's turn lasts `turn_ms` or one call. Raises RuntimeError where
    the baseline or one of ours answers wrongly.
    """
    with contextlib.ExitStack() as stack:
        with warnings.catch_warnings():  # the one about too many threads is left to the timing
            warnings.filterwarnings("ignore", message="threads: ", category=RuntimeWarning)
            stack.enter_context(threads(what.threads))
        stack.enter_context(torch.inference_mode(not gradients))
        if "torch._dynamo" in sys.modules:  # what it learned of another case's sizes would make it compile for any
            torch.compiler.reset()
        engines, errors, skipped = make_all(rivals, ours, tolerances, reference)
        compared, peaks = time_all(engines, what.threads, asked, turn_ms)
    return Case.made(what, operations, next(iter(ours)), engines, errors, compared, peaks, skipped)


def make_all(
    rivals: Makers, ours: Makers, tolerances: Mapping[str, float], reference: np.ndarray | None = None
) -> tuple[dict[str, Engine], dict[str, tuple[float, float]], list[Skipped]]:
    """Make every engine, run it once and compare: those that answer rightly, (error, error allowed), and the others.

    Raises RuntimeError where the first rival or one of ours answers wrongly: then there is nothing to compare.
    """
    engines, errors, skipped = dict[str, Engine](), dict[str, tuple[float, float]](), list[Skipped]()
    needed = {next(iter(rivals)), *ours}
    for key, make in (*rivals.items(), *ours.items()):
        try:
            engine = make()
            answer = engine.answer()
        except UnavailableError as reason:
            skipped.append(Skipped(engine=key, why=str(reason), install=reason.install))
            continue
        except Exception as error:
            if key in needed:
                raise
            skipped.append(Skipped(engine=key, why=f"it failed: {in_a_line(error)}"))
            continue
        reference = answer if reference is None else reference
        right = reference if engine.expected is None else engine.expected()
        off, allowed = _error(answer, right), tolerances[engine.precision]
        if off <= allowed:
            engines[key], errors[key] = engine, (off, allowed)
            continue
        wrong = f"its answer is off by {off:.2g} of the largest number; {allowed:g} is allowed"
        if key in needed:
            raise RuntimeError(f"{engine.name}: {wrong}: nothing was timed")
        skipped.append(Skipped(engine=key, why=f"{wrong}: not timed"))
    return engines, errors, skipped


def time_all(
    engines: Mapping[str, Engine], number: int, asked: CommonSettings, turn_ms: float = 1.0
) -> tuple[Comparison, dict[str, tuple[float, ...]]]:
    """Time the engines and bursts of multiply-adds in turns on `number` threads: timings, and GFLOP/s of the bursts.

    There are bursts in float32, and in bfloat16 where an engine runs in it and the machine has it: of the matrix unit
    where it has one.
    """
    pairs = HAS_PAIRS and any(engine.precision == "bfloat16" for engine in engines.values())
    bursts = {"float32": MultiplyAdds(number)}
    if pairs:
        bursts["bfloat16"] = in_bfloat16(number)
    rates: dict[str, list[float]] = {precision: [] for precision in bursts}
    calls: dict[str, Callable[[], object]] = {key: engine.run for key, engine in engines.items()}
    for precision, burst in bursts.items():
        calls[PEAK + precision] = partial(_add_rates, burst, rates[precision])
    compared = compare(
        calls, baseline=next(iter(engines)), repeats=asked.repeats, warmup=asked.warmup, min_time_ms=turn_ms,
        threads=number, seed=asked.seed,
    )  # fmt: skip
    timings, peaks = dict(compared.timings), {}
    for precision, found in rates.items():
        timed = timings.pop(PEAK + precision).inner * asked.repeats  # the bursts of the warm-up come first
        peaks[precision] = tuple(found[-timed:])
    return dataclasses.replace(compared, timings=timings), peaks


def _add_rates(burst: MultiplyAdds, found: list[float]) -> None:
    found += burst.rates()


def _error(answer: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference ÷ the largest number of the reference; infinite where the shapes or NaN differ."""
    if answer.shape != reference.shape:
        return float("inf")
    return float(np.abs(answer - reference).max()) / (float(np.abs(reference).max()) or 1.0)
