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
from ..exercises import Function, array, attempt, exercise, expect, fields, grouped, is_number, same, several, stated

#: M, N, r, c, rate: even, ragged, larger than the matrix, half a group, fewer than half a group.
CASES = (
    (384, 384, 1, 64, 5.0), (30, 50, 16, 1, 3.0), (10, 13, 4, 4, 1.79), (5, 2, 1, 1, 4.0), (2, 768, 2, 1, 100.0),
    (4, 8, 4, 4, 9.0),
)  # fmt: skip


@exercise("block-count", "size(M, N, r, c, rate)")
def block_count(answer: Function) -> str:
    """Sides rounded up to whole groups, at least one group kept, and all three lists counted."""
    for M, N, r, c, rate in CASES:
        structure = BlockStructure.tile(r, c)
        R, C = structure.grid((M, N))
        keep = select(torch.rand(R, C, generator=torch.Generator().manual_seed(0)), rate)
        kept = int(keep.sum())
        stored = pack(expand(keep, structure, (M, N)).float(), structure).bytes_total
        where = f"for {M} x {N} in groups of {r} x {c} at rate {rate:g}"
        got = several(attempt(where, answer, M, N, r, c, rate), 3, where, "three numbers: groups, kept, bytes")
        slips = {
            "groups": {"a side that does not divide ends in a smaller group": (M // r) * (N // c)},
            "kept groups": {
                "at least one group stays": 0,
                "the nearest whole number, not the one below": int(R * C / rate),
                "a half goes to the even neighbour: 2.5 becomes 2": math.floor(R * C / rate + 0.5),
                "the nearest whole number, not the one above": math.ceil(R * C / rate),
                "the rate is all groups over those that stay, not over those that go": round(R * C * (1 - 1 / rate)),
            },
            "bytes": {
                "where each group stands has to be stored too": 4 * r * c * kept,
                "the start of each row of groups is missing": kept * (4 * r * c + 4),
                "there is one more start, for the end": stored - 8,
                "a kept group has one column number, however many values": stored + 4 * kept * (r * c - 1),
            },
        }
        for what, mine, right in zip(slips, got, (R * C, kept, stored), strict=True):
            reason = next((why for why, value in slips[what].items() if mine == value), "")
            expect(mine == right, f"{where}: {what} {mine!s:.40}, expected {right}", reason)
    return "groups, kept groups and bytes are right, at ragged edges too"


@exercise("block-scores", "scores(W, r, c)")
def block_scores(answer: Function) -> str:
    """Sum of squares of each group over how many weights it has, under a root."""
    rng = np.random.default_rng(3)
    for (M, N), r, c in (((8, 12), 2, 3), ((8, 12), 1, 12), ((9, 13), 4, 4), ((5, 7), 1, 3), ((6, 4), 6, 1)):
        weight = rng.normal(size=(M, N))
        right = group_scores(torch.from_numpy(weight), BlockStructure.tile(r, c)).numpy()
        where = f"for {M} x {N} in groups of {r} x {c}"
        got = array(attempt(where, answer, weight.copy(), r, c), right.shape, where)
        inside = np.allclose(got[:-1, :-1], right[:-1, :-1], rtol=1e-6) and min(right.shape) > 1
        groups = [[weight[i : i + r, j : j + c] for j in range(0, N, c)] for i in range(0, M, r)]
        sizes = np.array([[group.size for group in row] for row in groups])
        slips = {
            "these are norms: divide by the number of weights before the root": right * np.sqrt(sizes),
            "these are mean squares: the root is missing": right**2,
            "the number of weights belongs under the root too": right / np.sqrt(sizes),
            "this is the scatter about the mean: no mean is taken off": [
                [group.std() for group in row] for row in groups
            ],
            "these are means of sizes: square first, and take the root last": [
                [abs(group).mean() for group in row] for row in groups
            ],
            "rows and columns of the grid are exchanged": right.T,
            "only the groups at an edge are wrong: they have fewer weights": got if inside else None,
        }
        same(got, right, f"{where} the scores differ:", slips)
    return "the root mean square of every group, at the edges too"


@exercise("block-budget")
def block_budget(answer: Any) -> str:
    """Groups of at least 16 weights, cheap indices, and twice the norm of a random choice, which is not luck."""
    weight, structure, rate, said = fields(answer, "weight", "structure", "rate", "share")
    weight, structure = grouped(weight, structure)
    large = f"weight should be at least 64 x 64, and is {weight.shape[0]} x {weight.shape[1]}"
    expect(min(weight.shape) >= 64, large)
    height, width = structure.group_shape(tuple(weight.shape))
    expect(height * width >= 16, f"a group of {structure} has {height} x {width} weights; at least 16 are asked")
    high = is_number(rate) and 3 <= float(rate) < math.inf
    expect(high, f"rate should be at least 3; got {rate!r:.60}", "to keep one group in eight is rate 8, not 1/8")
    rate, said, weight = float(rate), stated(said, "share"), weight.double()
    share, mask = _kept(weight, structure, rate)
    slips = {"the share is from 0 to 1": 100 * share, "that is what goes; what stays is asked": 1 - share,
             "that is the share of the norm; of its square is asked": math.sqrt(share)}  # fmt: skip
    reason = next((why for why, slip in slips.items() if math.isclose(said, slip, rel_tol=1e-3)), "")
    told = f"it keeps {share:.4g} of the squared norm, not {said:.4g}"
    expect(math.isclose(said, share, rel_tol=1e-3, abs_tol=5e-4), told, reason)
    few = _kept(weight, BlockStructure.irregular(), rate)[0] > 0.95
    expect(not few, f"at rate {rate:g} its single weights keep nearly all: a matrix that a model has learnt is asked")
    packed = pack(torch.where(mask, weight, 0.0).float(), structure)
    stored = packed.bytes_total / packed.bytes_dense
    expect(stored <= 1.05 / rate, f"it takes {stored:.2%} of the dense bytes; 1.05 / rate is {1.05 / rate:.2%}")
    chance = f"it keeps {share:.1%} of the squared norm; a random choice {1 / rate:.1%}; twice that is asked"
    expect(share >= 2 / rate, chance)
    lucky = _lucky(weight, structure, rate)
    luck = (
        f"it keeps {100 * share:.3g} % of the squared norm; of the same weights, shuffled, the best {100 * lucky:.3g} %"
    )
    expect(share >= 1.25 * lucky, luck, "that is luck: a quarter more is asked, of a matrix that a model has learnt")
    return (
        f"{structure} at rate {rate:g} keeps {share:.1%} of the squared norm, {share * rate:.1f} times chance, "
        f"{share / lucky:.1f} times as much as of the same weights, shuffled, "
        f"in {stored * rate:.2f} / {rate:g} of the bytes"
    )


def _lucky(weight: torch.Tensor, structure: BlockStructure, rate: float) -> float:
    """The largest share that the best groups hold in five shuffles of the same weights."""
    places, flat = torch.Generator().manual_seed(0), weight.flatten()
    shuffles = (flat[torch.randperm(flat.numel(), generator=places)].view_as(weight) for _ in range(5))
    return max(_kept(shuffled, structure, rate)[0] for shuffled in shuffles)


def _kept(weight: torch.Tensor, structure: BlockStructure, rate: float) -> tuple[float, torch.Tensor]:
    """Share of the squared norm that the best groups hold, and their mask."""
    mask = expand(select(group_scores(weight, structure), rate), structure, weight.shape)
    squares = weight.square()
    return float(squares[mask].sum() / squares.sum()), mask
