"""One method against another, pair by pair: the same task, structure, rate and seed, and the same rows.

What both have in common (a lucky seed, hard rows) falls out of a difference, so that it is told apart sooner than two
scores are. Two intervals are given, and a verdict asks for both:

    seeds   Student's 95 % interval of the mean difference: how far other seeds may be
    rows    bootstrap over the validation rows, drawn for both alike: how far other rows may be
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._common.tables import text_table
from ..data import metrics
from .actions import load_task
from .report import interval, method_of
from .run_spec import Run

_RESAMPLES = 1000
Ends = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """Score of `method` less that of `against`, one for each seed that both have.

    `rows`: the 95 % interval over validation rows; None where the text is not at hand.
    """

    task: str
    structure: str
    rate: float
    method: str
    against: str
    by_seed: tuple[float, ...]
    rows: Ends | None

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.by_seed))

    @property
    def seeds(self) -> Ends | None:
        """Student's 95 % interval over seeds; None for one seed."""
        return interval(self.by_seed)

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where both intervals say so, else "not told apart"; of one seed nothing is said."""
        if self.seeds is None:
            return "one seed"
        low = min(ends[0] for ends in (self.seeds, self.rows) if ends is not None)
        high = max(ends[1] for ends in (self.seeds, self.rows) if ends is not None)
        return "better" if low > 0 else "worse" if high < 0 else "not told apart"


def differences(records: Iterable[Mapping[str, Any]], against: str, *, text: bool = True) -> list[Difference]:
    """Every other method less the method `against`, wherever both were run alike. `text`: load the tasks, for the rows.

    Raises ValueError where no record is of that method, or where two were scored on other rows.
    """
    found = list(records)
    runs: dict[tuple[str, ...], dict[tuple[str, int], Mapping[str, Any]]] = {}
    for record in found:
        run = record["run"]
        place = (run["task"], record["model"]["name"], run["structure"], f"{run['rate']:g}")
        runs.setdefault(place, {})[method_of(run), run["seed"]] = record
    if not any(method == against for one in runs.values() for method, _ in one):
        raise ValueError(f"against must be a method of the records; got {against!r}")
    result = []
    for (task, _, structure, rate), one in sorted(runs.items()):
        for method in sorted({method for method, _ in one} - {against}):
            seeds = sorted({seed for name, seed in one if name == method} & {s for name, s in one if name == against})
            pairs = [(one[method, seed], one[against, seed]) for seed in seeds]
            if pairs:
                by_seed = tuple(a["final"][a["metric"]] - b["final"][b["metric"]] for a, b in pairs)
                rows = _over_rows(pairs) if text else None
                result.append(Difference(task, structure, float(rate), method, against, by_seed, rows))
    return result


def table(records: Iterable[Mapping[str, Any]], against: str) -> str:
    """The differences as a table in text."""
    cells = [["task", "structure", "rate", "method", f"less {against}", "seeds", "over seeds", "over rows", ""]]
    cells += [
        [
            d.task, d.structure, f"{d.rate:g}", d.method, f"{d.mean:+.3f}", str(len(d.by_seed)),
            *map(_ends, (d.seeds, d.rows)), d.verdict,
        ]
        for d in differences(records, against)
    ]  # fmt: skip
    return text_table(cells)


def _over_rows(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Ends | None:
    """The interval of the mean difference over seeds, rows drawn with replacement, the same for all."""
    first = pairs[0][0]
    for record in (record for pair in pairs for record in pair):
        if record["data"].get("fingerprint") != first["data"].get("fingerprint"):
            raise ValueError(f"{record['name']!r} and {first['name']!r} cannot be compared: their rows differ")
    if not all(record.get("predictions") for pair in pairs for record in pair):
        return None
    try:
        task = load_task(Run.of(first["run"], "run"))
    except (OSError, ValueError):
        return None
    if task.fingerprint != first["data"]["fingerprint"]:
        return None
    truth = np.asarray(task.validation["label"])
    said = [[_values(record["predictions"]) for record in pair] for pair in pairs]
    drawn = np.random.default_rng(0).integers(0, len(truth), size=(_RESAMPLES, len(truth)))
    means = [
        np.mean([_score(task, a[rows], truth[rows]) - _score(task, b[rows], truth[rows]) for a, b in said])
        for rows in drawn
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _score(task: Any, predictions: Any, labels: Any) -> float:
    return metrics.compute(task.metric_set, predictions, labels)[task.primary]


def _values(predictions: str) -> Any:
    if "," in predictions:
        return np.array([float(value) for value in predictions.split(",")])
    return np.array([int(sign, 16) for sign in predictions])


def _ends(ends: Ends | None) -> str:
    return "" if ends is None else f"{ends[0]:+.3f} to {ends[1]:+.3f}"
