"""One setting against another, pair by pair: the same task, model and seed, and the same rows.

What both have in common (a lucky seed, hard rows) falls out of a difference, so that it is told apart sooner than two
scores are. Two intervals are given, and a verdict asks for both:

    seeds   Student's 95 % interval of the mean difference: how far other seeds may be
    rows    bootstrap over the validation rows, drawn for both alike: how far other rows may be

The rows need the true labels, so the text must be at hand; an interval that was kept where it was (`recorded`) is known
again by what the two models predicted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._common.tables import Printed, text_table
from ..data import metrics
from ..data.glue import title_of
from .actions import load_task
from .alike import Record, Records, Setting, by_setting
from .flags import collapsed
from .report import interval
from .run_spec import Run

_RESAMPLES = 1000
Ends = tuple[float, float]
Pairs = Sequence[tuple[Record, Record]]


@dataclass(frozen=True)
class Difference:
    """Score of `method` less that of `against`, one for each seed that both have.

    `rows`: the 95 % interval over validation rows; None where the text is not at hand. `identity`: a checksum of what
    both predicted. Where `against` cut no group, `structure` and `rate` are those of `method` alone. `collapsed`: a
    model of either scored no more than the majority class, so that hardly anything can be told of it.
    """

    task: str
    structure: str
    rate: float
    method: str
    against: str
    by_seed: tuple[float, ...]
    rows: Ends | None
    model: str = ""
    identity: str = ""
    collapsed: bool = False

    @property
    def title(self) -> str:
        """The task as GLUE writes it; its name where it is none of GLUE's."""
        return title_of(self.task)

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

    @property
    def what(self) -> str:
        """The method as its `Setting` tells it."""
        return Setting(self.task, self.model, self.structure, self.method, self.rate).told

    @property
    def told(self) -> str:
        """The difference in one sentence, in points: hundredths of the score.

        >>> Difference("rte", "row", 5.0, "gradual", "dense", (-0.02,), None).told
        'row gradual at 5 against dense: -2.0 points, one seed: no verdict'
        """
        said = f"{self.what} against {self.against}: {100 * self.mean:+.1f} points"
        if self.seeds is None:
            beside = f" (over rows {_in_points(self.rows)})" if self.rows else ""
            return f"{said}, one seed{beside}: no verdict"
        over = [f"over {len(self.by_seed)} seeds {_in_points(self.seeds)}"]
        over += [f"over rows {_in_points(self.rows)}" if self.rows else "the rows not at hand"]
        return f"{said}, {', '.join(over)}: {self.verdict}"


class Differences(Printed):
    """Differences of one task and model, a line each, in points; prints as a table with both intervals.

    What all lines that cut share, groups or else method and rate, stands in the caption. A `!` marks a line of which a
    model collapsed.
    """

    def __init__(self, found: Sequence[Difference], caption: str = "") -> None:
        self.found, self.caption = tuple(found), caption

    def _table(self) -> list[list[str]]:
        several = len({one.against for one in self.found}) > 1
        rows = [["", "points", "over seeds", "over rows", "verdict"]]
        bound = "\u00a0" if self._shared else " "  # an interval breaks once, where names leave room for that
        for one in self.found:
            both = [_in_points(ends).replace(" to", f"{bound}to") if ends else "" for ends in (one.seeds, one.rows)]
            seeds = f"{both[0]}{bound}({len(one.by_seed)})" if both[0] else "one seed"
            rows_ = both[1] or "not at hand"
            name = self._name(one) + f" against {one.against.removeprefix('dense, ')}" * several
            verdict = "none" if one.seeds is None else one.verdict
            rows.append(["! " * one.collapsed + name, f"{100 * one.mean:+.1f}", seeds, rows_, verdict])
        return rows

    def _name(self, one: Difference) -> str:
        if not one.structure:
            return one.method.removeprefix("dense, ")
        way = f"{one.method} {one.rate:g}"
        if self._shared:
            return way
        return one.structure if self._way else f"{one.structure} {way}"

    @property
    def _shared(self) -> str | None:
        found = {one.structure for one in self.found if one.structure}
        return found.pop() if len(found) == 1 else None

    @property
    def _way(self) -> str | None:
        found = {f"{one.method} {one.rate:g}" for one in self.found if one.structure}
        return found.pop() if len(found) == 1 and self._shared is None else None

    def _caption(self) -> str:
        parts = [self.caption, f"groups: {self._shared}" if self._shared else self._way or ""]
        low = any(one.collapsed for one in self.found)
        parts.append("!: some model of the pair scored no more than the majority class" if low else "")
        return "; ".join(part for part in parts if part)


