"""Accuracy against measured latency, every method and every rival in it: what a practitioner chooses by.

A point is one setting in one engine, and on the frontier of its task if no other is at least as fast and at least as
accurate. Runs that cannot be compared are refused: of other rows, weights or settings, another processor, another
number of threads or of sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from .._common.tables import text_table
from ..machine.comparison import Ratio
from .alike import Record, Records, Setting, by_setting, refuse_unlike, setting_of
from .latency import BASELINE
from .report import interval

#: Precisions that cost accuracy: a time in one of them counts with the score in it.
_FEWER = ("bfloat16", "int8")
#: What must be alike in two latencies, and what it is called.
_MEASURED = {"cpu": "processor", "isa": "instructions", "threads": "threads", "sentences": "sentences"}


@dataclass(frozen=True)
class Point:
    """What one setting gave in one engine: its `scores`, one a seed, and its milliseconds a sentence.

    `engine`: a precision, by torch or as one compiled call; `ratio`: times as fast as the dense model in float32 by
    torch, measured beside it, so that this and not `milliseconds` is what two days have in common.
    """

    setting: Setting
    engine: str
    metric: str
    scores: tuple[float, ...]
    milliseconds: float
    ratio: Ratio
    best: bool = False

    @property
    def times(self) -> float:
        """The value of `ratio`, without its interval."""
        return self.ratio.value

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.scores))


def points(records: Records) -> list[Point]:
    """The points of settings that have a latency, by task and from slow to fast; those on the frontier are marked.

    Seeds without a latency count too: they are the same model. Raises ValueError where records cannot be compared.
    """
    settings = by_setting(records)
    _check([record for group in settings.values() for record in group if record.get("latency")])
    found = [point for setting, group in settings.items() for point in _points_of(setting, group)]
    ranked = sorted(found, key=lambda point: (*point.setting.place, point.times))
    return [replace(point, best=not beaten(point, ranked)) for point in ranked]


def table(records: Records) -> str:
    """The points as tables in text, one for each task and model: a star before those on the frontier.

    Under them what went wrong in a run, as its record says it.
    """
    known, tables = list(records), []
    for (task, model), group in groupby(points(known), key=lambda point: point.setting.place):
        cells = [["", "engine", "score", "95 % over seeds", "times"]]
        for point in group:
            ends, name = interval(point.scores), f"{'*' if point.best else ' '} {point.setting.told}"
            over = "one seed" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f} ({len(point.scores)})"
            cells.append([name, point.engine, f"{point.mean:.3f}", over, f"{point.times:.2f}"])
        tables.append(f"{task}, {model}, {point.metric}\n{text_table(cells)}")
    if not tables:
        return "no record has a latency: blockprune report --time measures it where models are kept"
    wrong = [f"! {record['name']}: {flag}" for record in known for flag in record.get("flags", ())]
    return "\n".join(["\n\n".join(tables), *wrong])


def _points_of(setting: Setting, group: Sequence[Record]) -> Iterable[Point]:
    metric, timed = group[0]["metric"], [record["latency"]["engines"] for record in group if record.get("latency")]
    whole = not setting.structure and not group[0]["run"]["options"].get("layers")  # else the baseline is another model
    for name in dict.fromkeys(name for engines in timed for name in engines):
        scores = [score for record in group if (score := _score(record, name)) is not None]
        if scores and (whole or name != BASELINE):
            found = [engines[name] for engines in timed if name in engines]
            ends = [[time["ratio"][end] for time in found] for end in ("value", "low", "high")]
            fast = Ratio(*(float(np.median(some)) for some in ends))
            slow = float(np.median([time["median_ms"] for time in found]))
            engine = "float32" if name == BASELINE else name
            yield Point(setting, engine, metric, tuple(scores), slow, fast)


def _score(record: Record, engine: str) -> float | None:
    """The score in the precision of an engine; None where it is not known."""
    precision = engine.split()[-1]
    scores = record.get("precisions", {}).get(precision) if precision in _FEWER else record["final"]
    return None if scores is None else float(scores[record["metric"]])


def beaten(point: Point, others: Sequence[Point]) -> bool:
    """Whether another point of its task and model is at least as fast and as accurate, and not the same in both."""
    rivals = [other for other in others if other.setting.place == point.setting.place and other is not point]
    return any(
        o.times >= point.times and o.mean >= point.mean and (o.times, o.mean) != (point.times, point.mean)
        for o in rivals
    )


def _check(timed: list[Record]) -> None:
    first: dict[tuple[str, str], Record] = {}
    for record in timed:
        known = first.setdefault(setting_of(record).place, record)
        refuse_unlike(
            known, record, [name for key, name in _MEASURED.items() if known["latency"][key] != record["latency"][key]]
        )
