"""The pairs that decide a study: the method against its rival, and blocks against what they must be better than.

the way to choose    reweighted less gradual, at the same structure and rate
the cost             blocks less dense, after as many steps
the rival            blocks less the best model of fewer layers that is as fast
the floor            blocks less a bag of words
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .._common.files import read_json
from .paired import Difference, Ends, between
from .standing import Standing, Standings


@dataclass(frozen=True)
class Comparisons:
    """The differences that answer each question; a question without a pair of runs has none."""

    choice: tuple[Difference, ...]
    cost: tuple[Difference, ...]
    rival: tuple[Difference, ...]
    floor: tuple[Difference, ...]

    @property
    def all(self) -> tuple[Difference, ...]:
        """All of them, a pair that answers two questions once."""
        return tuple(dict.fromkeys((*self.choice, *self.cost, *self.rival, *self.floor)))


def comparisons(study: Standings, *, text: bool = True, recorded: Mapping[str, Ends] | None = None) -> Comparisons:
    """The pairs of one task and model that were run; `text` and `recorded` as in `paired.between`."""

    def less(pairs: list[tuple[Standing, Standing | None]]) -> tuple[Difference, ...]:
        found = [between(a.records, b.records, text=text, recorded=recorded) for a, b in pairs if b is not None]
        return tuple(one for one in found if one is not None)

    def gradual(line: Standing) -> Standing | None:
        return study.find("gradual", line.setting.structure, line.setting.rate)

    blocks = study.of("blocks")
    return Comparisons(
        less([(line, gradual(line)) for line in blocks if line.setting.method == "reweighted"]),
        less([(line, study.find("dense")) for line in (*study.of("fewer layers"), *blocks)]),
        less([(line, study.rival_of(line)) for line in blocks]),
        less([(line, study.find("bag-of-words")) for line in blocks]),
    )


def read_rows(path: str | os.PathLike[str]) -> dict[str, Ends]:
    """The intervals over rows that `python -m tools.paired_rows` kept: {identity: (low, high)}; {} without the file."""
    try:
        kept = read_json(path)["rows"]
    except FileNotFoundError:
        return {}
    return {identity: (float(low), float(high)) for identity, (low, high) in kept.items()}