def between(
    first: Sequence[Record], second: Sequence[Record], *, text: bool = True, recorded: Mapping[str, Ends] | None = None
) -> Difference | None:
    """The first setting less the second, on the seeds that both have; None where they share none.

    Each a list of records that differ in the seed alone, of one task and model. `text`: load the task, for the rows,
    where `recorded` {identity: interval} does not know it. Raises ValueError where they were scored on other rows.
    """
    (one, ours), (other, theirs) = (_one_setting(group) for group in (first, second))
    by_setting([*first, *second])  # refuses other rows and other weights
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(set(ours) & set(theirs))]
    if not pairs:
        return None
    by_seed = tuple(float(a["final"][a["metric"]] - b["final"][b["metric"]]) for a, b in pairs)
    known = _identity(pairs)
    rows = (recorded or {}).get(known) or (_over_rows(pairs) if text else None)
    same = (one.structure, one.rate) == (other.structure, other.rate)
    against = other.method if same else other.told
    return Difference(
        one.task, one.structure, one.rate, one.method, against, by_seed, rows and (rows[0], rows[1]), one.model, known,
        any(collapsed(record) for pair in pairs for record in pair),
    )  # fmt: skip


def differences(
    records: Records, against: str, *, text: bool = True, recorded: Mapping[str, Ends] | None = None
) -> list[Difference]:
    """Every other method less the method `against`, wherever both were run alike: at the same structure and rate.

    A method that cuts no group, such as "dense" or "dense, 2 layers", stands against every structure and rate. `text`
    and `recorded` as in `between`. Raises ValueError where no record is of that method, or where some cannot be
    compared.
    """
    groups = by_setting(records)
    rivals = {setting: group for setting, group in groups.items() if setting.method == against}
    if not rivals:
        raise ValueError(f"against must be a method of the records; got {against!r}")
    found = []
    for setting, group in groups.items():
        for rival, others in rivals.items():
            alike = (rival.structure, rival.rate) in ((setting.structure, setting.rate), ("", 1.0))
            if setting.method != against and rival.place == setting.place and alike:
                found.append(between(group, others, text=text, recorded=recorded))
    return [one for one in found if one is not None]


def table(found: Sequence[Difference]) -> str:
    """Differences as a table in text, in points: hundredths of the score."""
    cells = [["what", "less", "task", "seeds", "points", "over seeds", "over rows", ""]]
    for d in found:
        ends = [_in_points(ends) if ends else "" for ends in (d.seeds, d.rows)]
        cells.append([d.what, d.against, d.task, str(len(d.by_seed)), f"{100 * d.mean:+.1f}", *ends, d.verdict])
    return text_table(cells)


def _one_setting(group: Sequence[Record]) -> tuple[Setting, dict[int, Record]]:
    ((setting, records),) = by_setting(group).items()
    return setting, {record["run"]["seed"]: record for record in records}


def _identity(pairs: Pairs) -> str:
    """A checksum of what was predicted, on which rows: nothing else decides the interval over rows."""
    told = [part for a, b in pairs for part in (a["data"].get("fingerprint"), *(r.get("predictions") for r in (a, b)))]
    return hashlib.sha256("|".join(map(str, told)).encode()).hexdigest()[:16]


def _over_rows(pairs: Pairs) -> Ends | None:
    """The interval of the mean difference over seeds, rows drawn with replacement, the same for all."""
    first = pairs[0][0]
    if not all(record.get("predictions") for pair in pairs for record in pair):
        return None
    try:
        task = load_task(Run.of(first["run"], "run"))
    except (OSError, ValueError):
        return None
    if task.fingerprint != first["data"]["fingerprint"]:
        return None
    truth = np.asarray(task.validation["label"])
    drawn = np.random.default_rng(0).integers(0, len(truth), size=(_RESAMPLES, len(truth)))
    scores = [[resampled(task.metric_set, _values(r["predictions"]), truth, drawn) for r in pair] for pair in pairs]
    low, high = np.quantile(np.mean([ours - theirs for ours, theirs in scores], axis=0), [0.025, 0.975])
    return float(low), float(high)


def resampled(metric_set: metrics.MetricSet, predictions: Any, truth: Any, drawn: Any) -> Any:
    """The score to compare by on each draw of rows, (draws,): `drawn` (draws, n) holds places in the other two, (n,).

    Two classes are counted at once for all draws; what else there is takes one call of `metrics.compute` a draw.

    >>> resampled("accuracy", np.array([1, 0]), np.array([1, 1]), np.array([[0, 0], [0, 1]]))
    array([1. , 0.5])
    """
    accuracy = (predictions == truth)[drawn].mean(1)
    if metric_set == "accuracy":
        return accuracy
    if metric_set == "correlation" or not {*predictions, *truth} <= {0, 1}:
        name = metrics.primary(metric_set)
        return np.array([metrics.compute(metric_set, predictions[rows], truth[rows])[name] for rows in drawn])
    both, ours, theirs = ((part == 1)[drawn].sum(1) for part in (predictions * truth, predictions, truth))
    if metric_set == "accuracy_f1":
        return (accuracy + 2 * both / np.maximum(1, ours + theirs)) / 2
    n = len(truth)
    spread = np.sqrt(ours * (n - ours) * theirs * (n - theirs).astype(float))
    return np.divide(n * both - ours * theirs, spread, out=np.zeros(len(drawn)), where=spread > 0)


def _values(predictions: str) -> Any:
    if "," in predictions:
        return np.array([float(value) for value in predictions.split(",")])
    return np.array([int(sign, 16) for sign in predictions])


def _in_points(ends: Ends) -> str:
    return f"{100 * ends[0]:+.1f} to {100 * ends[1]:+.1f}"
