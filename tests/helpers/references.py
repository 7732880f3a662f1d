"""Slow, obvious NumPy versions of what the library does with groups, and the inputs the tests share.

Nothing here imports the library's arithmetic: groups are cut with explicit loops.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from blockprune_lib.pruning.structure import BlockStructure

#: Every kind of structure, and the sides that its text gives: the one list of them in the tests.
KINDS: dict[str, tuple[str, ...]] = {
    "irregular": (),
    "block_row": ("width",),
    "block_column": ("height",),
    "tile": ("height", "width"),
    "row": (),
    "column": (),
}


def structure_texts(*sides: tuple[int, int]) -> list[str]:
    """One structure of each kind for each (height, width), as text, none of them twice."""
    texts = []
    for height, width in sides:
        for kind, chosen in KINDS.items():
            words = "x".join(str({"height": height, "width": width}[side]) for side in chosen)
            texts.append(f"{kind}:{words}" if words else kind)
    return list(dict.fromkeys(texts))


def boxes(structure: BlockStructure, shape: tuple[int, int]) -> Iterator[tuple[int, int, slice, slice]]:
    """(grid row, grid column, rows, columns) of every group, cut by hand from the structure's sides."""
    M, N = shape
    height = M if structure.height is None else structure.height
    width = N if structure.width is None else structure.width
    for i, top in enumerate(range(0, M, height)):
        for j, left in enumerate(range(0, N, width)):
            yield i, j, slice(top, min(top + height, M)), slice(left, min(left + width, N))


def grid_of(structure: BlockStructure, shape: tuple[int, int]) -> tuple[int, int]:
    places = [(i, j) for i, j, _, _ in boxes(structure, shape)]
    return max(i for i, _ in places) + 1, max(j for _, j in places) + 1


def norms(weight: np.ndarray, structure: BlockStructure) -> np.ndarray:
    out = np.zeros(grid_of(structure, weight.shape))
    for i, j, rows, columns in boxes(structure, weight.shape):
        out[i, j] = np.sqrt(sum(float(w) ** 2 for w in weight[rows, columns].ravel()))
    return out


def penalty(norm: Any, eps: float) -> Any:
    """f, what each group costs, whose sum over the groups reweighting lowers; of numbers, arrays or tensors."""
    return torch.log(norm + eps) if isinstance(norm, torch.Tensor) else np.log(norm + eps)


def alpha(norm: Any, eps: float) -> Any:
    """f', the pull on a group of that norm; of numbers, arrays or tensors."""
    return 1 / (norm + eps)


def sizes(structure: BlockStructure, shape: tuple[int, int]) -> np.ndarray:
    out = np.zeros(grid_of(structure, shape), dtype=np.int64)
    for i, j, rows, columns in boxes(structure, shape):
        out[i, j] = (rows.stop - rows.start) * (columns.stop - columns.start)
    return out


def expanded(grid: np.ndarray, structure: BlockStructure, shape: tuple[int, int]) -> np.ndarray:
    out = np.zeros(shape, dtype=grid.dtype)
    for i, j, rows, columns in boxes(structure, shape):
        out[rows, columns] = grid[i, j]
    return out


@st.composite
def structured_shapes(draw: st.DrawFn, longest: int = 13) -> tuple[BlockStructure, tuple[int, int]]:
    """A structure of any kind and a shape it fits, ragged more often than not."""
    shape = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    sides = {"height": st.integers(1, max(shape)), "width": st.integers(1, shape[1])}
    kind = draw(st.sampled_from(list(KINDS)))
    structure = getattr(BlockStructure, kind)(*(draw(sides[side]) for side in KINDS[kind]))
    if max(shape) < (structure.height or 1) or shape[1] < (structure.width or 1):  # of a kind with a fixed side above 1
        shape = max(shape[0], structure.height or 1), max(shape[1], structure.width or 1)
    return structure, shape


LAYOUTS = ("contiguous", "transposed", "strided", "offset")


def laid_out(values: np.ndarray, layout: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A copy of the matrix, in one of the memory layouts."""
    weight = torch.tensor(values, dtype=dtype)
    M, N = weight.shape
    if layout == "transposed":
        return weight.T.contiguous().T
    if layout == "strided":
        room = torch.full((2 * M, 3 * N), torch.nan, dtype=dtype)
        room[::2, ::3] = weight
        return room[::2, ::3]
    if layout == "offset":
        room = torch.full((M + 2, N + 3), torch.nan, dtype=dtype)
        room[1:-1, 2:-1] = weight
        return room[1:-1, 2:-1]
    return weight


#: Shapes and structures with a name, each of which broke some implementation: this one, the authors' or a rival's.
NAMED = {
    "two-row classifier under tall columns": ("block_column:16", (2, 38)),
    "two-row classifier under tiles": ("tile:32x32", (2, 64)),
    "vocabulary that no power of two divides": ("block_column:16", (305, 38)),
    "vocabulary under tiles, corner 1 x 6": ("tile:16x32", (305, 38)),
    "ragged right edge": ("block_row:32", (5, 38)),
    "one element": ("irregular", (1, 1)),
    "one element, whole row": ("row", (1, 1)),
    "one long row": ("block_row:64", (1, 100_000)),
    "one long row as one group": ("row", (1, 100_000)),
    "one long column": ("block_column:7", (1000, 1)),
    "one column as one group": ("column", (1000, 1)),
    "block as large as the matrix": ("tile:6x7", (6, 7)),
    "three wide, as 256 divisions of 768": ("block_row:3", (4, 768)),
}


def named_cases() -> list:
    import pytest

    return [pytest.param(BlockStructure.parse(text), shape, id=name) for name, (text, shape) in NAMED.items()]


def matrix(shape: tuple[int, int], seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Normal values in float32 precision, as float64 for the references."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32).astype(np.float64)
