"""README's table of accuracy beside speed, from the records of the study on GLUE that have both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from blockprune_lib import experiments
from blockprune_lib.data.glue import TITLES
from blockprune_lib.experiments.alike import measure_of
from blockprune_lib.experiments.deciding import comparisons
from blockprune_lib.experiments.frontier import Point, points
from blockprune_lib.experiments.pooled import MeanDifference
from blockprune_lib.experiments.report import interval
from blockprune_lib.experiments.standing import standings
from tools.markdown import table

STUDY = Path(__file__).resolve().parent.parent / "book" / "results" / "study"
#: In the order of the columns.
TASKS = TITLES
MODEL, STRUCTURE, METHODS = "minilm", "block_column:4", ("reweighted", "gradual")
#: Engines of a dense model, as records have them -> as a reader names them.
DENSE = {
    "float32": "PyTorch float32", "bfloat16": "PyTorch bfloat16", "int8": "PyTorch int8",
    "compiled": "compiled here, float32", "compiled bfloat16": "compiled here, bfloat16",
}  # fmt: skip


def accuracies() -> str:
    """The table as Markdown: a column for each task that has a dense and a pruned model; empty where there is none."""
    known, found = records(), timed_points()
    tasks = [task for task in TASKS if _has_both([point for point in found if point.setting.task == task])]
    if not tasks:
        return ""
    cells = {
        name: [_cell([point for point in chosen if point.setting.task == task]) for task in tasks]
        for name, chosen in rows(found).items()
    }
    shown = {name: told for name, told in cells.items() if any(told)}
    shown["the majority class"] = [f"{100 * majority_of(task):.1f}" for task in tasks]
    lines = table([TASKS[task] for task in tasks], shown)
    return "\n".join([*lines, "", _foot(known, found, tasks), "", over_tasks()])


def rows(found: Iterable[Point]) -> dict[str, list[Point]]:
    """{name of a row: its points, of any task}: dense in every engine, smaller dense models, blocks by rate."""
    kept: dict[str, list[Point]] = {}
    known = list(found)
    for engine, words in DENSE.items():
        kept[f"dense, {words}"] = [p for p in known if p.setting.what == "dense" and p.engine == engine]
    for layers in (3, 2, 1):
        small = [point for point in known if point.setting.what.startswith(f"dense, {layers} layer")]
        kept[f"{layers} layer{'s' * (layers > 1)} of the six kept, the fastest engine"] = fastest(small)
    for rate in sorted({point.setting.rate for point in known if point.setting.structure}):
        for method in METHODS:
            ours = [p for p in known if p.setting.told == f"{STRUCTURE} {method} at {rate:g}"]
            kept[f"**blocks 4 x 1, rate {rate:g}, {method}**"] = fastest(ours)
    return kept


def fastest(found: list[Point]) -> list[Point]:
    """Of each task the fastest point."""
    best: dict[str, Point] = {}
    for point in found:
        task = point.setting.task
        if task not in best or point.times > best[task].times:
            best[task] = point
    return list(best.values())


def _has_both(found: list[Point]) -> bool:
    structures = {point.setting.structure for point in found}
    return {"", STRUCTURE} <= structures


def measure_of_task(task: str) -> str:
    """The score of a task, in words."""
    return measure_of(_record_of(task))


def _cell(found: list[Point]) -> str:
    """Score, with Student's 95 % interval over seeds where there are several, and how fast."""
    if not found:
        return ""
    (point,) = found
    ends = interval(point.scores)
    spread = f" ± {50 * (ends[1] - ends[0]):.1f}" if ends else ""
    return f"{100 * point.mean:.1f}{spread}; {point.times:.1f}x"


def majority_of(task: str) -> float:
    """What the commonest label alone scores."""
    record = _record_of(task)
    return float(record["majority"][record["metric"]])


def _record_of(task: str) -> dict[str, Any]:
    return next(record for record in records() if record["run"]["task"] == task)


