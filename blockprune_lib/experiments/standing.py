"""A study as a reader asks for it: one line a setting, with what it scored and how fast it is, its rivals beside it.

Of each setting the fastest engine counts, in the precision that it multiplies in. Scores are in points, hundredths of
the task's metric, as GLUE shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .._common.tables import Printed
from ..data.glue import title_of
from .alike import Record, Records, Setting, by_setting, measure_of, steps_of
from .frontier import Point, points
from .report import interval

Family = Literal["dense", "fewer layers", "blocks", "no transformer"]


@dataclass(frozen=True)
class Standing:
    """One setting: its records by seed, and its points, one for each engine that was timed."""

    setting: Setting
    records: tuple[Record, ...]
    points: tuple[Point, ...]

    @property
    def metric(self) -> str:
        """The score to compare by."""
        return str(self.records[0]["metric"])

    @property
    def measure(self) -> str:
        """The same in words."""
        return measure_of(self.records[0])

    @property
    def variant(self) -> str:
        """The name of the one setting that was changed; empty where none was."""
        return self.records[0]["run"]["options"].get("variant") or ""

    @property
    def scores(self) -> tuple[float, ...]:
        """In float32, one for each seed."""
        return tuple(float(record["final"][self.metric]) for record in self.records)

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.scores))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean over seeds; None for one."""
        return interval(self.scores)

    @property
    def family(self) -> Family:
        """Which kind of answer it is to the question how a model gets faster."""
        if self.setting.structure:
            return "blocks"
        if self.records[0]["run"]["options"].get("layers"):
            return "fewer layers"
        return "no transformer" if self.setting.method.startswith("bag-of-words") else "dense"

    @property
    def trained_on(self) -> frozenset[str]:
        """The kinds of machine that trained its models, "CPU" or "GPU"; none where nothing was trained by steps."""
        return frozenset("GPU" if r["hardware"].get("accelerator") else "CPU" for r in self.records if r["stages"])

    @property
    def fastest(self) -> Point | None:
        """The engine in which it is fastest; None where nothing was timed."""
        return max(self.points, key=lambda point: point.times, default=None)

    @property
    def rate_pruned(self) -> float:
        """All weights of the encoder's matrices over those that are left, layers that went counted as gone."""
        return float(self.records[0]["compression"]["rate_pruned"])

    @property
    def steps(self) -> tuple[int, ...]:
        """Training steps after fine-tuning, by seed."""
        return tuple(steps_of(record) for record in self.records)


class Standings(Printed):
    """The settings of one task and model, from slow to fast, those without a time first; prints as a table."""

    def __init__(self, task: str, model: str, lines: Sequence[Standing]) -> None:
        self.task, self.model = task, model
        self.lines = tuple(sorted(lines, key=lambda line: (line.fastest.times if line.fastest else 0.0, line.setting)))

    @property
    def title(self) -> str:
        """The task as GLUE writes it; its name where it is none of GLUE's."""
        return title_of(self.task)

    def of(self, family: Family) -> list[Standing]:
        """Those of one family."""
        return [line for line in self.lines if line.family == family]

    def find(self, method: str, structure: str = "", rate: float = 1.0) -> Standing | None:
        """The setting of a method, and of a structure and rate where it cuts groups; None where it was not run."""
        asked = Setting(self.task, self.model, structure, method, rate)
        return next((line for line in self.lines if line.setting == asked), None)

    @property
    def majority(self) -> float:
        """The score of the majority class."""
        return float(self.lines[0].records[0]["majority"][self.lines[0].metric])

    @property
    def measure(self) -> str:
        """The score of the task, in words."""
        return self.lines[0].measure

    @property
    def seeds(self) -> int:
        """The most seeds that a setting has."""
        return max(len(line.records) for line in self.lines)

    def rival_of(self, line: Standing) -> Standing | None:
        """The best model of fewer layers that is at least as fast; where none is, the fastest of them.

        Where there are no times, that of the highest `rate_pruned` up to a fifth above the line's: a model that kept
        far fewer weights is no rival.
        """
        few = [one for one in self.of("fewer layers") if not one.variant]
        timed = [(one, one.fastest.times) for one in few if one.fastest is not None]
        if not timed or line.fastest is None:
            fair = [one for one in few if one.rate_pruned <= 1.2 * line.rate_pruned]
            return max(fair, key=lambda one: one.rate_pruned, default=None)
        quick = [one for one, times in timed if times >= line.fastest.times]
        fallback = max(timed, key=lambda pair: pair[1])[0]
        return max(quick, key=lambda one: one.mean, default=fallback)

    def slower_rival_of(self, line: Standing) -> Standing | None:
        """The best model of fewer layers that is slower: what a line should beat on both axes; None without times."""
        few = [one for one in self.of("fewer layers") if not one.variant and one.fastest is not None]
        slow = [one for one in few if line.fastest and one.fastest and one.fastest.times < line.fastest.times]
        return max(slow, key=lambda one: one.mean, default=None)

    def _table(self) -> list[list[str]]:
        rows = [["", "score", "over seeds", "times", "engine"]]
        for line in self.lines:
            ends, fast = line.interval, line.fastest
            over = "one seed" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} ({len(line.scores)})"
            over = "no seed" if line.family == "no transformer" else over  # the same whatever the seed
            times = ("", "not timed") if fast is None else (f"{fast.times:.1f}", fast.engine)
            flagged = any(record.get("flags") for record in line.records)
            rows.append([f"{'! ' * flagged}{line.setting.told}", f"{100 * line.mean:.1f}", over, *times])
        return [*rows, ["majority class", f"{100 * self.majority:.1f}", "", "", ""]]

    def _caption(self) -> str:
        examples = self.lines[0].records[0]["examples"]
        return (
            f"{self.task}, {self.model}: 100 × {self.measure} on {examples:,} texts, in float32;\n"
            "over seeds: 95 % interval of the mean (number of seeds); times: as fast as dense float32 by torch"
        )


def standings(records: Records) -> list[Standings]:
    """One for each task and model, in the order of their names. Raises ValueError where records cannot be compared."""
    found = list(records)
    timed = points(found)
    lines = [
        Standing(setting, tuple(group), tuple(point for point in timed if point.setting == setting))
        for setting, group in by_setting(found).items()
    ]
    places = dict.fromkeys(line.setting.place for line in lines)
    return [Standings(*place, [line for line in lines if line.setting.place == place]) for place in places]
