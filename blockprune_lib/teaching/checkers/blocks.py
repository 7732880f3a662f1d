"""Checkers of *blocks*: counting groups and bytes, scores of any structure, a structure for a budget."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ...pruning.groups import group_scores
from ...pruning.packing import pack
from ...pruning.selection import select
from ...pruning.structure import BlockStructure, expand
from ..exercises import Function, exercise, expect, fields, several

#: M, N, r, c, rate: even, ragged, larger than the matrix, half a group.
CASES = ((384, 384, 1, 64, 5.0), (30, 50, 16, 1, 3.0), (10, 13, 4, 4, 1.79), (5, 2, 1, 1, 4.0), (2, 768, 2, 1, 100.0))


@exercise("block-count", "size(M, N, r, c, rate)")
def block_count(answer: Function) -> str:
    """Round the sides up to whole groups, and keep at least one group."""
    for M, N, r, c, rate in CASES:
        structure = BlockStructure.tile(r, c)
        R, C = structure.grid((M, N))
        keep = select(torch.rand(R, C, generator=torch.Generator().manual_seed(0)), rate)
        kept = int(keep.sum())
        stored = pack(expand(keep, structure, (M, N)).float(), structure).bytes_total
        where = f"for {M} x {N} in groups of {r} x {c} at rate {rate:g}"
        got = several(answer(M, N, r, c, rate), 3, where, "three numbers")
        for what, mine, right in zip(("groups", "kept groups", "bytes"), got, (R * C, kept, stored), strict=True):
            expect(mine == right, f"{where}: {what} {mine}, expected {right}")
    return "groups, kept groups and bytes are right, at ragged edges too"


@exercise("block-scores", "scores(W, r, c)")
def block_scores(answer: Function) -> str:
    """Divide the sum of squares of each group by how many weights it has."""
    rng = np.random.default_rng(3)
    for (M, N), r, c in (((8, 12), 2, 3), ((8, 12), 1, 12), ((9, 13), 4, 4), ((5, 7), 1, 3), ((6, 4), 6, 1)):
        weight = rng.normal(size=(M, N))
        right = group_scores(torch.from_numpy(weight), BlockStructure.tile(r, c)).numpy()
        got = np.asarray(answer(weight.copy(), r, c), dtype=float)
        where = f"for {M} x {N} in groups of {r} x {c}"
        expect(got.shape == right.shape, f"{where} the shape is {got.shape}, expected {right.shape}")
        inside = np.allclose(got[:-1, :-1], right[:-1, :-1], rtol=1e-6) and min(right.shape) > 1
        hint = "only the groups at an edge are wrong: they have fewer weights" if inside else ""
        expect(np.allclose(got, right, rtol=1e-6), f"{where} the scores differ", hint)
    return "the root mean square of every group, at the edges too"


@exercise("block-budget")
def block_budget(answer: Any) -> str:
    """Small groups keep more, and real matrices have rows and columns that stand out."""
    weight, structure, rate, stated = fields(answer, "weight", "structure", "rate", "share")
    large = isinstance(weight, torch.Tensor) and weight.dim() == 2 and min(weight.shape) >= 64
    expect(large, "weight should be a torch matrix of at least 64 x 64")
    blocks = isinstance(structure, BlockStructure) and structure.kind != "irregular"
    expect(blocks, "structure should be a BlockStructure other than irregular")
    expect(isinstance(rate, (int, float)) and rate >= 3, f"rate should be at least 3; got {rate!r}")
    squares = weight.detach().double().square()
    keep = expand(select(group_scores(weight.detach(), structure), float(rate)), structure, weight.shape)
    share = float(squares[keep].sum() / squares.sum())
    same = math.isclose(share, float(stated), rel_tol=1e-3)
    expect(same, f"it keeps {share:.4g} of the squared norm, not {stated!r}")
    chance = f"it keeps {share:.1%} of the squared norm; a random choice {1 / rate:.1%}, and half more is asked"
    expect(share >= 1.5 / rate, chance)
    return f"{structure} at rate {rate:g} keeps {share:.1%} of the squared norm, {share * rate:.1f} times chance"
