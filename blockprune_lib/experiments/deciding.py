"""The pairs that decide a study: the method against its rival, and blocks against what they must be better than.

the way to choose    reweighted less gradual, at the same structure and rate
the ranking          groups chosen by sensitivity less gradual, which goes by magnitude, at the same structure and rate;
                     a variant of either beside the same variant of gradual
the score alone      the same, where both rank within each matrix, or both over the whole model, all else alike
the scope alone      one ranking over the whole model less one in each matrix, all else alike
the stack            blocks on a few kept layers less those layers dense
the cost             blocks less dense, after as many steps: where a variant changed their number, less its dense
the rival            blocks less the best model of fewer layers that is as fast
the slower rival     blocks less the best model of fewer layers that is slower
the floor            blocks less a bag of words
the size             other groups less the smallest blocks, chosen in the same way at the same rate
the parts            a variant, one setting changed, less the same without it; a cut at once less a gradual one
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._common.files import read_json
from ..pruning.structure import BlockStructure
from .alike import method_of, what_decides
from .paired import Difference, Ends, between
from .standing import Standing, Standings


@dataclass(frozen=True)
class Comparisons:
    """The differences that answer each question; a question without a pair of runs has none."""

    choice: tuple[Difference, ...]
    cost: tuple[Difference, ...]
    rival: tuple[Difference, ...]
    floor: tuple[Difference, ...]
    size: tuple[Difference, ...] = ()
    parts: tuple[Difference, ...] = ()
    slower: tuple[Difference, ...] = ()
    ranking: tuple[Difference, ...] = ()
    score: tuple[Difference, ...] = ()
    scope: tuple[Difference, ...] = ()
    stack: tuple[Difference, ...] = ()

    @property
    def all(self) -> tuple[Difference, ...]:
        """All of them, a pair that answers two questions once."""
        asked = (
            self.choice, self.ranking, self.cost, self.rival, self.floor, self.size, self.parts, self.slower,
            self.score, self.scope, self.stack,
        )  # fmt: skip
        return tuple(dict.fromkeys(one for found in asked for one in found))


def comparisons(study: Standings, *, text: bool = True, recorded: Mapping[str, Ends] | None = None) -> Comparisons:
    """The pairs of one task and model that were run for as many steps; `text`, `recorded` as in `paired.between`."""

    def less(pairs: list[tuple[Standing, Standing | None]]) -> tuple[Difference, ...]:
        made = [(a, b) for a, b in pairs if b is not None and _fair(a, b)]
        found = [between(a.records, b.records, text=text, recorded=recorded) for a, b in made]
        return tuple(one for one in found if one is not None)

    def gradual(line: Standing) -> Standing | None:  # of the same variant, where the line is one
        method = f"gradual, {line.variant}" if line.variant else "gradual"
        return study.find(method, line.setting.structure, line.setting.rate)

    def chosen_by(method: str) -> list[tuple[Standing, Standing | None]]:
        return [(line, gradual(line)) for line in blocks if line.setting.method.partition(", ")[0] == method]

    def twin(line: Standing, **changed: str) -> Standing | None:  # the same but for what is changed
        asked = _made_by(line) | changed
        return next((one for one in blocks if _made_by(one) == asked), None)

    def uncut(line: Standing) -> Standing | None:  # as many layers, dense; None where all layers are kept
        layers = _made_by(line)["layers"]
        return study.find(method_of({"method": "dense", "options": {"layers": layers}})) if layers else None

    blocks = study.of("blocks")
    by_outputs = [line for line in blocks if _made_by(line)["method"] == "sensitivity"]
    over_model = [line for line in blocks if _made_by(line)["scope"] == "model"]
    return Comparisons(
        less(chosen_by("reweighted")),
        less([(line, _dense_beside(study, line)) for line in (*study.of("fewer layers"), *blocks)]),
        less([(line, study.rival_of(line)) for line in blocks]),
        less([(line, study.find("bag-of-words")) for line in blocks]),
        less([(line, other) for line in blocks if (other := _smallest_like(study, line)) is not line]),
        less([(line, _without_its_change(study, line)) for line in (*study.of("fewer layers"), *blocks)]),
        less([(line, study.slower_rival_of(line)) for line in blocks]),
        less(chosen_by("sensitivity")),
        less([(line, twin(line, method="gradual")) for line in by_outputs]),
        less([(line, twin(line, scope="matrix")) for line in over_model]),
        less([(line, uncut(line)) for line in blocks]),
    )


def _made_by(line: Standing) -> dict[str, Any]:
    """All that decides the line's scores, whatever its variant is called."""
    run = line.records[0]["run"]
    stages = {name: what_decides(settings) for name, settings in run["stages"].items()}
    scope = stages.get("prune", {}).pop("scope", "matrix")
    kept = {name: run["options"].get(name) for name in ("layers", "held_out")}
    groups = {"structure": line.setting.structure, "rate": line.setting.rate}
    return {"method": run["method"], "scope": scope, "stages": stages} | groups | kept


def weights_in_a_group(structure: str) -> int:
    """How many weights a group holds, that of a long row or column as if it had 2**20: for an order of sizes.

    >>> weights_in_a_group("tile:32x32"), weights_in_a_group("irregular")
    (1024, 1)
    """
    height, width = BlockStructure.parse(structure).group_shape((1 << 20, 1 << 20))
    return height * width


def _smallest_like(study: Standings, line: Standing) -> Standing:
    """The smallest blocks of more than one weight that were chosen and cut as `line` was, which may be itself."""
    at = line.setting
    like = [o for o in study.of("blocks") if (o.setting.method, o.setting.rate) == (at.method, at.rate)]
    blocks = [one for one in like if weights_in_a_group(one.setting.structure) > 1]
    return min(blocks, key=lambda one: weights_in_a_group(one.setting.structure), default=line)


def best_blocks(study: Standings, rate: float) -> Standing | None:
    """The blocks to speak of at a rate: of those with most seeds the best mean; None where none were run.

    Single weights are no blocks, and a variant is there to be compared. What is timed goes before what is not.
    """
    found = [one for one in study.of("blocks") if one.setting.rate == rate and not one.variant]
    blocks = [one for one in found if weights_in_a_group(one.setting.structure) > 1]
    return max(blocks, key=lambda one: (one.fastest is not None, len(one.scores), one.mean), default=None)


def _fair(line: Standing, other: Standing) -> bool:
    """Whether both trained for as many steps; what is no transformer trains for none."""
    return "no transformer" in (line.family, other.family) or set(line.steps) == set(other.steps)


def _dense_beside(study: Standings, line: Standing) -> Standing | None:
    """Dense after as many steps: the plain one, or that of the line's variant; None where neither was run."""
    found = (study.find("dense"), study.find(f"dense, {line.variant}"))
    return next((one for one in found if one is not None and _fair(line, one)), None)


def _without_its_change(study: Standings, line: Standing) -> Standing | None:
    """The same method without its variant, or cut little by little; None where there is no change, or no such run."""
    method, asked = line.setting.method, (line.setting.structure, line.setting.rate)
    if line.variant:
        return study.find(method.removesuffix(f", {line.variant}"), *asked)
    return study.find("gradual", *asked) if method == "magnitude" else None


def read_rows(path: str | os.PathLike[str]) -> dict[str, Ends]:
    """The intervals over rows that `python -m tools.paired_rows` kept: {identity: (low, high)}; {} without the file."""
    try:
        kept = read_json(path)["rows"]
    except FileNotFoundError:
        return {}
    return {identity: (float(low), float(high)) for identity, (low, high) in kept.items()}
