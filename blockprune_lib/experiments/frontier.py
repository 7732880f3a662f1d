"""Accuracy against measured latency, every method and every rival in it: what a practitioner chooses by.

A point is on the frontier of its task if no other is at least as fast and at least as accurate. Runs that cannot be
compared are refused: of other rows, another model, another processor or another number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._common.tables import text_table
from .latency import BASELINE
from .report import interval, method_of

#: Precisions that cost accuracy: a time in one of them counts with the score in it.
_FEWER = ("bfloat16", "int8")


@dataclass(frozen=True)
class Point:
    """What one setting gave: its `scores`, one a seed, and its milliseconds a sentence.

    `what`: structure and method, or precision; `times`: as fast as the dense model in float32, measured beside it.
    """

    task: str
    model: str
    what: str
    rate: float
    metric: str
    scores: tuple[float, ...]
    milliseconds: float
    times: float
    best: bool = False

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.scores))


def points(records: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The points of records that have a latency, by task and from slow to fast; those on the frontier are marked.

    Raises ValueError where records of one task and model cannot be compared.
    """
    timed = [record for record in records if record.get("latency")]
    _check(timed)
    groups: dict[tuple[Any, ...], list[tuple[Mapping[str, Any], str, float]]] = {}
    for record in timed:
        for engine, score in _scores(record).items():
            run, blocks = record["run"], bool(record["densities"])
            what = f"{run['structure']} {method_of(run)}, {engine}" if blocks else f"{method_of(run)}, {engine}"
            key = (run["task"], record["model"]["name"], what, run["rate"] if blocks else 1.0, record["metric"])
            groups.setdefault(key, []).append((record, engine, score))
    found = [_point(key, group) for key, group in groups.items()]
    ranked = sorted(found, key=lambda point: (point.task, point.model, point.times))
    return [point if not _beaten(point, ranked) else Point(**(vars(point) | {"best": False})) for point in ranked]


def table(records: Iterable[Mapping[str, Any]]) -> str:
    """The points as a table in text: a star before those on the frontier."""
    cells = [["", "task", "what", "rate", "seeds", "score", "95 %", "ms", "times"]]
    for point in points(records):
        ends = interval(point.scores)
        cells.append([
            "*" if point.best else "", point.task, point.what, f"{point.rate:g}", str(len(point.scores)),
            f"{point.mean:.3f}", "one seed" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}",
            f"{point.milliseconds:.2f}", f"{point.times:.2f}",
        ])  # fmt: skip
    return text_table(cells)


def _scores(record: Mapping[str, Any]) -> dict[str, float]:
    """{engine: score} of what was timed of one record."""
    metric, found = record["metric"], {}
    fewer = {name: scores[metric] for name, scores in record.get("precisions", {}).items()}
    whole = not (record["densities"] or record["run"]["options"].get("layers"))
    for engine in record["latency"]["engines"]:
        if engine != BASELINE or whole:  # beside a smaller model the baseline is another
            precision = engine.split()[-1]
            score = fewer.get(precision, record["final"][metric] if precision not in _FEWER else None)
            if score is not None:
                found[engine] = score
    return found


def _point(key: tuple[Any, ...], group: list[tuple[Mapping[str, Any], str, float]]) -> Point:
    times = [record["latency"]["engines"][engine] for record, engine, _ in group]
    fast = float(np.median([time["ratio"]["value"] for time in times]))
    task, model, what, rate, metric = key
    return Point(
        task, model, what.replace(f", {BASELINE}", ", float32"), rate, metric, tuple(score for *_, score in group),
        float(np.median([time["median_ms"] for time in times])), fast, best=True,
    )  # fmt: skip


def _beaten(point: Point, others: list[Point]) -> bool:
    rivals = [o for o in others if (o.task, o.model) == (point.task, point.model) and o is not point]
    return any(
        o.times >= point.times and o.mean >= point.mean and (o.times, o.mean) != (point.times, point.mean)
        for o in rivals
    )


def _check(timed: list[Mapping[str, Any]]) -> None:
    first: dict[tuple[str, str], tuple[Mapping[str, Any], dict[str, Any]]] = {}
    for record in timed:
        of = record["latency"]
        same = {
            "rows": record["data"].get("fingerprint"), "weights": record["model"].get("sha256"),
            "processor": of["cpu"], "instructions": of["isa"], "threads": of["threads"], "sentences": of["sentences"],
        }  # fmt: skip
        other, known = first.setdefault((record["run"]["task"], record["model"]["name"]), (record, same))
        if wrong := [name for name in same if same[name] != known[name]]:
            names = f"{other['name']!r} and {record['name']!r}"
            raise ValueError(f"{names} cannot be compared: their {', '.join(wrong)} differ")
