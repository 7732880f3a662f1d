"""The results that `timing` returns: samples, medians, quartiles, ratios with intervals, and how they print."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from .._common.checks import one_of
from .._common.tables import Printed

RESAMPLES = 2000
#: Quartiles that lie so many times apart are those of a machine that did something else too.
DISTURBED = 1.5


@dataclass(frozen=True)
class Ratio:
    """Times as fast as the baseline, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def __truediv__(self, other: Ratio) -> Ratio:
        """Times as fast as `other`, both measured beside the same baseline and neither in the rounds of the other.

        On the log scale the distances from the values to the ends that count are squared and added.

        >>> print(Ratio(6.0, 5.0, 7.0) / Ratio(2.0, 2.0, 2.0))
        3.00 [2.50, 3.50]
        """
        value = self.value / other.value
        down = math.hypot(math.log(self.value / self.low), math.log(other.high / other.value))
        up = math.hypot(math.log(self.high / self.value), math.log(other.value / other.low))
        return Ratio(value, value * math.exp(-down), value * math.exp(up))


@dataclass(frozen=True, repr=False)
class Timing:
    """Samples of one function: ms a call, one sample a round, each the mean of `inner` calls in a row."""

    name: str
    samples_ms: tuple[float, ...]
    inner: int

    @property
    def median(self) -> float:
        """Middle sample in ms."""
        return float(np.median(self.samples_ms))

    @property
    def q1(self) -> float:
        """A quarter of the samples took at most this many ms."""
        return float(np.quantile(self.samples_ms, 0.25))

    @property
    def q3(self) -> float:
        """A quarter of the samples took at least this many ms."""
        return float(np.quantile(self.samples_ms, 0.75))

    def __repr__(self) -> str:
        rounds = len(self.samples_ms)
        return f"{self.name}: {_ms(self.median)} ms [{_ms(self.q1)}, {_ms(self.q3)}], {rounds} rounds of {self.inner}"


