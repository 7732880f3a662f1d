"""Checkers of *know-your-machine*: flaws by name, a layer's intensity, a fair timer, points under a roof."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..exercises import Wrong, exercise

FLAWS = {1: "threads", 2: "cache", 3: "compilation", 4: "one run"}
NAMES = ("compilation", "cache", "threads", "denormals", "one run")


@exercise("name-the-flaw", hint="Put each timing beside the reports A to E, and ask what they have in common.")
def name_the_flaw(answer: Any) -> str:
    """Compare the four names; say which report is wrong, and never what would be right."""
    if not isinstance(answer, dict) or set(answer) != set(FLAWS):
        raise Wrong("the answer should be a dictionary with the keys 1, 2, 3 and 4")
    for number, flaw in answer.items():
        if flaw is ... or flaw is None:
            raise Wrong(f"timing {number} has no flaw yet")
        if flaw not in NAMES:
            raise Wrong(f"timing {number}: {flaw!r} is not one of {', '.join(NAMES)}")
    wrong = [str(number) for number in sorted(FLAWS) if answer[number] != FLAWS[number]]
    if wrong:
        raise Wrong(f"another flaw ruins timing {' and timing '.join(wrong)}")
    return "all four flaws are named"


@exercise("intensity", hint="FLOPs: 2 for each kept weight and token. Bytes: 4 for each number of x, kept W and y.")
def intensity(answer: Callable[..., float]) -> str:
    """Compare with the count over several shapes; name the usual slips."""
    if not callable(answer):
        raise Wrong("the answer should be a function intensity(tokens, inputs, outputs, density)")
    for tokens, inputs, outputs, density in (
        (1, 1, 1, 1.0),
        (128, 768, 3072, 1.0),
        (1, 4096, 4096, 1.0),
        (7, 384, 1536, 0.5),
        (256, 1536, 384, 0.1),
    ):
        got = answer(tokens, inputs, outputs, density)
        if not isinstance(got, (int, float, np.number)) or got is True:
            raise Wrong(f"it returned {type(got).__name__}, expected a number")
        kept = density * inputs * outputs
        ends = tokens * (inputs + outputs)
        expected = 2 * tokens * kept / (4 * (ends + kept))
        slips = {
            expected / 2: "each kept weight is multiplied and added for each token: that is two FLOP",
            expected * 4: "the arrays are counted in numbers; a float32 number is 4 bytes",
            expected / 2 * 4: "FLOPs are off by 2, and bytes are counted in numbers",
            2 * tokens * kept / (4 * (ends + inputs * outputs)): "weights that were pruned are not moved either",
            2 * tokens * inputs * outputs / (4 * (ends + kept)): "weights that were pruned are not multiplied either",
            2 * tokens * kept / (4 * kept): "the input and the output have to be moved too",
        }
        if math.isclose(got, expected, rel_tol=1e-9):
            continue
        where = f"for {tokens} tokens, {inputs} inputs, {outputs} outputs, density {density}"
        reason = next((text for value, text in slips.items() if math.isclose(got, value, rel_tol=1e-9)), "")
        raise Wrong(f"{where} it gives {got:.6g}, not {expected:.6g} FLOP per byte", reason)
    return "it agrees with the count for five shapes; pruning moves a layer to the left"


class _Machine:
    """A machine whose clock we hold: a call takes what `mood` says of (calls so far, now, own calls so far, base)."""

    def __init__(self, mood: Callable[[int, float, int, float], float]) -> None:
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


def _noise(seed: int) -> Callable[[], float]:
    return np.random.default_rng(seed).random


@exercise("fair-timer", hint="Warm up; swap the order from round to round; compare medians; old over new.")
def fair_timer(answer: Callable[..., float]) -> str:
    """Run the timer on machines with one vice each, from the plain one to the one that favours the second."""
    if not callable(answer):
        raise Wrong("the answer should be a function fair_ratio(old, new, clock, rounds)")
    interrupts, jitter = _noise(1), _noise(2)

    def compiles(call: int, now: float, own: int, base: float) -> float:
        return base if own else base + 50.0

    def slows_down(call: int, now: float, own: int, base: float) -> float:
        return base * (1 + now / 200)

    def is_interrupted(call: int, now: float, own: int, base: float) -> float:
        return base * (40.0 if interrupts() < 0.1 else 1.0)

    def favours_second(call: int, now: float, own: int, base: float) -> float:
        return base * (1.0 if call % 2 == 0 else 0.8) * (1 + 0.6 * jitter())

    machines: list[tuple[str, Callable[[int, float, int, float], float], int, float]] = [
        ("a machine that does nothing odd", lambda call, now, own, base: base, 20, 0.001),
        ("a machine that compiles at the first call", compiles, 2, 0.02),
        ("a machine that slows down steadily", slows_down, 20, 0.04),
        ("a machine that is interrupted now and then", is_interrupted, 40, 0.02),
        ("a machine that favours whoever runs second", favours_second, 200, 0.12),
    ]
    for name, mood, rounds, tolerance in machines:
        for old, new in ((3.0, 1.0), (1.0, 2.0)):
            machine = _Machine(mood)
            got = answer(machine.function(old), machine.function(new), machine.clock, rounds)
            if machine.reads == 0:
                raise Wrong("the clock that was handed in is never read", "call clock() before and after each call")
            if not isinstance(got, (int, float, np.number)) or not math.isfinite(got):
                raise Wrong(f"it returned {got!r}, expected a number")
            if name == machines[0][0] and math.isclose(got, new / old, rel_tol=tolerance):
                raise Wrong("the ratio is upside down: it should be above 1 where `new` is quicker", "old over new")
            if not math.isclose(got, old / new, rel_tol=tolerance):
                raise Wrong(f"{name} fooled it: it found {got:.2f}, and {old / new:.2f} is true")
    return "no machine fooled it"


@exercise("own-points", hint="A sum or a norm lies left of the ridge, a product of large matrices right of it.")
def own_points(answer: Any) -> str:
    """Check that the points are possible and lie on both sides of this machine's ridge."""
    from ...machine.passport import hardware

    if not isinstance(answer, dict):
        raise Wrong("the answer should be a dictionary: name to (FLOPs, bytes, ms)")
    for name, point in answer.items():
        numbers = point if isinstance(point, (tuple, list)) else ()
        if len(numbers) != 3 or not all(isinstance(v, (int, float, np.number)) and 0 < v < math.inf for v in numbers):
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
            raise Wrong(
                f"no operation lies {side} of the ridge, at {next(iter(roofs.values())).ridge:.1f} FLOP per byte"
            )
    shares = {name: f / ms / 1e6 / roofs[name].gflops for name, (f, _, ms) in answer.items()}
    best = max(shares, key=lambda name: shares[name])
    return (
        f"{sides.count('memory')} left and {sides.count('compute')} right of the ridge; "
        f"{best!r} comes closest to its roof, or passes it, with {100 * shares[best]:.0f} %"
    )
