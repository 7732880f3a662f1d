"""The idea of the book: a block structure tiles an M × N weight into groups of r × c elements.

      c = 3                          a 4 x 8 weight under tile:2x3: a grid of 2 x 3 groups,
    +-------+-------+-----+          of which those at the right edge are narrower
    | x x x | x x x | x x |
    | x x x | x x x | x x |  r = 2
    +-------+-------+-----+
    | x x x | x x x | x x |
    | x x x | x x x | x x |
    +-------+-------+-----+

Penalty, selection, mask, packing and kernel all speak of the same grid of groups, and this module is the only place
that knows how a group is cut. To add a structure, add an entry to `_KINDS` and a class method that makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .._common.checks import check_matrix, check_shape, one_of, positive_int

Strips = Literal["rows", "columns"]


class _Kind(NamedTuple):
    height: int | Literal["HEIGHT"] | None  # None: the whole side of the matrix; a str names a parameter
    width: int | Literal["WIDTH"] | None
    strips: Strips
    meaning: str

    def free_sides(self) -> list[str]:
        return [side for side in (self.height, self.width) if isinstance(side, str)]


_KINDS = {
    "irregular": _Kind(1, 1, "rows", "single weights"),
    "block_row": _Kind(1, "WIDTH", "columns", "rows of a block, {width} columns wide"),
    "block_column": _Kind("HEIGHT", 1, "rows", "columns of a block, {height} rows high"),
    "tile": _Kind("HEIGHT", "WIDTH", "rows", "whole blocks of {height} x {width}"),
    "row": _Kind(1, None, "columns", "whole rows"),
    "column": _Kind(None, 1, "rows", "whole columns"),
}


@dataclass(frozen=True, repr=False)
class BlockStructure:
    """A tiling of every M × N weight into groups of `height` × `width` elements (None: the whole side).

    A regular grid only: no attention heads, no 2:4 sparsity. Made by a class method or from text:

    >>> BlockStructure.block_row(64) == BlockStructure.parse("block_row:64")
    True
    """

    kind: str
    height: int | None
    width: int | None

    def __post_init__(self) -> None:
        one_of(self.kind, "kind", _KINDS)
        for side in ("height", "width"):
            value, fixed = getattr(self, side), getattr(_KINDS[self.kind], side)
            if isinstance(fixed, str):
                object.__setattr__(self, side, positive_int(value, side))
            elif value != fixed:
                raise ValueError(f"{side} of {self.kind!r} is fixed; make it with BlockStructure.{self.kind}(...)")

    @classmethod
    def irregular(cls) -> BlockStructure:
        """Groups of 1 × 1: unstructured pruning, the baseline. Each weight that is kept needs an index of its own."""
        return cls("irregular", 1, 1)

    @classmethod
    def block_row(cls, width: int) -> BlockStructure:
        """Groups of 1 × `width`: the paper's rows of a block (`block_filter` in the authors' code)."""
        return cls("block_row", 1, width)

    @classmethod
    def block_column(cls, height: int) -> BlockStructure:
        """Groups of `height` × 1: the paper's columns of a block."""
        return cls("block_column", height, 1)

    @classmethod
    def tile(cls, height: int, width: int) -> BlockStructure:
        """Groups of `height` × `width`: whole blocks, which other libraries store as BSR."""
        return cls("tile", height, width)

    @classmethod
    def row(cls) -> BlockStructure:
        """Groups of 1 × N: whole rows, one output feature each."""
        return cls("row", 1, None)

    @classmethod
    def column(cls) -> BlockStructure:
        """Groups of M × 1: whole columns, one input feature each."""
        return cls("column", None, 1)

    @classmethod
    def parse(cls, text: str) -> BlockStructure:
        """The structure written as `text`; `str(structure)` gives the text back.

        >>> BlockStructure.parse("tile:16x32")
        BlockStructure.tile(16, 32)
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a str such as 'block_row:64'; got {type(text).__name__}")
        name = text.strip().partition(":")[0]
        form = _text(name, [r"(\d+)"] * len(_KINDS[name].free_sides())) if name in _KINDS else "(?!)"  # matches nothing
        if not (match := re.fullmatch(form, text.strip(), re.ASCII)):
            forms = ", ".join(_text(kind, how.free_sides()) for kind, how in _KINDS.items())
            raise ValueError(f"text must name a structure; got {text!r}: the forms are {forms} (sides at least 1)")
        structure: BlockStructure = getattr(cls, name)(*map(int, match.groups()))
        return structure

    @property
    def strips(self) -> Strips:
        """Which strips of the grid, its rows or its columns, each keep equally many groups in a `balanced` selection.

        "columns" where a group is part of a row: then each block of columns keeps the same number of rows. Else "rows".

        >>> BlockStructure.block_row(64).strips, BlockStructure.tile(32, 32).strips
        ('columns', 'rows')
        """
        return _KINDS[self.kind].strips

    def __str__(self) -> str:
        values = [getattr(self, side.lower()) for side in _KINDS[self.kind].free_sides()]
        return _text(self.kind, map(str, values))

    def __repr__(self) -> str:
        return f"BlockStructure.{self.kind}({', '.join(re.findall('[0-9]+', str(self)))})"

    def group_shape(self, shape: Sequence[int]) -> tuple[int, int]:
        """(r, c), the group's height and width in a matrix of `shape` (M, N); r is clipped to M.

        A block may be as high as the longer side, so that the structure of a model's other matrices also fits one
        with few rows, such as a classifier's. Raises ValueError where it is higher than that, or wider than the matrix.

        >>> BlockStructure.block_column(16).group_shape((2, 384))
        (2, 1)
        """
        rows, columns = check_shape(shape)
        height = rows if self.height is None else self.height
        width = columns if self.width is None else self.width
        if width > columns or height > max(rows, columns):
            raise ValueError(
                f"structure {self}: block larger than the matrix: a block of {height} x {width} does not fit "
                f"{rows} x {columns}; a width up to {columns} and a height up to {max(rows, columns)} would do"
            )
        return min(height, rows), width

    def grid(self, shape: Sequence[int]) -> tuple[int, int]:
        """(R, C) = (ceil(M / r), ceil(N / c)), how many groups vertically and horizontally.

        >>> BlockStructure.block_row(64).grid((30522, 384))
        (30522, 6)
        """
        r, c = self.group_shape(shape)
        return -(-int(shape[0]) // r), -(-int(shape[1]) // c)

    def sizes(self, shape: Sequence[int], device: torch.device | str | None = None) -> Tensor:
        """How many elements each group has: int64, shape `grid(shape)`; edge groups may have fewer than r·c.

        >>> BlockStructure.tile(2, 2).sizes((3, 5))
        tensor([[4, 4, 2],
                [2, 2, 1]])
        """
        (r, c), (R, C) = self.group_shape(shape), self.grid(shape)
        heights = torch.full((R, 1), r, dtype=torch.int64, device=device)
        widths = torch.full((1, C), c, dtype=torch.int64, device=device)
        heights[-1], widths[:, -1] = int(shape[0]) - (R - 1) * r, int(shape[1]) - (C - 1) * c
        return heights * widths

    def regions(self, matrix: Tensor) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
        """Cut an (M, N) `matrix` into at most four views (rows of groups, r, columns of groups, c).

        The interior is one view; a ragged right edge, bottom edge and corner are the others. Nothing is copied or
        padded, so writing to a view writes to the matrix. Before each view comes its position in the (R, C) grid.

        >>> [tuple(view.shape) for _, view in BlockStructure.tile(2, 2).regions(torch.ones(5, 4))]
        [(2, 2, 2, 2), (1, 1, 2, 2)]
        """
        (M, N), (r, c) = matrix.shape, self.group_shape(matrix.shape)
        for row_cells, rows, height in _spans(M, r):
            for column_cells, columns, width in _spans(N, c):
                view = matrix[rows, columns].unflatten(0, (-1, height)).unflatten(2, (-1, width))
                yield (row_cells, column_cells), view

    def describe(self, shape: Sequence[int] | None = None) -> str:
        """One sentence about the structure, and with `shape` about the grid it lays over such a matrix.

        >>> BlockStructure.block_row(64).describe((384, 1536))
        'block_row:64: rows of a block, 64 columns wide; 384 x 1536 is a grid of 384 x 24 = 9,216 groups of 1 x 64'
        """
        text = f"{self}: {_KINDS[self.kind].meaning.format(height=self.height, width=self.width)}"
        if shape is None:
            return text
        (r, c), (R, C), (M, N) = self.group_shape(shape), self.grid(shape), check_shape(shape)
        ragged = "" if M % r == 0 and N % c == 0 else ", smaller at the edge"
        return f"{text}; {M} x {N} is a grid of {R} x {C} = {R * C:,} groups of {r} x {c}{ragged}"


def expand(keep: Tensor, structure: BlockStructure, shape: Sequence[int]) -> Tensor:
    """The mask of a grid: bool, (M, N) = `shape`, True where the element's group is kept.

    `keep` is bool, (R, C) = `structure.grid(shape)`. Raises TypeError or ValueError otherwise.

    >>> expand(torch.tensor([[True, False]]), BlockStructure.block_row(2), (1, 3))
    tensor([[ True,  True, False]])
    """
    check_structure(structure)
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool:
        what = f"a {keep.dtype} tensor" if isinstance(keep, Tensor) else type(keep).__name__
        raise TypeError(f"keep must be a bool tensor, as select() returns; got {what}")
    (R, C), (r, c), (M, N) = structure.grid(shape), structure.group_shape(shape), check_shape(shape)
    if (got := tuple(keep.shape)) != (R, C):
        raise ValueError(f"keep must have the grid's shape {(R, C)} for {structure} over {(M, N)}; got {got}")
    padded = keep[:, None, :, None].expand(R, r, C, c).reshape(R * r, C * c)
    return padded[:M, :N].contiguous()


def check_structure(structure: Any) -> None:
    """Raise TypeError unless `structure` is a BlockStructure."""
    if not isinstance(structure, BlockStructure):
        hint = "BlockStructure.parse(text)" if isinstance(structure, str) else "BlockStructure.block_row(64)"
        raise TypeError(f"structure must be a BlockStructure, such as {hint}; got {type(structure).__name__}")


def check_weight(weight: Any, structure: Any, name: str = "weight") -> None:
    """Raise unless `weight` is a non-empty dense float matrix that `structure` fits; values are not read."""
    check_structure(structure)
    check_matrix(weight, name)
    try:
        structure.group_shape(weight.shape)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _text(kind: str, sides: Iterable[str]) -> str:
    """The form of a structure in text, such as "tile:16x32" and "row"."""
    return ":".join(filter(None, (kind, "x".join(sides))))


def _spans(length: int, side: int) -> list[tuple[slice, slice, int]]:
    """(cells of the grid, elements of the matrix, group side) for the whole groups and for the ragged rest."""
    whole, rest = divmod(length, side)
    spans = [(slice(0, whole), slice(0, whole * side), side)]
    return spans + ([(slice(whole, whole + 1), slice(whole * side, length), rest)] if rest else [])
