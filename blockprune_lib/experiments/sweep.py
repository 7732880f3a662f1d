"""Every run of a recipe, one after the other or side by side, on one machine or on several."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from .._common.checks import whole_number
from .._common.folders import check_place
from ..machine.cpu import processor
from ..training.arguments import trains_on_cpu
from .actions import Reporter
from .claim import claimed
from .recipe import plan
from .run_spec import Run
from .runner import run_one
from .workers import side_by_side


def run(
    recipe: Mapping[str, Any], folder: str | os.PathLike[str], *, shard: str = "1/1", processes: int = 1,
    extend: bool = False, progress: bool = False, say: Reporter | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Do every run of `recipe` (see `recipe.plan`) that is not done yet; returns the records, finished ones too.

    `folder` keeps stages, models and records, and belongs to this recipe: where another one has begun there, or is
    about to, that is refused, unless `extend` says to add to it; the same one may be started several times. `shard`
    "i/n" does the i-th of n parts of the runs. `processes` share this machine's cores. `progress` shows a bar for each
    stage; `say` is told a line at each. Raises as `recipe.plan` and `runner.run_one`, and ValueError where `folder` can
    be none.

    >>> run({"task": "rte", "structure": "block_row:64", "rate": 5}, "runs/rte")  # doctest: +SKIP
    """
    report = say or (lambda line: None)
    mine = part_of(plan(recipe), shard)
    whole_number(processes, "processes", at_least=1)
    place = check_place(folder)
    # Without `cpu` accelerate takes each of torchrun's processes for the only one where there is no accelerator: each
    # would hold the lock of a stage, while the other waits for it at a barrier.
    PartialState(cpu=trains_on_cpu())
    with claimed(place, recipe, extend) if PartialState().is_main_process else nullcontext():
        PartialState().wait_for_everyone()
        if processes == 1:
            return [run_one(one, place, report, progress) for one in mine]
        return _side_by_side(mine, place, processes, report)


def part_of(runs: list[Run], shard: str) -> list[Run]:
    """The i-th of n parts of `runs`, "i/n": neighbours, which share stages; parts differ by at most one run."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    i, n = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= i <= n:
        raise ValueError(f"shard must be i/n with i from 1 to n; got {shard!r}: '1/4' would do")
    return runs[(i - 1) * len(runs) // n : i * len(runs) // n]


def _side_by_side(runs: list[Run], folder: Path, processes: int, report: Reporter) -> list[dict[str, Any]]:
    def done(count: int, index: int) -> None:
        report(f"{count} of {len(runs)}: {runs[index].name}")

    begin = partial(torch.set_num_threads, threads_each(processes))
    return side_by_side([partial(run_one, one, folder) for one in runs], processes, begin, done)


def threads_each(processes: int) -> int:
    """Threads for each of so many processes, of the cores that this one may use: affinity and quota count."""
    return max(1, processor().usable_cores // processes)
