"""Rivals that store a pruned matrix in the sparse formats of torch and SciPy, which have no other use of blocks."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch.nn import functional

from ..pruning.structure import BlockStructure
from . import formats
from .engine import Calls, UnavailableError

CSR = BlockStructure.irregular()  # single weights, which `formats` stores as compressed sparse rows


def torch_csr(problem: Any, precision: str) -> Calls:
    """`W @ Xᵀ` with W in compressed sparse rows."""
    matrix, right = formats.to_torch(problem.weight, CSR), problem.x.T.contiguous()
    return _turned(problem, lambda: matrix @ right)


def torch_bsr(problem: Any, precision: str) -> Calls:
    """`W @ Xᵀ` with W in square blocks."""
    matrix, right = _square_blocks(problem), problem.x.T.contiguous()
    return _turned(problem, lambda: matrix @ right)


def torch_bsr_linear(problem: Any, precision: str) -> Calls:
    """`F.linear(X, W)` with W in square blocks, as torch's documentation has it."""
    run: Callable[[], Any] = partial(functional.linear, problem.x, _square_blocks(problem))
    return Calls(run, problem.answer_of(run))


def scipy_csr(problem: Any, precision: str) -> Calls:
    """SciPy's `W @ Xᵀ` with W in CSR."""
    return _scipy(problem, CSR)


def scipy_bsr(problem: Any, precision: str) -> Calls:
    """SciPy's `W @ Xᵀ` with W in blocks."""
    tile = _tile(problem)
    if (tile.height, tile.width) == (1, 1):
        raise UnavailableError(f"BSR in blocks of 1 x 1, as {problem.structure} has, is CSR")
    return _scipy(problem, tile)


def _scipy(problem: Any, structure: BlockStructure) -> Calls:
    matrix, right = formats.to_scipy(problem.weight, structure), np.ascontiguousarray(problem.x.numpy().T)
    return _turned(problem, partial(operator.matmul, matrix, right))


def _turned(problem: Any, run: Callable[[], Any]) -> Calls:
    """Calls of a function that gives Yᵀ."""
    return Calls(run, problem.answer_of(lambda: run().T))


def _square_blocks(problem: Any) -> Any:
    tile = _tile(problem)
    if tile.height != tile.width or tile.height == 1:
        sides = f"{tile.height} x {tile.width}"
        raise UnavailableError(f"torch runs BSR in square blocks of 2 or more; {problem.structure} has {sides}")
    return formats.to_torch(problem.weight, tile)


def _tile(problem: Any) -> BlockStructure:
    """The problem's groups as tiles, where these fill the matrix; other libraries do not store a ragged edge."""
    shape = problem.weight.shape
    height, width = problem.structure.group_shape(shape)
    if shape[0] % height or shape[1] % width:
        raise UnavailableError(f"blocks of {height} x {width} do not fill {shape[0]} x {shape[1]}")
    return BlockStructure.tile(height, width)
