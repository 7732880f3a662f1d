"""Checkers of *storing-what-is-left*: break-even with offsets, a bitmap for an index, a file's bytes foretold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..exercises import (
    NOTHING,
    Function,
    Judged,
    Wrong,
    agree,
    array,
    attempt,
    exercise,
    expect,
    fields,
    is_number,
    plain,
)

#: R, C, share of the groups kept: whole bytes and not, one row, rows without groups, none kept, all kept.
GRIDS = ((4, 8, 0.5), (3, 5, 0.4), (1, 13, 0.3), (6, 4, 0.15), (2, 3, 0.0), (5, 7, 1.0))


@exercise("break-even-bytes", "break_even(M, N, r, c, value, column, offset)")
def break_even_bytes(answer: Function) -> str:
    """The density at which values, columns and offsets take the bytes of the dense matrix; 0 where none does."""
    cases = (
        (1536, 384, 1, 1, 4, 4, 8), (1536, 384, 1, 1, 4, 8, 8), (768, 768, 1, 1, 2, 8, 8), (768, 768, 16, 1, 2, 4, 8),
        (512, 512, 32, 32, 4, 4, 8), (384, 64, 1, 64, 4, 4, 8), (64, 2, 1, 1, 4, 4, 8), (8, 1, 1, 1, 2, 4, 8),
    )  # fmt: skip

    def judge(M: int, N: int, r: int, c: int, value: int, column: int, offset: int) -> Judged:
        dense, offsets = M * N * value, (M / r + 1) * offset
        each = M * N * (value + column / (r * c))
        return max(0.0, (dense - offsets) / each), {
            "the offsets are missing": dense / each,
            "no density is below 0: there the offsets alone are too many": (dense - offsets) / each,
            "a group has one column number, however many weights it holds": (dense - offsets)
            / (M * N * (value + column)),
            "there is one more offset, at the end": (dense - M / r * offset) / each,
            "offsets count rows of groups, not rows of weights": (dense - (M + 1) * offset) / each,
            "that is the share that goes; the density is what stays": 1 - max(0.0, (dense - offsets) / each),
            "offsets count rows of groups, not columns": (dense - (N / c + 1) * offset) / each,
            "that is the rate; the density is one over it": each / max(1e-9, dense - offsets),
            "offsets are stored besides the values: they leave less room for them": (dense + offsets) / each,
        }

    where = "for {} × {} in groups of {} × {}, with {}, {} and {} bytes,"
    agree(answer, cases, judge, where)
    return "it agrees with the count for eight formats, and gives 0 where no density is small enough"


@exercise("bitmap")
def bitmap(answer: Any) -> str:
    """Column numbers and offsets as one bit for each group of the grid, and back."""
    to_bits, to_lists = fields(answer, "to_bits", "to_lists")
    expect(callable(to_bits) and callable(to_lists), "to_bits and to_lists should be functions")
    generator = np.random.default_rng(0)
    for R, C, share in GRIDS:
        keep = generator.random((R, C)) < share
        if R > 3 and share < 1:
            keep[1] = False
        columns = np.nonzero(keep)[1].astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(keep.sum(1))])
        where, bits = f"for a grid of {R} × {C} with {len(columns)} groups", np.packbits(keep)
        _check_bits(attempt(f"{where}, in to_bits,", to_bits, columns.copy(), offsets.copy(), C), bits, keep, where)
        _check_lists(attempt(f"{where}, in to_lists,", to_lists, bits.copy(), R, C), columns, offsets, where)
    return "both directions are right, for rows without groups and a last byte that is not full"


def _check_bits(got: Any, wanted: np.ndarray, keep: np.ndarray, where: str) -> None:
    expect(got is not None, f"to_bits: {NOTHING}")
    try:
        got = np.asarray(got)
    except (TypeError, ValueError):
        raise Wrong(f"{where} to_bits returns {type(got).__name__}, expected an array of bytes") from None
    expect(got.dtype == np.uint8, f"{where} to_bits returns {got.dtype}, expected uint8", "np.packbits makes bytes")
    size = f"{where} to_bits returns an array of shape {got.shape}, expected {wanted.shape}"
    per_row = got.size == keep.shape[0] * -(-keep.shape[1] // 8) != wanted.size
    hint = "go on in the same byte where the next row begins: pack the whole array, not each row" if per_row else ""
    expect(got.shape == wanted.shape, size, hint)
    slips = {
        "the first bit of a byte is its highest": np.packbits(keep, bitorder="little"),
        "go row by row, not column by column": np.packbits(keep.T),
        "1 is for a group that is kept": np.packbits(~keep),
    }
    hint = next((slip for slip, bits in slips.items() if np.array_equal(got, bits)), "")
    expect(np.array_equal(got, wanted), f"{where} the bits differ", hint)


def _check_lists(got: Any, columns: np.ndarray, offsets: np.ndarray, where: str) -> None:
    expect(got is not None, f"to_lists: {NOTHING}")
    expect(isinstance(got, (tuple, list)) and len(got) == 2, f"{where} to_lists should return (columns, offsets)")
    counts = [len(part) if hasattr(part, "__len__") else 0 for part in got]
    size = f"{where} to_lists gives {counts[1]} offsets, expected {len(offsets)}"
    expect(counts[1] == len(offsets), size, "one for each row, and one more at the end")
    mine = [array(part, (count,), f"{where}, in to_lists,") for part, count in zip(got, counts, strict=True)]
    expect(np.array_equal(mine[1], offsets), f"{where} the offsets differ", "they add up the groups of the rows before")
    hint = "bits that fill up the last byte are no groups" if len(mine[0]) > len(columns) else ""
    expect(np.array_equal(mine[0], columns), f"{where} the columns differ", hint)


@exercise("own-file")
def own_file(answer: Any) -> str:
    """A folder, and the bytes of its file foretold to 0.3 %; the layers take at most a third of their dense bytes."""
    folder, predicted = fields(answer, "folder", "predicted")
    expect(folder not in (..., None), "there is no folder yet")
    expect(isinstance(folder, (str, Path)), f"folder should be a path, not {folder!r:.60}")
    expect(is_number(predicted) and predicted > 0, f"predicted should be a number of bytes; got {predicted!r:.60}")
    path = Path(folder)
    path = path if path.is_file() else path / "blockprune.safetensors"
    expect(path.is_file(), "the folder holds no blockprune.safetensors", "bp.save(bp.sparsify(...), folder) writes it")
    try:
        layers = json.loads((path.parent / "blockprune.json").read_text())["layers"]
        with path.open("rb") as file:
            tensors = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, ValueError, KeyError):
        raise Wrong(f"{path.parent} does not hold what bp.save writes", "save it again, into a new folder") from None
    shapes = [entry["shape"] for entry in layers.values()]
    expect(shapes, "no layer of the file is packed", "bp.sparsify comes before bp.save")
    kept = [entry for name, entry in tensors.items() if name.endswith((".values", ".columns", ".offsets"))]
    stored = sum(last - first for first, last in (entry["data_offsets"] for entry in kept))
    dense = sum(4 * M * N for M, N in shapes)
    share = f"the packed layers take {stored / dense:.0%} of their dense bytes"
    expect(3 * stored <= dense, f"{share}, at most a third is asked", "a higher rate, or larger groups")
    size = path.stat().st_size
    predicted = float(plain(predicted))
    off = predicted / size - 1
    units = any(abs(predicted * unit / size - 1) < 0.05 for unit in (1000, 1024, 10**6, 2**20, 1 / 8))
    hint = "the file begins with a list of its tensors: names, types, shapes and places" if abs(off) < 0.05 else ""
    hint = "bytes are asked" if units else hint
    expect(abs(off) <= 0.003, f"predicted {predicted:,.0f} bytes, the file has {size:,}: {off:+.2%}", hint)
    return f"predicted {predicted:,.0f} bytes, the file has {size:,}: {off:+.2%}; {share}"
