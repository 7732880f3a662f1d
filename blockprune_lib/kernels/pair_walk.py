"""A walk whose weights are pairs of bfloat16: each step takes two inputs of the walk that it is made from.

    listed   inputs 4 5 | 10 11          neighbours at even places, as whole tiles keep them: a row of pairs as it is
    picked   inputs 2 7 | 8 _            an even one and an odd one, each half of a row; one left over, weight 0
    rows     inputs 3 4 5 6 -> _3 45 6_  runs of neighbours, widened to even places by weights of zero

A band's outputs become pairs in turn, so runs of strips that threads take begin at even outputs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..machine.pairs import pairs_of
from .walk import LISTED, ROWS, Walk

#: The kind of a walk whose steps take halves of two rows: `index` has two for each step.
PICKED = 2


def pair_walk_of(walk: Walk) -> Walk:
    """The same matrix, its weights rounded to bfloat16 (to nearest), for x stored as pairs.

    In the result a step, a strip's `begin` and an input of a block count pairs; weights are uint32, two bfloat16 each.
    """
    return _rows(walk) if walk.kind == ROWS else _listed(walk)


def _listed(walk: Walk) -> Walk:
    strips, height = walk.strips.copy(), walk.height
    _, found, panel = np.unique(strips["output"] // height, return_index=True, return_inverse=True)
    begin, steps = strips["begin"][found], strips["steps"][found]  # of each panel, whose strips share one list
    # The n-th even input of a panel goes with its n-th odd one: a step for each of the more frequent kind.
    own = np.repeat(np.arange(len(begin)), steps)  # the panel of each step of the walk
    step = np.arange(len(own)) + np.repeat(begin - np.concatenate([[0], np.cumsum(steps)[:-1]]), steps)
    odd = walk.index[step] % 2
    counts = np.stack([np.bincount(own, odd == half, minlength=len(begin)).astype(np.int64) for half in (0, 1)])
    pairs = counts.max(axis=0)
    starts = np.concatenate([[0], np.cumsum(pairs)])
    source = np.full((2, starts[-1]), -1)  # the step that gives each half of a pair; -1: none
    for half in (0, 1):
        chosen = np.flatnonzero(odd == half)
        rank = np.arange(len(chosen)) - np.repeat(np.cumsum(counts[half]) - counts[half], counts[half])
        source[half, starts[own[chosen]] + rank] = step[chosen]
    rows = _rows_of(walk, source, np.repeat(starts[:-1], pairs))
    weights = np.concatenate([walk.values[: len(walk.values) // height * height].reshape(-1, height),
                              np.zeros((1, height), np.float32)])  # fmt: skip
    strips["weight"] += (starts[panel] - strips["begin"]) * height
    strips["begin"], strips["steps"] = starts[panel], pairs[panel]
    kind = LISTED if (rows[0] == rows[1]).all() else PICKED
    index = rows[0] if kind == LISTED else rows.T.reshape(-1)
    return replace(
        walk, kind=kind, values=pairs_of(weights[source[0]], weights[source[1]]).reshape(-1), strips=strips,
        index=np.append(index, [0, 0]).astype(np.int32), parts=_even(walk.parts, strips["output"]),
    )  # fmt: skip


def _rows_of(walk: Walk, source: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The row of x, pairs of features, that each half of each pair reads; `first`: the first pair of the same panel.

    A half that no step gives has a weight of zero, and reads what another pair of its panel reads, for what is not
    kept may be infinite; or, where the panel has none, the other half of its own row.
    """
    rows = np.where(source >= 0, walk.index[source] // 2, -1)
    other = rows[::-1]
    padding = other == (walk.inputs - 1) // 2 if walk.inputs % 2 else np.zeros_like(other, bool)
    spare = np.where((rows[:, first] >= 0) & ~padding, rows[:, first], other)
    return np.where(rows >= 0, rows, spare)


def _even(parts: np.ndarray, output: np.ndarray) -> np.ndarray:
    """The bounds moved on to strips that begin at an even output."""
    at_even = np.append(np.flatnonzero(output % 2 == 0), len(output))
    moved = at_even[np.searchsorted(at_even, parts)]
    return moved.astype(np.int64)


def _rows(walk: Walk) -> Walk:
    blocks, sets = walk.blocks.copy(), walk.sets.copy()
    first, count = walk.blocks["input"], walk.blocks["inputs"]
    blocks["input"], blocks["inputs"] = first // 2, (first + count + 1) // 2 - first // 2
    of_set = np.repeat(np.arange(len(blocks)), blocks["end"] - blocks["begin"])  # the block of each set
    rows, pairs = sets["rows"], blocks["inputs"][of_set]
    starts = np.concatenate([[0], np.cumsum(rows * pairs)])
    # For each word of a set: its pair, its row, and so the places of its two weights.
    own = np.repeat(np.arange(len(sets)), rows * pairs)
    pair, row = np.divmod(np.arange(starts[-1]) - starts[own], rows[own])
    low = 2 * pair - first[of_set][own] % 2
    values = np.append(walk.values, np.float32(0))
    halves = []
    for step in (low, low + 1):
        inside = (step >= 0) & (step < count[of_set][own])
        halves.append(values[np.where(inside, sets["weight"][own] + step * rows[own] + row, -1)])
    sets["weight"] = starts[:-1]
    return replace(walk, values=pairs_of(*halves), blocks=blocks, sets=sets)
