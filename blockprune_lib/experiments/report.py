"""Records as tables: one line for each task, model, structure, method, rate and settings; mean, interval over seeds.

The interval is Student's, 95 %, over seeds, and needs two of them. It says how far another seed may be, and not how far
another validation set may be: `sampling` adds that for accuracies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._common.tables import html_table, text_table
from .alike import Record, Records, add_seed, digest_of, method_of


@dataclass(frozen=True)
class Line:
    """What the runs of one setting gave, a score of the task's metric for each seed.

    `settings`: the preset, and four digits that change with any setting of the stages and with the text.
    """

    task: str
    model: str
    structure: str
    method: str
    rate: float
    metric: str
    scores: tuple[float, ...]
    dense: float
    majority: float
    examples: int
    rate_pruned: float
    rate_parameters: float
    megabytes: float
    settings: str
    flags: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.scores))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean over seeds."""
        return interval(self.scores)

    @property
    def sampling(self) -> float | None:
        """Half of Wilson's 95 % interval of an accuracy on so many examples; None for other metrics."""
        return wilson_half(self.mean, self.examples) if self.metric == "accuracy" else None

    @property
    def shown(self) -> tuple[Any, ...]:
        """What tells it apart in a table or a picture; `settings` may do so besides."""
        return self.task, self.model, self.structure, self.method, self.rate

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: every field, mean, interval and sampling."""
        more = {"mean": self.mean, "interval": self.interval, "sampling": self.sampling}
        return vars(self) | {"scores": list(self.scores), "flags": list(self.flags)} | more


def lines(records: Records) -> list[Line]:
    """One `Line` for each setting, in order of task, model, structure, method, rate and settings.

    Runs are put together only where nothing but the seed differs. A record that is there twice counts once; two
    different records of one seed raise ValueError.
    """
    groups: dict[tuple[Any, ...], dict[int, Record]] = {}
    for record in records:
        run = record["run"]
        structure = run["structure"] if record.get("densities") else "none"
        key = (run["task"], record["model"]["name"], structure, method_of(run), run["rate"], digest_of(record))
        add_seed(groups.setdefault(key, {}), record)
    return [_line(key, [by_seed[seed] for seed in sorted(by_seed)]) for key, by_seed in sorted(groups.items())]


def interval(scores: Iterable[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of a mean, or None for fewer than two scores.

    >>> [round(end, 3) for end in interval([0.6, 0.7])]
    [0.015, 1.285]
    """
    from scipy import stats  # takes a second to load

    values = np.asarray(list(scores), dtype=float)
    if len(values) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def wilson_half(proportion: float, examples: int) -> float:
    """Half of Wilson's 95 % interval of a proportion of so many examples.

    >>> round(wilson_half(0.6, 277), 3)
    0.057
    """
    from scipy import stats  # takes a second to load

    found = stats.binomtest(round(proportion * examples), examples).proportion_ci(0.95, method="wilson")
    return float(found.high - found.low) / 2


def table(records: Records) -> str:
    """The lines as a table in text, and under it what went wrong."""
    found = lines(records)
    wrong = [f"{' '.join(map(str, line.shown))}: {flag}" for line in found for flag in line.flags]
    return "\n".join([text_table(_cells(found)), *(f"! {flag}" for flag in wrong)])


def html(records: Records) -> str:
    """The lines as a table for a page."""
    return html_table(_cells(lines(records)), "Runs: mean over seeds with its 95 % interval")


#: The columns of the table: what each shows of a line.
_COLUMNS: Mapping[str, Callable[[Line], str]] = {
    "model": lambda line: line.model,
    "task": lambda line: line.task,
    "structure": lambda line: line.structure,
    "method": lambda line: line.method,
    "rate": lambda line: f"{line.rate_pruned:.2f}x",
    "seeds": lambda line: str(len(line.scores)),
    "score": lambda line: f"{'! ' if line.flags else ''}{line.mean:.3f} {line.metric}",
    "95 % over seeds": lambda line: "{:.3f} to {:.3f}".format(*line.interval) if line.interval else "one seed",
    "sampling": lambda line: "" if line.sampling is None else f"± {line.sampling:.3f}",
    "dense": lambda line: f"{line.dense:.3f}",
    "majority": lambda line: f"{line.majority:.3f}",
    "MB": lambda line: f"{line.megabytes:.1f}",
    "settings": lambda line: line.settings,
}


def _cells(found: list[Line]) -> list[list[str]]:
    needed = {"model": len({line.model for line in found}) > 1}  # these two only where they tell lines apart
    needed["settings"] = len({line.shown for line in found}) < len(found)
    columns = {title: show for title, show in _COLUMNS.items() if needed.get(title, True)}
    return [[*columns], *([show(line) for show in columns.values()] for line in found)]


def _line(key: tuple[Any, ...], group: list[Mapping[str, Any]]) -> Line:
    metric = group[0]["metric"]

    def mean(part: str, name: str) -> float:
        return float(np.mean([record[part][name] for record in group]))

    return Line(
        **dict(zip(("task", "model", "structure", "method", "rate", "settings"), key, strict=True)),
        metric=metric,
        scores=tuple(record["final"][metric] for record in group),
        dense=mean("dense", metric),
        majority=mean("majority", metric),
        examples=group[0]["examples"],
        rate_pruned=mean("compression", "rate_pruned"),
        rate_parameters=mean("compression", "rate_parameters"),
        megabytes=mean("compression", "bytes_total") / 1e6,
        flags=tuple(f"seed {record['run']['seed']}: {flag}" for record in group for flag in record.get("flags", ())),
    )
