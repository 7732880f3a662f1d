"""Checkers of *the-whole-model*: Amdahl's law solved for a part, layers worth swapping, a profile that adds up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from ..answers import is_number, number
from ..exercises import Function, Wrong, exercise


@exercise("needed-speed", "needed(share, target)")
def needed_speed(answer: Function) -> str:
    """Solve 1 / (1 - share + share / speed) = target for the speed. When is there none?"""
    for share, target in ((1.0, 5.0), (0.5, 1.5), (2 / 3, 2.0), (1 / 3, 2.0), (0.9, 12.0), (0.8, 1.0)):
        got = answer(share, target)
        left = 1 / target - (1 - share)
        where = f"for a share of {share:.3g} and a target of {target:g}"
        if left <= 1e-12:
            if got is not None:
                raise Wrong(f"{where} it gives {got!r}", "with the part gone altogether the whole is still too slow")
            continue
        speed = number(got, where)
        if not math.isclose(speed, share / left, rel_tol=1e-9):
            raise Wrong(f"{where} it gives {speed:.4g}", f"the whole would be {_whole(share, speed):.4g} times as fast")
    return "it agrees with the law at six points, and says where no speed will do"


def _whole(share: float, speed: float) -> float:
    return 1 / (1 - share + share / speed) if speed > 0 else 0.0


@exercise("choose-layers", "choose(layers, rest, target)")
def choose_layers(answer: Function) -> str:
    """Each layer saves dense minus sparse. Fewest layers: take the largest savings first."""
    cases = (
        ({"query": (4.0, 1.0), "up": (16.0, 4.0), "down": (16.0, 9.0)}, 5.0, 30.0),
        ({"query": (4.0, 1.0), "up": (16.0, 4.0), "down": (16.0, 9.0)}, 5.0, 41.0),
        ({"a": (2.0, 3.0), "b": (5.0, 4.0), "c": (6.0, 1.0)}, 1.0, 8.5),
        ({"a": (2.0, 3.0), "b": (5.0, 4.0)}, 1.0, 6.0),
    )
    for layers, rest, target in cases:
        got = answer(dict(layers), rest, target)
        best = _fewest(layers, rest, target)
        where = f"for {layers}, the rest {rest:g} ms and a target of {target:g} ms"
        if best is None:
            if got is not None:
                raise Wrong(f"{where} no choice is fast enough; it should return None, not {got!r}")
            continue
        if got is None:
            raise Wrong(f"{where} it returned None", "there is a choice that is fast enough")
        if not isinstance(got, (list, tuple, set)) or not set(got) <= set(layers):
            raise Wrong(f"{where} it returned {got!r}, expected names of layers")
        if _time(layers, set(got), rest) > target + 1e-9:
            raise Wrong(f"{where} {sorted(got)} still takes {_time(layers, set(got), rest):g} ms")
        if len(set(got)) > best:
            raise Wrong(f"{where} it swaps {len(set(got))} layers", f"{best} are enough; a layer may even get slower")
    return "it reaches each target with the fewest layers, and says where none is reached"


def _time(layers: Mapping[str, tuple[float, float]], chosen: set[str], rest: float) -> float:
    return rest + sum(sparse if name in chosen else dense for name, (dense, sparse) in layers.items())


def _fewest(layers: Mapping[str, tuple[float, float]], rest: float, target: float) -> int | None:
    for count in range(len(layers) + 1):
        if any(_time(layers, set(some), rest) <= target + 1e-9 for some in combinations(layers, count)):
            return count
    return None


@exercise("own-profile")
def own_profile(answer: Any) -> str:
    """Time the parts with hooks as the page does; what you did not name is the rest."""
    if not isinstance(answer, Mapping) or "total" not in answer:
        raise Wrong('the answer should be a dictionary of ms with the key "total"')
    parts = {name: ms for name, ms in answer.items() if name != "total"}
    if len(parts) < 3:
        raise Wrong(f"it names {len(parts)} parts, expected three or more besides the total")
    for name, ms in answer.items():
        if not is_number(ms) or not 0 <= ms < math.inf:
            raise Wrong(f"{name!r} should be a time in ms, got {ms!r}")
    if sum(parts.values()) > 1.1 * answer["total"]:
        raise Wrong("the parts add up to more than the total", "is a part counted inside another one?")
    largest = max(parts, key=lambda name: parts[name])
    return f"the parts fit into the total; {largest!r} is the one to work on"
