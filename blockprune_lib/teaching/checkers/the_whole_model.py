"""Checkers of *the-whole-model*: Amdahl's law solved for a part, layers worth swapping, a profile that adds up."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Set
from itertools import combinations
from typing import Any

import numpy as np

from ..exercises import Function, attempt, exercise, expect, is_number, number


@exercise("needed-speed", "needed(share, target)")
def needed_speed(answer: Function) -> str:
    """Solve 1 / (1 - share + share / speed) = target for the speed. When is there none?"""
    for share, target in ((1.0, 5.0), (0.5, 1.5), (2 / 3, 2.0), (1 / 3, 2.0), (0.9, 12.0), (0.8, 1.0), (0.5, 2.0)):
        left = 1 / target - (1 - share)
        where = f"for a share of {share:.3g} and a target of {target:g}"
        got = attempt(where, answer, share, target)
        if left <= 1e-12:
            slow = "with the part gone altogether the whole is still too slow"
            expect(got is None, f"{where} it gives {got!r:.40}, not None", slow)
            continue
        expect(got is not None, f"{where} it gives None", "there is a speed that will do; is it returned?")
        speed = number(got, where)
        whole = 1 / (1 - share + share / speed) if speed > 0 else 0.0
        hint = f"the whole would be {whole:.4g} times as fast"
        expect(math.isclose(speed, share / left, rel_tol=1e-6), f"{where} it gives {speed:.4g}", hint)
    return "it agrees with the law at seven points, and says where no speed will do"


@exercise("choose-layers", "choose(layers, rest, target)")
def choose_layers(answer: Function) -> str:
    """Each layer saves dense minus sparse. Fewest layers: take the largest savings first."""
    cases = (
        ({"query": (4.0, 1.0), "up": (16.0, 4.0), "down": (16.0, 9.0)}, 5.0, 30.0),
        ({"query": (4.0, 1.0), "up": (16.0, 4.0), "down": (16.0, 9.0)}, 5.0, 41.0),
        ({"a": (2.0, 3.0), "b": (5.0, 4.0), "c": (6.0, 1.0)}, 1.0, 8.5),
        ({"down": (16.0, 15.0), "query": (10.0, 2.0)}, 5.0, 24.0),  # the slowest layer saves little
        ({"a": (2.0, 3.0), "b": (5.0, 4.0)}, 1.0, 6.0),
    )
    for layers, rest, target in cases:
        choices = (some for count in range(len(layers) + 1) for some in combinations(layers, count))
        best = next((len(some) for some in choices if _time(layers, some, rest) <= target + 1e-9), None)
        where = f"for {layers}, the rest {rest:g} ms and a target of {target:g} ms"
        got = attempt(where, answer, dict(layers), rest, target)
        if best is None:
            expect(got is None, f"{where} no choice is fast enough; it should return None, not {got!r}")
            continue
        expect(got is not None, f"{where} it returned None", "there is a choice that is fast enough")
        listed = isinstance(got, (list, tuple, Set, np.ndarray))  # the keys of a dictionary are a set, too
        named = listed and all(isinstance(name, str) and name in layers for name in got)
        expect(named, f"{where} it returned {got!r:.80}, expected names of layers")
        count, time = len(set(got)), _time(layers, got, rest)
        expect(time <= target + 1e-9, f"{where} {sorted(got)} still takes {time:g} ms")
        slow = "; a layer may even get slower" if any(layers[name][1] >= layers[name][0] for name in got) else ""
        expect(count <= best, f"{where} it swaps {count} layers", f"{best} would do{slow}")
    return "it reaches each target with the fewest layers, and says where none is reached"


def _time(layers: Mapping[str, tuple[float, float]], chosen: Collection[str], rest: float) -> float:
    return rest + sum(sparse if name in chosen else dense for name, (dense, sparse) in layers.items())


@exercise("own-profile")
def own_profile(answer: Any) -> str:
    """Time the parts with hooks as the page does; what you did not name is the rest."""
    total = isinstance(answer, Mapping) and "total" in answer
    expect(total, 'the answer should be a dictionary of ms with the key "total"')
    parts = {name: ms for name, ms in answer.items() if name != "total"}
    expect(len(parts) >= 3, f"it names {len(parts)} parts, expected three or more besides the total")
    expect(is_number(answer["total"]) and 0 < answer["total"] < math.inf, "the total should be a time in ms, above 0")
    for name, ms in answer.items():
        expect(is_number(ms) and 0 <= ms < math.inf, f"{name!r} should be a time in ms, got {ms!r}")
    fit = sum(parts.values()) <= 1.1 * answer["total"]
    expect(fit, "the parts add up to more than the total", "is a part counted inside another one?")
    covered = sum(parts.values()) >= 0.8 * answer["total"]
    expect(covered, "the parts cover less than four fifths of the total", "what no hook saw is a part too: 'rest'")
    named = any("rest" in re.findall(r"\w+", str(name).lower()) for name in parts)
    expect(named, "no part is called 'rest'", "whatever you timed, a call does something else besides; how long?")
    return f"the parts fit into the total; {max(parts, key=parts.__getitem__)!r} is the one to work on"
