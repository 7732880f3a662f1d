"""Checkers of the chapter *whole-story*: norms of row segments, bytes of a packed matrix, Amdahl's law."""

from __future__ import annotations

import numpy as np
import torch

from ...pruning.groups import group_norms
from ...pruning.packing import pack
from ...pruning.structure import BlockStructure
from ..exercises import Function, array, exercise, expect


@exercise("row-norms", "row_norms(weight, width)")
def row_norms(answer: Function) -> str:
    """weight.reshape(outputs, inputs // width, width) puts each group on the last axis"""
    for shape, width in (((4, 6), 3), ((5, 8), 2), ((3, 7), 7)):
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
        right = group_norms(weight, BlockStructure.block_row(width)).numpy()
        got = array(answer(weight, width), right.shape, f"for a {shape} matrix and width {width}")
        sizes = weight.abs().reshape(len(weight), -1, width)
        slips = {
            "these are the squared norms: one square root is missing": right**2,
            "these are sums of absolute values: square before you sum": sizes.sum(2).numpy(),
            "these are root mean squares: sum, and do not average": right / width**0.5,
            "these are the largest weights of each group": sizes.amax(2).numpy(),
        }
        reason = next((why for why, value in slips.items() if np.allclose(got, value, rtol=1e-4)), "")
        expect(np.allclose(got, right, rtol=1e-4), "the shape is right and the values are not", reason)
    return "the norms of all row segments agree with the library's"


@exercise("stored-bytes", "stored_bytes(outputs, inputs, height, rate)")
def stored_bytes(answer: Function) -> str:
    """values: 4 * height per kept group; column numbers: 4 per kept group; offsets: 8 per block, and one more"""
    cases = (32, 10, 16, 5.0), (16, 7, 16, 4.0), (64, 64, 1, 2.0), (48, 7, 16, 1.0), (16, 3, 16, 100.0)
    for outputs, inputs, height, rate in cases:
        got = answer(outputs, inputs, height, rate)
        structure = BlockStructure.block_column(height)
        groups = outputs // height * inputs
        kept = torch.arange(groups).reshape(outputs // height, inputs) < max(1, round(groups / rate))
        packed = pack(kept.repeat_interleave(height, dim=0).float(), structure)
        case = f"stored_bytes({outputs}, {inputs}, {height}, {rate:g})"
        remedy = "where each group stood has to be stored as well"
        expect(got != packed.bytes_values, f"{case} counts the values alone", remedy)
        total = packed.bytes_total
        short = groups / rate != int(groups / rate) and got < total
        reason = "keep the nearest whole number of groups, and at least one" if short else ""
        expect(got == total, f"{case} gives {got}, and the packed matrix has {total} bytes", reason)
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
