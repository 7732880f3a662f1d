"""Checkers of the chapter *whole-story*: norms of groups in a row, bytes of a packed matrix, Amdahl's law."""

from __future__ import annotations

import math

import torch

from ...pruning.groups import group_norms
from ...pruning.packing import pack
from ...pruning.structure import BlockStructure
from ..exercises import Function, Judged, agree, array, attempt, exercise, same


@exercise("row-norms", "row_norms(weight, width)")
def row_norms(answer: Function) -> str:
    """Give every group an axis of its own: which reshape makes it the last one?"""
    for shape, width in (((4, 6), 3), ((5, 8), 2), ((3, 7), 7)):
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
        right = group_norms(weight, BlockStructure.block_row(width)).numpy()
        where = f"for a matrix of {shape[0]} x {shape[1]} and width {width}"
        got = array(attempt(where, answer, weight.clone(), width), right.shape, where)
        sizes = weight.abs().reshape(len(weight), -1, width)
        slips = {
            "these are the squared norms: one square root is missing": right**2,
            "these are sums of absolute values: square before you sum": sizes.sum(2).numpy(),
            "these are root mean squares: sum, and do not average": right / width**0.5,
            "these are the largest weights of each group": sizes.amax(2).numpy(),
            "these are sums of weights: square before you sum": abs(weight.reshape(sizes.shape).sum(2)).numpy(),
            "a group is of neighbours in a row: it is the last axis that the sum runs over": weight.reshape(
                len(weight), width, -1
            ).norm(dim=1).numpy(),
        }  # fmt: skip
        same(got, right, f"{where} the shape is right and the values are not:", slips, rel_tol=1e-4)
    return "the norms of all groups agree with the library's"


@exercise("stored-bytes", "stored_bytes(outputs, inputs, height, rate)")
def stored_bytes(answer: Function) -> str:
    """How many groups are there, and how many stay? Values, column numbers and offsets are then three sums."""

    def judge(outputs: int, inputs: int, height: int, rate: float) -> Judged:
        blocks, groups = outputs // height, outputs // height * inputs
        kept = max(1, round(groups / rate))

        def total(kept: int, entry: int = 4, offsets: int = 8 * (blocks + 1)) -> int:
            return kept * (4 * height + entry) + offsets

        alive = torch.arange(groups).reshape(blocks, inputs) < kept
        packed = pack(alive.repeat_interleave(height, dim=0).float(), BlockStructure.block_column(height))
        slips = {
            "these are the values alone: where each group stood has to be stored as well": packed.bytes_values,
            "round to the nearest whole number of groups; here it was rounded down": total(max(1, int(groups / rate))),
            "a half goes to the even neighbour, as Python's `round` has it": total(max(1, int(groups / rate + 0.5))),
            "round to the nearest whole number of groups; here it was rounded up": total(math.ceil(groups / rate)),
            "at least one group stays: max(1, ...)": total(round(groups / rate)),
            "one offset is missing: there is one for each strip, and one at the end": total(kept, 4, 8 * blocks),
            "the offsets are missing": total(kept, 4, 0),
            "the column numbers are missing": total(kept, 0),
            "an offset takes 8 bytes": total(kept, 4, 4 * (blocks + 1)),
            "a group has one column number, not one for each of its weights": total(kept, 4 * height),
        }
        return packed.bytes_total, {slip: float(value) for slip, value in slips.items()}

    cases = (
        (32, 10, 16, 5.0),
        (48, 7, 16, 8.0),
        (64, 64, 1, 2.0),
        (48, 7, 16, 5.0),
        (32, 5, 16, 4.0),
        (48, 7, 16, 1.0),
        (16, 3, 16, 100.0),
    )
    agree(answer, cases, judge, "stored_bytes({}, {}, {}, {:g}):", unit=" bytes")
    return "the count agrees with matrices that were really packed; now find the rate of break-even with it"


@exercise("amdahl", "whole_speedup(p, k)")
def amdahl(answer: Function) -> str:
    """Take the dense time as 1: how long does the part take that becomes faster, and how long the rest?"""

    def judge(p: float, k: float) -> Judged:
        new = (1 - p) + p / k
        slips = {
            "this is the new time, not how many times as fast": new,
            "this averages speeds; times add up, speeds do not": (1 - p) + p * k,
            "everything is taken to be k times as fast": k,
            "the part that is not pruned takes time, too": k / p if p else 0.0,
            "the pruned part takes p / k": 1 / ((1 - p) + 1 / k),
            "it is the share p that becomes faster, not the rest": 1 / (p + (1 - p) / k),
        }
        return 1 / new, slips

    cases = ((0.0, 5.0), (1.0, 5.0), (0.8, 4.0), (0.5, 1e12), (0.3, 0.5))
    agree(answer, cases, judge, "for p = {:g} and k = {:g}")
    return "the limits p = 0, p = 1 and large k are right, and so is what lies between"
