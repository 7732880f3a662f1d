"""The benchmark of one matrix: random weights pruned to a rate, run by every engine that there is.

Only sizes, the structure and the rate decide how long a product takes, so the weights are random. Caches stay warm: the
same product is repeated, as a server under load repeats it. Left out: whole models (`encoder`).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch

from ..pruning.groups import group_scores
from ..pruning.selection import select
from ..pruning.structure import BlockStructure, expand
from .case import Case, What
from .matrix_engines import ENGINES, TOLERANCES, Problem
from .measuring import Progress, measure_all, measured
from .records import Record
from .settings import MatrixCase, MatrixSettings


def bench_matrices(*, progress: Progress | None = None, **settings: Any) -> Record:
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
    >>> [case.what.kept for case in record.cases]
    [416]
    """
    asked = MatrixSettings(**settings)
    keys = asked.engines(ENGINES)

    def measure(case: MatrixCase) -> Case:
        problem = problem_of(case, asked.seed)
        kept = int(problem.weight.count_nonzero())
        what = What(
            **case._asdict() | {"shape": list(case.shape)}, kept=kept, density=kept / (case.shape[0] * case.shape[1])
        )
        makers = {key: partial(ENGINES[key], problem) for key in keys}
        return measured(what, 2.0 * case.tokens * kept, makers, asked, TOLERANCES, reference=problem.reference())

    return measure_all("matrix", asked, measure, progress)


def problem_of(case: MatrixCase, seed: int) -> Problem:
    """A random weight with exactly the kept groups of `select`, and random activations."""
    shape, structure = case.shape, BlockStructure.parse(case.structure)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator) / math.sqrt(shape[1])
    mask = expand(select(group_scores(weight, structure), case.rate), structure, shape)
    x = torch.randn((case.tokens, shape[1]), generator=generator)
    return Problem(torch.where(mask, weight, 0.0), structure, x, case.threads)
