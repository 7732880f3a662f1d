"""Checkers of *nothing-got-faster*: bytes of a format, a CSR product, break-even from costs, both sides of the line."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..exercises import Function, Judged, agree, array, attempt, exercise, expect, is_number, plain, positive


@exercise("format-bytes", "format_bytes(outputs, inputs, density, height, width, tokens)")
def format_bytes(answer: Function) -> str:
    """Bytes: 4 per kept weight, 4 per kept group, 8 per offset. Divide by kept weights times tokens."""
    cases = (
        (1536, 384, 0.2, 1, 1, 1), (1536, 384, 0.2, 1, 1, 128), (768, 768, 0.25, 32, 32, 1), (1536, 384, 0.5, 16, 1, 7),
        (64, 32, 1.0, 4, 8, 1),
    )  # fmt: skip

    def judge(outputs: int, inputs: int, density: float, height: int, width: int, tokens: int) -> Judged:
        kept = density * outputs * inputs
        weights, indices, offsets = 4 * kept, 4 * kept / (height * width), 8 * (outputs / height + 1)
        whole = weights + indices + offsets
        slips = {
            "those are the bytes of the whole matrix, not of one multiply-add": whole * kept * tokens,
            "a kept weight is read once for all tokens: divide by the tokens too": whole * tokens,
            "only the kept weights make useful multiply-adds": whole * density,
            "a group has one index, however many weights it holds": whole - indices + 4 * kept,
            "there is one more offset, at the end": whole - 8,
            "offsets count rows of groups, not rows of weights": whole - offsets + 8 * (outputs + 1),
            "the offsets are missing": whole - offsets,
            "the indices are missing": whole - indices,
            "an offset is 8 bytes": whole - offsets / 2,
            "a multiply-add counts once here, not as two FLOP": whole / 2,
            "a group is `height` times `width` weights": weights + 4 * kept / height + offsets,
        }
        return whole / kept / tokens, {slip: found / kept / tokens for slip, found in slips.items()}

    where = "for {} × {}, density {}, groups of {} × {}, tokens = {}"
    agree(answer, cases, judge, where, unit=" bytes")
    return "it agrees with the count for five formats"


@exercise("csr-by-hand", "csr_product(values, columns, offsets, X)")
def csr_by_hand(answer: Function) -> str:
    """Row i owns the weights from offsets[i] up to, and without, offsets[i + 1]."""
    generator = np.random.default_rng(0)
    cases = ((4, 3, 2, 1.0), (7, 5, 3, 0.4), (5, 8, 1, 0.1), (6, 4, 9, 0.0), (1, 1, 1, 1.0))
    for outputs, inputs, tokens, density in cases:
        dense = generator.standard_normal((outputs, inputs)) * (generator.random((outputs, inputs)) < density)
        if outputs > 4:
            dense[2] = 0  # a row without weights
        x = generator.standard_normal((inputs, tokens))
        rows, columns = np.nonzero(dense)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=outputs))])
        given = [dense[rows, columns], columns, offsets, x]
        kept = [part.copy() for part in given]
        where = f"for {outputs} × {inputs}, {len(columns)} weights, tokens = {tokens}"
        got = attempt(where, answer, *given)
        for name, before, after in zip(("values", "columns", "offsets", "X"), kept, given, strict=True):
            expect(np.array_equal(before, after), f"it changed {name}", "write into a new array")
        wanted = dense @ x
        got = array(got, wanted.shape, where)
        off, reason = ~np.isclose(got, wanted, rtol=1e-4, atol=1e-5).all(axis=1), ""
        if off.all() and np.allclose(got, (dense != 0).astype(float) @ x, rtol=1e-4, atol=1e-5):
            reason = "the weights themselves are not multiplied"
        elif outputs > 1 and off[-1] and not off[:-1].any():
            reason = "only the last row is wrong: the last offset ends it"
        elif (off & (np.diff(offsets) == 0)).any():
            reason = "a row without weights gives zeros"
        first = int(off.argmax())
        told = f"{where} {int(off.sum())} of {outputs} rows are wrong; row {first} begins with {got[first, 0]:.4g}"
        expect(not off.any(), f"{told}, expected {wanted[first, 0]:.4g}", reason)
    return "it agrees with the dense product, rows without weights included"


@exercise("break-even-density", "break_even_density(dense_ns, sparse_ns, weight_ns, tokens)")
def break_even_density(answer: Function) -> str:
    """Dense: M N T dense_ns. Sparse: d M N (T sparse_ns + weight_ns). Set them equal."""
    cases = (
        (0.02, 0.1, 0.0, 128), (0.02, 0.1, 1.5, 128), (0.1, 0.4, 0.2, 1), (0.05, 0.05, 0.3, 16), (0.1, 0.02, 0.1, 64),
    )  # fmt: skip

    def judge(dense: float, sparse: float, weight: float, tokens: int) -> Judged:
        exact = tokens * dense / (tokens * sparse + weight)
        return min(1.0, exact), {
            "a density cannot exceed 1: there the sparse product wins everywhere": exact,
            "that is upside down: a dearer sparse multiply-add must lower it": min(1.0, 1 / exact),
            "that is upside down, and a density cannot exceed 1": 1 / exact,
            "only kept weights pay for an index: the density multiplies both costs of the sparse product":
                min(1.0, (tokens * dense - weight) / (tokens * sparse)),
            "each weight is paid once, and not once for every token": dense / (sparse + weight),
            "the cost of each weight is missing": min(1.0, dense / sparse),
            "that is the share that goes; the density is what stays": 1 - min(1.0, exact),
            "each weight is paid once for all tokens: its cost is not multiplied": min(
                1.0, dense / (sparse + weight * tokens)
            ),
        }  # fmt: skip

    agree(answer, cases, judge, "for {}, {} and {} ns, tokens = {}")
    return "it agrees with the formula, for few tokens and for many"


@exercise("both-sides")
def both_sides(answer: Any) -> str:
    """Try a density far below the break-even of the walk, and one with all weights kept."""
    expect(isinstance(answer, dict) and answer, "the answer should be a dictionary: density to (dense ms, sparse ms)")
    answer = {plain(density): times for density, times in answer.items()}
    for density, times in answer.items():
        expect(is_number(density) and 0 <= density <= 1, f"{density!r} is no density from 0 to 1")
        expect(positive(times, 2), f"density {density:g} should have two positive times in ms: dense and sparse")
    expect(len(answer) >= 3, f"three densities or more, please; there are {len(answer)}")
    wins = sorted(density for density, (dense, sparse) in answer.items() if sparse < dense)
    losses = sorted(density for density, (dense, sparse) in answer.items() if sparse > dense)
    expect(wins, "sparse wins at none of your densities", "go lower, to 0.005 or less")
    expect(losses, "sparse loses at none of your densities", "go up to 1, where nothing can be skipped")
    odd = f"sparse wins at density {wins[-1]:g} and loses at {losses[0]:g}, where it has less to do"
    expect(wins[-1] < losses[0], odd, "first the dense time, then the sparse one; else measure again, with more rounds")
    return f"sparse wins up to {wins[-1]:g} and loses from {losses[0]:g} on: break-even lies between"
