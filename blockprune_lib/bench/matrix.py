"""The benchmark of one matrix: random weights pruned to a rate, run by every engine that there is.

Only sizes, the structure and the rate decide how long a product takes, so the weights are random. Caches stay warm: the
same product is repeated, as a server under load repeats it. Left out: whole models (`encoders`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ..pruning.groups import group_scores
from ..pruning.selection import select
from ..pruning.structure import BlockStructure, expand
from .matrix_engines import BASELINE, ENGINES, OURS, TOLERANCES, Problem
from .measuring import Case, described, make_all, prepared_on, time_all
from .records import Record
from .settings import MatrixSettings


def bench_matrices(*, progress: Callable[[str], object] | None = None, **settings: Any) -> Record:
    """Time one pruned matrix in every engine, for each combination of the settings; the record prints itself.

    shapes      (outputs, inputs) of each matrix
    structures  structures as text, "block_column:16"
    rates       all groups ÷ kept groups: 5.0 keeps one in five
    tokens, threads, repeats, warmup, seed
    peers       "all", "none" or the keys of `ENGINES` to run beside torch and blockprune; `skip` takes some away
    progress    called with a line of text before each case

    Every answer is compared with float64 before it is timed; an engine that is wrong is reported, not timed. Raises
    ValueError or TypeError for wrong settings before anything runs, RuntimeError where torch's or our answer is wrong.

    >>> record = bench_matrices(shapes=[(64, 32)], tokens=[8], peers="none", repeats=3)
    >>> [case.what["kept"] for case in record.cases]
    [416]
    """
    chosen = MatrixSettings(**settings)
    keys = chosen.chosen(list(ENGINES), (BASELINE, OURS))
    cases = []
    for number, (shape, structure, rate, tokens, threads) in enumerate(chosen.cases(), 1):
        if progress is not None:
            plural = f"{tokens} tokens, {threads} thread{'s' if threads > 1 else ''}"
            progress(f"case {number}: {shape[0]} x {shape[1]}, {structure}, rate {rate:g}, {plural}")
        cases.append(_case(shape, structure, rate, tokens, threads, keys, chosen))
    return Record.made("matrix", chosen.to_dict(), cases)


def problem_of(
    shape: tuple[int, int], structure: BlockStructure, rate: float, tokens: int, threads: int, seed: int
) -> Problem:
    """A random weight with exactly the kept groups of `select`, and random activations."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator) / math.sqrt(shape[1])
    mask = expand(select(group_scores(weight, structure), rate), structure, shape)
    x = torch.randn((tokens, shape[1]), generator=generator)
    return Problem(torch.where(mask, weight, 0.0), structure, x, threads)


def _case(
    shape: tuple[int, int], text: str, rate: float, tokens: int, threads: int, keys: list[str], chosen: MatrixSettings
) -> Case:
    problem = problem_of(shape, BlockStructure.parse(text), rate, tokens, threads, chosen.seed)
    kept = int(problem.weight.count_nonzero())
    makers = {key: partial(ENGINES[key], problem) for key in keys}
    with prepared_on(threads):
        engines, errors, skipped = make_all(makers, (BASELINE, OURS), problem.reference(), TOLERANCES)
        timings, peak = time_all(
            engines, threads, baseline=BASELINE, repeats=chosen.repeats, warmup=chosen.warmup, seed=chosen.seed
        )
    what = {
        "shape": list(shape),
        "structure": text,
        "rate": rate,
        "kept": kept,
        "density": kept / (shape[0] * shape[1]),
        "tokens": tokens,
        "threads": threads,
    }
    measured = described(engines, errors, TOLERANCES, threads)
    return Case(what, 2.0 * tokens * kept, BASELINE, OURS, measured, timings, peak, tuple(skipped))
