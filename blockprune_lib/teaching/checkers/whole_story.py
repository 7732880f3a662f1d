"""Checkers of the chapter *whole-story*: norms of row segments, bytes of a packed matrix, Amdahl's law."""

from __future__ import annotations

import torch
from torch import Tensor

from ...pruning.groups import group_norms
from ...pruning.packing import pack
from ...pruning.structure import BlockStructure
from ..exercises import Function, exercise, expect


@exercise("row-norms", "row_norms(weight, width)")
def row_norms(answer: Function) -> str:
    """weight.reshape(outputs, inputs // width, width) puts each group on the last axis"""
    for shape, width in (((4, 6), 3), ((5, 8), 2), ((3, 7), 7)):
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
        got = answer(weight, width)
        tensor = isinstance(got, Tensor)
        expect(tensor, f"expected a tensor, got {type(got).__name__}", "return the norms, do not print them")
        right, shapes = group_norms(weight, BlockStructure.block_row(width)), f"a {shape} matrix and width {width}"
        expect(got.shape == right.shape, f"for {shapes} the shape is {tuple(got.shape)}, not {tuple(right.shape)}")
        squared, near = (torch.allclose(got, norms, rtol=1e-4) for norms in (right.square(), right))
        expect(not squared, "these are the squared norms", "one square root is missing")
        expect(near, "the shape is right and the values are not", "does each group run along a row?")
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
        remedy = "where each group stood has to be stored as well"
        expect(got != packed.bytes_values, f"{case} counts the values alone", remedy)
        total = packed.bytes_total
        expect(got == total, f"{case} gives {got}, and the packed matrix has {total} bytes")
    return "the count agrees with matrices that were really packed; at height 1, break-even lies a little above rate 2"


@exercise("amdahl", "whole_speedup(p, k)")
def amdahl(answer: Function) -> str:
    """new time = (1 - p) + p / k, in units of the dense time"""
    expect(answer(0.0, 5.0) == 1, "with p = 0 nothing is pruned, and the speed-up must be 1")
    expect(abs(answer(1.0, 5.0) - 5) <= 1e-9, "with p = 1 everything is pruned, and the speed-up must be k")
    middle = answer(0.8, 4.0)
    expect(abs(middle - 2.5) <= 1e-9, f"whole_speedup(0.8, 4) gives {float(middle):.3g}, expected 2.5")
    expect(answer(0.5, 1e12) <= 2, "with half of the time untouched, no k can give more than 2")
    return "the limits p = 0, p = 1 and large k are right"