def timed_points() -> list[Point]:
    """Score and speed of every setting that has both."""
    return points(records())


@cache
def records() -> list[dict[str, Any]]:
    """The records of one model, with the settings that the presets have; a seed without a latency counts too."""
    every = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(STUDY.glob("*.json"))]
    return [one for one in every if one["model"]["name"] == MODEL and not one["run"]["options"].get("variant")]


def over_tasks() -> str:
    """What blocks and fewer layers lose, as a mean over tasks; empty where fewer than three tasks have the pairs."""
    studies = standings(records())
    found = [comparisons(study, text=False) for study in studies]
    pooled = experiments.over_tasks((one for some in found for one in some.cost), least=3)
    rivals, slower = (
        experiments.over_tasks((one for some in found for one in getattr(some, asked)), least=3)
        for asked in ("rival", "slower")
    )
    lines = [(one, experiments.times_over_tasks(studies, one)) for one in pooled]
    if not lines:
        return ""
    said = [_told(one) + (f" at {times:.1f} times the speed" if times else "") for one, times in lines]
    beside, ahead = ("; ".join(f"{_told(one)} against {one.against}" for one in some) for some in (rivals, slower))
    tasks = " and ".join((", ".join(TASKS[task] for task in lines[0][0].tasks)).rsplit(", ", 1))
    return (
        f"Mean over {tasks}, points against dense after as many steps, with the 95 % interval over seeds: "
        f"{'; '.join(said)}. {_uncut(lines[0][0].tasks)}Against fewer layers that are as fast: {beside or 'not run'}. "
        f"Against fewer layers that are slower: {ahead or 'not run'}. "
        "QNLI is left out of the mean: its text was in the encoder's own training."
    )


def _uncut(tasks: Sequence[str]) -> str:
    """What the compiled call gains with every weight in place, as a mean over tasks; empty where one lacks it."""
    dense = [point for point in timed_points() if point.setting.what == "dense" and point.setting.task in tasks]
    start, ours = ({p.setting.task: p for p in dense if p.engine == name} for name in ("float32", "compiled bfloat16"))
    if not start.keys() == ours.keys() == set(tasks):
        return ""
    change = 100 * sum(ours[task].mean - start[task].mean for task in tasks) / len(tasks)
    low, *_, high = sorted(f"{ours[task].times:.1f}" for task in tasks)
    return f"Nothing cut: dense, {DENSE['compiled bfloat16']} {change:+.1f} at {low} to {high} times the speed. "


def _told(one: MeanDifference) -> str:
    over = "one seed" if one.seeds is None else "{:+.1f} to {:+.1f}".format(*(100 * end for end in one.seeds))
    return f"{one.what} {100 * one.mean:+.1f} ({over})"


def _foot(records: list[dict[str, Any]], found: list[Point], tasks: list[str]) -> str:
    seeds = sorted({len(point.scores) for point in found})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    timed = next(record["latency"] for record in records if record.get("latency"))
    several = "; ± is Student's 95 % interval over seeds; a score without it is of one seed" if seeds[-1] > 1 else ""
    measures = "; ".join(f"{TASKS[task]}: {measure_of_task(task)}" for task in tasks)
    engines = {DENSE[p.engine] for some in rows(found).values() for p in some if p.setting.what != "dense"}
    several = f"{many} seed{'s' * (seeds[-1] > 1)}{several}"
    return (
        f"MiniLM (six layers), 100 × the score on the validation rows ({measures}), trained on the whole of each "
        f"task but a tenth of QNLI, {several}. Times as fast as the dense model by PyTorch in float32, one sentence "
        f"after another, {timed['threads']} threads of {timed['cpu']} ({timed['isa']}). Score and time of a row are of "
        f"one engine; of fewer layers and of blocks it is the fastest ({' or '.join(sorted(engines))}). All had the "
        "same teacher and the same number of steps. Records: `book/results/study/`."
    )
