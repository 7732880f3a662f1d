"""One difference over several tasks: the mean of what two settings differ by on each.

A study of six tasks has six verdicts a question, and one in twenty is wrong by chance. The mean over tasks asks the
question once. Tasks count alike, whatever the number of their rows, as in GLUE's own mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..machine.comparison import Ratio
from .paired import Difference
from .standing import Standings

#: Tasks whose text MiniLM and MPNet saw when they were made sentence encoders: their scores are not of new text.
SEEN = ("mnli", "qnli", "qqp")
#: Tasks that no mean takes in unless asked to: those, and WNLI, whose training and validation rows contradict each
#: other, so that the majority class wins (BERT's authors left it out for that: Devlin et al. 2019).
NOT_IN_MEANS = (*SEEN, "wnli")


@dataclass(frozen=True)
class MeanDifference(Difference):
    """A difference that is the mean over `tasks`; its `task` says how many."""

    tasks: tuple[str, ...] = ()


def over_tasks(
    found: Iterable[Difference], least: int = 2, leave_out: Collection[str] = NOT_IN_MEANS, alike: bool = True
) -> list[MeanDifference]:
    """The mean over tasks of each comparison that at least `least` tasks have: {what, against, model} decides which.

    d_s = mean over tasks of the difference with seed s;  Student's interval is that of the d_s

    Tasks of `leave_out` take no part, nor do those with fewer seeds than the most of a comparison, so that every d_s is
    of the same tasks; with one seed there is no verdict, as anywhere. `rows` is the mean, ± the root of the sum of
    squares of the tasks' half-widths over their number: rows of different tasks are independent. It is None where a
    task has none. Means over different tasks do not stand beside each other: under `alike` a model's means that are
    not over the tasks that most of its comparisons have are left out. Raises ValueError for `least` below 1, and where
    a comparison is there twice for one task.

    >>> a = Difference("rte", "row", 5.0, "gradual", "dense", (-0.02, -0.04), (-0.06, 0.0))
    >>> b = Difference("mrpc", "row", 5.0, "gradual", "dense", (-0.04, -0.06), (-0.08, -0.02))
    >>> [(one.task, [round(d, 3) for d in one.by_seed]) for one in over_tasks([a, b])]
    [('mean of 2 tasks', [-0.03, -0.05])]
    """
    if least < 1:
        raise ValueError(f"least must be a number of tasks, 1 or more; got {least!r}: 2 would do")
    groups: dict[tuple[str, ...], list[Difference]] = {}
    for one in (one for one in found if one.task not in leave_out):
        groups.setdefault((one.what, one.against, one.model), []).append(one)
    pooled = []
    for group in groups.values():
        most = max(len(one.by_seed) for one in group)
        whole = [one for one in group if len(one.by_seed) == most]
        if len({one.task for one in whole}) != len(whole):
            raise ValueError(f"{whole[0].what!r} against {whole[0].against!r} is there twice for one task")
        if len(whole) >= least:
            pooled.append(_mean(whole))
    return [one for one in pooled if not alike or one.tasks == _usual_tasks(pooled, one.model)]


def _usual_tasks(pooled: Iterable[MeanDifference], model: str) -> tuple[str, ...]:
    """The tasks of most of a model's means; of two sets that are as common the larger."""
    often = Counter(one.tasks for one in pooled if one.model == model)
    return max(often, key=lambda tasks: (often[tasks], len(tasks)))


def times_over_tasks(studies: Iterable[Standings], one: MeanDifference) -> float | None:
    """How many times as fast as the dense model in float32 by torch the setting is: geometric mean over its tasks.

    Of each task the fastest engine counts. None where the setting was not timed on each of them.
    """
    ratio = ratio_over_tasks(studies, one)
    return None if ratio is None else ratio.value


def ratio_over_tasks(studies: Iterable[Standings], one: MeanDifference) -> Ratio | None:
    """The same with its 95 % interval: on the log scale the half-widths of the tasks are squared and added.

    It is about the rounds in which each model was timed. How far two measurements of one model, on two days, lie apart
    is not in it.
    """
    lines = [
        line for study in studies if study.task in one.tasks and study.model == one.model
        for line in study.lines if line.setting.told == one.what
    ]  # fmt: skip
    ratios = [line.fastest.ratio for line in lines if line.fastest is not None]
    if len(ratios) != len(one.tasks):
        return None
    value, low, high = np.log([(ratio.value, ratio.low, ratio.high) for ratio in ratios]).T
    middle = value.mean()
    down, up = (np.sqrt(((end - value) ** 2).sum()) / len(value) for end in (low, high))
    return Ratio(*map(float, np.exp([middle, middle - down, middle + up])))


def _mean(group: Sequence[Difference]) -> MeanDifference:
    first, rows = group[0], [one.rows for one in group if one.rows is not None]
    by_seed = tuple(float(d) for d in np.mean([one.by_seed for one in group], axis=0))
    ends = None
    if len(rows) == len(group):
        half = float(np.sqrt(sum(((high - low) / 2) ** 2 for low, high in rows))) / len(group)
        ends = float(np.mean(by_seed)) - half, float(np.mean(by_seed)) + half
    return MeanDifference(
        f"mean of {len(group)} tasks", first.structure, first.rate, first.method, first.against, by_seed, ends,
        first.model, "+".join(one.identity for one in group), tasks=tuple(one.task for one in group),
    )  # fmt: skip