@dataclass(frozen=True, repr=False)
class Comparison(Printed):
    """Timings of functions that took turns, in ms a call; prints as a table.

    timings    {name: its `Timing`}
    baseline   the name that ratios are to
    threads    {engine: how many threads it had; None where it is not there}
    warmup, seed   as they were given to `compare`
    """

    _classes: ClassVar[str] = "bp-table bp-comparison"
    timings: Mapping[str, Timing]
    baseline: str
    threads: Mapping[str, int | None]
    warmup: int
    seed: int

    @property
    def rounds(self) -> int:
        """How many times each function had its turn."""
        return len(self.timings[self.baseline].samples_ms)

    @property
    def medians(self) -> dict[str, float]:
        """Median ms a call of each function."""
        return {name: timing.median for name, timing in self.timings.items()}

    @property
    def disturbed(self) -> dict[str, float]:
        """{name: q3 / q1} of each function whose quartiles lie 1.5 times apart or more: something else was running.

        >>> calm, shaken = Timing("calm", (1.0, 1.0, 1.1), 1), Timing("shaken", (1.0, 1.0, 3.0), 1)
        >>> Comparison({"calm": calm, "shaken": shaken}, "calm", {"torch": 1}, 0, 0).disturbed
        {'shaken': 2.0}
        """
        spread = {name: timing.q3 / timing.q1 for name, timing in self.timings.items() if timing.q1 > 0}
        return {name: apart for name, apart in spread.items() if apart >= DISTURBED}

    def ratio(self, name: str, to: str | None = None) -> Ratio:
        """How many times as fast as the baseline, or as `to`, `name` is, with its paired-bootstrap 95 % interval.

        value = median(baseline) / median(name): 3 means three times as fast. For the interval whole rounds are drawn
        with replacement, the same rounds for both, and the middle 95 % of the ratios is kept (percentile method, Efron
        1979). It is about the noise between these rounds: what all of them share (a hot machine) is not in it.
        Raises ValueError for a name that was not timed.

        >>> slow, fast = Timing("slow", (4.0, 4.0, 4.0), 1), Timing("fast", (1.0, 1.0, 1.0), 1)
        >>> print(Comparison({"slow": slow, "fast": fast}, "slow", {"torch": 1}, 0, 0).ratio("fast"))
        4.00 [4.00, 4.00]
        """
        one_of(name, "name", self.timings)
        base = np.array(self.timings[one_of(to or self.baseline, "to", self.timings)].samples_ms)
        other = np.array(self.timings[name].samples_ms)
        drawn = np.random.default_rng(self.seed).integers(0, len(base), size=(RESAMPLES, len(base)))
        ratios = np.median(base[drawn], axis=1) / np.median(other[drawn], axis=1)
        low, high = np.quantile(ratios, [0.025, 0.975])
        return Ratio(float(np.median(base) / np.median(other)), float(low), float(high))

    def only(self, names: Iterable[str], baseline: str | None = None) -> Comparison:
        """The same rounds with fewer functions, in the order of `names`; the first is the baseline unless one is named.

        What is timed once and shown in parts has one time and one ratio in all of them. A `baseline` that is not among
        the names is put before them. Raises ValueError for a name that was not timed, and for none.

        >>> slow, fast = Timing("slow", (4.0, 4.0, 4.0), 1), Timing("fast", (1.0, 1.0, 1.0), 1)
        >>> both = Comparison({"slow": slow, "fast": fast}, "slow", {"torch": 1}, 0, 0)
        >>> both.only(["fast"]).medians, list(both.only(["fast"], "slow").timings)
        ({'fast': 1.0}, ['slow', 'fast'])
        """
        kept = [one_of(name, "names", self.timings) for name in names]
        if baseline is not None and one_of(baseline, "baseline", self.timings) not in kept:
            kept = [baseline, *kept]
        if not kept:
            raise ValueError("names must have one that was timed or more; got none")
        return replace(self, timings={name: self.timings[name] for name in kept}, baseline=baseline or kept[0])

    def to_dict(self) -> dict[str, Any]:
        """Every sample and the settings of the comparison, ready for `json.dump`."""
        timings = {
            name: {"median_ms": timing.median, "q1_ms": timing.q1, "q3_ms": timing.q3, "ratio": vars(self.ratio(name)),
                   "inner": timing.inner, "samples_ms": list(timing.samples_ms)}
            for name, timing in self.timings.items()
        }  # fmt: skip
        return {"baseline": self.baseline, "rounds": self.rounds, "warmup": self.warmup, "seed": self.seed,
                "threads": dict(self.threads), "timings": timings}  # fmt: skip

    def _table(self) -> list[tuple[str, ...]]:
        head = ("", "median ms", "ratio [95 %]", "quartiles ms")
        rows = [
            (name, _ms(t.median), str(self.ratio(name)), f"{_ms(t.q1)}–{_ms(t.q3)}") for name, t in self.timings.items()
        ]
        return [head, *rows]

    def _caption(self) -> str:
        used = ", ".join(f"{library} {number}" for library, number in self.threads.items() if number is not None)
        counts = sorted({timing.inner for timing in self.timings.values()})
        calls = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        sample = "one call" if counts[-1] == 1 else f"the mean of {calls} calls in a row"
        shaken = ", ".join(f"{name} ({apart:.1f} times)" for name, apart in self.disturbed.items())
        warning = f" Disturbed, since its quartiles lie far apart: {shaken}; measure it again." if shaken else ""
        return (
            f"Ratio: times as fast as {self.baseline}, with its 95 % interval (bootstrap of whole rounds). "
            f"{self.rounds} rounds in turns after {self.warmup} warm-up calls; a sample is {sample}. Threads: {used}."
            f"{warning}"
        )


def _ms(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if value < 100 else f"{value:,.0f}"
