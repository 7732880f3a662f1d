"""Checkers of *know-your-machine*: flaws by name, a layer's intensity, a fair timer, points under a roof."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...machine.passport import hardware
from ..answers import Judged, agree, number, positive
from ..exercises import Function, Wrong, exercise

FLAWS = {1: "threads", 2: "cache", 3: "compilation", 4: "one run"}
NAMES = ("compilation", "cache", "threads", "denormals", "one run")


@exercise("name-the-flaw")
def name_the_flaw(answer: Any) -> str:
    """Put each timing beside the reports A to E, and ask what they have in common."""
    if not isinstance(answer, dict) or set(answer) != set(FLAWS):
        raise Wrong("the answer should be a dictionary with the keys 1, 2, 3 and 4")
    for timing, flaw in answer.items():
        if flaw is ... or flaw is None:
            raise Wrong(f"timing {timing} has no flaw yet")
        if flaw not in NAMES:
            raise Wrong(f"timing {timing}: {flaw!r} is not one of {', '.join(NAMES)}")
    wrong = [str(timing) for timing in sorted(FLAWS) if answer[timing] != FLAWS[timing]]
    if wrong:
        raise Wrong(f"another flaw ruins timing {' and timing '.join(wrong)}")
    return "all four flaws are named"


@exercise("intensity", "intensity(tokens, inputs, outputs, density)")
def intensity(answer: Function) -> str:
    """FLOPs: 2 for each kept weight and token. Bytes: 4 for each number of x, kept W and y."""
    cases = ((1, 1, 1, 1.0), (128, 768, 3072, 1.0), (1, 4096, 4096, 1.0), (7, 384, 1536, 0.5), (256, 1536, 384, 0.1))

    def judge(tokens: int, inputs: int, outputs: int, density: float) -> Judged:
        kept, ends = density * inputs * outputs, tokens * (inputs + outputs)
        right = 2 * tokens * kept / (4 * (ends + kept))
        return right, {
            "each kept weight is multiplied and added for each token: that is two FLOP": right / 2,
            "the arrays are counted in numbers; a float32 number is 4 bytes": right * 4,
            "weights that were pruned are not moved either": 2 * tokens * kept / (4 * (ends + inputs * outputs)),
            "weights that were pruned are not multiplied either": right / density,
            "the input and the output have to be moved too": tokens / 2,
            "FLOPs are off by 2, and bytes are counted in numbers": right / 2 * 4,
        }

    where = "for {} tokens, {} inputs, {} outputs, density {}"
    agree(answer, cases, judge, where, unit=" FLOP per byte")
    return "it agrees with the count for five shapes; pruning moves a layer to the left"


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
        own = 0

        def call() -> None:
            nonlocal own
            self.now += self.mood(self.calls, self.now, own, base)
            self.calls += 1
            own += 1

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
            got = answer(machine.function(old), machine.function(new), machine.clock, rounds)
            if machine.reads == 0:
                raise Wrong("the clock that was handed in is never read", "call clock() before and after each call")
            ratio = number(got, f"on a machine that {vice}")
            if vice == "does nothing odd" and math.isclose(ratio, new / old, rel_tol=tolerance):
                raise Wrong("the ratio is upside down: it should be above 1 where `new` is quicker", "old over new")
            if not math.isclose(ratio, old / new, rel_tol=tolerance):
                raise Wrong(f"a machine that {vice} fooled it: it found {ratio:.2f}, and {old / new:.2f} is true")
    return "no machine fooled it"


@exercise("own-points")
def own_points(answer: Any) -> str:
    """A sum or a norm lies left of the ridge, a product of large matrices right of it."""
    if not isinstance(answer, dict):
        raise Wrong("the answer should be a dictionary: name to (FLOPs, bytes, ms)")
    for name, point in answer.items():
        if not positive(point, 3):
            raise Wrong(f"{name!r} should have three positive numbers: FLOPs, bytes and ms")
    if len(answer) < 3:
        raise Wrong(f"three operations or more, please; there are {len(answer)}")
    machine = hardware()
    roofs = {name: machine.roofline(float(f), float(q), threads=1) for name, (f, q, _) in answer.items()}
    for name, (f, _, ms) in answer.items():
        if f / ms / 1e6 > 5 * (machine.peak_all_gflops or math.inf):
            raise Wrong(f"{name!r} would be far above the peak of all cores; is its time in ms?")
    sides = [roof.bound for roof in roofs.values()]
    for bound, side in (("memory", "left"), ("compute", "right")):
        if bound not in sides:
            ridge = next(iter(roofs.values())).ridge
            raise Wrong(f"no operation lies {side} of the ridge, at {ridge:.1f} FLOP per byte")
    shares = {name: f / ms / 1e6 / roofs[name].gflops for name, (f, _, ms) in answer.items()}
    best = max(shares, key=lambda name: shares[name])
    return (
        f"{sides.count('memory')} left and {sides.count('compute')} right of the ridge; "
        f"{best!r} comes closest to its roof, or passes it, with {100 * shares[best]:.0f} %"
    )
