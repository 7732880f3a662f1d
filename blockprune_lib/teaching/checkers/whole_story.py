"""Checkers of the chapter *whole-story*: norms of row segments, bytes of a packed matrix, Amdahl's law."""

from __future__ import annotations

import torch
from torch import Tensor

from ...pruning.groups import group_norms
from ...pruning.packing import pack
from ...pruning.structure import BlockStructure
from ..exercises import Function, Wrong, exercise


@exercise("row-norms", "row_norms(weight, width)")
def row_norms(answer: Function) -> str:
    """weight.reshape(outputs, inputs // width, width) puts each group on the last axis"""
    for shape, width in (((4, 6), 3), ((5, 8), 2), ((3, 7), 7)):
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
        got = answer(weight, width)
        if not isinstance(got, Tensor):
            raise Wrong(f"expected a tensor, got {type(got).__name__}", hint="return the norms, do not print them")
        expected = group_norms(weight, BlockStructure.block_row(width))
        if got.shape != expected.shape:
            raise Wrong(
                f"for a {shape} matrix and width {width} the shape is {tuple(got.shape)}, not {tuple(expected.shape)}"
            )
        if torch.allclose(got, expected.square(), rtol=1e-4):
            raise Wrong("these are the squared norms", hint="one square root is missing")
        if not torch.allclose(got, expected, rtol=1e-4):
            raise Wrong("the shape is right and the values are not", hint="does each group run along a row?")
    return "the norms of all row segments agree with the library's"


@exercise("stored-bytes", "stored_bytes(outputs, inputs, height, rate)")
def stored_bytes(answer: Function) -> str:
    """values: 4 * height per kept group; column numbers: 4 per kept group; offsets: 8 per block, and one more"""
    for outputs, inputs, height, rate in ((32, 10, 16, 5.0), (64, 64, 1, 2.0), (48, 7, 16, 1.0), (16, 3, 16, 100.0)):
        got = answer(outputs, inputs, height, rate)
        structure = BlockStructure.block_column(height)
        groups = outputs // height * inputs
        kept = torch.arange(groups).reshape(outputs // height, inputs) < max(1, round(groups / rate))
        packed = pack(kept.repeat_interleave(height, dim=0).float(), structure)
        case = f"stored_bytes({outputs}, {inputs}, {height}, {rate:g})"
        if got == packed.bytes_values:
            raise Wrong(f"{case} counts the values alone", hint="where each group stood has to be stored as well")
        if got != packed.bytes_total:
            raise Wrong(f"{case} gives {got}, and the packed matrix has {packed.bytes_total} bytes")
    return "the count agrees with matrices that were really packed; at height 1, break-even lies a little above rate 2"


@exercise("amdahl", "whole_speedup(p, k)")
def amdahl(answer: Function) -> str:
    """new time = (1 - p) + p / k, in units of the dense time"""
    if answer(0.0, 5.0) != 1:
        raise Wrong("with p = 0 nothing is pruned, and the speed-up must be 1")
    if abs(answer(1.0, 5.0) - 5) > 1e-9:
        raise Wrong("with p = 1 everything is pruned, and the speed-up must be k")
    if abs(answer(0.8, 4.0) - 2.5) > 1e-9:
        raise Wrong(f"whole_speedup(0.8, 4) gives {answer(0.8, 4.0):.3g}, expected 2.5")
    if answer(0.5, 1e12) > 2:
        raise Wrong("with half of the time untouched, no k can give more than 2")
    return "the limits p = 0, p = 1 and large k are right"
