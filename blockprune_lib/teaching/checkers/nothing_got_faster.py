"""Checkers of *nothing-got-faster*: bytes of a format, a CSR product, break-even from costs, both sides of the line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..exercises import Wrong, exercise


def _number(got: Any) -> float:
    if got is None:
        raise Wrong("the function returns nothing yet")
    if isinstance(got, bool) or not isinstance(got, (int, float, np.number)):
        raise Wrong(f"it returned {type(got).__name__}, expected a number")
    return float(got)


@exercise(
    "format-bytes", hint="Bytes: 4 a kept weight, 4 a kept group, 8 an offset. Divide by kept weights times tokens."
)
def format_bytes(answer: Callable[..., float]) -> str:
    """Compare with the count for CSR, BSR and columns of a block; name the usual slips."""
    if not callable(answer):
        raise Wrong("the answer should be a function format_bytes(outputs, inputs, density, height, width, tokens)")
    for outputs, inputs, density, height, width, tokens in (
        (1536, 384, 0.2, 1, 1, 1),
        (1536, 384, 0.2, 1, 1, 128),
        (768, 768, 0.25, 32, 32, 1),
        (1536, 384, 0.5, 16, 1, 7),
        (64, 32, 1.0, 4, 8, 1),
    ):
        got = _number(answer(outputs, inputs, density, height, width, tokens))
        kept = density * outputs * inputs
        weights, indices, offsets = 4 * kept, 4 * kept / (height * width), 8 * (outputs / height + 1)
        expected = (weights + indices + offsets) / kept / tokens
        if math.isclose(got, expected, rel_tol=1e-9):
            continue
        slips = {
            expected * kept * tokens: "those are the bytes of the whole matrix, not of one multiply-add",
            expected * tokens: "a kept weight is read once for all tokens: divide by the tokens too",
            expected * density: "only the kept weights make useful multiply-adds",
            (weights + 4 * kept + offsets) / kept / tokens: "a group has one index, however many weights it holds",
            (weights + indices + 8 * outputs / height) / kept / tokens: "there is one more offset, at the end",
            (weights + indices + 8 * (outputs + 1))
            / kept
            / tokens: "offsets count rows of groups, not rows of weights",
            (weights + indices) / kept / tokens: "the offsets are missing",
            (weights + offsets) / kept / tokens: "the indices are missing",
        }
        where = f"{outputs} × {inputs}, density {density}, groups of {height} × {width}, {tokens} tokens"
        reason = next((text for value, text in slips.items() if math.isclose(got, value, rel_tol=1e-9)), "")
        raise Wrong(f"for {where} it gives {got:.6g}, not {expected:.6g} bytes", reason)
    return "it agrees with the count for five formats"


@exercise("csr-by-hand", hint="Row i owns the weights from offsets[i] up to, and without, offsets[i + 1].")
def csr_by_hand(answer: Callable[..., Any]) -> str:
    """Compare with the dense product on small matrices with empty rows and full ones; say which property fails."""
    if not callable(answer):
        raise Wrong("the answer should be a function csr_product(values, columns, offsets, X)")
    generator = np.random.default_rng(0)
    for outputs, inputs, tokens, density in (
        (1, 1, 1, 1.0),
        (4, 3, 2, 1.0),
        (7, 5, 3, 0.4),
        (5, 8, 1, 0.1),
        (6, 4, 9, 0.0),
    ):
        dense = generator.standard_normal((outputs, inputs)) * (generator.random((outputs, inputs)) < density)
        if outputs > 4:
            dense[2] = 0  # a row without weights
        x = generator.standard_normal((inputs, tokens))
        rows, columns = np.nonzero(dense)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=outputs))])
        given = [dense[rows, columns], columns, offsets, x]
        kept = [part.copy() for part in given]
        got = answer(*given)
        for name, before, after in zip(("values", "columns", "offsets", "X"), kept, given, strict=True):
            if not np.array_equal(before, after):
                raise Wrong(f"it changed {name}", "write into a new array")
        if got is None:
            raise Wrong("the function returns nothing yet")
        got = np.asarray(got, dtype=np.float64)
        wanted, where = dense @ x, f"for {outputs} × {inputs}, {len(columns)} weights and {tokens} tokens"
        if got.shape != wanted.shape:
            raise Wrong(f"{where} the result has shape {got.shape}, expected {wanted.shape}")
        off = np.logical_not(np.isclose(got, wanted, rtol=1e-4, atol=1e-5).all(axis=1))
        if not off.any():
            continue
        reason = ""
        if off.all() and np.allclose(got, (dense != 0).astype(float) @ x, rtol=1e-4, atol=1e-5):
            reason = "the weights themselves are not multiplied"
        elif off[-1] and not off[:-1].any():
            reason = "only the last row is wrong: the last offset ends it"
        elif (off & (np.diff(offsets) == 0)).any():
            reason = "a row without weights gives zeros"
        raise Wrong(f"{where} {int(off.sum())} of {outputs} rows are wrong", reason)
    return "it agrees with the dense product, rows without weights included"


@exercise("break-even-density", hint="Dense: M N T dense_ns. Sparse: d M N (T sparse_ns + weight_ns). Set them equal.")
def break_even_density(answer: Callable[..., float]) -> str:
    """Compare with the formula, and name the usual slips."""
    if not callable(answer):
        raise Wrong("the answer should be a function break_even_density(dense_ns, sparse_ns, weight_ns, tokens)")
    for dense, sparse, weight, tokens in (
        (0.02, 0.1, 0.0, 128),
        (0.02, 0.1, 1.5, 128),
        (0.1, 0.4, 0.2, 1),
        (0.05, 0.05, 0.3, 16),
        (0.1, 0.02, 0.1, 64),
    ):
        got = _number(answer(dense, sparse, weight, tokens))
        exact = tokens * dense / (tokens * sparse + weight)
        expected = min(1.0, exact)
        if math.isclose(got, expected, rel_tol=1e-9):
            continue
        slips = {
            exact: "a density cannot exceed 1: there the sparse product wins everywhere",
            1 / exact: "that is upside down: a dearer sparse multiply-add must lower it",
            dense / (sparse + weight): "each weight is paid once, and not once for every token",
            min(1.0, dense / sparse): "the cost of each weight is missing",
        }
        reason = next((text for value, text in slips.items() if math.isclose(got, value, rel_tol=1e-9)), "")
        where = f"for {dense}, {sparse} and {weight} ns and {tokens} tokens"
        raise Wrong(f"{where} it gives {got:.6g}, not {expected:.6g}", reason)
    return "it agrees with the formula, for few tokens and for many"


@exercise("both-sides", hint="Try a density far below the break-even of the walk, and one with all weights kept.")
def both_sides(answer: Any) -> str:
    """Check that the reader's own measurements are possible and lie on both sides of the dense time."""
    if not isinstance(answer, dict) or not answer:
        raise Wrong("the answer should be a dictionary: density to (dense ms, sparse ms)")
    for density, times in answer.items():
        if isinstance(density, bool) or not isinstance(density, (int, float, np.number)) or not 0 <= density <= 1:
            raise Wrong(f"{density!r} is no density from 0 to 1")
        pair = times if isinstance(times, (tuple, list)) else ()
        if len(pair) != 2 or not all(isinstance(t, (int, float, np.number)) and 0 < t < math.inf for t in pair):
            raise Wrong(f"density {density:g} should have two positive times in ms: dense and sparse")
    if len(answer) < 3:
        raise Wrong(f"three densities or more, please; there are {len(answer)}")
    wins = sorted(density for density, (dense, sparse) in answer.items() if sparse < dense)
    losses = sorted(density for density, (dense, sparse) in answer.items() if sparse >= dense)
    if not wins:
        raise Wrong("sparse wins at none of your densities", "go lower, to 0.005 or less")
    if not losses:
        raise Wrong("sparse loses at none of your densities", "go up to 1, where nothing can be skipped")
    if wins[-1] < losses[0]:
        return f"sparse wins up to {wins[-1]:g} and loses from {losses[0]:g} on: break-even lies between"
    return f"sparse wins at {len(wins)} and loses at {len(losses)}, not in one piece: measure again, or find out why"
