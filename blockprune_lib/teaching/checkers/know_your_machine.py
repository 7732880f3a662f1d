"""Checkers of *know-your-machine*: flaws by name, a layer's intensity, a fair timer, points under a roof."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...machine.passport import hardware
from ..exercises import Function, Judged, agree, attempt, exercise, expect, number, positive

FLAWS = {1: "threads", 2: "cache", 3: "compilation", 4: "one run"}
NAMES = ("compilation", "cache", "threads", "denormals", "one run")


@exercise("name-the-flaw")
def name_the_flaw(answer: Any) -> str:
    """Put each timing beside the reports A to E, and ask what they have in common."""
    keys = isinstance(answer, Mapping) and set(answer) == set(FLAWS)
    expect(keys, "the answer should be a dictionary with the keys 1, 2, 3 and 4")
    for timing, flaw in answer.items():
        expect(flaw is not ... and flaw is not None, f"timing {timing} has no flaw yet")
        expect(isinstance(flaw, str) and flaw in NAMES, f"timing {timing}: {flaw!r} is not one of {', '.join(NAMES)}")
    wrong = [str(timing) for timing in sorted(FLAWS) if answer[timing] != FLAWS[timing]]
    expect(not wrong, f"another flaw ruins timing {' and timing '.join(wrong)}")
    return "all four flaws are named"


@exercise("intensity", "intensity(tokens, inputs, outputs, density)")
def intensity(answer: Function) -> str:
    """FLOPs: 2 for each kept weight and token. Bytes: 4 for each number of x, kept W and y."""
    cases = ((1, 2, 3, 1.0), (128, 768, 3072, 1.0), (1, 4096, 4096, 1.0), (7, 384, 1536, 0.5), (256, 1536, 384, 0.1))

    def judge(tokens: int, inputs: int, outputs: int, density: float) -> Judged:
        kept, ends = density * inputs * outputs, tokens * (inputs + outputs)
        right = 2 * tokens * kept / (4 * (ends + kept))
        return right, {
            "each kept weight is multiplied and added for each token: that is two FLOP": right / 2,
            "the arrays are counted in numbers; a float32 number is 4 bytes": right * 4,
            "weights that were pruned are not moved either": 2 * tokens * kept / (4 * (ends + inputs * outputs)),
            "weights that were pruned are not multiplied either": right / density,
            "the input and the output have to be moved too": tokens / 2,
            "the output has to be moved too": 2 * tokens * kept / (4 * (tokens * inputs + kept)),
            "the input has to be moved too": 2 * tokens * kept / (4 * (tokens * outputs + kept)),
            "that is bytes per FLOP": 1 / right,
            "the task leaves the indices out": 2 * tokens * kept / (4 * (ends + 2 * kept)),
            "density is the share of the weights that are kept, not of those that went":
                2 * tokens * (inputs * outputs - kept) / (4 * (ends + inputs * outputs - kept)),
            "a float32 number is 4 bytes, not 8, and a multiply-add is two FLOP": right / 4,
            "FLOPs are off by 2, and bytes are counted in numbers": right / 2 * 4,
        }  # fmt: skip

    # A whole number of kept weights is as good an answer as a share of them.
    where = "for tokens = {}, inputs = {}, outputs = {}, density = {}"
    agree(answer, cases, judge, where, unit=" FLOP per byte", rel_tol=1e-4)
    return "it agrees with the count for five shapes; now ask it where a layer moves when the density falls"


#: How long a call takes on a machine, by (calls so far, now, own calls so far, what it would take without vices).
Mood = Callable[[int, float, int, float], float]


class _Machine:
    """A machine whose clock we hold."""

    def __init__(self, mood: Mood) -> None:
        self.now, self.calls, self.reads, self.mood = 0.0, 0, 0, mood

    def clock(self) -> float:
        self.reads += 1
        return self.now

    def function(self, base: float) -> Callable[[], None]:
        own = itertools.count()

        def call() -> None:
            self.now += self.mood(self.calls, self.now, next(own), base)
            self.calls += 1

        return call


@exercise("fair-timer", "fair_ratio(old, new, clock, rounds)")
def fair_timer(answer: Function) -> str:
    """Warm up; swap the order from round to round; compare medians; old over new."""
    interrupt, jitter = np.random.default_rng(1).random, np.random.default_rng(2).random
    moods: dict[str, Mood] = {
        "does nothing odd": lambda call, now, own, base: base,
        "compiles at the first call": lambda call, now, own, base: base if own else base + 50.0,
        "slows down steadily": lambda call, now, own, base: base * (1 + now / 200),
        "is interrupted now and then": lambda call, now, own, base: base * (40.0 if interrupt() < 0.1 else 1.0),
        "favours whoever runs second": lambda call, now, own, base: base * (1 - call % 2 / 5) * (1 + 0.6 * jitter()),
    }
    rounds_and_tolerances = ((20, 0.001), (2, 0.02), (20, 0.04), (40, 0.02), (200, 0.12))
    for (vice, mood), (rounds, tolerance) in zip(moods.items(), rounds_and_tolerances, strict=True):
        for old, new in ((3.0, 1.0), (1.0, 2.0)):
            machine = _Machine(mood)
            functions, place = (machine.function(old), machine.function(new)), f"on a machine that {vice}"
            stuck = "the clock moves only while `old` or `new` runs: time a number of calls, `rounds` of each"
            got = attempt(place, answer, *functions, machine.clock, rounds, hint=stuck)
            remedy = "call clock() before and after each call, with rounds as small as 2 as well"
            expect(machine.reads, "the clock that was handed in is never read", remedy)
            ratio = number(got, place)
            few = f"with rounds={rounds} it finds no number: {ratio}"
            expect(math.isfinite(ratio), few, "two rounds should be enough for a first answer")
            inverse = vice == "does nothing odd" and math.isclose(ratio, new / old, rel_tol=tolerance)
            expect(not inverse, "the ratio is upside down: it should be above 1 where `new` is quicker", "old over new")
            plainly = f"on a machine that does nothing odd it finds {ratio:.4g}, and {old / new:.4g} is true"
            expect(vice != "does nothing odd" or math.isclose(ratio, old / new, rel_tol=tolerance), plainly)
            fooled = f"a machine that {vice} fooled it: it found {ratio:.2f}, and {old / new:.2f} is true"
            expect(math.isclose(ratio, old / new, rel_tol=tolerance), fooled)
    return "no machine fooled it"


@exercise("own-points")
def own_points(answer: Any) -> str:
    """A sum or a norm lies left of the ridge, a product of large matrices right of it."""
    expect(isinstance(answer, dict), "the answer should be a dictionary: name to (FLOPs, bytes, ms)")
    for name, point in answer.items():
        expect(positive(point, 3), f"{name!r} should have three positive numbers: FLOPs, bytes and ms")
    expect(len(answer) >= 3, f"three operations or more, please; there are {len(answer)}")
    machine = hardware()
    roofs = {name: machine.roofline(float(f), float(q), threads=1) for name, (f, q, _) in answer.items()}
    speeds = {name: f / ms / 1e6 for name, (f, _, ms) in answer.items()}
    for name, gflops in speeds.items():
        possible = gflops <= 5 * (machine.peak_all_gflops or math.inf)
        expect(possible, f"{name!r} would be far above the peak of all cores; is its time in ms?")
    sides, ridge = [roof.bound for roof in roofs.values()], next(iter(roofs.values())).ridge
    intensities = ", ".join(f"{name!r} at {float(f) / float(q):.3g}" for name, (f, q, _) in answer.items())
    for bound, side in (("memory", "left"), ("arithmetic", "right")):
        none = f"no operation lies {side} of the ridge, at {ridge:.1f} FLOP per byte; yours lie {intensities}"
        expect(bound in sides, none, "the product of matrices of side m lies at m / 6, where each number moves once")
    shares = {name: gflops / roofs[name].gflops for name, gflops in speeds.items()}
    best = max(shares, key=lambda name: shares[name])
    slow = f"none comes near its roof, the best to {shares[best]:.2%} of it; are the times in ms?"
    expect(shares[best] > 0.01, slow, "the work of one call, on one thread, in thousandths of a second")
    places = f"{sides.count('memory')} left and {sides.count('arithmetic')} right of the ridge"
    return f"{places}; {best!r} comes closest to its roof, or passes it, with {100 * shares[best]:.0f} %"
